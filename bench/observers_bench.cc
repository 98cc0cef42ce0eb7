// What looking costs: a run that nobody observes against one whose every tensor is scanned, and two
// runs against the same two with the errors of every aligned tensor.
//
//   observers_bench FLOAT.tflite INT8.tflite [TURNS]
//
// Prints microseconds of a sample unobserved, of float and int8, and three ratios, in turns of one
// process: float scanned, int8 scanned, both as twins.  Medians over the turns, of the ratios
// within a turn too: the machine's speed changes from turn to turn, and its clock has jumps.
// Tensors are aligned by the order of the operators.
#include <fmt/format.h>

#include <ctime>

#include "random_inputs.h"
#include "run/plan.h"
#include "run/scan.h"
#include "run/stats.h"
#include "run/twins.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

// Extremes and moments of every value.
class Scanner final : public Observer {
 public:
  explicit Scanner(const Graph& graph) : graph_(graph), scans_(graph.tensors.size()) {}
  void on_value(int, int tensor, const Array& value) override {
    const auto t = static_cast<std::size_t>(tensor);
    scan(value, graph_.tensors[t].quant, scans_[t]);
  }

 private:
  const Graph& graph_;
  std::vector<Scan> scans_;
};

bool working(const Op& op) {
  return op.code != OpCode::kQuantize && op.code != OpCode::kDequantize;
}

std::vector<int> aligned(const Graph& fl, const Graph& qt) {
  std::vector<int> twin(qt.tensors.size(), -1);
  std::size_t f = 0;
  for (const Op& op : qt.ops) {
    if (!working(op)) continue;
    while (f < fl.ops.size() && fl.ops[f].code != op.code) ++f;
    if (f == fl.ops.size()) break;
    twin[static_cast<std::size_t>(op.outputs[0])] = fl.ops[f++].outputs[0];
  }
  return twin;
}

// Of the processor: other work does not count.
double thread_microseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

template <class F>
double median_of(int times, F body) {
  std::vector<double> spent;
  for (int i = 0; i < times; ++i) {
    const double start = thread_microseconds();
    body();
    spent.push_back(thread_microseconds() - start);
  }
  return percentile(std::move(spent), 0.5);
}

int bench(const std::vector<std::string>& args) {
  const ModelPtr fl = read_model(args[0]), qt = read_model(args[1]);
  const int turns = args.size() > 2 ? std::stoi(args[2]) : 300;
  const Plan plan_f = make_plan(fl, {}), plan_q = make_plan(qt, {});
  Workspace space_f(plan_f), space_q(plan_q);
  const auto in_f = random_inputs(plan_f), in_q = random_inputs(plan_q);
  Scanner scan_f(fl->main()), scan_q(qt->main());
  Twins both(plan_f, plan_q, aligned(fl->main(), qt->main()));
  std::vector<double> numbers[5];
  for (int turn = 0; turn < turns; ++turn) {
    const double f = median_of(5, [&] { run(plan_f, space_f, in_f); });
    const double f_seen = median_of(5, [&] { run(plan_f, space_f, in_f, &scan_f); });
    const double q = median_of(5, [&] { run(plan_q, space_q, in_q); });
    const double q_seen = median_of(5, [&] { run(plan_q, space_q, in_q, &scan_q); });
    const double twins = median_of(5, [&] { both.run(in_f, in_q); });
    const double now[5] = {f, q, f_seen / f, q_seen / q, twins / (f + q)};
    for (int i = 0; i < 5; ++i) numbers[i].push_back(now[i]);
  }
  for (const auto& n : numbers) fmt::print("{:.4f} ", percentile(n, 0.5));
  fmt::print("\n");
  return 0;
}

}  // namespace
}  // namespace litegap

int main(int argc, char** argv) {
  try {
    if (argc < 3) litegap::fail("usage: observers_bench FLOAT.tflite INT8.tflite [TURNS]");
    return litegap::bench({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
