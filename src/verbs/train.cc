#include "verbs/train.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "keras/keras.h"
#include "run/setup.h"
#include "tflite/tflite.h"
#include "train/qat.h"
#include "verbs/load.h"

namespace litegap {
namespace {

// What is trained: a Keras model, or a float file.
struct Subject {
  std::optional<KerasModel> keras;
  Lowered lowered;
  Model plain;  // as it will be written, before training
  TrainGraph graph;
};

Subject subject_of(const TrainRequest& a) {
  Subject s;
  if (a.qat && a.resume) fail("--qat cannot be resumed: ranges are not part of a checkpoint");
  if (a.model.empty() && a.architecture.empty()) {
    fail("train: expected an architecture or a model, found neither");
  }
  const std::string path = a.model.empty() ? "architecture" : a.model;
  if (!a.model.empty() && !is_keras_file(path)) {
    s.plain = *load_model(path);
    s.plain.path = path;
    s.graph = train_graph(s.plain);
    return s;
  }
  const KerasReadOptions options{.seed = a.seed};
  s.keras =
      a.model.empty() ? read_keras_json(a.architecture, path, options) : read_keras(path, options);
  s.plain = lower(*s.keras).model;
  s.plain.path = path;
  if (a.qat) {  // batch normalization folded: the graph that the file will hold
    s.keras.reset();
    s.graph = train_graph(s.plain);
    return s;
  }
  s.lowered = lower(*s.keras, {.training = true, .batch = static_cast<int>(a.batch_size)});
  s.lowered.model.path = path;
  s.graph = train_graph(s.lowered);
  return s;
}

Model trained_model(const Subject& s, const std::vector<Array>& parameters) {
  const Model trained = with_parameters(s.graph, parameters);
  if (!s.keras) return trained;
  return lower(with_trained(*s.keras, s.lowered, trained)).model;
}

// Samples as the model reads them.
Dataset mapped(const Dataset& data, const Model& model, const std::string& expression) {
  InputMap map;
  if (!expression.empty()) map = parse_input_map(expression);
  Dataset d = bind_dataset(data, model, map);
  if (map.identity()) return d;
  for (std::size_t i = 0; i < d.inputs.size(); ++i) {
    Shape shape = model.main().tensors[static_cast<std::size_t>(model.main().inputs[i])].shape;
    Shape all = shape;
    all[0] = static_cast<std::int32_t>(d.count);
    Array to = Array::zeros(DType::kFloat32, all);
    const std::size_t size = shape_elements(shape);
    for (std::size_t r = 0; r < d.count; ++r) {
      const Array one = apply_input_map(map, d.inputs[i].slice0(r, r + 1), shape);
      std::copy(one.span<float>().begin(), one.span<float>().end(),
                to.mutable_span<float>().begin() + static_cast<std::ptrdiff_t>(r * size));
    }
    d.inputs[i] = to;
  }
  return d;
}

bool ends_in(const Model& model, OpCode code) {
  const Graph& g = model.main();
  return std::any_of(g.ops.begin(), g.ops.end(), [&](const Op& op) {
    return op.code == code && op.outputs[0] == g.outputs[0];
  });
}

void softmax_rows(Array& logits) {
  const auto v = logits.mutable_span<float>();
  const auto classes = static_cast<std::size_t>(logits.shape().back());
  for (std::size_t r = 0; r < v.size(); r += classes) {
    const float peak = *std::max_element(&v[r], &v[r] + classes);
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(v[r + c] - peak));
    for (std::size_t c = 0; c < classes; ++c) {
      v[r + c] = static_cast<float>(std::exp(static_cast<double>(v[r + c] - peak)) / sum);
    }
  }
}

// The teacher's probabilities take the place of the labels.
void ask_teacher(const TrainRequest& a, const Dataset& data, Dataset& to) {
  Setup setup;
  setup.model = load_model(a.teacher);
  InputMap map;
  if (!a.input_map.empty()) map = parse_input_map(a.input_map);
  setup.input_map = map;
  PredictOptions options;
  options.progress = a.progress;
  Array p = predict(setup, bind_dataset(data, *setup.model, map), options).outputs[0].clone();
  if (!ends_in(*setup.model, OpCode::kSoftmax)) softmax_rows(p);
  to.labels = p;
}

LossOptions loss_of_request(const TrainRequest& a, const Subject& s, const Dataset& data,
                            std::vector<Decision>& decisions) {
  LossOptions o;
  o.temperature = a.temperature;
  if (a.loss == "mae") o.kind = LossKind::kMeanAbsolute;
  if (a.loss == "huber") o.kind = LossKind::kHuber;
  if (a.loss == "kl") o.kind = LossKind::kKlDivergence;
  if (a.loss == "distill") o.kind = LossKind::kDistill;
  const Model& m = s.graph.model;
  if (a.loss == "binary-crossentropy") {
    o.kind = LossKind::kBinaryCrossEntropy;
    o.from_logits = !ends_in(m, OpCode::kLogistic);
  }
  if (a.loss == "crossentropy") {
    o.kind = LossKind::kSparseCrossEntropy;
    o.from_logits = !ends_in(m, OpCode::kSoftmax);
    const Shape& out = m.main().tensors[static_cast<std::size_t>(m.main().outputs[0])].shape;
    const bool numbers =
        data.labels && data.labels->elements() == data.count * targets_per_sample(o, out);
    if (!numbers) o.kind = LossKind::kCrossEntropy;
    decisions.push_back({"crossentropy",
                         numbers ? "of class numbers" : "of distributions",
                         "that is the shape of y",
                         {}});
  }
  if (o.from_logits) {
    decisions.push_back(
        {"output", "taken as logits", "the model does not end in the activation of this loss", {}});
  }
  return o;
}

OptimizerOptions optimizer_of_request(const TrainRequest& a) {
  OptimizerOptions o;
  o.learning_rate = a.learning_rate;
  if (a.optimizer == "momentum") o.momentum = 0.9;
  if (a.optimizer == "adam") o.kind = OptimizerKind::kAdam;
  if (a.optimizer == "adamw") o.kind = OptimizerKind::kAdamW;
  if (a.optimizer == "rmsprop") o.kind = OptimizerKind::kRmsprop;
  if (a.weight_decay >= 0) o.weight_decay = a.weight_decay;
  o.global_clip_norm = a.clip_norm;
  return o;
}

FitOptions fit_options(const TrainRequest& a) {
  FitOptions o;
  o.optimizer = optimizer_of_request(a);
  o.epochs = a.epochs;
  o.batch_size = a.batch_size;
  o.shuffle = a.shuffle;
  o.seed = a.seed;
  o.validation_split = a.validation_split;
  o.patience = a.patience;
  o.keep_best = a.keep_best;
  o.resume = a.resume;
  if (a.resume) o.checkpoint = a.out + ".checkpoint";
  o.progress = [&a](std::string_view stage, double done) {  // stopping is not losing: no throw
    if (a.progress && !(a.stop && a.stop())) a.progress(stage, done);
  };
  o.stop = a.stop;
  return o;
}

void expect_name(const char* what, const std::string& name, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  fail("{}: {} is not known; expected one of {}", what, name, fmt::join(known, ", "));
}

}  // namespace

std::vector<std::string> loss_names() {
  return {"mse", "mae", "huber", "binary-crossentropy", "crossentropy", "kl", "distill"};
}
std::vector<std::string> optimizer_names() {
  return {"sgd", "momentum", "adam", "adamw", "rmsprop"};
}

TrainResult train_file(const Dataset& raw, const TrainRequest& a) {
  const double start = seconds_now();
  expect_name("loss", a.loss, loss_names());
  expect_name("optimizer", a.optimizer, optimizer_names());
  if (a.loss == "distill" && a.teacher.empty()) fail("--loss distill needs --teacher MODEL");
  if (a.epochs < 1) fail("epochs {}: expected at least 1", a.epochs);
  const Subject s = subject_of(a);
  Dataset data = mapped(raw, s.plain, a.input_map);
  TrainResult r{.out = a.out,
                .loss = a.loss,
                .optimizer = a.optimizer,
                .samples = data.count,
                .epochs = a.epochs};
  r.decisions = data.decisions;
  if (!a.teacher.empty()) ask_teacher(a, raw, data);
  FitOptions o = fit_options(a);
  o.loss = loss_of_request(a, s, data, r.decisions);
  Model model;
  if (a.qat) {
    QatOptions options;
    options.fit = o;
    options.learned_steps = a.learned_steps;
    QatResult q = qat(s.plain, data, options);
    r.fit = std::move(q.fit);
    r.quantized = TrainResult::Rounded{q.fake_loss, q.fake_accuracy, q.unsettled};
    r.decisions.insert(r.decisions.end(), r.fit.decisions.begin(), r.fit.decisions.end());
    model = std::move(q.model);
  } else {
    r.fit = fit(s.graph, data, o);
    model = trained_model(s, r.fit.parameters);
  }
  write_model(model, a.out);
  r.bytes = file_size(a.out);
  r.seconds = seconds_now() - start;
  return r;
}

}  // namespace litegap
