#include "diagnose/explain.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "data/npy.h"
#include "diagnose/convict.h"
#include "diagnose/equal.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

using Convicted = std::vector<std::pair<Suspect, Finding>>;

// The recorded answers of a dump or of the user's program, as float32 [count, ...].
struct Recorded {
  Array raw;
  Predictions as_values;
};

Recorded read_recorded(const std::string& path, const Model& model, std::size_t count, bool codes) {
  const NamedArrays arrays = read_npz(path);
  const Array* outputs = find_array(arrays, "outputs");
  if (outputs == nullptr) fail("{}: no array named outputs", path);
  if (outputs->shape().empty() || static_cast<std::size_t>(outputs->shape()[0]) != count) {
    fail("{}: outputs has shape {}, expected {} rows", path, shape_text(outputs->shape()), count);
  }
  Recorded r;
  r.raw = *outputs;
  const Tensor& out = model.main().tensors[static_cast<std::size_t>(model.main().outputs[0])];
  const Quant plain{{1.0f}, {0}, 0, {}, {}, -1, -1, 0, nullptr};
  Array values = outputs->dtype() == DType::kFloat32 ? *outputs : outputs->dtype() == DType::kFloat64
                     ? [&] {
                         Array a = Array::zeros(DType::kFloat32, outputs->shape());
                         for (std::size_t i = 0; i < a.elements(); ++i) a.mutable_span<float>()[i] = static_cast<float>(outputs->span<double>()[i]);
                         return a;
                       }()
                     : dequantize(*outputs, plain);
  if (codes && !out.quant.empty() && outputs->dtype() != DType::kFloat32) {
    Quant q = out.quant;
    values = dequantize(*outputs, q);
  }
  r.as_values = {count, {values}};
  return r;
}

World make_world(const ModelPtr& fl, const ModelPtr& qt, const Dataset& bound,
                 const ExplainOptions& options) {
  World w;
  w.fl.model = fl;
  w.fl.numerics = {.arith = Arith::kInteger, .dialect = options.dialect};
  w.fl.input_map = w.qt.input_map = options.input_map;
  w.qt.model = qt;
  w.qt.numerics = w.fl.numerics;
  w.data = bound;
  if (!bound.quant_inputs.empty()) w.qt.feed = Feed::kAsGiven;
  return w;
}

std::string verdict_of(const Metric& metric, const Gap& gap, bool harness) {
  const bool significant = gap.p_value < 0.05 && gap.total > 0;
  const double normal = normal_loss(metric, gap.fl);
  if (harness) return "loss";
  if (!significant) return gap.total > normal ? "undecided" : "none";
  return gap.total <= normal ? "normal" : "loss";
}

// What each convicted edit gains by itself in the user's world.
void measure_alone(Bench& bench, const World& user, const Outcome& before, Convicted& convicted) {
  for (auto& [s, f] : convicted) {
    if (convicted.size() == 1) {
      f.alone = f.recovers;
      continue;
    }
    const Outcome o = bench.lab.measure(litegap::apply(user, s.heal));
    f.alone = bench.lab.loss(o.qt, before.qt);
  }
}

void write_fix(const Bench& bench, const Convicted& convicted, const ExplainOptions& options,
               Explanation& e) {
  const bool changed = std::any_of(convicted.begin(), convicted.end(), [](const auto& c) {
    return std::holds_alternative<EditModel>(c.first.heal);
  });
  if (!changed) return;
  Fixed fixed;
  const std::vector<std::byte> bytes = serialize_model(*bench.now.qt.model);
  fixed.bytes = bytes.size();
  fixed.value = bench.measured.qt;
  if (!options.fix_path.empty()) {
    write_file(options.fix_path, bytes);
    fixed.path = options.fix_path;
    fixed.written = true;
    // What counts is the file: read it again and measure it.
    World w = bench.now;
    w.qt.model = read_model(options.fix_path);
    Lab fresh(bench.lab.metric(), bench.lab.seed(), options.threads, {});
    fixed.value = fresh.measure(w).qt;
    e.cost.passes += fresh.stats().passes;
    e.cost.seconds += fresh.stats().seconds;
  }
  fixed.delta = bench.lab.loss(e.gap.fl, fixed.value);
  e.fixed = fixed;
}

void check_sums(const Explanation& e) {
  double recovers = 0, alone = 0;
  for (const Finding& f : e.findings) {
    recovers += f.recovers;
    alone += f.alone;
  }
  const double scale = std::max({1.0, std::fabs(e.gap.total), std::fabs(recovers)});
  if (std::isfinite(e.gap.total) &&
      (std::fabs(recovers + e.unexplained - e.gap.total) > 1e-9 * scale ||
       std::fabs(alone + e.interaction - recovers) > 1e-9 * scale)) {
    throw std::logic_error("an explanation does not add up");
  }
}

void describe(Explanation& e, const Bench& bench, const World& user, const Dataset& data) {
  e.fl = user.fl.model;
  e.qt = user.qt.model;
  e.float_technique = bench.float_technique;
  e.quant_technique = bench.quant_technique;
  e.data_path = data.path;
  e.samples = user.data.count;
  e.labels = user.data.labels.has_value();
  for (std::size_t i = 0; i < user.data.inputs.size(); ++i)
    e.inputs.push_back(fmt::format("{} {}", input_name(*user.qt.model, i),
                                   shape_text(user.data.inputs[i].shape())));
  e.dialect = dialect_name(user.qt.numerics.dialect);
}

// Ladder and prices are taken in the healed harness, on the user's own file.
void attribute(Bench& bench, Explanation& e) {
  const Match match = match_models(bench.lab, bench.now);
  const auto weights = float_constants(bench.now, match);
  e.tensors = match.activations;
  e.aligned = match.activations - match.unaligned.size();
  for (const int t : match.unaligned)
    e.unaligned.push_back(bench.now.qt.model->main().tensors[static_cast<std::size_t>(t)].name);
  e.ladder = climb(bench.lab, bench.now, weights);
  std::vector<std::size_t> rows;
  const std::size_t n = bench.now.data.count,
                    want = std::min(n, std::clamp<std::size_t>(n / 5, 48, 200));
  for (std::size_t k = 0; k < want; ++k) rows.push_back(k * n / want);
  e.layers = blame(bench.lab, bench.now, match, weights, rows);
}

Paired judged_gap(Bench& bench, const Outcome& user_outcome, const World& user) {
  return bench.lab.paired(bench.measured.fl_predictions, bench.now.data,
                          user_outcome.qt_predictions, user.data, bench.measured.fl_predictions);
}

void set_gap(Explanation& e, Bench& bench, const World& user, const Outcome& first, bool harness) {
  const Paired p = judged_gap(bench, first, user);
  e.gap.fl = bench.measured.fl;
  e.gap.qt = first.qt;
  e.gap.reference = e.claimed.value_or(bench.measured.fl);
  e.gap.total = bench.lab.loss(e.gap.reference, first.qt);
  const double shift = e.gap.total - bench.lab.loss(bench.measured.fl, first.qt);
  e.gap.interval = {p.interval.low + shift, p.interval.high + shift};
  e.gap.p_value = p.p_value;
  Gap against_float = e.gap;
  against_float.total = bench.lab.loss(bench.measured.fl, first.qt);
  e.gap.verdict = verdict_of(e.metric, against_float, harness);
}

}  // namespace

Explanation explain(ModelPtr float_model, ModelPtr quant_model, const Dataset& data,
                    const ExplainOptions& options) {
  Explanation e;
  e.claimed = options.claimed;
  const Dataset bound = bind_dataset(data, *float_model);
  e.decisions = bound.decisions;
  e.metric = choose_metric(options.metric, options.task, *float_model, bound, e.decisions);
  Lab lab(e.metric, options.seed, options.threads, options.progress);
  const World user = [&] {
    World w = make_world(float_model, quant_model, bound, options);
    if (!options.user_outputs_path.empty()) {
      w.recorded =
          read_recorded(options.user_outputs_path, *quant_model, bound.count, false).as_values;
      w.answers = Answers::kUserOutputs;
    }
    return w;
  }();
  std::optional<Recorded> dump;
  World judged = user;
  if (!options.dump_path.empty()) {
    dump = read_recorded(options.dump_path, *quant_model, bound.count, true);
    judged.recorded = dump->as_values;
    judged.answers = Answers::kDump;
  }
  std::optional<Dataset> calibration;
  if (!options.calibration_path.empty())
    calibration = bind_dataset(read_dataset(options.calibration_path), *float_model);

  report_progress(options.progress, "measuring both models", 0);
  Bench bench{lab,
              judged,
              judged,
              {},
              calibration ? &*calibration : nullptr,
              identify(*float_model),
              identify(*quant_model),
              nullptr,
              nullptr,
              &e.decisions};
  bench.measured = lab.measure(judged);
  const Outcome first = bench.measured;
  describe(e, bench, judged, data);

  report_progress(options.progress, "checking inputs, outputs and labels", 0);
  Convicted convicted = convict_all(bench, harness_causes());
  set_gap(e, bench, judged, first, !convicted.empty());

  std::vector<Finding> by_equality;
  if (options.claimed) {
    if (auto f = find_other_baseline(bench, *options.claimed)) by_equality.push_back(*f);
  }
  if (auto f = find_not_quantized(bench)) by_equality.push_back(*f);
  if (dump) {
    if (auto f = find_rounding_only(bench, dump->raw)) by_equality.push_back(*f);
  }

  report_progress(options.progress, "climbing the ladder", 0);
  attribute(bench, e);

  const Paired left =
      lab.paired(bench.measured.fl_predictions, bench.now.data, bench.measured.qt_predictions,
                 bench.now.data, bench.measured.fl_predictions);
  const bool in_file = bench.remaining() > normal_loss(e.metric, bench.measured.fl) &&
                       left.p_value < 0.05 && bench.now.answers == Answers::kModel;
  if (in_file) {
    report_progress(options.progress, "testing causes in the file", 0);
    const Match match = match_models(lab, bench.now);
    const auto weights = float_constants(bench.now, match);
    bench.match = &match;
    bench.weights = &weights;
    Convicted more = convict_all(bench, file_causes());
    std::move(more.begin(), more.end(), std::back_inserter(convicted));
  }
  report_progress(options.progress, "proving the causes both ways", 0);
  inject_all(bench, convicted);
  measure_alone(bench, judged, first, convicted);

  e.findings = by_equality;
  for (auto& [s, f] : convicted) e.findings.push_back(f);
  std::stable_sort(e.findings.begin(), e.findings.end(), [](const Finding& a, const Finding& b) {
    return (a.cause == "A00") > (b.cause == "A00");
  });
  double recovers = 0, alone = 0;
  for (Finding& f : e.findings) {
    recovers += f.recovers;
    alone += f.alone;
    f.share_of_gap = e.gap.total != 0 ? f.recovers / e.gap.total : 0;
  }
  e.unexplained = e.gap.total - recovers;
  e.interaction = recovers - alone;
  write_fix(bench, convicted, options, e);
  check_sums(e);
  e.cost.passes += lab.stats().passes;
  e.cost.seconds += lab.stats().seconds;
  e.peak_bytes = peak_memory_bytes();
  return e;
}

}  // namespace litegap
