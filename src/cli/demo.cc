// The whole story without a single file from outside: data made by rule, two small models trained,
// quantized and evaluated as the files that were written, one of them broken on purpose, explained
// and healed.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "data/npy.h"
#include "diagnose/explain.h"
#include "keras/keras.h"
#include "quant/quantize.h"
#include "report/explain.h"
#include "report/table.h"
#include "tflite/tflite.h"
#include "train/demo_data.h"
#include "train/fit.h"

namespace litegap {
namespace {

struct DemoArguments {
  CommonOptions common;
  std::string out = "litegap-demo";
};

// What the steps print and the JSON value remembers.
struct Story {
  bool color = false;
  std::string text;
  Json json{{"schema", "litegap.demo/1"}, {"litegap", kVersion}};
  template <class... A>
  void line(fmt::format_string<A...> f, A&&... a) {
    text += fmt::format(f, std::forward<A>(a)...) + "\n";
  }
  void head(const std::string& title) { text += paint(color, "1", title) + "\n"; }
};

void save(const Dataset& d, const std::string& path) {
  write_npz(path, {{"x", d.inputs[0]}, {"y", *d.labels}});
}

// A written file, read again and run in the integers it holds.
struct Measured {
  std::string label, path, technique;
  std::uint64_t bytes = 0;
  Predictions predictions;
  double loss = 0, top1 = 0;
};

// Mean of -log of the probability given to the right class; never above 16.1, as Keras clips it.
double cross_entropy(const Predictions& p, const Dataset& data) {
  const auto probability = p.outputs[0].span<float>();
  const auto label = data.labels->span<std::int64_t>();
  const std::size_t classes = probability.size() / label.size();
  double sum = 0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    const double right = probability[i * classes + static_cast<std::size_t>(label[i])];
    sum -= std::log(std::max(right, 1e-7));
  }
  return sum / static_cast<double>(label.size());
}

Measured measure_file(const std::string& label, const std::string& path, const Dataset& data,
                      bool classes) {
  Setup setup;
  setup.model = read_model(path);
  Measured m{label, path, identify(*setup.model).name, file_size(path), predict(setup, data)};
  const ScoreInput input{&m.predictions, &data, &m.predictions};
  if (classes) {
    m.loss = cross_entropy(m.predictions, data);
    m.top1 = score(*find_metric("top1"), input);
  } else {
    m.loss = score(*find_metric("mse"), input);
  }
  return m;
}

Ranges calibrate(const std::string& path, const Dataset& data) {
  Setup setup;
  setup.model = read_model(path);
  return observe_ranges(setup, data);
}

// Writes both quantized twins of NAME_float.tflite and measures all three files.
std::vector<Measured> measure_twins(const std::string& name, const Dataset& calibration,
                                    const Dataset& data, bool classes) {
  const std::string fl = name + "_float.tflite", st = name + "_static_int8.tflite",
                    dr = name + "_dynamic_range.tflite";
  const ModelPtr model = read_model(fl);
  write_model(quantize_static(*model, calibrate(fl, calibration)).model, st);
  write_model(quantize_dynamic_range(*model).model, dr);
  return {measure_file("FP32", fl, data, classes), measure_file("static int8", st, data, classes),
          measure_file("dynamic range", dr, data, classes)};
}

void tell(const std::vector<Measured>& all, bool classes, const char* key, Story& story) {
  std::vector<std::string> header = {
      "", "file", "is", "bytes", classes ? "cross-entropy loss" : "MSE loss", "against FP32"};
  if (classes) header.push_back("right");
  TextTable table(header, "lllrrrr");
  Json rows = Json::array();
  for (const Measured& m : all) {
    const bool first = &m == &all.front();
    std::vector<std::string> row = {
        m.label,
        m.path.substr(m.path.rfind('/') + 1),
        m.technique,
        fmt::format("{}", m.bytes),
        fmt::format("{:.6f}", m.loss),
        first ? "" : fmt::format("{:+.2f} %", 100 * (m.loss / all[0].loss - 1))};
    if (classes) row.push_back(fmt::format("{:.1f} %", 100 * m.top1));
    table.row(row);
    Json value{{"label", m.label},
               {"path", m.path},
               {"technique", m.technique},
               {"bytes", m.bytes},
               {"loss", json_number(m.loss)}};
    if (classes) value["top1"] = json_number(m.top1);
    rows.push_back(value);
  }
  story.text += table.text(story.color, 3);
  story.json[key] = rows;
}

// Whether the difference of a twin is more than chance, and whether a technique did anything at
// all.
void judge(const std::vector<Measured>& all, const Dataset& data, const char* metric,
           Story& story) {
  const Metric m = *find_metric(metric);
  const ScoreInput fl{&all[0].predictions, &data, &all[0].predictions};
  for (std::size_t k = 1; k < all.size(); ++k) {
    if (all[k].technique == "float32") {
      story.line(
          "   {} changed nothing: no weight tensor has the 1024 elements from which int8 "
          "saves space,",
          all[k].label);
      story.line(
          "   so the file still holds float32 weights. Its name does not make it quantized.");
      continue;
    }
    const Paired p = compare(m, fl, {&all[k].predictions, &data, &all[0].predictions});
    if (p.p_value < 0.05) {
      story.line("   {}: differs from FP32 by more than chance (p = {:.2g}).", all[k].label,
                 p.p_value);
    } else {
      story.line("   {}: no evidence of {} (paired over {} samples, p = {:.2g}).", all[k].label,
                 m.fraction ? "fewer right answers" : "a larger error", data.count, p.p_value);
    }
  }
}

// The architecture with weights learned from the data.
KerasModel trained(const KerasModel& start, const Dataset& data, const FitOptions& options) {
  const Lowered lowered =
      lower(start, {.training = true, .batch = static_cast<int>(options.batch_size)});
  const TrainGraph graph = train_graph(lowered);
  const FitResult r = fit(graph, data, options);
  return with_trained(start, lowered, with_parameters(graph, r.parameters));
}

void line_step(const std::string& folder, Story& story) {
  const Dataset data = line_data(100, 1);
  save(data, folder + "/line.npz");
  FitOptions options;
  options.epochs = 100;
  options.optimizer.learning_rate = 0.01;
  const KerasModel line =
      trained(read_keras_json(sequential_json({1}, {dense_json(1)}), "line", {1}), data, options);
  write_model(lower(line).model, folder + "/line_float.tflite");
  story.head("1. A straight line: y = 2x + 1 + noise");
  story.line(
      "   100 samples, one Dense(1) layer, SGD with rate 0.01, batches of 32, 100 epochs: "
      "learned y = {:.2f}x + {:.2f}",
      line.variables[0].value.span<float>()[0], line.variables[1].value.span<float>()[0]);
  const auto all = measure_twins(folder + "/line", data, data, false);
  tell(all, false, "line", story);
  judge(all, data, "mse", story);
}

void picture_step(const std::string& folder, const Dataset& train, const Dataset& test,
                  Context& context, Story& story) {
  save(train, folder + "/pictures_train.npz");
  save(test, folder + "/pictures_test.npz");
  const std::string architecture = sequential_json(
      {16, 16, 1},
      {conv2d_json(12, 3, "relu"), max_pool_json(2), conv2d_json(16, 3, "relu"), max_pool_json(2),
       conv2d_json(24, 3, "relu"), global_average_json(), dense_json(kPictureClasses, "softmax")});
  FitOptions options;
  options.loss.kind = LossKind::kSparseCrossEntropy;
  options.epochs = 24;
  options.batch_size = 16;
  options.optimizer.learning_rate = 0.02;
  options.optimizer.momentum = 0.9;
  options.seed = 3;
  options.progress = context.progress();
  const double start = seconds_now();
  const KerasModel pictures =
      trained(read_keras_json(architecture, "pictures", {3}), train, options);
  context.clear_progress();
  write_model(lower(pictures).model, folder + "/pictures_float.tflite");
  story.line("");
  story.head("2. Pictures: which of four shadings has the disk?");
  story.line(
      "   {} pictures of 16x16 to learn from, {} to test, three convolutions, trained in "
      "{:.0f} s",
      train.count, test.count, seconds_now() - start);
  const auto all = measure_twins(folder + "/pictures", train, test, true);
  tell(all, true, "pictures", story);
  judge(all, test, "top1", story);
}

// The darkest picture: ranges of it alone cut off what every other picture needs.
std::size_t faintest(const Dataset& d) {
  const auto v = d.inputs[0].span<float>();
  const std::size_t row = v.size() / d.count;
  std::vector<float> peak(d.count, 0);
  for (std::size_t i = 0; i < v.size(); ++i) peak[i / row] = std::max(peak[i / row], v[i]);
  return static_cast<std::size_t>(std::min_element(peak.begin(), peak.end()) - peak.begin());
}

// What a representative_dataset that yields the same sample again and again leaves behind.
std::string break_step(const std::string& folder, const Dataset& train, const Dataset& test,
                       Story& story) {
  const std::string fl = folder + "/pictures_float.tflite";
  const std::string broken = folder + "/pictures_broken_int8.tflite";
  const Dataset same = train.subset(std::vector<std::size_t>(100, faintest(train)));
  save(same, folder + "/calibration_one_sample.npz");
  write_model(quantize_static(*read_model(fl), calibrate(fl, same)).model, broken);
  const Measured m = measure_file("broken", broken, test, true);
  story.line("");
  story.head("3. Broken on purpose");
  story.line(
      "   The same model, but its calibration yields one faint picture a hundred times: it "
      "converts without a warning,");
  story.line("   and gets {:.1f} % right with a loss of {:.4f}.", 100 * m.top1, m.loss);
  story.json["broken"] =
      Json{{"path", broken}, {"loss", json_number(m.loss)}, {"top1", json_number(m.top1)}};
  return broken;
}

Explanation explain_step(const std::string& folder, const std::string& broken,
                         const CommonOptions& common, Context& context, Story& story) {
  const std::string fl = folder + "/pictures_float.tflite", data = folder + "/pictures_test.npz";
  ExplainOptions options;
  options.threads = common.threads;
  options.fix_path = folder + "/pictures_healed_int8.tflite";
  options.progress = context.progress();
  Explanation e = explain(read_model(fl), read_model(broken), read_dataset(data), options);
  context.clear_progress();
  story.line("");
  story.head("4. Why?");
  story.line("   $ litegap explain {} {} --data {} --fix {}", fl, broken, data, options.fix_path);
  return e;
}

void indent_into(Story& story, const std::string& text) {
  story.text += "\n   ";
  for (std::size_t i = 0; i < text.size(); ++i) {
    story.text += text[i];
    if (text[i] == '\n' && i + 1 < text.size() && text[i + 1] != '\n') story.text += "   ";
  }
}

int run_demo(const DemoArguments& a, Context& context) {
  const double start = seconds_now();
  make_directories(a.out);
  Story story;
  story.color = context.color();
  line_step(a.out, story);
  const Dataset train = picture_data(800, 11), test = picture_data(600, 12);
  picture_step(a.out, train, test, context, story);
  const std::string broken = break_step(a.out, train, test, story);
  const Explanation e = explain_step(a.out, broken, a.common, context, story);
  const Json report = explain_json(e, kVersion, dialect_json(Dialect::kXnnpack));
  indent_into(story, explain_text(report, context.color()));
  write_text(a.out + "/report.html", explain_html(report));
  write_text(a.out + "/report.json", json_text(report, 1) + "\n");
  story.line("");
  if (e.fixed && e.fixed->written) {
    const Measured healed = measure_file("healed", e.fixed->path, test, true);
    story.head("5. Healed, without converting again");
    story.line("   {} gets {:.1f} % right with a loss of {:.4f}.", e.fixed->path, 100 * healed.top1,
               healed.loss);
    story.json["healed"] = Json{{"path", healed.path},
                                {"loss", json_number(healed.loss)},
                                {"top1", json_number(healed.top1)}};
  }
  story.line("   Models, data and {0}/report.html are in {0}/; done in {1:.0f} s.", a.out,
             seconds_now() - start);
  story.json["explanation"] = report;
  context.result(story.json, story.text);
  return kDone;
}

}  // namespace

void add_demo(CLI::App& app, Context& context) {
  auto a = std::make_shared<DemoArguments>();
  Verb verb =
      add_verb(app, "demo", "the whole story on data and models that the program makes itself",
               "litegap demo");
  verb.add_option("-o,--out", a->out, "folder for all files").type_name("FOLDER").show_default();
  add_common_flags(verb, a->common, kThreadFlags | kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_demo(*a, c); });
}

}  // namespace litegap
