// Samples through all compared models, and what is kept of the outputs.
//
//   Cover cover(all, data, metric, {.threads = 2});
//   cover.run(rows);                 // as often as there is time
//   cover.settle();                  // from here on only what was covered is there
//   cover.judged[1].scores;          // of model 1, for the covered samples as the file has them
//
// A thread takes a block of rows through every model and judges it before it takes the next one:
// outputs are held for a block a thread, however many samples there are.
#pragma once
#include <vector>

#include "base/progress.h"
#include "run/judged.h"
#include "verbs/contestant.h"

namespace litegap {

class Cover {
 public:
  struct Options {
    int threads = 1;
    std::size_t output_bytes = std::size_t{32} << 20;  // of all threads and models, where possible
    std::size_t first = 0;                             // the first row that will be run
  };
  // `all` and `data` outlive it.  Throws Error where outputs, labels and metric do not fit.
  Cover(std::vector<Contestant>& all, const Dataset& data, const Metric& metric, Options options);

  // Rising rows, all of which count, or none where it throws.
  void run(std::span<const std::size_t> rows, const Progress& progress = {});
  // The share of covered samples that a model gets right, with its interval; for metrics that are
  // such a share.
  Interval hit_interval(std::size_t model) const;
  // Leaves the covered samples, in their order in the file.
  void settle();
  // Of the covered samples.
  Dataset labels() const;
  std::vector<int> label_classes() const;  // empty where the labels are no classes

  std::size_t count = 0;                        // covered samples
  std::vector<Judged> judged;                   // by model, and row of the data
  std::vector<JudgedPair> pairs;                // of model 0 and model k + 1
  std::size_t block() const { return block_; }  // rows that a thread takes at once, at the most

 private:
  void block_for(const Options& options);
  std::size_t share_of(std::size_t rows) const;
  std::span<const std::size_t> near_rows(std::span<const std::size_t> rows) const;
  void run_block(int worker, std::span<const std::size_t> rows);
  std::vector<std::size_t> covered_rows() const;

  std::vector<Contestant>& all_;
  const Dataset& data_;
  int threads_ = 1;
  std::size_t block_ = 1, stack_ = 1;  // stack_: of rows that a run of some model takes
  bool hit_metric_ = false;
  std::vector<std::size_t> hits_;      // of the covered samples, by model
  std::vector<std::uint8_t> covered_;  // by row
  std::vector<OutputJudge> judges_;
  std::vector<std::vector<Predictions>> lanes_;  // of the threads: a block's outputs, by model
};

}  // namespace litegap
