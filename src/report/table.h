// Text for a terminal: aligned tables and numbers as people read them.
#pragma once
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace litegap {

// Columns as wide as their widest cell, two spaces apart; the first row is the header.  Widths
// count characters, not bytes.
class TextTable {
 public:
  // `align` has one letter a column, 'l' or 'r'; missing ones are 'l'.
  TextTable(std::vector<std::string> header, std::string align);
  void row(std::vector<std::string> cells);
  bool empty() const { return rows_.size() == 1; }
  // Every line is indented; with colours the header is bold.
  std::string text(bool color = false, int indent = 0) const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::string align_;
};

// The text in a colour or style (an SGR code such as "1" or "31") when asked.
std::string paint(bool color, const char* code, const std::string& text);
// 12345 -> "12.1 kB", by 1024.
std::string bytes_text(double bytes);
// One line for every decision of a report's list: "chosen: metric = top1 (whole labels)".
std::string decisions_text(const Json& decisions);
// A metric's value: "97.46 %" for a fraction, else five digits; what is not a number as it is.
std::string value_text(const Json& value, bool fraction);
// A difference of two values: "+0.12 points" for fractions, else four digits with sign.
std::string delta_text(const Json& delta, bool fraction);

}  // namespace litegap
