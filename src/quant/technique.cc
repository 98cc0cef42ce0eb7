#include "quant/technique.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "quant/build.h"
#include "quant/forms.h"
#include "quant/params.h"
#include "quant/samples.h"

namespace litegap {
namespace {

constexpr std::size_t kHoldEvery = 5;        // of the samples, for measuring
constexpr std::size_t kFewestForTrials = 10;
constexpr std::size_t kMeasured = 100;       // held-back samples that a trial runs
constexpr double kClearlyLess = 0.98;        // less than this times the error so far is better

const std::array<std::pair<Technique, const char*>, 7> kNames = {{
    {Technique::kStatic, "static"},
    {Technique::kDynamicRange, "dynamic-range"},
    {Technique::kFloat16, "float16"},
    {Technique::kInt16x8, "int16x8"},
    {Technique::kWeightOnlyInt8, "weight-only-int8"},
    {Technique::kWeightOnlyInt4, "weight-only-int4"},
    {Technique::kMixed, "mixed"},
}};

Predictions run_rows(const ModelPtr& model, const Dataset& data, const InputMap& map,
                     const std::vector<std::size_t>& rows, int threads) {
  Setup setup;
  setup.model = model;
  setup.input_map = map;
  PredictOptions options;
  options.rows = rows;
  options.threads = threads;
  return predict(setup, data, options);
}

// Noise power over signal power (variance about the mean) of the worst output.
double noise_to_signal(const Predictions& exact, const Predictions& got) {
  double worst = 0;
  for (std::size_t j = 0; j < exact.outputs.size(); ++j) {
    const auto a = exact.outputs[j].span<float>(), b = got.outputs[j].span<float>();
    double mean = 0, signal = 0, noise = 0;
    for (const float v : a) mean += v;
    mean /= static_cast<double>(std::max<std::size_t>(1, a.size()));
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double s = static_cast<double>(a[i]) - mean;
      const double n = static_cast<double>(b[i]) - static_cast<double>(a[i]);
      signal += s * s;
      noise += n * n;
    }
    const double ratio = signal > 0 ? noise / signal : noise > 0 ? 1 : 0;
    worst = std::isfinite(ratio) ? std::max(worst, ratio) : std::numeric_limits<double>::infinity();
  }
  return worst;
}

Treatment base_treatment(const QuantizeRequest& r) {
  Treatment t;
  t.granularity = r.granularity;
  t.activations = r.calibration_method;
  t.weight_scale = r.weight_scale;
  t.rounding = r.rounding;
  switch (r.technique) {
    case Technique::kStatic:
      t.algorithm = Algorithm::kStatic;
      break;
    case Technique::kDynamicRange:
      t.algorithm = Algorithm::kDynamicRange;
      break;
    case Technique::kFloat16:
      t.algorithm = Algorithm::kFloat16;
      break;
    case Technique::kInt16x8:
      t.algorithm = Algorithm::kInt16x8;
      break;
    case Technique::kWeightOnlyInt4:
      t.bits = 4;
      [[fallthrough]];
    case Technique::kWeightOnlyInt8:
      t.algorithm = Algorithm::kWeightOnly;
      break;
    case Technique::kMixed:
      t.algorithm = Algorithm::kFloat;
      break;
  }
  return t;
}

std::string percent(double noise) {
  return noise > 0 ? fmt::format("{:.3g} %", 100 * noise) : std::string("0");
}

class Work {
 public:
  Work(ModelPtr model, const Dataset* data, const QuantizeRequest& request)
      : model_(std::move(model)), data_(data), request_(request) {}

  Quantized make() {
    result_.technique = request_.technique;
    treat();
    look_at_data();
    PredictOptions options;
    options.threads = request_.threads;
    options.progress = request_.progress;
    builder_.emplace(model_, data_, request_.input_map, request_.io, treatments_, options);
    choose();
    builder_->use_rows({});
    Built built = builder_->build(variant_);
    report_choice(built);
    report_weights(built);
    result_.model = std::move(built.model);
    result_.model.description =
        fmt::format("quantized by litegap: {}", technique_name(request_.technique));
    result_.in_float = std::move(built.in_float);
    result_.calibration_method = variant_.method;
    return std::move(result_);
  }

 private:
  void decide(std::string item, std::string chosen, std::string because,
              std::vector<std::string> alternatives = {}) {
    result_.decisions.push_back(
        {std::move(item), std::move(chosen), std::move(because), std::move(alternatives)});
  }
  bool any(Algorithm a) const {
    return std::ranges::any_of(treatments_, [&](const Treatment& t) { return t.algorithm == a; });
  }
  bool integer() const { return any(Algorithm::kStatic) || any(Algorithm::kInt16x8); }
  template <class F>
  bool any_treatment(F f) const {
    return std::ranges::any_of(treatments_, f);
  }

  void treat() {
    const Graph& g = model_->main();
    const Treatment base = base_treatment(request_);
    if (request_.technique == Technique::kMixed && !request_.recipe) {
      fail("--technique mixed needs --recipe FILE.json: rules that say which operator gets which "
           "algorithm");
    }
    treatments_ = request_.recipe ? resolve(*request_.recipe, *model_, base)
                                  : std::vector<Treatment>(g.ops.size(), base);
    equalize_ = request_.equalize;
    correct_ = request_.bias_correction;
    if (request_.recipe && request_.recipe->equalize) {
      equalize_ = *request_.recipe->equalize ? Choice::kOn : Choice::kOff;
    }
    if (request_.recipe && request_.recipe->bias_correction) {
      correct_ = *request_.recipe->bias_correction ? Choice::kOn : Choice::kOff;
    }
    if (request_.recipe) {
      std::map<std::string, std::size_t> count;
      for (const Treatment& t : treatments_) ++count[algorithm_name(t.algorithm)];
      std::string text;
      for (const auto& [name, n] : count) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, name);
      decide("recipe", text, fmt::format("{} rules of {}", request_.recipe->rules.size(),
                                         request_.recipe->path));
    }
  }

  bool rounds_by_data() const {
    return any_treatment([](const Treatment& t) {
      return t.rounding == Rounding::kGptq || t.rounding == Rounding::kCoordinate;
    });
  }

  void look_at_data() {
    if (data_ == nullptr) {
      if (integer()) {
        fail("--technique {} needs --calibration FILE: the scale of every activation is fixed in "
             "advance from samples of real use; without data only --technique dynamic-range is "
             "possible, which stores int8 weights and quantizes activations anew at every run "
             "(Optimize.DEFAULT without a representative dataset makes just that, not a static "
             "file)", technique_name(request_.technique));
      }
      if (rounds_by_data()) {
        fail("rounding by gptq or coordinate needs --calibration FILE: it weighs errors by the "
             "inputs that a layer sees");
      }
      if (correct_ == Choice::kOn) {
        fail("--bias-correction needs --calibration FILE: it takes the mean input of every layer");
      }
      return;
    }
    const bool used = integer() || rounds_by_data() || correct_ != Choice::kOff ||
                      any_treatment([](const Treatment& t) { return t.rounding == Rounding::kAuto; }) ||
                      equalize_ != Choice::kOff;
    if (!used) {
      decide("calibration", "not used",
             any(Algorithm::kDynamicRange)
                 ? "it cannot matter: a dynamic-range file stores no scale of any activation; its "
                   "kernels take one from every input at run time"
                 : "it cannot matter: only constants change, activations stay float",
             {"--technique static"});
      data_ = nullptr;
      return;
    }
    check_samples(*data_);
    result_.warnings = sample_warnings(*data_);
    result_.calibration_samples = data_->count;
  }

  // ---- choices by measurement -----------------------------------------------------------------
  bool trials_possible() const { return data_ != nullptr && data_->count >= kFewestForTrials; }

  void hold_back() {
    if (!held_.empty()) return;
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < data_->count; ++i) {
      (i % kHoldEvery == kHoldEvery - 1 ? held_ : kept).push_back(i);
    }
    result_.held_back = held_.size();
    std::vector<std::size_t> some;
    for (std::size_t i = 0; i < std::min(kMeasured, held_.size()); ++i) {
      some.push_back(held_[i * held_.size() / std::min(kMeasured, held_.size())]);
    }
    held_ = std::move(some);
    builder_->use_rows(std::move(kept));
    exact_ = run_rows(model_, *data_, request_.input_map, held_, request_.threads);
  }

  double measure(const Variant& v, const std::string& name) {
    const auto model = std::make_shared<const Model>(builder_->build(v).model);
    const double error = noise_to_signal(
        exact_, run_rows(model, *data_, request_.input_map, held_, request_.threads));
    result_.trials.push_back({name, error});
    report_progress(request_.progress, "trying " + name, -1);
    return error;
  }

  // What the user asked for is set; what was left open starts plain and changes where a measurement
  // says so.
  void choose() {
    variant_.method = request_.calibration_method == CalibrationMethod::kAuto
                          ? CalibrationMethod::kMinmax
                          : request_.calibration_method;
    variant_.rounding =
        request_.rounding == Rounding::kAuto ? Rounding::kNearest : request_.rounding;
    variant_.equalize = equalize_ == Choice::kOn;
    variant_.bias_correction = correct_ == Choice::kOn;
    const bool methods = any_treatment([](const Treatment& t) {
      return t.algorithm == Algorithm::kStatic && t.activations == CalibrationMethod::kAuto;
    });
    const bool roundings = data_ != nullptr && any_treatment([](const Treatment& t) {
      return t.rounding == Rounding::kAuto;
    });
    const bool open = methods || roundings || equalize_ == Choice::kAuto || correct_ == Choice::kAuto;
    if (!open || data_ == nullptr) return;
    if (!trials_possible()) {
      decide("choices", "as the TensorFlow converter",
             fmt::format("{} samples are too few to hold some back and measure, {} are needed",
                         data_->count, kFewestForTrials),
             {});
      return;
    }
    hold_back();
    best_ = measure(variant_, "plain");
    plain_ = best_;
    if (methods) choose_method();
    if (equalize_ == Choice::kAuto && !builder_->equalized().pairs.empty()) {
      try_switch(&Variant::equalize, "equalization");
    }
    if (roundings) choose_rounding();
    if (correct_ == Choice::kAuto) try_switch(&Variant::bias_correction, "bias correction");
  }

  void choose_method() {
    const double before = best_;
    std::string others;
    for (const CalibrationMethod m :
         {CalibrationMethod::kMse, CalibrationMethod::kOctav, CalibrationMethod::kPercentile,
          CalibrationMethod::kKl, CalibrationMethod::kMovingAverage}) {
      Variant v = variant_;
      v.method = m;
      const double error = measure(v, calibration_name(m));
      others += fmt::format(", {} {}", calibration_name(m), percent(error));
      if (error < kClearlyLess * best_ && error < kClearlyLess * before) {
        best_ = error;
        variant_.method = m;
      }
    }
    method_because_ = fmt::format(
        "output error on {} samples held back from calibration: minmax {}{}; {}", held_.size(),
        percent(before), others,
        variant_.method == CalibrationMethod::kMinmax ? "none is clearly less" : "the least of them");
  }

  void try_switch(bool Variant::*what, const std::string& name) {
    Variant v = variant_;
    v.*what = true;
    const double error = measure(v, name), before = best_;
    if (error < kClearlyLess * best_) {
      best_ = error;
      variant_ = v;
    }
    decide(name, variant_.*what ? "on" : "off",
           fmt::format("output error on held-back samples {} with it, {} without", percent(error),
                       percent(before)),
           {variant_.*what ? "off" : "on"});
  }

  void choose_rounding() {
    const double before = best_;
    std::string others;
    for (const Rounding r : {Rounding::kGptq, Rounding::kCoordinate}) {
      Variant v = variant_;
      v.rounding = r;
      const double error = measure(v, rounding_name(r));
      others += fmt::format(", {} {}", rounding_name(r), percent(error));
      if (error < kClearlyLess * best_) {
        best_ = error;
        variant_.rounding = r;
      }
    }
    decide("rounding", rounding_name(variant_.rounding),
           fmt::format("output error on held-back samples: nearest {}{}", percent(before), others),
           {"nearest", "gptq", "coordinate"});
  }

  // ---- what was done --------------------------------------------------------------------------
  void report_choice(const Built& built) {
    if (!integer()) return;
    const bool open = !method_because_.empty();
    decide("calibration method", calibration_name(variant_.method),
           open ? method_because_
           : request_.calibration_method == CalibrationMethod::kAuto
               ? "smallest and largest value of every tensor, as the TensorFlow converter does"
               : "asked for",
           {"minmax", "moving-average", "percentile", "mse", "kl", "octav"});
    for (const std::string& op : built.in_float) {
      decide(op, "float32",
             "the operator has no int8 arithmetic; it runs between DEQUANTIZE and QUANTIZE");
    }
    if (built.rescales > 0) {
      decide("scales", fmt::format("{} rescaled", built.rescales),
             "operators that need equal scales meet tensors that have others");
    }
    for (const std::string& op : built.raised) {
      decide(op, "larger weight scale",
             "a bias would not fit into int32 otherwise; weights of that channel lose precision");
    }
  }

  void report_weights(const Built& built) {
    if (variant_.equalize) {
      const Equalized& e = builder_->equalized();
      decide("equalization", fmt::format("{} pairs of layers", e.pairs.size()),
             e.pairs.empty()
                 ? std::string("no layer feeds another through ReLU or pooling alone")
                 : fmt::format("channels scaled by up to {:.3g}, the float function unchanged{}",
                               e.largest,
                               builder_->absorbed() > 0
                                   ? fmt::format("; {} biases absorbed", builder_->absorbed())
                                   : ""));
    }
    if (variant_.bias_correction) {
      decide("bias correction", fmt::format("{} layers", built.corrected),
             "mean output error of the rounded weights taken out of the bias");
    }
    if (!any(Algorithm::kDynamicRange)) return;
    if (built.quantized == 0 && request_.technique == Technique::kDynamicRange) {
      decide("weights", "all left float32",
             built.kept == 0
                 ? std::string("no operator with weights that this technique covers")
                 : fmt::format("the largest weight tensor has {} elements; from 1024 on int8 saves "
                               "space, so the file computes what the float file does",
                               built.largest_kept),
             {"--technique static"});
    } else if (built.kept > 0) {
      decide("weights", fmt::format("{} int8, {} float32", built.quantized, built.kept),
             "tensors of less than 1024 elements gain nothing");
    }
  }

  ModelPtr model_;
  const Dataset* data_;
  const QuantizeRequest& request_;
  std::vector<Treatment> treatments_;
  Choice equalize_ = Choice::kOff, correct_ = Choice::kOff;
  std::optional<Builder> builder_;
  Variant variant_;
  std::vector<std::size_t> held_;
  Predictions exact_;
  double best_ = 0, plain_ = 0;
  std::string method_because_;
  Quantized result_;
};

}  // namespace

const char* technique_name(Technique technique) {
  for (const auto& [t, name] : kNames) {
    if (t == technique) return name;
  }
  return "?";
}

Technique technique_of(const std::string& name) {
  std::string all;
  for (const auto& [t, known] : kNames) {
    if (name == known) return t;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", known);
  }
  fail("technique \"{}\", expected one of: {}", name, all);
}

bool needs_calibration(Technique technique) {
  return technique == Technique::kStatic || technique == Technique::kInt16x8;
}

Quantized quantize_model(const ModelPtr& float_model, const Dataset* calibration,
                         const QuantizeRequest& request) {
  return Work(float_model, calibration, request).make();
}

double output_error(const ModelPtr& float_model, const ModelPtr& model, const Dataset& data,
                    const InputMap& map, const std::vector<std::size_t>& rows, int threads) {
  return noise_to_signal(run_rows(float_model, data, map, rows, threads),
                         run_rows(model, data, map, rows, threads));
}

}  // namespace litegap
