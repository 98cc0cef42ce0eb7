// One of the models that are compared: what it says to samples, a few at a time.
//
//   std::vector<Contestant> all = make_contestants(request, data, decisions);
//   open_contestant(all[0], 64, 0);
//   all[0].predictor->workers(2);
//   Predictions part = room_of(all[0], 64);
//   answer(all[0], 1, rows, part);   // worker 1: row i of `part` is sample rows[i]
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "run/setup.h"
#include "verbs/evaluate.h"

namespace litegap {

// A file to run, or outputs recorded elsewhere.
struct Contestant {
  std::string path, technique, dialect;
  std::uint64_t bytes = 0;
  bool recorded = false;
  Setup setup;                       // model set for recorded outputs too (shapes only)
  Dataset data;                      // bound to this model
  std::optional<Predictions> known;  // outputs of all samples, where they need not be computed
  // With state that is carried over: the one workspace that all samples go through.
  std::optional<Plan> plan;
  std::optional<Workspace> workspace;
  std::optional<Predictor> predictor;  // else, from open_contestant() on
};

// Those of a request, its dialects or its models, in their order.  Throws Error.
std::vector<Contestant> make_contestants(const EvalRequest& request, const Dataset& data,
                                         std::vector<Decision>& decisions);

// Whether samples have to come in their order, in one thread.
bool carries_state(const Contestant& c);

// `most` rows will be asked for at once; `first` is the first of all.
void open_contestant(Contestant& c, std::size_t most, std::size_t first);
Predictions room_of(const Contestant& c, std::size_t count);
// The outputs for `rows`, in the first rows of `to`.
void answer(Contestant& c, int worker, std::span<const std::size_t> rows, Predictions& to);

// Some rows of outputs.
Predictions rows_of(const Predictions& p, std::span<const std::size_t> rows);

}  // namespace litegap
