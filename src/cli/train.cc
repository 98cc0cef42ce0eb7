// train: a model from a Keras architecture, or a .tflite trained further.
#include "verbs/train.h"

#include "base/json.h"
#include "cli/cli.h"

namespace litegap {
namespace {

struct TrainArguments {
  CommonOptions common;
  std::string init;
  bool no_shuffle = false;
  TrainRequest request;
};

int run_train(const TrainArguments& a, Context& context) {
  context.stop_gently();
  TrainRequest r = a.request;
  if (!a.init.empty()) r.model = a.init;
  r.shuffle = !a.no_shuffle;
  r.input_map = a.common.input_map;
  r.seed = a.common.seed;
  r.progress = context.progress();
  r.stop = [&] { return context.stop_requested(); };
  const TrainResult result = train_file(limited_data(a.common), r);
  context.clear_progress();
  if (result.fit.stopped) context.note(fmt::format("stopped; {} holds what was reached", r.out));
  context.result(train_json(result, kVersion), train_text(result));
  return result.fit.stopped ? kStopped : kDone;
}

void add_fit_flags(Verb& verb, TrainRequest& a) {
  verb.add_option("--loss", a.loss, "what is made small")
      .type_name("NAME")
      .show_default()
      .one_of(loss_names());
  verb.add_option("--optimizer", a.optimizer, "with Keras's defaults (momentum: SGD with 0.9)")
      .type_name("NAME")
      .show_default()
      .one_of(optimizer_names());
  verb.add_option("--learning-rate", a.learning_rate, "default: Keras's for that optimizer")
      .type_name("RATE")
      .positive();
  verb.add_option("--epochs", a.epochs, "passes over the data")
      .type_name("N")
      .show_default()
      .positive();
  verb.add_option("--batch-size", a.batch_size, "samples a step")
      .type_name("N")
      .show_default()
      .positive();
  verb.add_option("--validation-split", a.validation_split,
                  "this share of the data, its last rows, is not trained on")
      .type_name("SHARE")
      .range(0.0, 0.99);
  verb.add_option("--patience", a.patience, "stop after so many epochs without a better loss")
      .type_name("N")
      .positive();
  verb.add_flag("--keep-best", a.keep_best, "write the best epoch, not the last");
  verb.add_option("--clip-norm", a.clip_norm, "largest norm of all gradients together")
      .type_name("NORM")
      .positive();
  verb.add_option("--weight-decay", a.weight_decay, "default: 0.004 for adamw, else none")
      .type_name("SHARE")
      .not_negative();
}

}  // namespace

void add_train(CLI::App& app, Context& context) {
  auto a = std::make_shared<TrainArguments>();
  Verb verb =
      add_verb(app, "train", "trains a model from a Keras architecture, or a .tflite further",
               "litegap train dense.json --data xy.npz --loss mse --optimizer sgd "
               "--epochs 100 -o float.tflite");
  verb.add_option("model", a->request.model,
                  "architecture or model: JSON, .keras, .h5, or a float .tflite")
      .type_name("MODEL");
  verb.add_option("--init", a->init, "a float .tflite to train further").type_name("MODEL");
  verb.add_option("--teacher", a->request.teacher,
                  "a model whose outputs are learned (--loss distill)")
      .type_name("MODEL");
  verb.add_option("--temperature", a->request.temperature, "of distillation")
      .type_name("T")
      .positive();
  add_fit_flags(verb, a->request);
  verb.add_flag("--no-shuffle", a->no_shuffle, "take the samples in their order");
  verb.add_flag("--qat", a->request.qat,
                "train with the rounding of an int8 file, and write that file");
  verb.add_flag("--learned-steps", a->request.learned_steps,
                "with --qat: step sizes follow their gradients after the first epoch");
  verb.add_flag("--resume", a->request.resume,
                "keep OUT.checkpoint after every epoch, and go on from it if it is there");
  verb.add_option("--seed", a->common.seed, "of initial values, order and dropout")
      .type_name("N")
      .show_default();
  verb.add_option("-o,--out", a->request.out, "the trained float .tflite")
      .required()
      .type_name("PATH");
  add_common_flags(verb, a->common, kDataFlags | kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_train(*a, c); });
}

}  // namespace litegap
