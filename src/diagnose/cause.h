// A cause of a loss: how it is nominated from evidence, what edit heals it, and how to put it,
// alone, into a healed world.  One file in causes/ holds one family; causes/table.cc lists them in
// the order in which they mask each other: input and output handling first, then calibration, then
// weights.
//
// Evidence only nominates.  A suspect is convicted by experiment (convict.h): its edit must bring
// back a good part of the loss on the task metric, and injecting it must make the healed world
// sick.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "diagnose/match.h"
#include "diagnose/technique.h"
#include "diagnose/world.h"

namespace litegap {

struct Place {
  int graph = 0, op = -1, tensor = -1;
  std::string name;
};

struct Fix {
  std::string kind = "advice";  // file, input-map, output-map, advice
  std::string text;             // the exact formula or converter call, with this model's numbers
};

struct Finding {
  std::string cause, slug, title, says;
  std::vector<Place> where;
  double recovers = 0, alone = 0, share_of_gap = 0;
  Interval interval;
  std::optional<double> injects;  // none: proved by equality or interval
  bool proved = false;
  Fix fix;
  std::vector<Edit> edits;
};

// What is on the bench while causes are nominated.
struct Bench {
  Lab& lab;
  const World& user;                     // as given
  World now;                             // after the edits convicted so far
  Outcome measured;                      // of `now`
  const Dataset* calibration = nullptr;  // --calibration, bound to the quantized model
  FileTechnique float_technique, quant_technique;
  const Match* match = nullptr;  // from here on only for causes in the file
  const std::map<int, Array>* weights = nullptr;
  std::vector<Decision>* decisions = nullptr;

  double remaining() const { return lab.loss(measured.fl, measured.qt); }
};

struct Suspect {
  std::string cause, slug, title;
  std::vector<Place> where;
  Edit heal;
  // The healed world with only this cause put back.
  std::function<World(const World& healed)> inject;
  // One sentence from the metric of the judged answers before and after healing.
  std::function<std::string(double before, double after)> says;
  Fix fix;
  bool harness = false;  // judged by what both models gain
};

using Nominate = std::vector<Suspect> (*)(Bench&);

std::vector<Suspect> nominate_input_codes(Bench& bench);  // A08, A10
std::vector<Suspect> nominate_answers(Bench& bench);      // A09
std::vector<Suspect> nominate_input_map(Bench& bench);    // A01, A02, A03
std::vector<Suspect> nominate_labels(Bench& bench);       // A11
std::vector<Suspect> nominate_bias(Bench& bench);         // D05
std::vector<Suspect> nominate_ranges(Bench& bench);       // B03, B04, C01
std::vector<Suspect> nominate_weights(Bench& bench);      // D01, B11

struct CauseRow {
  const char* ids;
  Nominate nominate;
};
// In masking order.
const std::vector<CauseRow>& harness_causes();
const std::vector<CauseRow>& file_causes();

// Number as users write it: four significant digits, percent for fractions.
std::string metric_text(const Metric& metric, double value);

}  // namespace litegap
