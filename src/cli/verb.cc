#include "cli/verb.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <utility>

#include "base/error.h"

namespace litegap {

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

}  // namespace litegap
