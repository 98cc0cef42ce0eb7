// Setup: everything between a raw sample and an answer, as a value.  measure() makes it speak.
//
//   Setup float_setup{.model = float_model};
//   Predictions p = predict(float_setup, data, {});
#pragma once
#include <memory>
#include <span>
#include <string>

#include "base/progress.h"
#include "data/dataset.h"
#include "run/metrics.h"
#include "run/plan.h"

namespace litegap {

struct OutputMap {
  std::vector<int>
      order;  // output j of the answer is output order[j] of the model; empty = as they are
  double scale = 1, offset = 0;  // extra affine step (only to express how a user reads them)
};

// How raw samples become the model's input codes.
enum class Feed : std::uint8_t {
  kQuantize,  // input map, then round(x / scale) + zero_point with clamp for integer inputs
  kAsGiven,   // the dataset's quant_inputs, as they stand
};

struct Setup {
  ModelPtr model;
  Numerics numerics;
  InputMap input_map;
  OutputMap output_map;
  Feed feed = Feed::kQuantize;
};

struct RunStats {
  double passes = 0;  // evaluated samples / dataset size
  double seconds = 0;
};

struct PredictOptions {
  int threads = 0;                // 0 = all cores
  std::vector<std::size_t> rows;  // empty = all
  Progress progress;
  RunStats* stats = nullptr;  // added to
};

// Runs every sample; deterministic for any number of threads.  Throws Error from plan or data.
Predictions predict(const Setup& setup, const Dataset& data, const PredictOptions& options = {});

// Samples that one run takes at the most: what a run costs besides its samples is then below a
// tenth of what the smallest of models take.
inline constexpr std::size_t kMostStacked = 256;

// predict() in parts: the plan and the buffers of every worker are made once, and outputs are held
// for as long as the caller wants them.
//
//   Predictor predictor(setup, data, kBlock);
//   predictor.workers(2);                      // from here on two threads may run parts
//   Predictions part = predictor.room(kBlock);
//   predictor.run_part(1, {7, 3}, part);       // worker 1: samples 7 and 3 in rows 0 and 1
class Predictor {
 public:
  // `most` rows will be run at once, kMostStacked at the most; `first` of them tells the outputs'
  // shapes where the data decide them.
  Predictor(const Setup& setup, const Dataset& data, std::size_t most, std::size_t first = 0);
  Predictions room(std::size_t count) const;
  std::size_t samples() const { return plan_.samples(); }  // that one run takes
  void workers(int count);
  // The outputs of samples `rows` become those from row `begin` on of `to`, which has room for
  // them. Calls for different workers do not meet where they write to different rows.
  void run_part(int worker, std::span<const std::size_t> rows, Predictions& to,
                std::size_t begin = 0);

 private:
  Setup setup_;
  Dataset data_;
  Plan plan_;
  std::vector<std::size_t> order_;  // output j of the answer is output order_[j] of the model
  std::vector<Shape> shapes_;       // of the model's outputs, one sample
  std::vector<std::unique_ptr<Workspace>> spaces_;  // of the workers
};

// Runs samples with an observer made per block of kBlock samples; merge() is called in block order.
// The values of one tensor come in the order of the samples; begin_sample() says whose they are.
class BlockObserver : public Observer {
 public:
  virtual void begin_sample(std::size_t row) { (void)row; }
  void on_sample(std::size_t sample) final { begin_sample(rows[sample]); }
  std::span<const std::size_t> rows;  // of the run; set by observe()
};
void observe(const Setup& setup, const Dataset& data, const PredictOptions& options,
             const std::function<std::unique_ptr<BlockObserver>(std::size_t block)>& make,
             const std::function<void(BlockObserver&)>& merge);

// The model's input `i` for one row, in the plan's input type.
Array feed_input(const Setup& setup, const Plan& plan, const Dataset& data, std::size_t input,
                 std::size_t row);
// The same for several rows: one more axis in front.
Array feed_rows(const Setup& setup, const Plan& plan, const Dataset& data, std::size_t input,
                std::span<const std::size_t> rows);

}  // namespace litegap
