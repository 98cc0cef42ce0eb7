#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace litegap {
namespace {

std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string not_a_number(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? "-" : json_text(value);
}

}  // namespace

TextTable::TextTable(std::vector<std::string> header, std::string align)
    : rows_{std::move(header)}, align_(std::move(align)) {
  align_.resize(rows_[0].size(), 'l');
}

void TextTable::row(std::vector<std::string> cells) {
  cells.resize(rows_[0].size());
  rows_.push_back(std::move(cells));
}

std::string TextTable::text(bool color, int indent) const {
  std::vector<std::size_t> widths(rows_[0].size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line(static_cast<std::size_t>(indent), ' ');
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string gap(widths[c] - width_of(row[c]), ' ');
      if (c > 0) line += "  ";
      line += align_[c] == 'r' ? gap + row[c] : row[c] + gap;
    }
    while (line.ends_with(' ')) line.pop_back();
    out += paint(color && &row == &rows_[0], "1", line) + "\n";
  }
  return out;
}

std::string paint(bool color, const char* code, const std::string& text) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

std::string bytes_text(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  const char* units[] = {"kB", "MB", "GB", "TB"};
  int unit = 0;
  for (bytes /= 1024; bytes >= 1024 && unit < 3; ++unit) bytes /= 1024;
  return fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string value_text(const Json& value, bool fraction) {
  if (!value.is_number()) return not_a_number(value);
  const double v = value.get<double>();
  return fraction ? fmt::format("{:.2f} %", 100 * v) : fmt::format("{:.5g}", v);
}

std::string delta_text(const Json& delta, bool fraction) {
  if (!delta.is_number()) return not_a_number(delta);
  const double v = delta.get<double>();
  return fraction ? fmt::format("{:+.2f} points", 100 * v) : fmt::format("{:+.4g}", v);
}

std::string decisions_text(const Json& decisions) {
  std::string text;
  for (const Json& d : decisions) {
    text += fmt::format("chosen: {} = {} ({})\n", d["item"].get<std::string>(),
                        d["chosen"].get<std::string>(), d["because"].get<std::string>());
  }
  return text;
}

}  // namespace litegap
