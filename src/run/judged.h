// What is left of a model's outputs once they are judged: a few numbers a sample, however wide the
// outputs are.  Values, intervals and comparisons are made from these alone, so that outputs are
// held a piece at a time, and pieces may be judged by several threads.
//
//   top1 of [n, 1001]                        1 or 0, and the class: 12 bytes a sample
//   mae of [n, 257, 257, 21], two models     an error, a mean and a spread of each, what they have
//                                            in common: 73 bytes a sample
//
//   OutputJudge judge(metric, {.data = &data, .sizes = sizes}, {.classes = true});
//   Judged kept = judge.room();
//   judge.judge({.predictions = &part, .count = 64, .rows = rows}, kept);  // and so on
//   Measurement m = measure_judged(metric, kept, &data);
//
// Two metrics keep more: r2 the outputs, which are as many as the labels, and map50 the boxes that
// survive suppression.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "run/metrics.h"

namespace litegap {

// How many outputs there are of how many samples.
struct OutputSizes {
  std::size_t count = 0;            // samples
  std::vector<std::size_t> widths;  // values a sample, by output
  std::size_t last = 0;             // the last axis of output 0
};
OutputSizes sizes_of(const Predictions& predictions);

// Labels as numbers, a row a sample: a look at those of the data.
struct Targets {
  std::span<const float> real;  // one of the two
  std::span<const std::int64_t> whole;
  std::size_t rows = 0, columns = 0;
  double at(std::size_t row, std::size_t column) const {
    const std::size_t k = row * columns + column;
    return whole.empty() ? static_cast<double>(real[k]) : static_cast<double>(whole[k]);
  }
  // One column that is whole, or a one-hot row of `width`.
  bool classes(std::size_t width) const;
  bool one_hot(std::size_t width) const;
  bool zero_or_one() const;
};
Targets targets_of(const Dataset& data);

// The mean of a sample's output 0, and the sum of the squares of what differs from it.
struct RowMoments {
  double mean = 0, squares = 0;
};

// A box that was found: of which class, how sure, and whether a true box is there.
struct FoundBox {
  float score = 0;
  int label = 0;
  bool right = false;
};

struct Judged {
  OutputSizes sizes;
  std::vector<double> scores;  // see sample_scores(); for areas what is ranked; a pair of samples
                               // has one (pair_auc)
  std::vector<int> classes;    // predicted_classes()
  std::vector<RowMoments> moments;
  std::vector<std::vector<FoundBox>> boxes;
  Array outputs;  // output 0 as [count, width]
};

// Of two models; a vector is empty where it was not asked for or has no meaning.
struct JudgedPair {
  std::vector<double> kl, cosine;   // of the second from the first, as the metrics of these names
  std::vector<double> products;     // sums of products of what differs from the means
  std::vector<std::uint8_t> equal;  // value by value
};

// What to keep besides the scores.
struct AlsoKeep {
  bool classes = false;  // for comparing classes
  bool moments = false;  // for the correlation of two models' outputs
};
// What compare_judged() needs.
AlsoKeep kept_to_compare(const Metric& metric);

// Outputs of some samples.
struct Piece {
  const Predictions* predictions = nullptr;
  const Predictions* reference = nullptr;  // the float model's, of the same samples
  std::size_t count = 0;                   // the first rows of the outputs
  std::span<const std::size_t> rows;       // the sample of each row; empty: 0, 1, 2 …
  std::size_t sample(std::size_t i) const { return rows.empty() ? i : rows[i]; }
};

class OutputJudge {
 public:
  struct Given {
    const Dataset* data = nullptr;        // outlives the judge
    const InputMap* input_map = nullptr;  // null = as stored
    OutputSizes sizes;                    // of all samples
    std::optional<OutputSizes> reference = std::nullopt;
  };
  // Throws Error when outputs, labels and metric do not fit one another.
  OutputJudge(const Metric& metric, Given given, AlsoKeep keep);
  Judged room() const;  // for all samples
  // Writes what belongs to the samples of the piece.  With pair_auc a piece holds whole pairs, one
  // sample behind the other.
  void judge(const Piece& piece, Judged& to) const;
  // Of the labels, where the metric is about classes; else empty.
  std::span<const int> classes_of_labels() const { return classes_; }

 private:
  enum class Kind : std::uint8_t {
    kTop1,
    kTop5,
    kBinary,
    kHeads,
    kAgreement,
    kSquares,
    kDistances,
    kKl,
    kCosine,
    kLast,
    kReconstruction,
    kPairs,
    kBoxes,
    kOutputs
  };
  static Kind kind_of(const Metric& metric);
  bool against_reference() const;  // and not against labels
  void check_reference() const;
  void check_labels();
  void score(const Piece& piece, std::span<const int> classes, Judged& to) const;
  void top_hits(const Piece& piece, std::span<const int> classes, Judged& to) const;
  void head_hits(const Piece& piece, Judged& to) const;
  void errors(const Piece& piece, Judged& to) const;
  void reconstruction(const Piece& piece, Judged& to) const;
  void boxes(const Piece& piece, Judged& to) const;

  Metric metric_;
  Kind kind_;
  Given given_;
  AlsoKeep keep_;
  Targets labels_;
  std::vector<int> classes_;  // of the labels, for top1 and top5
};

// `distances`: with kl and cosine, which say nothing of outputs of a single number.
JudgedPair room_for_pair(const OutputSizes& a, const OutputSizes& b, bool distances, AlsoKeep keep);
// piece.reference against piece.predictions; a and b hold their moments where these are kept.
void judge_pair(const Piece& piece, const Judged& a, const Judged& b, JudgedPair& to);

// Everything as one piece.
Judged judge_all(const Metric& metric, const ScoreInput& input, AlsoKeep keep = {});

// Leaves the given samples only, in this order; with pair_auc whole pairs.
void keep_rows(std::span<const std::size_t> rows, Judged& judged);
void keep_rows(std::span<const std::size_t> rows, JudgedPair& pair);

// measure_score() and compare() of metrics.h.  `data` has the labels of these samples.
Measurement measure_judged(const Metric& metric, const Judged& judged, const Dataset* data,
                           std::uint64_t seed = 1);
Paired compare_judged(const Metric& metric, const Judged& a, const Dataset* a_data, const Judged& b,
                      const Dataset* b_data, const JudgedPair& pair, std::uint64_t seed = 1);

}  // namespace litegap
