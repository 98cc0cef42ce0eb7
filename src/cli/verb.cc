#include "cli/verb.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <utility>

#include "base/error.h"

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

}  // namespace

VerbOption& VerbOption::required() {
  option_->required();
  return *this;
}
VerbOption& VerbOption::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}
VerbOption& VerbOption::show_default() {
  option_->capture_default_str();
  return *this;
}
VerbOption& VerbOption::one_of(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words));
  return *this;
}
VerbOption& VerbOption::positive() {
  option_->check(CLI::PositiveNumber);
  return *this;
}
VerbOption& VerbOption::not_negative() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}
VerbOption& VerbOption::range(int low, int high) {
  option_->check(CLI::Range(low, high));
  return *this;
}
VerbOption& VerbOption::range(double low, double high) {
  option_->check(CLI::Range(low, high));
  return *this;
}
VerbOption& VerbOption::split_at(char delimiter) {
  option_->delimiter(delimiter);
  return *this;
}

template <class T>
VerbOption Verb::add_option(const std::string& names, T& value, const std::string& help) {
  return VerbOption(app_->add_option(names, value, help));
}
template VerbOption Verb::add_option(const std::string&, std::string&, const std::string&);
template VerbOption Verb::add_option(const std::string&, std::vector<std::string>&,
                                     const std::string&);
template VerbOption Verb::add_option(const std::string&, int&, const std::string&);
template VerbOption Verb::add_option(const std::string&, std::uint64_t&, const std::string&);
template VerbOption Verb::add_option(const std::string&, double&, const std::string&);
template VerbOption Verb::add_option(const std::string&, std::optional<double>&,
                                     const std::string&);

void Verb::add_flag(const std::string& names, bool& value, const std::string& help) {
  app_->add_flag(names, value, help);
}

VerbOption Verb::add_option(const std::string& names, std::function<void(const std::string&)> take,
                            const std::string& help) {
  const auto say = [take = std::move(take)](const std::string& text) {
    try {
      take(text);
    } catch (const Error& e) {
      throw CLI::ValidationError(e.what(), CLI::ExitCodes::ValidationError);
    }
  };
  return VerbOption(app_->add_option_function<std::string>(names, say, help));
}

std::optional<std::string> Verb::given(const std::string& name) const {
  const CLI::Option* option = app_->get_option_no_throw(name);
  if (option == nullptr || option->count() == 0) return {};
  return option->as<std::string>();
}

void Verb::on_parsed(std::function<void()> body) { app_->callback(std::move(body)); }

Verb add_verb(CLI::App& app, const std::string& name, const std::string& does,
              const std::string& example) {
  CLI::App* verb = app.add_subcommand(name, does);
  verb->footer("Example: " + example);
  return Verb(*verb);
}

CommandLine::CommandLine(const Words& words) : app_(std::make_unique<CLI::App>(words.does)) {
  app_->name(words.name);
  app_->formatter(std::make_shared<Help>());
  app_->set_version_flag("--version", words.version,
                         "print version, instruction set and the runtime reproduced");
  app_->require_subcommand(1);
  app_->get_formatter()->label("SUBCOMMAND", "VERB");
  app_->get_formatter()->label("Subcommands", "Verbs");
  app_->get_formatter()->column_width(28);
  app_->footer(words.footer);
}
CommandLine::~CommandLine() = default;

std::string CommandLine::help() const { return app_->help(); }

bool CommandLine::has_verb(const std::string& name) const {
  return !app_->get_subcommands([&](const CLI::App* a) { return a->get_name() == name; }).empty();
}

CommandLine::Parsed CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::Success& e) {
    app_->exit(e);
    return {true, ""};
  } catch (const CLI::ParseError& e) {
    return {false, e.what()};
  }
  return {};
}

}  // namespace litegap
