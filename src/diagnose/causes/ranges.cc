// B03, B04, C01: activation ranges that do not fit the data.
//
// One experiment decides whether ranges are to blame: all of them are measured again on the user's
// data (min/max, and percentiles for tensors owned by outliers) and the metric is taken.  Which
// mistake made them is read from the ranges themselves: each hypothesis about the calibration set
// (data under another input map, one sample repeated, noise, a few wild samples) predicts a whole
// profile of ranges; the hypothesis whose profile lies nearest to the file's wins, and injecting
// exactly that calibration into the healed file is the second half of the proof.
#include "quant/ranges.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "diagnose/cause.h"
#include "quant/rewrite.h"
#include "run/stats.h"

namespace litegap {
namespace {

struct Hypothesis {
  std::string cause, slug, title, what;
  Ranges ranges;
  double distance = 0;
};

// The float function with the tensors of the quantized graph, so that ranges belong to its tensors.
Setup real_setup(const Bench& bench) {
  Setup s = bench.now.qt;
  s.feed = Feed::kQuantize;
  s.numerics = {.arith = Arith::kReal,
                .dialect = bench.now.qt.numerics.dialect,
                .overrides = {},
                .kernels = {},
                .unquantized = {},
                .constants = *bench.weights};
  return s;
}

Ranges ranges_on(Bench& bench, const Dataset& data, const InputMap& map,
                 const std::vector<std::size_t>& rows = {}) {
  Setup s = real_setup(bench);
  s.input_map = map;
  PredictOptions options = bench.lab.options(rows);
  RunStats spent;
  options.stats = &spent;
  Ranges r = observe_ranges(s, data, options);
  const std::size_t samples = rows.empty() ? data.count : rows.size();
  bench.lab.stats().seconds += spent.seconds;
  bench.lab.stats().passes += static_cast<double>(samples) /
                              static_cast<double>(std::max<std::size_t>(1, bench.now.data.count));
  return r;
}

// Activation tensors whose range a calibration chose: quantized, computed, not of fixed scale.
std::vector<int> calibrated_tensors(const Model& model) {
  const Graph& graph = model.main();
  std::vector<int> out;
  const auto add = [&](int t) {
    const Tensor& info = graph.tensors[static_cast<std::size_t>(t)];
    if (!info.constant && !info.quant.empty() &&
        (info.dtype == DType::kInt8 || info.dtype == DType::kUint8 || info.dtype == DType::kInt16))
      out.push_back(t);
  };
  for (const int t : graph.inputs) add(t);
  for (const Op& op : graph.ops) {
    switch (op.code) {
      case OpCode::kConv2d:
      case OpCode::kDepthwiseConv2d:
      case OpCode::kFullyConnected:
      case OpCode::kAdd:
      case OpCode::kMul:
      case OpCode::kSub:
      case OpCode::kMean:
      case OpCode::kQuantize:
      case OpCode::kTransposeConv:
      case OpCode::kLeakyRelu:
      case OpCode::kPrelu:
        for (const int t : op.outputs) add(t);
        break;
      default:
        break;
    }
  }
  return out;
}

struct Span {
  double low, high;
  double width() const { return high - low; }
};

Span stored_span(const Tensor& t) {
  const double low = t.dtype == DType::kUint8 ? 0 : t.dtype == DType::kInt8 ? -128 : -32767;
  const double high = t.dtype == DType::kUint8 ? 255 : t.dtype == DType::kInt8 ? 127 : 32767;
  const double scale = t.quant.scale[0], zero = static_cast<double>(t.quant.zero_point[0]);
  return {scale * (low - zero), scale * (high - zero)};
}

// Mean over tensors of how far two ranges are apart, relative to the wider one, at most 1 each.
double distance(const Model& model, const std::vector<int>& tensors, const Ranges& ranges) {
  double sum = 0;
  std::size_t n = 0;
  for (const int t : tensors) {
    const auto i = static_cast<std::size_t>(t);
    if (!std::isfinite(ranges.min[i]) || !std::isfinite(ranges.max[i])) continue;
    const Span a = stored_span(model.main().tensors[i]);
    const Span b{std::min(0.0, static_cast<double>(ranges.min[i])),
                 std::max(0.0, static_cast<double>(ranges.max[i]))};
    const double width = std::max({a.width(), b.width(), 1e-30});
    sum += std::min(1.0, (std::fabs(a.low - b.low) + std::fabs(a.high - b.high)) / width);
    ++n;
  }
  return n == 0 ? 1 : sum / static_cast<double>(n);
}

std::vector<std::size_t> spread(std::size_t n, std::size_t want) {
  std::vector<std::size_t> rows;
  for (std::size_t k = 0; k < std::min(n, want); ++k) rows.push_back(k * n / std::min(n, want));
  return rows;
}

// 16 samples of noise with the shape of the data.
Dataset noise_like(const Dataset& data, bool normal, double low, double high, std::uint64_t seed) {
  Dataset noise;
  noise.path = "noise";
  noise.count = 16;
  Random random(seed);
  for (const Array& a : data.inputs) {
    Shape shape = a.shape();
    shape[0] = 16;
    Array values = Array::zeros(DType::kFloat32, shape);
    for (float& v : values.mutable_span<float>())
      v = static_cast<float>(normal ? random.normal() : random.uniform(low, high));
    noise.inputs.push_back(values);
  }
  noise.names = data.names;
  return noise;
}

std::optional<InputMap> then(const InputMap& first, const std::string& text) {
  if (!first.channel_scale.empty()) return std::nullopt;
  const InputMap next = parse_input_map(text);
  InputMap m = first;
  m.scale = next.scale * first.scale;
  m.offset = next.scale * first.offset + next.offset;
  m.reverse_channels = first.reverse_channels != next.reverse_channels;
  return m;
}

void add_map_hypotheses(Bench& bench, const Ranges& observed, std::vector<Hypothesis>& all) {
  const auto rows = spread(bench.now.data.count, 32);
  for (const char* text : {"x*255", "x/255", "x*127.5", "x/127.5", "x*2-1", "(x+1)/2",
                           "(x+1)*127.5", "x/127.5-1", "x*255-128", "x-128"}) {
    const auto map = then(bench.now.qt.input_map, text);
    if (!map) return;
    Ranges r = ranges_on(bench, bench.now.data, *map, rows);
    all.push_back({"B03", "calibration-other-range",
                   "Calibration data were pre-processed in another way",
                   fmt::format("the data mapped by {}", text), std::move(r), 0});
  }
  // Any other affine map: the stored input range against the observed one.
  const Graph& graph = bench.now.qt.model->main();
  if (graph.inputs.size() != 1) return;
  const auto t = static_cast<std::size_t>(graph.inputs[0]);
  if (graph.tensors[t].quant.empty() || !std::isfinite(observed.min[t])) return;
  const Span stored = stored_span(graph.tensors[t]);
  const double width = static_cast<double>(observed.max[t]) - observed.min[t];
  if (width <= 0) return;
  const double gain = stored.width() / width;
  if (gain < 1.5)
    return;  // narrower than the data: that is a calibration on too little, not on wild samples
  const auto map = then(bench.now.qt.input_map, fmt::format("x*{:.6g}", gain));
  if (map)
    all.push_back({"B05", "calibration-outliers",
                   "Calibration ranges are owned by a few wild samples",
                   fmt::format("samples {:.3g} times as large as the data", gain),
                   ranges_on(bench, bench.now.data, *map, rows), 0});
}

// Samples that a one-sample calibration may have held: those whose own range is nearest to the
// input range that the file stores, and some spread over the data.
std::vector<std::size_t> likely_samples(const Bench& bench) {
  const Dataset& data = bench.now.data;
  std::vector<std::size_t> rows = spread(data.count, 12);
  const Graph& graph = bench.now.qt.model->main();
  const Tensor& input = graph.tensors[static_cast<std::size_t>(graph.inputs[0])];
  if (input.quant.empty() || data.inputs[0].dtype() != DType::kFloat32 ||
      !bench.now.qt.input_map.channel_scale.empty())
    return rows;
  const Span stored = stored_span(input);
  const InputMap& map = bench.now.qt.input_map;
  const auto v = data.inputs[0].span<float>();
  const std::size_t width = v.size() / std::max<std::size_t>(1, data.count);
  std::vector<std::pair<double, std::size_t>> ranked;
  for (std::size_t i = 0; i < data.count; ++i) {
    double low = 0, high = 0;
    for (std::size_t k = 0; k < width; ++k) {
      const double x = map.scale * static_cast<double>(v[i * width + k]) + map.offset;
      low = std::min(low, x);
      high = std::max(high, x);
    }
    ranked.emplace_back(std::fabs(low - stored.low) + std::fabs(high - stored.high), i);
  }
  std::sort(ranked.begin(), ranked.end());
  for (std::size_t k = 0; k < std::min<std::size_t>(12, ranked.size()); ++k)
    rows.push_back(ranked[k].second);
  return rows;
}

void add_degenerate_hypotheses(Bench& bench, const Ranges& observed, std::vector<Hypothesis>& all) {
  const Model& model = *bench.now.qt.model;
  const auto tensors = calibrated_tensors(model);
  const char* title = "Calibration covered one sample only";
  Hypothesis one{"B04", "calibration-one-sample", title, "one sample", {}, 1e9};
  for (const std::size_t row : likely_samples(bench)) {
    Ranges r = ranges_on(bench, bench.now.data, bench.now.qt.input_map, {row});
    const double d = distance(model, tensors, r);
    if (d < one.distance) {
      one.distance = d;
      one.what = fmt::format("one sample (like sample {}) repeated", row);
      one.ranges = std::move(r);
    }
  }
  if (!one.ranges.min.empty()) all.push_back(std::move(one));
  const Graph& graph = model.main();
  const auto t = static_cast<std::size_t>(graph.inputs[0]);
  std::vector<std::pair<double, double>> uniform = {{0, 1}, {-1, 1}, {0, 255}};
  if (std::isfinite(observed.min[t])) uniform.emplace_back(observed.min[t], observed.max[t]);
  const char* noise = "Calibration data were random noise";
  for (const auto& [low, high] : uniform) {
    all.push_back(
        {"B04", "calibration-noise", noise,
         fmt::format("uniform noise in [{:.3g}, {:.3g}]", low, high),
         ranges_on(bench, noise_like(bench.now.data, false, low, high, bench.lab.seed()), {}), 0});
  }
  all.push_back({"B04", "calibration-noise", noise, "normal noise",
                 ranges_on(bench, noise_like(bench.now.data, true, 0, 1, bench.lab.seed()), {}),
                 0});
}

// Where the user kept the calibration data, they say more than any hypothesis.
std::optional<Hypothesis> from_calibration(Bench& bench, const Ranges& observed) {
  if (bench.calibration == nullptr || bench.calibration->count == 0) return std::nullopt;
  const Dataset& calib = *bench.calibration;
  const Model& model = *bench.now.qt.model;
  Hypothesis h{"B03",
               "calibration-other-range",
               "Calibration data were pre-processed in another way",
               fmt::format("the calibration set ({} samples)", calib.count),
               ranges_on(bench, calib, {}),
               0};
  const auto in = static_cast<std::size_t>(model.main().inputs[0]);
  std::vector<double> widths;
  for (const std::size_t row : spread(calib.count, 64)) {
    const Ranges r = ranges_on(bench, calib, {}, {row});
    widths.push_back(static_cast<double>(r.max[in]) - r.min[in]);
  }
  std::sort(widths.begin(), widths.end());
  const double middle = widths[widths.size() / 2],
               widest = static_cast<double>(h.ranges.max[in]) - h.ranges.min[in];
  const double data_width = static_cast<double>(observed.max[in]) - observed.min[in];
  if (calib.distinct_rows() <= 1) {
    h.cause = "B04";
    h.slug = "calibration-one-sample";
    h.title = "Calibration covered one sample only";
    h.what =
        fmt::format("a calibration set that holds one distinct sample ({} in all)", calib.count);
  } else if (widest > 2 * data_width && middle < 1.5 * data_width) {
    h.cause = "B05";
    h.slug = "calibration-outliers";
    h.title = "Calibration ranges are owned by a few wild samples";
    h.what = fmt::format(
        "a calibration set whose widest sample spans {:.3g} while half of them span less than "
        "{:.3g}",
        widest, middle);
  }
  return h;
}

// Neighbouring values of natural data resemble each other; noise does not.
double neighbour_correlation(const Dataset& data, std::size_t samples) {
  std::vector<float> a, b;
  const Array& x = data.inputs[0];
  const std::size_t row = x.elements() / std::max<std::size_t>(1, data.count);
  const std::size_t step = x.shape().size() == 4 ? static_cast<std::size_t>(x.shape().back()) : 1;
  if (x.dtype() != DType::kFloat32 || row <= step) return 1;
  const auto v = x.span<float>();
  for (const std::size_t r : spread(data.count, samples)) {
    for (std::size_t i = 0; i + step < row && a.size() < 20000; ++i) {
      a.push_back(v[r * row + i]);
      b.push_back(v[r * row + i + step]);
    }
  }
  return correlation(a, b);
}

Hypothesis explain_ranges(Bench& bench, const Ranges& observed) {
  const Model& model = *bench.now.qt.model;
  const auto tensors = calibrated_tensors(model);
  std::vector<Hypothesis> all;
  if (auto given = from_calibration(bench, observed)) {
    given->distance = distance(model, tensors, given->ranges);
    const bool noise = bench.calibration->distinct_rows() > 1 &&
                       std::fabs(neighbour_correlation(*bench.calibration, 8)) < 0.1 &&
                       neighbour_correlation(bench.now.data, 8) > 0.3;
    if (noise) {
      given->cause = "B04";
      given->slug = "calibration-noise";
      given->title = "Calibration data were random noise";
    }
    if (given->distance < 0.25) {
      const auto in = static_cast<std::size_t>(model.main().inputs[0]);
      const double gain = (static_cast<double>(given->ranges.max[in]) - given->ranges.min[in]) /
                          std::max(1e-30, static_cast<double>(observed.max[in]) - observed.min[in]);
      if (given->cause != "B03" || gain > 1.5 || gain < 0.67) return *given;
    }
  }
  add_map_hypotheses(bench, observed, all);
  add_degenerate_hypotheses(bench, observed, all);
  for (Hypothesis& h : all) h.distance = distance(model, tensors, h.ranges);
  // A map with a name beats the nameless factor when both fit.
  std::stable_sort(all.begin(), all.end(), [](const Hypothesis& a, const Hypothesis& b) {
    return a.distance < b.distance;
  });
  return all.front();
}

struct Healed {
  ModelPtr model;
  std::string how;
  double value = 0;
  bool clipped = false;
};

Healed heal(Bench& bench, const Ranges& observed) {
  const Model& model = *bench.now.qt.model;
  const auto measure = [&](const Ranges& r, const std::string& how, bool clipped) {
    Healed h{std::make_shared<Model>(recalibrated(model, r)), how, 0, clipped};
    const World w = apply(bench.now, EditModel{how, h.model});
    const Predictions p = bench.lab.predict_quant(w);
    h.value = bench.lab.value(p, w.data, &bench.measured.fl_predictions);
    return h;
  };
  Healed best = measure(observed, "activation ranges measured again on the data (min/max)", false);
  Ranges clipped = observed;
  for (std::size_t t = 0; t < clipped.min.size(); ++t) {
    if (!std::isfinite(clipped.min[t])) continue;
    clipped.min[t] = static_cast<float>(observed.p_low[t]);
    clipped.max[t] = static_cast<float>(observed.p_high[t]);
  }
  const Healed percentile = measure(
      clipped, "activation ranges measured again on the data (0.01 to 99.99 percent)", true);
  // Percentiles only when they bring clearly more: clipping outliers that carry the signal hurts
  // elsewhere.
  const double left = bench.lab.loss(bench.measured.fl, best.value);
  const double gain = bench.lab.loss(percentile.value, best.value);
  if (gain > 0 && left > 0 && gain > 0.3 * left &&
      gain > (bench.lab.metric().fraction ? 0.02 : 0.1 * std::fabs(bench.measured.fl)))
    return percentile;
  return best;
}

std::vector<Place> worst_places(const Model& model, const Ranges& observed) {
  struct Ranked {
    double factor;
    int tensor;
  };
  std::vector<Ranked> ranked;
  for (const int t : calibrated_tensors(model)) {
    const auto i = static_cast<std::size_t>(t);
    if (!std::isfinite(observed.min[i])) continue;
    const double a = stored_span(model.main().tensors[i]).width();
    const double b = std::max(1e-30, std::max(0.0, static_cast<double>(observed.max[i])) -
                                         std::min(0.0, static_cast<double>(observed.min[i])));
    ranked.push_back({std::fabs(std::log(a / b)), t});
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& x, const Ranked& y) { return x.factor > y.factor; });
  std::vector<Place> places;
  for (std::size_t k = 0; k < std::min<std::size_t>(8, ranked.size()); ++k) {
    places.push_back({0, -1, ranked[k].tensor,
                      model.main().tensors[static_cast<std::size_t>(ranked[k].tensor)].name});
  }
  return places;
}

std::string coverage_text(const Model& model, const Ranges& observed) {
  std::size_t wide = 0, narrow = 0, n = 0;
  for (const int t : calibrated_tensors(model)) {
    const auto i = static_cast<std::size_t>(t);
    if (!std::isfinite(observed.min[i])) continue;
    ++n;
    const double a = stored_span(model.main().tensors[i]).width();
    const double b = std::max(0.0, static_cast<double>(observed.max[i])) -
                     std::min(0.0, static_cast<double>(observed.min[i]));
    wide += a > 1.5 * b;
    narrow += a < 0.8 * b;
  }
  return fmt::format(
      "of {} activation ranges {} are more than 1.5 times too wide and {} cut off more than a "
      "fifth of what the data need",
      n, wide, narrow);
}

}  // namespace

std::vector<Suspect> nominate_ranges(Bench& bench) {
  const Model& model = *bench.now.qt.model;
  if (calibrated_tensors(model).empty()) return {};
  const Ranges observed =
      ranges_on(bench, bench.now.data, bench.now.qt.input_map, spread(bench.now.data.count, 512));
  const Healed healed = heal(bench, observed);
  const double gain = bench.lab.loss(healed.value, bench.measured.qt);
  if (!(gain > 0.1 * std::max(0.0, bench.remaining()))) return {};

  Hypothesis h;
  if (healed.clipped) {
    h = {"C01",
         "range-owned-by-outliers",
         "Min/max ranges are owned by rare outliers",
         "min/max over all samples",
         observed,
         0};
  } else {
    h = explain_ranges(bench, observed);
  }
  Suspect s;
  s.cause = h.cause == "B05" ? "C01" : h.cause;
  s.slug = h.slug;
  s.title = h.title;
  s.where = worst_places(model, observed);
  s.heal = EditModel{healed.how, healed.model};
  // The calibration that the file seems to come from, put into the healed file; where that mistake
  // is not as bad as the file's own ranges, those.
  const Ranges guessed = h.ranges;
  const ModelPtr user_model = bench.now.qt.model;
  Lab* lab = &bench.lab;
  s.inject = [guessed, user_model, lab](const World& w) {
    const World by_guess =
        apply(w, EditModel{"calibration injected",
                           std::make_shared<Model>(recalibrated(*w.qt.model, guessed))});
    std::map<int, Quant> own;
    for (const int t : calibrated_tensors(*user_model))
      own[t] = user_model->main().tensors[static_cast<std::size_t>(t)].quant;
    const World by_file =
        apply(w, EditModel{"the file's ranges injected",
                           std::make_shared<Model>(with_activation_quant(*w.qt.model, own))});
    const Predictions reference = lab->predict_float(w);
    const double a = lab->value(lab->predict_quant(by_guess), w.data, &reference),
                 b = lab->value(lab->predict_quant(by_file), w.data, &reference);
    return lab->loss(a, b) > 0 ? by_file : by_guess;
  };
  const Metric metric = bench.lab.metric();
  const std::string coverage = coverage_text(model, observed), what = h.what;
  const double d = h.distance;
  s.says = [=](double before, double after) {
    return fmt::format(
        "The int8 ranges look calibrated on {} (profile within {:.0f} %): {}. With ranges from the "
        "given data {} goes from {} to {}.",
        what, 100 * d, coverage, metric.name, metric_text(metric, before),
        metric_text(metric, after));
  };
  s.fix = {"file", healed.how +
                       "; in the converter: converter.representative_dataset = a generator over "
                       "100 to 500 different samples, pre-processed as for the float model"};
  return {s};
}

}  // namespace litegap
