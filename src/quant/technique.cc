#include "quant/technique.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "quant/build.h"
#include "quant/forms.h"
#include "quant/params.h"
#include "quant/samples.h"
#include "quant/words.h"

namespace litegap {
namespace {

// Every fifth sample is held back, in five turns when there are few, so that each is held back
// once: clipping hurts few samples much, and a fifth of a small set may hold none of them.
constexpr std::size_t kFolds = 5;
constexpr std::size_t kFewestForTrials = 10;
constexpr std::size_t kAllFolds = 400;  // up to so many samples in five turns, beyond in one
constexpr std::size_t kMeasured = 200;  // held-back samples that one turn runs
// Better is what has less error by this factor and by so many standard errors of the paired
// difference: five methods are compared, and the plain one must not lose by luck.
constexpr double kClearlyLess = 0.95, kErrors = 4;
// Ranges narrower than min/max gain a little on every sample and lose much on rare ones.  What n
// samples cannot exclude is an event in 3 of n (95 %); it is taken to lose this many times what the
// worst of them lost, or of the mean error where none lost much.  The gain has to outweigh that.
constexpr double kUnseen = 8;

Predictions run_rows(const ModelPtr& model, const Dataset& data, const InputMap& map,
                     const std::vector<std::size_t>& rows, int threads,
                     const Progress& progress = nullptr) {
  Setup setup;
  setup.model = model;
  setup.input_map = map;
  PredictOptions options;
  options.rows = rows;
  options.threads = threads;
  options.progress = progress;
  return predict(setup, data, options);
}

// By sample: noise power over the signal power (variance about the mean) of all samples, summed
// over outputs.  Its mean is the noise-to-signal ratio.
std::vector<double> noise_by_sample(const Predictions& exact, const Predictions& got) {
  std::vector<double> all(exact.count, 0);
  for (std::size_t j = 0; j < exact.outputs.size(); ++j) {
    const auto a = exact.outputs[j].span<float>(), b = got.outputs[j].span<float>();
    double mean = 0, signal = 0;
    for (const float v : a) mean += v;
    mean /= static_cast<double>(std::max<std::size_t>(1, a.size()));
    for (const float v : a) signal += (v - mean) * (v - mean);
    signal /= static_cast<double>(std::max<std::size_t>(1, exact.count));
    if (!(signal > 0)) signal = 1;
    const std::size_t each = a.size() / std::max<std::size_t>(1, exact.count);
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double n = static_cast<double>(b[i]) - static_cast<double>(a[i]);
      all[i / each] += std::isfinite(n) ? n * n / signal : 1e6;
    }
  }
  return all;
}

double mean_of(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x;
  return v.empty() ? 0 : sum / static_cast<double>(v.size());
}

// Whether a has clearly less error than b on the same samples; `unseen`: also when samples like
// none of them come.
bool clearly_less(const std::vector<double>& a, const std::vector<double>& b, bool unseen) {
  const double error = mean_of(b);
  if (!(mean_of(a) < kClearlyLess * error) || a.size() < 2) return false;
  std::vector<double> gain;
  double worst = error;
  for (std::size_t i = 0; i < a.size(); ++i) {
    gain.push_back(b[i] - a[i]);
    worst = std::max(worst, a[i] - b[i]);
  }
  const double mean = mean_of(gain), n = static_cast<double>(gain.size());
  double square = 0;
  for (const double x : gain) square += (x - mean) * (x - mean);
  if (unseen && !(mean > 3 / n * kUnseen * worst)) return false;
  return mean > kErrors * std::sqrt(square / (n - 1) / n);
}

Treatment base_treatment(const QuantizeRequest& r) {
  Treatment t;
  t.granularity = r.granularity;
  t.activations = r.calibration_method;
  t.weight_scale = r.weight_scale;
  t.rounding = r.rounding;
  t.least_elements = r.least_elements;
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
      fail(
          "--technique mixed needs --recipe FILE.json: rules that say which operator gets which "
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
      for (const auto& [name, n] : count)
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, name);
      decide("recipe", text,
             fmt::format("{} rules of {}", request_.recipe->rules.size(), request_.recipe->path));
    }
  }

  bool rounds_by_data() const {
    return any_treatment([](const Treatment& t) {
      return t.rounding == WeightRounding::kGptq || t.rounding == WeightRounding::kCoordinate;
    });
  }

  void look_at_data() {
    if (data_ == nullptr) {
      if (integer()) {
        fail(
            "--technique {} needs --calibration FILE: the scale of every activation is fixed in "
            "advance from samples of real use; without data only --technique dynamic-range is "
            "possible, which stores int8 weights and quantizes activations anew at every run "
            "(Optimize.DEFAULT without a representative dataset makes just that, not a static "
            "file)",
            technique_name(request_.technique));
      }
      if (rounds_by_data()) {
        fail(
            "rounding by gptq or coordinate needs --calibration FILE: it weighs errors by the "
            "inputs that a layer sees");
      }
      if (correct_ == Choice::kOn) {
        fail("--bias-correction needs --calibration FILE: it takes the mean input of every layer");
      }
      return;
    }
    const bool used =
        integer() || rounds_by_data() || correct_ != Choice::kOff ||
        any_treatment([](const Treatment& t) { return t.rounding == WeightRounding::kAuto; }) ||
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

  using Errors = std::vector<double>;  // by held-back sample, in one order for all variants

  // A variant that the runtime could not run loses; the plain one must run.
  Errors try_one(const Variant& variant, bool plain, const Predictions& exact,
                 const std::vector<std::size_t>& held, const Progress& progress) {
    try {
      const auto model = std::make_shared<const Model>(builder_->build(variant).model);
      return noise_by_sample(
          exact, run_rows(model, *data_, request_.input_map, held, request_.threads, progress));
    } catch (const Error&) {
      if (plain) throw;
      return Errors(held.size(), 1e6);
    }
  }

  // Errors of several variants; every turn calibrates on what it does not hold back.
  std::vector<Errors> measure(const std::vector<std::pair<std::string, Variant>>& variants) {
    std::vector<Errors> all(variants.size());
    const std::size_t turns = data_->count <= kAllFolds ? kFolds : 1;
    result_.held_back = 0;
    for (std::size_t turn = 0; turn < turns; ++turn) {
      std::vector<std::size_t> kept, held;
      for (std::size_t i = 0; i < data_->count; ++i) {
        (i % kFolds == kFolds - 1 - turn ? held : kept).push_back(i);
      }
      if (held.size() > kMeasured) {
        std::vector<std::size_t> some;
        for (std::size_t i = 0; i < kMeasured; ++i)
          some.push_back(held[i * held.size() / kMeasured]);
        held = std::move(some);
      }
      result_.held_back += held.size();
      builder_->use_rows(std::move(kept));
      const Predictions exact =
          run_rows(model_, *data_, request_.input_map, held, request_.threads);
      for (std::size_t v = 0; v < variants.size(); ++v) {
        const Progress progress = [&](std::string_view, double within) {
          const double n = static_cast<double>(variants.size());
          report_progress(request_.progress, "trying ways",
                          (static_cast<double>(turn) + (static_cast<double>(v) + within) / n) /
                              static_cast<double>(turns));
        };
        progress("", 0);
        const Errors e = try_one(variants[v].second, v == 0, exact, held, progress);
        all[v].insert(all[v].end(), e.begin(), e.end());
      }
    }
    for (std::size_t v = 0; v < variants.size(); ++v) {
      result_.trials.push_back({variants[v].first, mean_of(all[v])});
    }
    return all;
  }

  // What the user asked for is set; what was left open starts plain and changes where a measurement
  // says so.
  void choose() {
    variant_.method = request_.calibration_method == CalibrationMethod::kAuto
                          ? CalibrationMethod::kMinmax
                          : request_.calibration_method;
    variant_.rounding =
        request_.rounding == WeightRounding::kAuto ? WeightRounding::kNearest : request_.rounding;
    variant_.equalize = equalize_ == Choice::kOn;
    variant_.bias_correction = correct_ == Choice::kOn;
    const bool methods = any_treatment([](const Treatment& t) {
      return t.algorithm == Algorithm::kStatic && t.activations == CalibrationMethod::kAuto;
    });
    const bool roundings = data_ != nullptr && any_treatment([](const Treatment& t) {
                             return t.rounding == WeightRounding::kAuto;
                           });
    const bool open =
        methods || roundings || equalize_ == Choice::kAuto || correct_ == Choice::kAuto;
    if (!open || data_ == nullptr) return;
    if (!trials_possible()) {
      decide("choices", "as the TensorFlow converter",
             fmt::format(
                 "{} too few to hold some back and measure, {} are needed",
                 data_->count == 1 ? "one sample is" : fmt::format("{} samples are", data_->count),
                 kFewestForTrials),
             {});
      return;
    }
    if (methods) choose_method();
    if (equalize_ == Choice::kAuto && !builder_->equalized().pairs.empty()) {
      try_switch(&Variant::equalize, "equalization");
    }
    if (roundings) choose_rounding();
    if (correct_ == Choice::kAuto) try_switch(&Variant::bias_correction, "bias correction");
  }

  // The first variant stays unless another is clearly better; of those the best.
  std::size_t best_of(const std::vector<std::pair<std::string, Variant>>& variants,
                      std::string& said, bool unseen = false) {
    const std::vector<Errors> errors = measure(variants);
    std::size_t best = 0;
    for (std::size_t v = 0; v < variants.size(); ++v) {
      said += fmt::format("{}{} {}", v == 0 ? "" : ", ", variants[v].first,
                          percent(mean_of(errors[v])));
      if (v > 0 && clearly_less(errors[v], errors[0], unseen) &&
          (best == 0 || mean_of(errors[v]) < mean_of(errors[best]))) {
        best = v;
      }
    }
    variant_ = variants[best].second;
    return best;
  }

  void choose_method() {
    std::vector<std::pair<std::string, Variant>> variants;
    for (const CalibrationMethod m : {CalibrationMethod::kMinmax, CalibrationMethod::kMse,
                                      CalibrationMethod::kOctav, CalibrationMethod::kPercentile,
                                      CalibrationMethod::kKl, CalibrationMethod::kMovingAverage}) {
      Variant v = variant_;
      v.method = m;
      variants.emplace_back(calibration_name(m), v);
    }
    std::string said;
    const std::size_t best = best_of(variants, said, true);
    method_because_ = fmt::format(
        "output error on {} samples held back from calibration: {}; {}", result_.held_back, said,
        best == 0 ? "none is clearly less" : "the least that is clearly less");
  }

  void try_switch(bool Variant::*what, const std::string& name) {
    Variant v = variant_;
    v.*what = true;
    std::string said;
    best_of({{"without", variant_}, {name, v}}, said);
    decide(name, variant_.*what ? "on" : "off", "output error on held-back samples: " + said,
           {variant_.*what ? "off" : "on"});
  }

  void choose_rounding() {
    std::vector<std::pair<std::string, Variant>> variants;
    for (const WeightRounding r :
         {WeightRounding::kNearest, WeightRounding::kGptq, WeightRounding::kCoordinate}) {
      Variant v = variant_;
      v.rounding = r;
      variants.emplace_back(rounding_name(r), v);
    }
    std::string said;
    best_of(variants, said);
    decide("rounding", rounding_name(variant_.rounding),
           "output error on held-back samples: " + said, {"nearest", "gptq", "coordinate"});
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
    if (!built.raised.empty()) {
      decide(built.raised.size() == 1
                 ? built.raised[0]
                 : fmt::format("{} and {} more", built.raised[0], built.raised.size() - 1),
             "larger weight scale",
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
                                   ? fmt::format("; {} biases absorbed, exact on these samples",
                                                 builder_->absorbed())
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
                 : fmt::format("the largest weight tensor has {} elements; from {} on int8 saves "
                               "space, so the file computes what the float file does",
                               built.largest_kept, request_.least_elements),
             {"--least-elements 1", "--technique static"});
    } else if (built.kept > 0) {
      decide("weights", fmt::format("{} int8, {} float32", built.quantized, built.kept),
             fmt::format("tensors of less than {} elements gain nothing", request_.least_elements));
    }
  }

  ModelPtr model_;
  const Dataset* data_;
  const QuantizeRequest& request_;
  std::vector<Treatment> treatments_;
  Choice equalize_ = Choice::kOff, correct_ = Choice::kOff;
  std::optional<FileBuilder> builder_;
  Variant variant_;
  std::string method_because_;
  Quantized result_;
};

}  // namespace

const char* technique_name(Technique technique) { return name_of(technique_words(), technique); }

bool needs_calibration(Technique technique) {
  return technique == Technique::kStatic || technique == Technique::kInt16x8;
}

Quantized quantize_model(const ModelPtr& float_model, const Dataset* calibration,
                         const QuantizeRequest& request) {
  return Work(float_model, calibration, request).make();
}

double output_error(const ModelPtr& float_model, const ModelPtr& model, const Dataset& data,
                    const InputMap& map, const std::vector<std::size_t>& rows, int threads) {
  return mean_of(noise_by_sample(run_rows(float_model, data, map, rows, threads),
                                 run_rows(model, data, map, rows, threads)));
}

}  // namespace litegap
