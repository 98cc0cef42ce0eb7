// One model, one thread: the time of a run.
//
//   runtime_bench MODEL [SECONDS] [reference|builtin|xnnpack] [ops|filled]
//
// Prints the best and the median time of a run in microseconds; with `ops` also each operator's
// share.  With `filled` the inputs are where the plan reads them before the clock starts, as the
// stock runtime's are before it is invoked.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "random_inputs.h"
#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

// Time between the values that operators leave behind.
class Shares final : public Observer {
 public:
  explicit Shares(const Graph& graph) : graph_(graph) {}
  void begin() { last_ = Clock::now(); }
  void on_value(int op, int, const Array&) override {
    const auto now = Clock::now();
    if (op >= 0) {
      double& best = best_.try_emplace(op, 1e30).first->second;
      best = std::min(best, microseconds(now - last_));
    }
    last_ = Clock::now();
  }
  void print() const {
    for (const auto& [op, time] : best_)
      fmt::print("{:10.1f} us  {}\n", time, op_label(graph_, static_cast<std::size_t>(op)));
  }

 private:
  const Graph& graph_;
  Clock::time_point last_;
  std::map<int, double> best_;
};

int bench(const std::vector<std::string>& args) {
  const double seconds = args.size() > 1 ? std::stod(args[1]) : 1.0;
  Numerics numerics;
  if (args.size() > 2)
    numerics.dialect = args[2] == "reference" ? Dialect::kReference
                       : args[2] == "builtin" ? Dialect::kBuiltin
                                              : Dialect::kXnnpack;
  const ModelPtr model = read_model(args[0]);
  const Plan plan = make_plan(model, numerics);
  Workspace workspace(plan);
  const std::vector<Array> inputs = random_inputs(plan);
  run(plan, workspace, inputs);
  const bool filled = args.size() > 3 && args[3] == "filled" && !workspace.input_room(0).empty();
  std::vector<double> times;
  const auto start = Clock::now();
  while (times.size() < 5 || microseconds(Clock::now() - start) < seconds * 1e6) {
    const auto before = Clock::now();
    if (filled)
      run_filled(plan, workspace, 1);
    else
      run(plan, workspace, inputs);
    times.push_back(microseconds(Clock::now() - before));
  }
  std::sort(times.begin(), times.end());
  fmt::print("best {:.1f} median {:.1f} runs {}\n", times.front(), times[times.size() / 2],
             times.size());
  if (args.size() > 3 && args[3] == "ops") {
    Shares shares(model->main());
    for (int i = 0; i < 20; ++i) {
      shares.begin();
      run(plan, workspace, inputs, &shares);
    }
    shares.print();
  }
  return 0;
}

}  // namespace
}  // namespace litegap

int main(int argc, char** argv) {
  try {
    if (argc < 2)
      litegap::fail(
          "usage: runtime_bench MODEL [SECONDS] [reference|builtin|xnnpack] [ops|filled]");
    return litegap::bench({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
