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

struct VerbEntry {
  std::string_view name;
  void (*add)(CLI::App& app, Context& context);
};
constexpr VerbEntry kVerbs[] = {
    {"demo", add_demo},         {"inspect", add_inspect}, {"eval", add_eval},
    {"explain", add_explain},   {"train", add_train},     {"convert", add_convert},
    {"quantize", add_quantize}, {"tune", add_tune},       {"run", add_run},
    {"bench", add_bench},       {"merge", add_merge},     {"ops", add_ops},
};

// The verb that the command line names, or all of them: to describe every flag of every verb takes
// a quarter of the time in which the program starts.
void add_verbs(CLI::App& app, Context& context, std::string_view name) {
  const auto* one = std::ranges::find(kVerbs, name, &VerbEntry::name);
  if (one != std::end(kVerbs)) return one->add(app, context);
  for (const VerbEntry& verb : kVerbs) verb.add(app, context);
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
  add_verbs(line.app(), context, argc > 1 ? argv[1] : "");
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
