// A World is everything between the user's files and the two numbers they complain about: the float
// Setup, the quantized Setup, the data, and whose answers are judged.  An Edit is a small,
// printable, comparable change of a World.  Diagnosis is a search for edits that heal the user's
// world and, put back alone into the healed one, make it sick again.
//
//   World healed = apply(world, EditInput{parse_input_map("x/127.5-1")});
//   Outcome o = lab.measure(healed);        // o.fl and o.qt: metric of both models
#pragma once
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "data/dataset.h"
#include "run/setup.h"

namespace litegap {

// Whose answers are called "quantized" in the report.
enum class Answers : std::uint8_t {
  kModel,        // what the quantized file computes
  kUserOutputs,  // as the user's own program used them (--user-outputs)
  kDump,         // recorded on a device, dequantized (--device-dump)
};

struct World {
  Setup fl, qt;
  Dataset data;
  Answers answers = Answers::kModel;
  Predictions recorded;  // for kUserOutputs and kDump
};

struct EditInput {  // both models are fed through another input map
  InputMap map;
  bool operator==(const EditInput&) const = default;
};
struct EditFeed {  // the quantized model: codes from the float input by the formula, or the user's
                   // own
  Feed feed = Feed::kQuantize;
  bool operator==(const EditFeed&) const = default;
};
struct EditAnswers {  // whose answers are judged
  Answers answers = Answers::kModel;
  bool operator==(const EditAnswers&) const = default;
};
struct EditLabels {  // label l stands for class to[l]
  std::vector<int> to;
  bool operator==(const EditLabels&) const = default;
};
struct EditModel {   // the quantized file is rewritten
  std::string what;  // "ranges from 512 samples, min/max"
  ModelPtr model;
  bool operator==(const EditModel&) const = default;
};
using Edit = std::variant<EditInput, EditFeed, EditAnswers, EditLabels, EditModel>;

World apply(World world, const Edit& edit);  // pure; throws Error when the edit does not fit
Json to_json(const Edit& edit);

// What one world measured.
struct Outcome {
  double fl = 0, qt = 0;
  Predictions fl_predictions, qt_predictions;
};

// Measures worlds, counts what it costs, and never runs the same setup twice.
class Lab {
 public:
  Lab(Metric metric, std::uint64_t seed, int threads, Progress progress)
      : metric_(std::move(metric)),
        seed_(seed),
        threads_(threads),
        progress_(std::move(progress)) {}

  const Metric& metric() const { return metric_; }
  std::uint64_t seed() const { return seed_; }
  const Progress& progress() const { return progress_; }
  RunStats& stats() { return stats_; }

  Outcome measure(const World& world);
  Predictions predict_float(const World& world, const std::vector<std::size_t>& rows = {});
  Predictions predict_quant(const World& world, const std::vector<std::size_t>& rows = {});
  PredictOptions options(const std::vector<std::size_t>& rows = {});

  // Metric of predictions over rows of the data; `reference` = predictions of the float model.
  double value(const Predictions& p, const Dataset& data,
               const Predictions* reference = nullptr) const;
  double loss(double reference, double value) const {
    return loss_between(metric_, reference, value);
  }
  // b against a, paired over the samples; delta > 0: b is worse.
  Paired paired(const Predictions& a, const Dataset& a_data, const Predictions& b,
                const Dataset& b_data, const Predictions& reference) const;

 private:
  Predictions cached(const std::string& key, const Setup& setup, const Dataset& data,
                     const std::vector<std::size_t>& rows);
  Metric metric_;
  std::uint64_t seed_;
  int threads_;
  Progress progress_;
  RunStats stats_;
  std::map<std::string, Predictions> cache_;
  std::vector<ModelPtr> keep_;  // a cached pointer must not be reused by another model
};

}  // namespace litegap
