// How the work grows with the number of operators: chains of 500, 1000 and 2000, written, read,
// planned and run.
//
//   growth_bench [FOLDER]
//
// Prints microseconds of the processor an operator and stage, best of twenty; linear growth is the
// same number in every line.  With a folder the chains stay there, as chain_N.tflite.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>

#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

Quant codes() {
  Quant q;
  q.scale = {0.1f};
  q.zero_point = {3};
  return q;
}

int add(Graph& g, std::string name, Shape shape) {
  Tensor t;
  t.name = std::move(name);
  t.dtype = DType::kInt8;
  t.shape = std::move(shape);
  t.quant = codes();
  g.tensors.push_back(std::move(t));
  return static_cast<int>(g.tensors.size()) - 1;
}

// Products of 8 x 8 and additions of what came two operators before, in turns.
Model chain(int operators) {
  Model m;
  m.path = fmt::format("chain of {}", operators);
  m.graphs.emplace_back();
  Graph& g = m.main();
  int last = add(g, "x", {1, 8}), before = last;
  g.inputs = {last};
  for (int i = 0; i < operators; ++i) {
    Op op;
    const int out = add(g, fmt::format("y{}", i), {1, 8});
    if (i % 2 == 0) {
      const int w = add(g, fmt::format("w{}", i), {8, 8});
      Tensor& weights = g.tensors[static_cast<std::size_t>(w)];
      weights.quant.zero_point = {0};
      weights.constant = Array::zeros(DType::kInt8, {8, 8});
      for (int k = 0; k < 64; ++k)
        weights.constant->mutable_span<std::int8_t>()[static_cast<std::size_t>(k)] =
            static_cast<std::int8_t>((k * 37 + i) % 100 - 50);
      op.code = OpCode::kFullyConnected;
      op.inputs = {last, w, -1};
      op.attrs = FullyConnectedAttrs{};
    } else {
      op.code = OpCode::kAdd;
      op.inputs = {last, before};
      op.attrs = AddAttrs{};
    }
    op.outputs = {out};
    g.ops.push_back(std::move(op));
    before = last;
    last = out;
  }
  g.outputs = {last};
  return m;
}

template <class F>
double best(F body) {
  double least = 1e30;
  for (int i = 0; i < 20; ++i) {
    const std::clock_t start = std::clock();
    body();
    least = std::min(least, 1e6 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return least;
}

int bench(const std::string& folder) {
  for (const int n : {500, 1000, 2000}) {
    const std::string path = fmt::format("{}/chain_{}.tflite", folder, n);
    write_model(chain(n), path);
    ModelPtr model;
    const double read = best([&] { model = read_model(path); });
    Plan plan;
    const double planned = best([&] { plan = make_plan(model, {}); });
    Workspace space(plan);
    const Array x = Array::zeros(DType::kInt8, {1, 8});
    const double ran = best([&] { run(plan, space, std::vector<Array>{x}); });
    fmt::print("{:5} operators: read {:.2f} us, plan {:.2f} us, run {:.3f} us each\n", n, read / n,
               planned / n, ran / n);
  }
  return 0;
}

}  // namespace
}  // namespace litegap

int main(int argc, char** argv) {
  try {
    if (argc > 1) return litegap::bench(argv[1]);
    char folder[] = "/tmp/growthXXXXXX";
    if (::mkdtemp(folder) == nullptr) litegap::fail("cannot make a folder in /tmp");
    return litegap::bench(folder);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
