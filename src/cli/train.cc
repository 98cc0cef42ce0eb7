// train: a model from a Keras architecture, or a .tflite trained further.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "keras/keras.h"
#include "report/table.h"
#include "run/setup.h"
#include "tflite/tflite.h"
#include "train/qat.h"

namespace litegap {
namespace {

struct TrainArguments {
  CommonOptions common;
  std::string model, init, teacher, out;
  std::string loss = "mse", optimizer = "sgd";
  double learning_rate = 0, validation_split = 0, temperature = 1, clip_norm = 0, weight_decay = -1;
  int epochs = 1, patience = 0;
  std::size_t batch_size = 32;
  bool resume = false, keep_best = false, no_shuffle = false, qat = false, learned_steps = false;
};

// What is trained: a Keras model, or a float file.
struct Subject {
  std::optional<KerasModel> keras;
  Lowered lowered;
  Model plain;  // as it will be written, before training
  TrainGraph graph;
};

Subject subject_of(const TrainArguments& a) {
  Subject s;
  const std::string path = a.init.empty() ? a.model : a.init;
  if (path.empty()) fail("train: give an architecture or --init MODEL.tflite");
  if (is_keras_file(path)) {
    KerasReadOptions options;
    options.seed = a.common.seed;
    s.keras = read_keras(path, options);
    s.plain = lower(*s.keras).model;
    s.plain.path = path;
    if (a.qat) {
      s.graph = qat_graph(*s.keras);
      return s;
    }
    s.lowered = lower(*s.keras, {.training = true, .batch = static_cast<int>(a.batch_size)});
    s.lowered.model.path = path;
    s.graph = train_graph(s.lowered);
    return s;
  }
  s.plain = *load_model(path);
  s.plain.path = path;
  s.graph = train_graph(s.plain);
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

// The teacher's probabilities take the place of the labels.
void ask_teacher(const std::string& path, const Dataset& data, Dataset& to, Context& context) {
  Setup setup;
  setup.model = load_model(path);
  PredictOptions options;
  options.progress = context.progress();
  Array p = predict(setup, bind_dataset(data, *setup.model), options).outputs[0].clone();
  if (!ends_in(*setup.model, OpCode::kSoftmax)) {
    const auto v = p.mutable_span<float>();
    const auto classes = static_cast<std::size_t>(p.shape().back());
    for (std::size_t r = 0; r < v.size(); r += classes) {
      const float peak = *std::max_element(&v[r], &v[r] + classes);
      double sum = 0;
      for (std::size_t c = 0; c < classes; ++c)
        sum += std::exp(static_cast<double>(v[r + c] - peak));
      for (std::size_t c = 0; c < classes; ++c)
        v[r + c] = static_cast<float>(std::exp(static_cast<double>(v[r + c] - peak)) / sum);
    }
  }
  to.labels = p;
}

LossOptions loss_of_arguments(const TrainArguments& a, const Subject& s, const Dataset& data,
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

OptimizerOptions optimizer_of(const TrainArguments& a) {
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

Json to_json(const EpochReport& e) {
  Json j{{"loss", json_number(e.loss)}, {"learning_rate", json_number(e.learning_rate)}};
  if (e.accuracy >= 0) j["accuracy"] = json_number(e.accuracy);
  if (e.validation_loss >= 0) j["validation_loss"] = json_number(e.validation_loss);
  if (e.validation_accuracy >= 0) j["validation_accuracy"] = json_number(e.validation_accuracy);
  return j;
}

std::string text_of(const TrainArguments& a, const FitResult& r, double seconds,
                    const std::vector<Decision>& decisions) {
  std::string text =
      fmt::format("{}: {} of {} epochs in {:.1f} s\n", a.out, r.epochs.size(), a.epochs, seconds);
  const auto line = [](const char* name, const EpochReport& e) {
    std::string s = fmt::format("  {}: loss {:.6g}", name, e.loss);
    if (e.accuracy >= 0) s += fmt::format(", {:.1f} % right", 100 * e.accuracy);
    if (e.validation_loss >= 0) s += fmt::format("; validation loss {:.6g}", e.validation_loss);
    if (e.validation_accuracy >= 0)
      s += fmt::format(", {:.1f} % right", 100 * e.validation_accuracy);
    return s + "\n";
  };
  if (!r.epochs.empty()) text += line("first epoch", r.epochs.front());
  if (r.epochs.size() > 1) text += line("last epoch", r.epochs.back());
  if (r.stopped_early)
    text += fmt::format("  stopped early: no better loss than that of epoch {} since\n",
                        r.best_epoch + 1);
  for (const Decision& d : decisions)
    text += fmt::format("  {}: {} ({})\n", d.item, d.chosen, d.because);
  return text;
}

int run_train(const TrainArguments& a, Context& context) {
  const double start = seconds_now();
  if (a.loss == "distill" && a.teacher.empty()) fail("--loss distill needs --teacher MODEL");
  context.stop_gently();
  const Subject s = subject_of(a);
  const Dataset raw = load_data(a.common);
  Dataset data = mapped(raw, s.plain, a.common.input_map);
  std::vector<Decision> decisions = data.decisions;
  if (!a.teacher.empty()) ask_teacher(a.teacher, raw, data, context);
  FitOptions o;
  o.loss = loss_of_arguments(a, s, data, decisions);
  o.optimizer = optimizer_of(a);
  o.epochs = a.epochs;
  o.batch_size = a.batch_size;
  o.shuffle = !a.no_shuffle;
  o.seed = a.common.seed;
  o.validation_split = a.validation_split;
  o.patience = a.patience;
  o.keep_best = a.keep_best;
  o.resume = a.resume;
  if (a.resume) o.checkpoint = a.out + ".checkpoint";
  const Progress show = context.progress();
  o.progress = [&](std::string_view stage, double done) {
    if (!context.stop_requested()) show(stage, done);
  };
  o.stop = [&] { return context.stop_requested(); };
  FitResult r;
  std::optional<QatResult> q;
  if (a.qat) {
    QatOptions options;
    options.fit = o;
    options.learned_steps = a.learned_steps;
    q = qat(s.graph, data, options);
    r = q->fit;
    decisions.insert(decisions.end(), r.decisions.begin(), r.decisions.end());
  } else {
    r = fit(s.graph, data, o);
  }
  context.clear_progress();
  write_model(q ? q->model : trained_model(s, r.parameters), a.out);
  if (r.stopped) context.note(fmt::format("stopped; {} holds what was reached", a.out));
  Json epochs = Json::array();
  for (const EpochReport& e : r.epochs) epochs.push_back(to_json(e));
  Json rounded = nullptr;
  if (q) {
    rounded = Json{{"loss", json_number(q->fake_loss)},
                   {"accuracy", json_number(q->fake_accuracy)},
                   {"unsettled", q->unsettled}};
  }
  const Json value{{"schema", "litegap.train/1"},
                   {"litegap", kVersion},
                   {"out", a.out},
                   {"loss", a.loss},
                   {"optimizer", a.optimizer},
                   {"samples", data.count},
                   {"bytes", file_size(a.out)},
                   {"epochs", epochs},
                   {"final", epochs.empty() ? Json(nullptr) : epochs.back()},
                   {"quantized", rounded},
                   {"best_epoch", r.best_epoch},
                   {"stopped", r.stopped},
                   {"stopped_early", r.stopped_early},
                   {"decisions", litegap::to_json(decisions)},
                   {"seconds", seconds_now() - start}};
  context.result(value, text_of(a, r, seconds_now() - start, decisions));
  return r.stopped ? kStopped : kDone;
}

void add_fit_flags(CLI::App& verb, TrainArguments& a) {
  verb.add_option("--loss", a.loss, "what is made small")
      ->type_name("NAME")
      ->capture_default_str()
      ->check(CLI::IsMember(
          {"mse", "mae", "huber", "binary-crossentropy", "crossentropy", "kl", "distill"}));
  verb.add_option("--optimizer", a.optimizer, "with Keras's defaults (momentum: SGD with 0.9)")
      ->type_name("NAME")
      ->capture_default_str()
      ->check(CLI::IsMember({"sgd", "momentum", "adam", "adamw", "rmsprop"}));
  verb.add_option("--learning-rate", a.learning_rate, "default: Keras's for that optimizer")
      ->type_name("RATE")
      ->check(CLI::PositiveNumber);
  verb.add_option("--epochs", a.epochs, "passes over the data")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--batch-size", a.batch_size, "samples a step")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--validation-split", a.validation_split,
                  "this share of the data, its last rows, is not trained on")
      ->type_name("SHARE")
      ->check(CLI::Range(0.0, 0.99));
  verb.add_option("--patience", a.patience, "stop after so many epochs without a better loss")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  verb.add_flag("--keep-best", a.keep_best, "write the best epoch, not the last");
  verb.add_option("--clip-norm", a.clip_norm, "largest norm of all gradients together")
      ->type_name("NORM")
      ->check(CLI::PositiveNumber);
  verb.add_option("--weight-decay", a.weight_decay, "default: 0.004 for adamw, else none")
      ->type_name("SHARE")
      ->check(CLI::NonNegativeNumber);
  verb.add_flag("--no-shuffle", a.no_shuffle, "take the samples in their order");
}

}  // namespace

void add_train(CLI::App& app, Context& context) {
  auto a = std::make_shared<TrainArguments>();
  CLI::App* verb =
      add_verb(app, "train", "trains a model from a Keras architecture, or a .tflite further",
               "litegap train dense.json --data xy.npz --loss mse --optimizer sgd "
               "--epochs 100 -o float.tflite");
  verb->add_option("model", a->model,
                   "architecture or model: JSON, .keras, .h5, or a float .tflite")
      ->type_name("MODEL");
  verb->add_option("--init", a->init, "a float .tflite to train further")->type_name("MODEL");
  verb->add_option("--teacher", a->teacher, "a model whose outputs are learned (--loss distill)")
      ->type_name("MODEL");
  verb->add_option("--temperature", a->temperature, "of distillation")
      ->type_name("T")
      ->check(CLI::PositiveNumber);
  add_fit_flags(*verb, *a);
  verb->add_flag("--qat", a->qat, "train with the rounding of an int8 file, and write that file");
  verb->add_flag("--learned-steps", a->learned_steps,
                 "with --qat: step sizes follow their gradients after the first epoch");
  verb->add_flag("--resume", a->resume,
                 "keep OUT.checkpoint after every epoch, and go on from it if it is there");
  verb->add_option("--seed", a->common.seed, "of initial values, order and dropout")
      ->type_name("N")
      ->capture_default_str();
  verb->add_option("-o,--out", a->out, "the trained float .tflite")->required()->type_name("PATH");
  add_common_flags(*verb, a->common, kDataFlags | kOutputFlags);
  on_run(*verb, context, [a](Context& c) { return run_train(*a, c); });
}

}  // namespace litegap
