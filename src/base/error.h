// The one exception type of the project.
//
// Content errors (a broken file, data of the wrong shape, a command that makes no sense) are thrown
// as Error at five borders: reading a file, reading data, making a plan, applying an edit, parsing
// a command.  Past those borders code holds values that are proved valid and does not throw.
//
//   fail("{}: tensor {} has shape {}, expected {}", path, name, found, expected);
//
// The message is one line: what, where, expected, found.
#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace litegap {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what) : std::runtime_error(what) {}
};

[[noreturn]] inline void fail_with(fmt::string_view format, fmt::format_args args) {
  throw Error(fmt::vformat(format, args));
}
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  fail_with(format, fmt::make_format_args(args...));
}

}  // namespace litegap
