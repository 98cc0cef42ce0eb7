#include "quant/build.h"

#include <algorithm>

#include "quant/forms.h"
#include "quant/params.h"
#include "quant/rounding.h"

namespace litegap {
namespace {

constexpr std::size_t kMomentSamples = 256;  // patches of so many determine H well enough

int op_of_output(const Model& model, int tensor) {
  for (std::size_t k = 0; k < model.main().ops.size(); ++k) {
    const auto& out = model.main().ops[k].outputs;
    if (!out.empty() && out[0] == tensor) return static_cast<int>(k);
  }
  return -1;
}

// Whether the layer's weights become integers in the end: the passes leave some float.
bool codes_weights(const Treatment& t, OpCode code, const Array& weights) {
  switch (t.algorithm) {
    case Algorithm::kFloat:
    case Algorithm::kFloat16:
      return false;
    case Algorithm::kDynamicRange:
      return weights.elements() >= t.least_elements;
    case Algorithm::kWeightOnly:
      return !(t.bits == 4 && code == OpCode::kDepthwiseConv2d);
    default:
      return true;
  }
}

}  // namespace

FileBuilder::FileBuilder(ModelPtr float_model, const Dataset* data, const InputMap& map,
                         InputOutput io, std::vector<Treatment> treatments, PredictOptions options)
    : model_(std::move(float_model)),
      data_(data),
      map_(map),
      io_(io),
      treatments_(std::move(treatments)),
      options_(std::move(options)) {}

void FileBuilder::use_rows(std::vector<std::size_t> rows) {
  options_.rows = std::move(rows);
  plain_ = even_ = {};
  absorbed_ = 0;
}

const Equalized& FileBuilder::equalized() {
  if (!equalized_) equalized_ = equalize(*model_);
  return *equalized_;
}

Setup FileBuilder::setup(const ModelPtr& model) const {
  Setup s;
  s.model = model;
  s.input_map = map_;
  return s;
}

FileBuilder::Observed& FileBuilder::observed(bool even) {
  Observed& o = even ? even_ : plain_;
  if (o.model) return o;
  o.model = model_;
  if (!even) return o;
  o.model = std::make_shared<const Model>(equalized().model);
  if (data_ != nullptr) {
    Absorbed a = absorb_biases(o.model, setup(o.model), *data_, options_);
    absorbed_ = a.channels;
    if (a.channels > 0) o.model = std::make_shared<const Model>(std::move(a.model));
  }
  return o;
}

const Calibration& FileBuilder::calibration(Observed& o) {
  if (!o.calibration) o.calibration = calibrate(setup(o.model), *data_, options_);
  return *o.calibration;
}

const std::map<int, Moments>& FileBuilder::moments(Observed& o) {
  if (o.moments) return *o.moments;
  PredictOptions some = options_;
  if (some.rows.empty()) {
    for (std::size_t i = 0; i < data_->count; ++i) some.rows.push_back(i);
  }
  if (some.rows.size() > kMomentSamples) {
    std::vector<std::size_t> spread;
    for (std::size_t i = 0; i < kMomentSamples; ++i) {
      spread.push_back(some.rows[i * some.rows.size() / kMomentSamples]);
    }
    some.rows = std::move(spread);
  }
  o.moments = observe_moments(setup(o.model), *data_, some);
  return *o.moments;
}

bool FileBuilder::integer(std::size_t k) const {
  return treatments_[k].algorithm == Algorithm::kStatic ||
         treatments_[k].algorithm == Algorithm::kInt16x8;
}

// The producer's method; an input's is that of its first reader.  16 bits have room for the
// extremes.
std::vector<CalibrationMethod> FileBuilder::tensor_methods(const Variant& variant) const {
  const Graph& g = model_->main();
  std::vector<CalibrationMethod> by(g.tensors.size(), CalibrationMethod::kMinmax);
  const auto of = [&](std::size_t k) {
    CalibrationMethod m = treatments_[k].activations;
    if (m == CalibrationMethod::kAuto) m = variant.method;
    const bool wide = treatments_[k].algorithm == Algorithm::kInt16x8;
    return wide && m != CalibrationMethod::kMovingAverage ? CalibrationMethod::kMinmax : m;
  };
  for (std::size_t k = g.ops.size(); k-- > 0;) {
    for (const int t : g.ops[k].inputs) {
      if (t >= 0) by[static_cast<std::size_t>(t)] = of(k);
    }
  }
  for (std::size_t k = 0; k < g.ops.size(); ++k) {
    for (const int t : g.ops[k].outputs) {
      if (t >= 0) by[static_cast<std::size_t>(t)] = of(k);
    }
    for (const int t : g.ops[k].inputs) {  // states cover what they hold
      if (t >= 0 && g.tensors[static_cast<std::size_t>(t)].is_variable) {
        by[static_cast<std::size_t>(t)] = CalibrationMethod::kMinmax;
      }
    }
  }
  return by;
}

std::map<int, CodedWeights> FileBuilder::coded(Observed& o, const Variant& variant) {
  std::map<int, CodedWeights> all;
  for (const WeightedLayer& layer : weighted_layers(*o.model)) {
    const Treatment& t = treatments_[static_cast<std::size_t>(layer.op)];
    const Tensor& w = o.model->main().tensors[static_cast<std::size_t>(layer.w)];
    const OpCode code = o.model->main().ops[static_cast<std::size_t>(layer.op)].code;
    if (!w.constant || w.dtype != DType::kFloat32 || !codes_weights(t, code, *w.constant)) continue;
    const WeightRounding rounding =
        t.rounding == WeightRounding::kAuto ? variant.rounding : t.rounding;
    const bool plain =
        rounding == WeightRounding::kNearest && t.weight_scale == WeightScale::kMinmax;
    if (plain && !variant.bias_correction) continue;
    const Moments* m = nullptr;
    if (data_ != nullptr && rounding != WeightRounding::kNearest) {
      const auto found = moments(o).find(layer.op);
      if (found != moments(o).end()) m = &found->second;
    }
    // A hybrid depthwise kernel reads a scale a channel.
    const bool hybrid = t.algorithm == Algorithm::kDynamicRange && code == OpCode::kDepthwiseConv2d;
    all[layer.op] = code_weights(
        *w.constant, code, m,
        {t.bits, hybrid ? Granularity::kPerChannel : t.granularity, t.weight_scale, rounding});
  }
  return all;
}

Built FileBuilder::build(const Variant& variant) {
  Observed& o = observed(variant.equalize);
  const auto weights = coded(o, variant);
  Model source = *o.model;
  Built built;
  if (variant.bias_correction && data_ != nullptr) {
    Corrected c = correct_biases(source, weights, moments(o));
    source = std::move(c.model);
    built.corrected = c.layers;
  }
  StaticOptions options;
  options.io = io_;
  bool any = false;
  for (std::size_t k = 0; k < treatments_.size(); ++k) {
    const Algorithm a = treatments_[k].algorithm;
    options.forms.push_back(a == Algorithm::kStatic    ? Form::kInt8
                            : a == Algorithm::kInt16x8 ? Form::kInt16
                                                       : Form::kFloat);
    options.granularities.push_back(treatments_[k].granularity);
    any = any || integer(k);
  }
  std::map<int, int> outputs;  // float operator -> the tensor it writes in the result
  if (any) {
    for (const auto& [k, w] : weights) {
      if (integer(static_cast<std::size_t>(k))) options.weights[k] = w;
    }
    StaticResult r =
        quantize_static(source, ranges_by(calibration(o), tensor_methods(variant)), options);
    built.model = std::move(r.model);
    built.in_float = std::move(r.in_float);
    built.raised = std::move(r.raised);
    built.rescales = r.rescales;
    outputs = std::move(r.float_output);
  } else {
    for (std::size_t k = 0; k < source.main().ops.size(); ++k) {
      const auto& out = source.main().ops[k].outputs;
      if (!out.empty()) outputs[static_cast<int>(k)] = out[0];
    }
    built.model = std::move(source);
  }
  weight_passes(built, outputs, weights);
  return built;
}

// Operators that stayed float: their constants.  Numbers of operators change with every pass, those
// of the tensors they write do not.
void FileBuilder::weight_passes(Built& built, const std::map<int, int>& outputs,
                                const std::map<int, CodedWeights>& coded) const {
  for (const Algorithm pass :
       {Algorithm::kDynamicRange, Algorithm::kWeightOnly, Algorithm::kFloat16}) {
    const std::size_t n = built.model.main().ops.size();
    WeightOptions options;
    options.only.assign(n, false);
    options.op_bits.assign(n, 8);
    options.granularities.assign(n, Granularity::kPerChannel);
    bool any = false;
    for (const auto& [k, tensor] : outputs) {
      const Treatment& t = treatments_[static_cast<std::size_t>(k)];
      const int at = op_of_output(built.model, tensor);
      if (t.algorithm != pass || at < 0) continue;
      any = options.only[static_cast<std::size_t>(at)] = true;
      options.least_elements = t.least_elements;  // the same for all
      options.op_bits[static_cast<std::size_t>(at)] = t.bits;
      options.granularities[static_cast<std::size_t>(at)] = t.granularity;
      if (const auto c = coded.find(k); c != coded.end()) options.weights[at] = c->second;
    }
    if (!any) continue;
    // Without a choice between operators, constants of every graph of the file are meant.
    const bool whole = std::ranges::all_of(
        treatments_, [&](const Treatment& t) { return t.algorithm == Algorithm::kFloat16; });
    WeightResult r =
        pass == Algorithm::kDynamicRange ? quantize_dynamic_range(built.model, options)
        : pass == Algorithm::kWeightOnly
            ? quantize_weight_only(built.model, options)
            : quantize_float16(built.model, whole ? std::vector<bool>{} : options.only);
    built.model = std::move(r.model);
    built.quantized += r.quantized;
    built.kept += r.kept;
    built.largest_kept = std::max(built.largest_kept, r.largest_kept);
  }
}

}  // namespace litegap
