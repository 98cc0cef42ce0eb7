// The command-line door: parses, runs one verb, turns what it throws into a line and an exit code.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"

namespace litegap {
namespace {

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

int complain(const std::string& what) {
  std::fprintf(stderr, "litegap: error: %s\n", one_line(what).c_str());
  return kWrong;
}

int defect(const std::string& what) {
  std::fprintf(stderr,
               "litegap: defect: %s; this is a fault of litegap %s: please report it with the "
               "command line\n",
               one_line(what).c_str(), kVersion);
  return kDefect;
}

CommandLine::Words words() {
  return {
      "litegap",
      "litegap tells why a TensorFlow model and its TensorFlow Lite twin disagree, and "
      "heals the file.\n",
      fmt::format("litegap {} ({}, reproduces {})", kVersion, instruction_set(), kRuntimeVersion),
      "litegap VERB --help tells everything about a verb.\n"
      "Exit codes: 0 done, 1 wrong input or command, 2 a stated limit is broken, "
      "3 stopped early, 4 a defect of litegap."};
}

void add_verbs(CLI::App& app, Context& context) {
  add_demo(app, context);
  add_inspect(app, context);
  add_eval(app, context);
  add_explain(app, context);
  add_train(app, context);
  add_convert(app, context);
  add_quantize(app, context);
  add_tune(app, context);
  add_run(app, context);
  add_bench(app, context);
  add_merge(app, context);
  add_ops(app, context);
}

int run_verb(Context& context) {
  try {
    return context.action(context);
  } catch (const Stopped&) {
    context.clear_progress();
    std::fprintf(stderr, "litegap: stopped\n");
    return kStopped;
  } catch (const Error& e) {
    context.clear_progress();
    return complain(e.what());
  } catch (const std::bad_alloc&) {
    context.clear_progress();
    return complain("out of memory");
  } catch (const std::exception& e) {
    context.clear_progress();
    return defect(e.what());
  }
}

int run_main(int argc, char** argv) {
  CommandLine line(words());
  Context context;
  Context::catch_signals();
  add_verbs(line.app(), context);
  if (argc < 2) {
    std::fputs(line.help().c_str(), stderr);
    return kWrong;
  }
  const std::string verb = argv[1];
  if (!verb.starts_with('-') && !line.has_verb(verb)) {
    return complain("no verb named " + verb + " (litegap --help lists them)");
  }
  const CommandLine::Parsed parsed = line.parse(argc, argv);
  if (parsed.done) return kDone;
  if (!parsed.wrong.empty()) {
    return complain(parsed.wrong + " (litegap --help tells what is possible)");
  }
  if (!context.action) return complain("no verb given (litegap --help lists them)");
  return run_verb(context);
}

}  // namespace
}  // namespace litegap

int main(int argc, char** argv) {
  try {
    return litegap::run_main(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "litegap: defect: %s; please report it with the command line\n", e.what());
    return litegap::kDefect;
  }
}
