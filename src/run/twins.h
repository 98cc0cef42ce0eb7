// Two plans, sample by sample, with the errors of every value that both have.
//
//   Plan exact = make_plan(model, real, {.keep_values = true});
//   TwinValues values(tensors);             run(exact, exact_space, inputs, &values);
//   AgainstTwin errors(values, graph);      run(plan, space, codes, &errors);
//   errors.at[t].error / errors.at[t].signal   // relative squared error of tensor t
//
// Nothing is copied: the first plan keeps every value at its place, the second run reads it there
// while its own value is still in the cache.
#pragma once
#include <vector>

#include "run/plan.h"
#include "run/scan.h"

namespace litegap {

// Where the values of a run lie, by tensor; good until the next run.  Of a walked plan, or of one
// made without keep_values, they are copies.
class TwinValues final : public Observer {
 public:
  TwinValues(const Plan& plan, std::size_t tensors, bool kept)
      : at(tensors), copies_(plan.walked() || !kept) {}
  void on_value(int, int tensor, const Array& value) override {
    Array& here = at[static_cast<std::size_t>(tensor)];
    if (copies_)
      here = value.clone();
    else if (here.data() != value.data())
      here = value;
  }
  std::vector<Array> at;

 private:
  bool copies_;
};

// Compares every value with that of its twin: the same tensor, or twin[tensor] (-1: none).
class AgainstTwin final : public Observer {
 public:
  AgainstTwin(const TwinValues& exact, const Graph& graph, std::vector<int> twin = {})
      : at(graph.tensors.size()), exact_(exact), graph_(graph), twin_(std::move(twin)) {}
  void on_value(int, int tensor, const Array& value) override {
    const auto t = static_cast<std::size_t>(tensor);
    const int other = twin_.empty() ? tensor : twin_[t];
    if (other < 0) return;
    compare_twin(exact_.at[static_cast<std::size_t>(other)], value, graph_.tensors[t].quant, at[t]);
  }
  std::vector<TwinErrors> at;

 private:
  const TwinValues& exact_;
  const Graph& graph_;
  std::vector<int> twin_;
};

}  // namespace litegap
