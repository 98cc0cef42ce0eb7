// Outputs and labels as rows of numbers, and the choice of a metric from their shapes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "kernels/vectors.h"
#include "run/metrics_prepare.h"
#include "run/scan.h"

namespace litegap {
namespace {

std::size_t output_width(const Model& model, std::size_t output) {
  const Graph& g = model.main();
  const Shape& shape = g.tensors[static_cast<std::size_t>(g.outputs.at(output))].shape;
  const std::size_t n = shape_elements(shape);
  const std::size_t batch = shape.empty() || shape[0] < 1 ? 1 : static_cast<std::size_t>(shape[0]);
  return std::max<std::size_t>(1, n / batch);
}

// Everything the guess looks at.
struct Facts {
  Targets labels;
  bool labelled = false, paired = false;
  std::size_t width = 1, outputs = 1, input_width = 0;
  Shape output_shape, label_shape;
  bool ends_in_sigmoid = false, ends_in_softmax = false;
};

Facts facts_of(const Model& model, const Dataset& data) {
  Facts f;
  const Graph& g = model.main();
  if (g.outputs.empty()) fail("{}: has no output", model.path);
  f.outputs = g.outputs.size();
  f.width = output_width(model, 0);
  f.output_shape = g.tensors[static_cast<std::size_t>(g.outputs[0])].shape;
  f.paired = data.paired_labels();
  f.labelled = data.labels.has_value();
  if (f.labelled) {
    f.labels = targets_of(data);
    f.label_shape = data.labels->shape();
  }
  if (!data.inputs.empty() && data.count > 0) {
    f.input_width = data.inputs[0].elements() / data.count;
  }
  for (const Op& op : g.ops) {
    const bool last =
        std::find(op.outputs.begin(), op.outputs.end(), g.outputs[0]) != op.outputs.end();
    if (last && op.code == OpCode::kLogistic) f.ends_in_sigmoid = true;
    if (last && op.code == OpCode::kSoftmax) f.ends_in_softmax = true;
  }
  return f;
}

struct Choice {
  std::string metric, because;
};

bool looks_like_boxes(const Facts& f) {
  return f.labelled && f.label_shape.size() == 3 && f.label_shape.back() == 5 &&
         f.output_shape.size() >= 2 && f.output_shape.back() >= 5;
}

Choice guess_unlabelled(const Facts& f) {
  if (f.width > 1)
    return {"agreement", "there are no labels: the float model's classes stand for them"};
  if (f.ends_in_sigmoid) return {"agreement", "there are no labels and the output is one sigmoid"};
  return {"rmse", "there are no labels: the float model's values stand for the targets"};
}

Choice guess_for_task(const std::string& task, const Facts& f) {
  if (task == "segmentation")
    fail("task segmentation: miou is not built yet; name another --metric");
  if (!f.labelled) {
    if (task == "embedding") return {"cosine", "there are no labels"};
    return guess_unlabelled(f);
  }
  if (task == "regression") return {"mse", "the task is regression"};
  if (task == "detection") return {"map50", "the task is detection"};
  if (task == "autoencoder") return {"recon_auc", "the task is autoencoder"};
  if (task == "embedding") {
    return f.paired ? Choice{"pair_auc", "the task is embedding, with one label a pair"}
                    : Choice{"cosine", "the task is embedding, without one label a pair"};
  }
  if (f.width == 1) return {"binary", "the task is classification with one output column"};
  if (f.labels.columns > 1 && f.labels.columns == f.outputs) {
    return {"heads", "the task is classification with a label column an output"};
  }
  return {"top1", "the task is classification"};
}

Choice guess(const Facts& f) {
  if (!f.labelled) return guess_unlabelled(f);
  if (f.paired) return {"pair_auc", "there is one label for two samples"};
  if (looks_like_boxes(f)) return {"map50", "the labels are rows of class and box"};
  const bool one = f.labels.columns == 1;
  // Two columns and labels 0 or 1 are two classes, however many inputs there are.
  if (one && f.width > 2 && f.width == f.input_width && !f.ends_in_softmax &&
      f.labels.zero_or_one()) {
    return {"recon_auc", "the output has the input's shape and the labels are 0 or 1"};
  }
  if (f.outputs > 1 && f.labels.columns == f.outputs && f.labels.columns > 1 &&
      f.labels.columns != f.width) {
    return {"heads", fmt::format("{} outputs and as many label columns", f.outputs)};
  }
  if (f.width > 1 && f.labels.classes(f.width)) {
    return {"top1", fmt::format("whole labels and {} output columns", f.width)};
  }
  if (one && f.width == 1 && f.labels.zero_or_one()) {
    return {"binary", "one output column and labels 0 or 1"};
  }
  return {"mse", "the labels are no class numbers"};
}

[[noreturn]] void misfit(const Metric& metric, const Facts& f, const std::string& expected) {
  fail("metric {}: labels of shape {} do not fit outputs of shape {}, expected {}", metric.name,
       shape_text(f.label_shape), shape_text(f.output_shape), expected);
}

void check_fit(const Metric& metric, const Facts& f) {
  if (!metric.needs_labels) return;
  const std::string& name = metric.name;
  if (!f.labelled) {
    fail(
        "metric {} needs labels: y in the .npz, --labels or --target; without them agreement, kl "
        "and cosine compare with the first model",
        name);
  }
  const bool one = f.labels.columns == 1 && !f.paired;
  if (name == "top1" || name == "top5") {
    if (f.width < 2 || !f.labels.classes(f.width)) {
      misfit(metric, f, "one class number a sample (or one-hot rows) and several scores");
    }
  } else if (name == "binary") {
    if (f.width != 1 || !one) misfit(metric, f, "one label and one score a sample");
  } else if (name == "auc") {
    if (f.width > 2 || !one) misfit(metric, f, "one label and one or two scores a sample");
  } else if (name == "recon_auc") {
    if (f.width != f.input_width || !one)
      misfit(metric, f, "one label a sample, outputs as inputs");
  } else if (name == "pair_auc") {
    if (!f.paired) misfit(metric, f, "one label for every two samples");
  } else if (name == "heads") {
    if (f.labels.columns > f.outputs) misfit(metric, f, "at most one label column an output");
  } else if (name == "map50") {
    if (!looks_like_boxes(f)) misfit(metric, f, "[samples, boxes, 5] and rows of 4 + classes");
  } else if (f.labels.columns != f.width || f.paired) {
    misfit(metric, f, "as many targets as outputs");
  }
}

}  // namespace

ScoreRows output_rows(const Predictions& predictions, std::size_t output) {
  const Array& a = predictions.outputs.at(output);
  const std::size_t n = std::max<std::size_t>(1, predictions.count);
  return {a.span<float>(), predictions.count, a.elements() / n};
}

bool Targets::one_hot(std::size_t width) const {
  if (columns != width || width < 2) return false;
  for (std::size_t i = 0; i < rows; ++i) {
    std::size_t ones = 0, zeros = 0;
    for (std::size_t c = 0; c < columns; ++c) {
      ones += at(i, c) == 1;
      zeros += at(i, c) == 0;
    }
    if (ones != 1 || zeros + 1 != width) return false;
  }
  return true;
}

bool Targets::classes(std::size_t width) const {
  if (columns != 1) return one_hot(width);
  // -1 may mean "none of them".  Without leaving early, so that the compiler takes many at once.
  std::size_t odd = 0;
  if (!whole.empty()) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    for (const std::int64_t v : whole) odd += v > kMost || v < -kMost;
    return odd == 0;
  }
  for (const float v : real) {
    const bool fits = v < 0x1p31f && v > -0x1p31f;
    odd += !fits || static_cast<float>(static_cast<std::int32_t>(fits ? v : 0.0f)) != v;
  }
  return odd == 0;
}

bool Targets::zero_or_one() const {
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t c = 0; c < columns; ++c) {
      if (at(i, c) != 0 && at(i, c) != 1) return false;
    }
  }
  return true;
}

Targets targets_of(const Dataset& data) {
  Targets t;
  if (!data.labels || data.labels->shape().empty()) return t;
  const Array& a = *data.labels;
  t.rows = static_cast<std::size_t>(a.shape()[0]);
  t.columns = t.rows == 0 ? 0 : a.elements() / t.rows;
  if (a.dtype() == DType::kInt64)
    t.whole = a.span<std::int64_t>();
  else
    t.real = a.span<float>();
  return t;
}

namespace {

// Vectors of the compiler: of loops over eight lanes it makes scalar code.
bool any_lane(const I8& v) {
  std::uint64_t words[sizeof v / sizeof(std::uint64_t)], any = 0;
  std::memcpy(words, &v, sizeof v);
  for (const std::uint64_t w : words) any |= w;
  return any != 0;
}

// The largest of finite values; NaN where one is not finite.  For rows of any length.
float largest(std::span<const float> row) {
  constexpr std::size_t kLanes = 8;
  constexpr std::int32_t kExponent = 0x7F800000;
  const std::size_t whole = row.size() / kLanes * kLanes;
  float most = row[0];
  bool finite = true;
  if (whole > 0) {
    F8 lane, v;
    I8 odd{}, bits;
    std::memcpy(&lane, row.data(), sizeof lane);
    for (std::size_t c = 0; c < whole; c += kLanes) {
      std::memcpy(&v, row.data() + c, sizeof v);
      std::memcpy(&bits, row.data() + c, sizeof bits);
      lane = v > lane ? v : lane;
      odd |= (bits & kExponent) == kExponent;
    }
    for (std::size_t k = 0; k < kLanes; ++k) most = lane[k] > most ? lane[k] : most;
    finite = !any_lane(odd);
  }
  for (std::size_t c = whole; c < row.size(); ++c) {
    most = row[c] > most ? row[c] : most;
    finite = finite && std::isfinite(row[c]);
  }
  return finite ? most : std::numeric_limits<float>::quiet_NaN();
}

// The first place of a value that is there.
std::size_t place_of(float value, std::span<const float> row) {
  constexpr std::size_t kLanes = 8, kBlock = 4 * kLanes;
  const F8 wanted = F8{} + value;
  std::size_t c = 0;
  for (; c + kBlock <= row.size(); c += kBlock) {
    F8 v[kBlock / kLanes];
    std::memcpy(v, row.data() + c, sizeof v);
    if (any_lane((v[0] == wanted) | (v[1] == wanted) | (v[2] == wanted) | (v[3] == wanted))) break;
  }
  while (row[c] != value) ++c;
  return c;
}

// arg_max() without lanes, which a short row would leave empty.
int arg_max_of_few(const float* row, std::size_t width) {
  float most = row[0], sum = 0;
  int at = 0;
  for (std::size_t c = 0; c < width; ++c) {
    at = row[c] > most ? static_cast<int>(c) : at;
    most = row[c] > most ? row[c] : most;
    sum += row[c] - row[c];  // NaN where a value is not finite
  }
  return sum == 0 ? at : -1;
}

int first_largest(std::span<const float> row) {
  if (row.empty()) return -1;
  if (row.size() < 8) return arg_max_of_few(row.data(), row.size());
  const float most = largest(row);
  return std::isnan(most) ? -1 : static_cast<int>(place_of(most, row));
}

// Of rows of a width that the compiler knows: a loop over rows that becomes vector code.
template <std::size_t kWidth>
void narrow_arg_max(std::span<const float> values, std::span<int> classes) {
  for (std::size_t i = 0; i < classes.size(); ++i)
    classes[i] = arg_max_of_few(values.data() + i * kWidth, kWidth);
}

}  // namespace

int arg_max(std::span<const float> row) {
  int at = -1;
  with_vectors([&] { at = first_largest(row); });
  return at;
}

std::vector<int> predicted_classes(const Predictions& predictions, std::size_t rows_asked) {
  const ScoreRows rows = output_rows(predictions);
  std::vector<int> classes(std::min(rows_asked, rows.count));
  with_vectors([&] {
    if (rows.width == 2) return narrow_arg_max<2>(rows.values, classes);
    if (rows.width == 3) return narrow_arg_max<3>(rows.values, classes);
    if (rows.width == 4) return narrow_arg_max<4>(rows.values, classes);
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const auto row = rows.row(i);
      classes[i] = row.size() != 1          ? first_largest(row)
                   : !std::isfinite(row[0]) ? -1
                                            : row[0] > 0.5f;
    }
  });
  return classes;
}

std::vector<int> label_classes(const Dataset& data, std::size_t width) {
  const Targets t = targets_of(data);
  if (t.rows == 0 || data.paired_labels() || !t.classes(width)) return {};
  if (t.columns == 1 && !t.whole.empty()) return {t.whole.begin(), t.whole.end()};
  if (t.columns == 1) return {t.real.begin(), t.real.end()};
  std::vector<int> classes(t.rows);
  for (std::size_t i = 0; i < t.rows; ++i) {
    std::size_t c = 0;
    while (t.at(i, c) != 1) ++c;  // a one-hot row has one
    classes[i] = static_cast<int>(c);
  }
  return classes;
}

Metric choose_metric(const std::string& asked_metric, const std::string& task, const Model& model,
                     const Dataset& data, std::vector<Decision>& decisions) {
  const Facts facts = facts_of(model, data);
  if (!asked_metric.empty()) {
    const auto metric = find_metric(asked_metric);
    if (!metric) {
      fail("--metric {}: unknown, expected one of {}", asked_metric, metric_names());
    }
    check_fit(*metric, facts);
    return *metric;
  }
  const Choice choice = task.empty() ? guess(facts) : guess_for_task(task, facts);
  Metric metric = find_metric(choice.metric).value();
  const bool error = choice.metric == "mse" || choice.metric == "rmse";
  if (!facts.labelled && error) metric.needs_labels = false;
  check_fit(metric, facts);
  decisions.push_back({"metric", choice.metric, choice.because, {"--metric", "--task"}});
  return metric;
}

}  // namespace litegap
