// Flags, messages and results that all verbs share.
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"

namespace litegap {
namespace {

std::atomic<bool> gentle{false};
std::atomic<int> interrupts{0};

extern "C" void on_interrupt(int) {
  if (++interrupts > 1 || !gentle) {
    static const char kText[] = "\nlitegap: stopped\n";
    const auto ignored = ::write(2, kText, sizeof kText - 1);
    (void)ignored;
    ::_exit(kStopped);
  }
}

double parse_number(const std::string& text, std::size_t& used) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  used = error == std::errc() ? static_cast<std::size_t>(end - text.data()) : 0;
  return value;
}

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

// The line on stderr that shows how far the work is.
struct Context::Meter {
  std::mutex guard;
  bool drawn = false;
  double last = 0, stage_start = 0;
  std::string stage;

  void draw(std::string_view name, double done) {
    const std::lock_guard<std::mutex> lock(guard);
    const double now = seconds_now();
    if (stage != name) {
      stage = std::string(name);
      stage_start = now;
    }
    if (now - last < 0.1 && done < 1) return;
    last = now;
    std::string line = stage;
    if (done >= 0) line += fmt::format(" {:3.0f} %", done * 100);
    const double spent = now - stage_start;
    if (done > 0.02 && done < 1 && spent > 1) {
      line += fmt::format(", {:.0f} s to go", spent * (1 - done) / done);
    }
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    drawn = true;
  }
  void clear() {
    const std::lock_guard<std::mutex> lock(guard);
    if (drawn) std::fputs("\r\033[K", stderr);
    drawn = false;
  }
};

void Context::apply(const Verb& verb) {
  json_ = verb.given("--json").value_or(json_);
  color_ = verb.given("--color").value_or(color_);
  quiet_ = verb.given("--quiet").has_value();
}

bool Context::color() const {
  if (color_ != "auto") return color_ == "always";
  return is_terminal(1) && std::getenv("NO_COLOR") == nullptr;
}

void Context::note(const std::string& line) const {
  if (quiet_) return;
  if (meter_) meter_->clear();
  std::fprintf(stderr, "litegap: %s\n", line.c_str());
}

Progress Context::progress() {
  const bool show = !quiet_ && is_terminal(2);
  if (show && !meter_) meter_ = std::make_shared<Meter>();
  return [this, show](std::string_view stage, double done) {
    if (stop_requested()) throw Stopped();
    if (show) meter_->draw(stage, done);
  };
}

void Context::clear_progress() {
  if (meter_) meter_->clear();
}

void Context::catch_signals() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  std::signal(SIGXFSZ, SIG_IGN);
}
void Context::stop_gently() { gentle = true; }
bool Context::stop_requested() const { return gentle && interrupts > 0; }

void Context::result(const Json& value, const std::string& text) const {
  if (meter_) meter_->clear();
  const auto put = [](const std::string& out) {
    if (std::fwrite(out.data(), 1, out.size(), stdout) != out.size() || std::fflush(stdout) != 0) {
      fail("stdout: cannot write the result");
    }
  };
  if (json_ == "-") {
    put(json_text(value, 1) + "\n");
    return;
  }
  if (!json_.empty()) write_text(json_, json_text(value, 1) + "\n");
  put(text);
}

void on_run(Verb& verb, Context& context, std::function<int(Context&)> body) {
  verb.on_parsed([verb, &context, body = std::move(body)] {
    context.apply(verb);
    context.action = body;
  });
}

namespace {

void add_data_flags(Verb& verb, CommonOptions& o) {
  verb.add_option("--data", o.data,
                  "samples: .npz (x or x0, x1 ... or one array per input name; "
                  "y), .npy or .csv")
      .type_name("PATH");
  verb.add_option("--labels", o.labels, "labels or targets: .npy or .csv").type_name("PATH");
  verb.add_option("--target", o.target, "column of a .csv that holds the labels")
      .type_name("COLUMN");
  verb.add_option("--limit", o.limit, "use at most so many samples").type_name("N").positive();
  verb.add_option("--input-map", o.input_map,
                  "how stored values become model input: x/255, x/127.5-1, (x-128)/128, bgr, chw, "
                  "bgr:x/255")
      .type_name("EXPR");
}

void add_metric_flags(Verb& verb, CommonOptions& o) {
  verb.add_option("--task", o.task, "guessed when absent")
      .type_name("TASK")
      .one_of({"classification", "regression", "detection", "segmentation", "autoencoder",
               "embedding"});
  verb.add_option("--metric", o.metric,
                  "top1, top5, binary, auc, mse, rmse, mae, r2, map50, recon_auc, pair_auc, heads, "
                  "agreement, kl or cosine; guessed when absent")
      .type_name("NAME");
  verb.add_option("--claimed", o.claimed, "the value that training reported").type_name("VALUE");
}

void add_dialect_flag(Verb& verb, CommonOptions& o) {
  verb.add_option(
          "--dialect", [&o](const std::string& name) { o.dialect = dialect_of(name); },
          "whose integer arithmetic (default xnnpack, what Python users run)")
      .type_name("NAME")
      .one_of({"reference", "builtin", "xnnpack"});
}

void add_output_flags(Verb& verb, CommonOptions& o) {
  verb.add_option("--json", o.json, "write the result value there; - is stdout, without the text")
      .type_name("PATH|-");
  verb.add_flag("--quiet", o.quiet, "no progress and no notes on stderr");
  verb.add_option("--color", o.color, "auto (default), never or always")
      .type_name("WHEN")
      .one_of({"auto", "never", "always"});
}

}  // namespace

void add_common_flags(Verb& verb, CommonOptions& o, unsigned groups) {
  if (groups & kDataFlags) add_data_flags(verb, o);
  if (groups & kMetricFlags) add_metric_flags(verb, o);
  if (groups & kCalibrationFlags) {
    verb.add_option("--calibration", o.calibration, "what the calibration was given")
        .type_name("PATH");
  }
  if (groups & kDialectFlags) add_dialect_flag(verb, o);
  if (groups & kThreadFlags) {
    verb.add_option("--threads", o.threads, "default: all cores").type_name("N").range(1, 1024);
  }
  if (groups & kRuntimeFlags & 8) {
    verb.add_option("--seed", o.seed, "of every random choice (default 1)").type_name("N");
  }
  if (groups & kBudgetFlags) {
    verb.add_option(
            "--budget", [&o](const std::string& text) { o.budget = parse_seconds(text); },
            "time for the whole work, for example 30s or 10m")
        .type_name("TIME");
  }
  if (groups & kMemoryFlags) {
    verb.add_option(
            "--memory", [&o](const std::string& text) { o.memory = parse_bytes(text); },
            "memory for activations, for example 512M or 4G")
        .type_name("BYTES");
  }
  if (groups & kLimitFlags) {
    verb.add_option("--fail-above", o.fail_above,
                    "exit with 2 when the loss is larger, with evidence: points (0.01) for "
                    "fractions, else the metric's own unit")
        .type_name("LOSS");
    verb.add_flag("--fail-undecided", o.fail_undecided, "exit with 2 also when undecided");
  }
  if (groups & kReportFlags) {
    verb.add_option("--report", o.report, "write the page there").type_name("PATH.html");
  }
  if (groups & kOutputFlags) add_output_flags(verb, o);
}

double parse_seconds(const std::string& text) {
  std::size_t used = 0;
  const double number = parse_number(text, used);
  const std::string unit = text.substr(used);
  const double factor = unit.empty() || unit == "s" ? 1
                        : unit == "m"               ? 60
                        : unit == "h"               ? 3600
                        : unit == "ms"              ? 0.001
                                                    : 0;
  if (used == 0 || factor == 0 || !(number > 0)) {
    fail("time '{}': expected a positive number with s, m or h, for example 30s or 10m", text);
  }
  return number * factor;
}

std::uint64_t parse_bytes(const std::string& text) {
  std::size_t used = 0;
  const double number = parse_number(text, used);
  std::string unit = lower_case(text.substr(used));
  if (!unit.empty() && unit.back() == 'b') unit.pop_back();
  if (!unit.empty() && unit.back() == 'i') unit.pop_back();
  const double factor = unit.empty()  ? 1
                        : unit == "k" ? 0x1p10
                        : unit == "m" ? 0x1p20
                        : unit == "g" ? 0x1p30
                        : unit == "t" ? 0x1p40
                                      : 0;
  if (used == 0 || factor == 0 || !(number > 0) || number * factor > 0x1p60) {
    fail("memory '{}': expected a positive number with k, M or G, for example 512M or 4G", text);
  }
  return static_cast<std::uint64_t>(number * factor);
}

Dataset load_data(const CommonOptions& options, bool in_file) {
  if (options.data.empty()) fail("--data is missing: expected a .npz, .npy or .csv file");
  DataOptions how;
  how.labels_path = options.labels;
  how.target_column = options.target;
  how.in_file = in_file;
  return read_dataset(options.data, how);
}

Dataset limited_data(const CommonOptions& options) {
  const Dataset data = load_data(options);
  if (options.limit == 0 || options.limit >= data.count) return data;
  std::vector<std::size_t> rows(data.paired_labels() ? options.limit / 2 * 2 : options.limit);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  return data.subset(rows);
}

}  // namespace litegap
