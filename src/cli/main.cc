// The command-line door: parses, runs one verb, turns what it throws into a line and an exit code.
#include <CLI/CLI.hpp>
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

// One line and one example a verb.
class Help : public CLI::Formatter {
 public:
  std::string make_subcommand(const CLI::App* verb) const override {
    std::string example = verb->get_footer();
    const std::string lead = "Example: ";
    if (example.starts_with(lead)) example.erase(0, lead.size());
    return fmt::format("  {:<10}{}\n            $ {}\n", verb->get_name(), verb->get_description(),
                       example);
  }
};

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

void describe(CLI::App& app, Context& context) {
  app.description(
      "litegap tells why a TensorFlow model and its TensorFlow Lite twin disagree, and "
      "heals the file.\n");
  app.name("litegap");
  app.formatter(std::make_shared<Help>());
  app.set_version_flag(
      "--version",
      fmt::format("litegap {} ({}, reproduces {})", kVersion, instruction_set(), kRuntimeVersion),
      "print version, instruction set and the runtime reproduced");
  app.require_subcommand(1);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.get_formatter()->label("Subcommands", "Verbs");
  app.get_formatter()->column_width(28);
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
  app.footer(
      "litegap VERB --help tells everything about a verb.\n"
      "Exit codes: 0 done, 1 wrong input or command, 2 a stated limit is broken, "
      "3 stopped early, 4 a defect of litegap.");
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
  CLI::App app;
  Context context;
  Context::catch_signals();
  describe(app, context);
  if (argc < 2) {
    std::fputs(app.help().c_str(), stderr);
    return kWrong;
  }
  const std::string verb = argv[1];
  if (verb.rfind("-", 0) != 0 &&
      app.get_subcommands([&](const CLI::App* a) { return a->get_name() == verb; }).empty()) {
    return complain("no verb named " + verb + " (litegap --help lists them)");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return complain(std::string(e.what()) + " (litegap --help tells what is possible)");
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
