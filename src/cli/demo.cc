// The whole story without a single file from outside: data made by rule, two small models trained,
// quantized and evaluated as the files that were written, one of them broken on purpose, explained and
// healed.
#include <fmt/format.h>

#include "base/file.h"
#include "cli/cli.h"
#include "data/npy.h"
#include "diagnose/explain.h"
#include "quant/quantize.h"
#include "report/explain.h"
#include "tflite/tflite.h"
#include "train/demo_data.h"
#include "train/network.h"

namespace litegap {
namespace {

struct DemoArguments {
  CommonOptions common;
  std::string out = "litegap-demo";
};

// What a demo step prints and the report remembers.
struct Story {
  std::string text;
  Json json = Json::object();
  template <class... A>
  void line(fmt::format_string<A...> f, A&&... a) {
    text += fmt::format(f, std::forward<A>(a)...) + "\n";
  }
};

void save(const Dataset& d, const std::string& path) { write_npz(path, {{"x", d.inputs[0]}, {"y", *d.labels}}); }

// Value of a metric of the file at `path`: read again and run in the integers it holds.
double value_of_file(const std::string& path, const Dataset& data, const std::string& metric) {
  Setup s;
  s.model = read_model(path);
  const Predictions p = predict(s, data);
  return score(*find_metric(metric), {&p, &data, &p});
}

Ranges calibrate(const std::string& path, const Dataset& data) {
  Setup s;
  s.model = read_model(path);
  return observe_ranges(s, data);
}

void write_twins(const std::string& folder, const std::string& name, const Dataset& calibration, Story& story) {
  const std::string path = folder + "/" + name + "_float.tflite";
  const ModelPtr model = read_model(path);
  write_model(quantize_static(*model, calibrate(path, calibration)).model, folder + "/" + name + "_static_int8.tflite");
  const WeightResult dynamic = quantize_dynamic_range(*model);
  write_model(dynamic.model, folder + "/" + name + "_dynamic_range.tflite");
  if (dynamic.quantized == 0) story.line("   (dynamic range changed nothing: no weight tensor has 1024 elements, so that file is the float file)");
}

void line_step(const std::string& folder, Story& story) {
  const Dataset data = line_data(100, 1);
  save(data, folder + "/line.npz");
  Network<float> net({1, 1, 1}, {dense(1)}, 1);
  fit(net, data.inputs[0], *data.labels, {.epochs = 100, .batch = 32, .rate = 0.01, .momentum = 0, .loss = Loss::kMeanSquared, .seed = 1, .progress = {}});
  write_model(to_model(net, Loss::kMeanSquared, "line"), folder + "/line_float.tflite");
  story.line("1. Linear regression: y = 2x + 1 + noise, 100 samples, Dense(1), SGD, 100 epochs");
  write_twins(folder, "line", data, story);
  Json losses = Json::object();
  for (const auto& [label, file] : {std::pair{"FP32", "float"}, {"static int8", "static_int8"}, {"dynamic range", "dynamic_range"}}) {
    const double loss = value_of_file(fmt::format("{}/line_{}.tflite", folder, file), data, "mse");
    losses[file] = json_number(loss);
    story.line("   {:<14} loss {:.6f}", label, loss);
  }
  story.json["line"] = losses;
}

void picture_step(const std::string& folder, const Dataset& train, const Dataset& test, Context& context, Story& story) {
  save(train, folder + "/pictures_train.npz");
  save(test, folder + "/pictures_test.npz");
  Network<float> net({16, 16, 1}, {conv(12, 3), max_pool(2), conv(16, 3), max_pool(2), conv(24, 3), global_average(), dense(kPictureClasses)}, 3);
  fit(net, train.inputs[0], *train.labels, {.epochs = 40, .batch = 16, .rate = 0.08, .momentum = 0.9, .loss = Loss::kCrossEntropy, .seed = 3, .progress = context.progress()});
  context.clear_progress();
  write_model(to_model(net, Loss::kCrossEntropy, "pictures"), folder + "/pictures_float.tflite");
  story.line("");
  story.line("2. Picture classifier: 16x16 disks that differ in shading, {} to train on, {} to test on", train.count, test.count);
  write_twins(folder, "pictures", train, story);
  Json values = Json::object();
  for (const auto& [label, file] : {std::pair{"FP32", "float"}, {"static int8", "static_int8"}, {"dynamic range", "dynamic_range"}}) {
    const std::string path = fmt::format("{}/pictures_{}.tflite", folder, file);
    const double top1 = value_of_file(path, test, "top1");
    values[file] = json_number(top1);
    story.line("   {:<14} top-1 {:.1f} %   {:>6} bytes", label, 100 * top1, file_size(path));
  }
  story.json["pictures"] = values;
}

// The darkest picture: a calibration set of it alone cuts off what every other picture needs.
std::vector<std::size_t> faintest(const Dataset& d) {
  const auto v = d.inputs[0].span<float>();
  const std::size_t row = v.size() / d.count;
  std::size_t best = 0;
  float least = 1e9f;
  for (std::size_t i = 0; i < d.count; ++i) {
    float peak = 0;
    for (std::size_t k = 0; k < row; ++k) peak = std::max(peak, std::fabs(v[i * row + k]));
    if (peak < least) {
      least = peak;
      best = i;
    }
  }
  return {best};
}

Explanation break_and_heal(const std::string& folder, const Dataset& train, const Dataset& test, const CommonOptions& common, Context& context, Story& story) {
  const std::string fl = folder + "/pictures_float.tflite", broken = folder + "/pictures_broken_int8.tflite";
  const Dataset one = train.subset(faintest(train));
  write_model(quantize_static(*read_model(fl), calibrate(fl, one)).model, broken);
  story.line("");
  story.line("3. Broken on purpose: the same model, calibrated with one faint picture instead of {}", train.count);
  story.line("   top-1 {:.1f} %", 100 * value_of_file(broken, test, "top1"));
  story.line("");
  story.line("4. $ litegap explain {} {} --data {}/pictures_test.npz --fix {}/pictures_healed_int8.tflite", fl, broken, folder, folder);
  ExplainOptions options;
  options.threads = common.threads;
  options.seed = common.seed;
  options.fix_path = folder + "/pictures_healed_int8.tflite";
  options.progress = context.progress();
  const Explanation e = explain(read_model(fl), read_model(broken), read_dataset(folder + "/pictures_test.npz"), options);
  context.clear_progress();
  return e;
}

int run_demo(const DemoArguments& a, Context& context) {
  make_directories(a.out);
  Story story;
  line_step(a.out, story);
  const Dataset train = picture_data(800, 11), test = picture_data(600, 12);
  picture_step(a.out, train, test, context, story);
  const Explanation e = break_and_heal(a.out, train, test, a.common, context, story);
  const Json report = explain_json(e, LITEGAP_VERSION, dialect_json(Dialect::kXnnpack));
  story.text += "\n" + explain_text(report, context.color()) + "\n";
  write_text(a.out + "/report.html", explain_html(report));
  write_text(a.out + "/report.json", report.dump(1) + "\n");
  if (e.fixed) story.line("5. Healed: top-1 {:.1f} % (float {:.1f} %, broken {:.1f} %)", 100 * e.fixed->value, 100 * e.gap.fl, 100 * e.gap.qt);
  story.line("All files, the data and report.html are in {}/", a.out);
  story.json["explanation"] = report;
  context.result(story.json, story.text);
  return kDone;
}

}  // namespace

void add_demo(CLI::App& app, Context& context) {
  auto a = std::make_shared<DemoArguments>();
  CLI::App* verb = add_verb(app, "demo", "the whole story on data and models that the program makes itself", "litegap demo");
  verb->add_option("-o,--out", a->out, "folder for all files")->capture_default_str();
  add_common_flags(*verb, a->common, kOutputFlags);
  on_run(*verb, context, [a](Context& c) { return run_demo(*a, c); });
}

}  // namespace litegap
