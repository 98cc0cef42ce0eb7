// One verb of the command line and its options.  What a verb says here is all that it knows of the
// library that parses, which is compiled in one file only: it costs each that reads it seconds.
//
//   Verb verb = add_verb(app, "inspect", "what a file really is", "litegap inspect model.tflite");
//   verb.add_option("model", a->model, "the model").required().type_name("MODEL");
//   verb.add_flag("--quiet", a->quiet, "no progress");
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace litegap {

// An option that was added; each call says one thing more and returns the same option.
class VerbOption {
 public:
  explicit VerbOption(CLI::Option* option) : option_(option) {}
  VerbOption& required();
  VerbOption& type_name(const std::string& name);  // what --help shows for the value
  VerbOption& show_default();                      // of the variable, as it is now
  VerbOption& one_of(const std::vector<std::string>& words);
  VerbOption& positive();
  VerbOption& not_negative();
  VerbOption& range(int low, int high);
  VerbOption& range(double low, double high);
  VerbOption& split_at(char delimiter);  // one argument holds several values

 private:
  CLI::Option* option_;
};

class Verb {
 public:
  explicit Verb(CLI::App& app) : app_(&app) {}
  // `names`: "-o,--out", or "model" for one without a name.  `value` lives as long as the command
  // line: std::string, std::vector<std::string>, int, std::uint64_t, double, std::optional<double>.
  template <class T>
  VerbOption add_option(const std::string& names, T& value, const std::string& help);
  // One whose text is handed over; what it throws as Error is said of the command line.
  VerbOption add_option(const std::string& names, std::function<void(const std::string&)> take,
                        const std::string& help);
  void add_flag(const std::string& names, bool& value, const std::string& help);
  // What the command line says for an option: empty when it is not on it.
  std::optional<std::string> given(const std::string& name) const;
  void on_parsed(std::function<void()> body);

 private:
  CLI::App* app_;
};

Verb add_verb(CLI::App& app, const std::string& name, const std::string& does,
              const std::string& example);

// The program as --help shows it: its verbs and what surrounds them.
class CommandLine {
 public:
  struct Words {
    std::string name, does, version, footer;
  };
  explicit CommandLine(const Words& words);
  ~CommandLine();
  CLI::App& app() { return *app_; }
  std::string help() const;
  bool has_verb(const std::string& name) const;

  // How parsing ended: `done` after --help or --version, which it printed; else `wrong` says what
  // is wrong, empty when a verb is to run.
  struct Parsed {
    bool done = false;
    std::string wrong;
  };
  Parsed parse(int argc, char** argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace litegap
