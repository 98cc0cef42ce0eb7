// Training: mini-batches, shuffling, validation, early stopping, checkpoints.
//
//   FitResult r = fit(train_graph(*read_model("float.tflite")), data,
//                     {.loss = {LossKind::kMeanSquared}, .epochs = 100});
//   write_model(r.model, "trained.tflite");
//
// Two runs with the same options, data and seed give the same bits; so does a run that was stopped
// and resumed from its checkpoint.  The order of epoch e depends on the seed and e alone.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/dataset.h"
#include "data/npy.h"
#include "train/loss.h"
#include "train/optimizer.h"

namespace litegap {

struct FitOptions {
  LossOptions loss;
  OptimizerOptions optimizer;
  int epochs = 1;
  std::size_t batch_size = 32;
  bool shuffle = true;
  std::uint64_t seed = 1;
  double validation_split = 0;  // the last rows, as Keras takes them
  int patience = 0;             // epochs without a better (validation) loss; 0 = never stop early
  bool keep_best = false;       // the result is that of the best epoch
  std::string checkpoint;       // written after every epoch; "" = none
  bool resume = false;          // go on from `checkpoint` if it is there
  Progress progress;
  std::function<bool()> stop;  // asked after every batch; true ends with what there is
  std::function<void(int epoch)> after_epoch;
  std::function<void()> after_step;
  std::function<void()> after_best;  // the epoch that ended is the best so far
  // What a caller keeps of its own in the checkpoint, and gets back on resuming.
  std::function<NamedArrays()> save;
  std::function<void(const NamedArrays&)> load;
};

struct EpochReport {
  double loss = 0;
  double learning_rate = 0;                        // of the last step
  double validation_loss = -1;                     // -1: no validation
  double accuracy = -1, validation_accuracy = -1;  // of classifiers
};

struct FitResult {
  std::vector<Array> parameters;  // by position in TrainGraph::parameters
  std::vector<EpochReport> epochs;
  int best_epoch = -1;  // by validation loss, else loss
  bool stopped = false, stopped_early = false;
  std::vector<Decision> decisions;
};

// Samples as training reads them: floats, one row a sample.
struct Samples {
  std::size_t count = 0;
  std::vector<std::vector<float>> inputs;  // [input][count * elements]
  std::vector<std::size_t> sizes;          // elements per sample
  std::vector<float> targets;
  std::size_t target_size = 0;
  std::string path;
};
// Throws Error naming the first sample with a value that is not finite, a class out of range, or
// the shapes that do not fit.
Samples read_samples(const TrainGraph& graph, const LossOptions& loss, const Dataset& data);

// Training step by step.
class Trainer {
 public:
  Trainer(TrainGraph graph, const FitOptions& options);
  Trainer(const Trainer&) = delete;

  // Rows of one batch: forward, backward, update.  The loss is that before the update, with
  // regularization.
  double step(const Samples& samples, const std::size_t* rows, std::size_t count);
  // Only the values of a batch, as training sees them.
  void look(const Samples& samples, const std::size_t* rows, std::size_t count);
  // Loss (without dropout, moving statistics) over rows [begin, end); counts right answers.
  double evaluate(const Samples& samples, std::size_t begin, std::size_t end, double* accuracy);

  // The graph's first output for all samples, in inference.
  Array outputs(const Samples& samples);

  const TrainGraph& graph() const { return graph_; }
  Weights<float>& weights() { return weights_; }
  Optimizer& optimizer() { return optimizer_; }
  TapeMode& mode() { return mode_; }
  const TapeMode& mode() const { return mode_; }
  const LossSite& site() const { return site_; }
  std::size_t right() const { return right_; }  // answers of the last step

 private:
  Tape<float>& tape(std::size_t batch);
  void fill(Tape<float>& tape, const Samples& samples, const std::size_t* rows);
  double regularize();
  std::size_t count_right(const Tape<float>& tape) const;

  TrainGraph graph_;
  FitOptions options_;
  LossSite site_;
  Weights<float> weights_;
  Optimizer optimizer_;
  TapeMode mode_;
  std::map<std::size_t, std::unique_ptr<Tape<float>>> tapes_;
  std::vector<float> batch_targets_;
  std::size_t right_ = 0;
};

// Rows [0, n) are trained on, the rest validates.
std::size_t training_rows(const Samples& samples, const FitOptions& options);
FitResult fit(Trainer& trainer, const Samples& samples, const FitOptions& options);
FitResult fit(const TrainGraph& graph, const Dataset& data, const FitOptions& options);

}  // namespace litegap
