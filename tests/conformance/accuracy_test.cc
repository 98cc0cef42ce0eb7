// The accuracy that `eval` reports is the one measured with the real runtime.
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "program.h"

namespace litegap {
namespace {

// How the recorded measurement fed the stored values.
std::string input_map(const std::string& input) {
  if (input == "01") return "x/255";
  if (input == "pm1") return "x/127.5-1";
  if (input == "asis") return "(x-83)*0.58470291";
  return "x";
}

std::vector<std::string> data_arguments(const std::string& dataset) {
  const std::string folder = shared_path("corpus/data/" + dataset + "/");
  if (dataset == "mnist_t10k")
    return {"--data", folder + "images.npy", "--labels", folder + "labels.npy"};
  return {"--data", folder + "x.npy", "--labels", folder + "labels.csv"};
}

// It was measured with another build of the runtime, in a loop that never resets state.
TEST(Accuracy, IsTheMeasuredOne) {
  const std::string list = shared_path("corpus/refs/measured_accuracy.json");
  if (!file_exists(list)) GTEST_SKIP() << "no shared folder";
  for (const Json& row : parse_json(read_text(list))) {
    const std::string model = row["model"];
    SCOPED_TRACE(model);
    // Its XNNPACK had no kernels for weights that meet float activations: those ran built-in.
    const std::string dialect =
        model.find("dynamic_range") != std::string::npos ? "builtin" : "xnnpack";
    std::vector<std::string> arguments{"eval", shared_path("corpus/" + model)};
    for (const std::string& a : data_arguments(row["dataset"])) arguments.push_back(a);
    for (const std::string& a : {std::string("--input-map"), input_map(row["input"]),
                                 std::string("--json"), std::string("-"), std::string("--dialect"),
                                 dialect, std::string("--no-latency"), std::string("--budget"),
                                 std::string("1h"), std::string("--metric"), std::string("top1")}) {
      arguments.push_back(a);
    }
    const Ran ran = run_litegap(arguments, 600);
    ASSERT_EQ(ran.exit, 0) << ran.err;
    const double value = parse_json(ran.out)["models"][0]["value"];
    EXPECT_NEAR(value, row["accuracy"].get<double>(), 0.001);
    std::printf("%-50s %.4f, measured %.4f, %.1f s\n", model.c_str(), value,
                row["accuracy"].get<double>(), ran.cpu_seconds);
  }
}

}  // namespace
}  // namespace litegap
