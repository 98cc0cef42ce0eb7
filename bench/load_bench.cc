// From a file to the first result, inside the process, and the memory that it takes.
//
//   load_bench MODELS_DIR MODEL
//
// Reads the model, plans it, makes the buffers and runs it once on random inputs; prints
//
//   read 1.2 plan 3.4 run 5.6 total 10.2 ms of processor time, peak 12.3 MB
//
// The peak is what the largest resident set of the process grew by.  Once a process: a second load
// would find warm buffers.
#include <fmt/format.h>
#include <sys/resource.h>

#include "base/file.h"
#include "random_inputs.h"
#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

double processor_ms() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& t) {
    return 1e3 * static_cast<double>(t.tv_sec) + 1e-3 * static_cast<double>(t.tv_usec);
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

int bench(const std::string& path) {
  const std::uint64_t before = peak_memory_bytes();
  const double start = processor_ms();
  const ModelPtr model = read_model(path);
  const double read = processor_ms();
  const Plan plan = make_plan(model, {});
  const double planned = processor_ms();
  Workspace workspace(plan);
  run(plan, workspace, random_inputs(plan));
  const double ran = processor_ms();
  fmt::print(
      "read {:.3f} plan {:.3f} run {:.3f} total {:.3f} ms of processor time, peak {:.2f} MB\n",
      read - start, planned - read, ran - planned, ran - start,
      static_cast<double>(peak_memory_bytes() - before) / (1 << 20));
  return 0;
}

}  // namespace
}  // namespace litegap

int main(int argc, char** argv) {
  try {
    if (argc != 3) litegap::fail("usage: load_bench MODELS_DIR MODEL");
    return litegap::bench(argv[2]);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
