#include "data/csv.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/file.h"

namespace litegap {
namespace {

bool to_number(std::string_view text, double& value) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

char separator_of(std::string_view text) {
  const std::string_view first = text.substr(0, text.find('\n'));
  for (const char c : {',', ';', '\t'}) {
    if (first.find(c) != std::string_view::npos) return c;
  }
  return ',';
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& path) : text_(text), path_(path) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
    separator_ = separator_of(text_);
  }
  // False at the end.
  bool row(std::vector<std::string>& fields, std::size_t& line) {
    while (at_ < text_.size()) {
      fields.clear();
      line = line_;
      bool more = true;
      while (more) {
        fields.push_back(field());
        more = at_ < text_.size() && text_[at_] == separator_;
        if (more) ++at_;
      }
      end_of_line();
      if (fields.size() > 1 || !fields[0].empty()) return true;
    }
    return false;
  }

 private:
  std::string field() {
    std::string value;
    if (at_ < text_.size() && text_[at_] == '"') return quoted();
    while (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n' &&
           text_[at_] != '\r') {
      value += text_[at_++];
    }
    return value;
  }
  std::string quoted() {
    std::string value;
    const std::size_t start = line_;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') {
          ++at_;
          return value;
        }
        ++at_;
      } else if (text_[at_] == '\n') {
        ++line_;
      }
      value += text_[at_];
    }
    fail("{}: line {}: a quoted field is not closed", path_, start);
  }
  void end_of_line() {
    if (at_ < text_.size() && text_[at_] == '\r') ++at_;
    if (at_ >= text_.size()) return;
    if (text_[at_] != '\n') fail("{}: line {}: text behind a closing quote", path_, line_);
    ++at_;
    ++line_;
  }

  std::string_view text_;
  const std::string& path_;
  char separator_ = ',';
  std::size_t at_ = 0, line_ = 1;
};

}  // namespace

int Table::find(const std::string& name) const {
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (header[i] == name) return static_cast<int>(i);
  }
  return -1;
}

std::size_t Table::column(const std::string& name) const {
  if (const int found = find(name); found >= 0) return static_cast<std::size_t>(found);
  int index = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
  const int n = static_cast<int>(columns());
  if (error == std::errc() && end == name.data() + name.size() && index < n && index >= -n) {
    return static_cast<std::size_t>(index < 0 ? index + n : index);
  }
  std::string names;
  for (const std::string& h : header) names += (names.empty() ? "" : ", ") + h;
  fail("{}: no column '{}', expected {}", path, name,
       header.empty() ? fmt::format("a number from 0 to {} (the file has no header)", n - 1)
                      : "one of " + names);
}

double Table::number(std::size_t row, std::size_t column) const {
  double value = 0;
  if (to_number(rows[row][column], value)) return value;
  fail("{}: line {}, column {}{}: expected a number, found '{}'", path, lines[row], column + 1,
       header.empty() ? "" : " (" + header[column] + ")", rows[row][column].substr(0, 40));
}

Table read_table(const std::string& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  Reader reader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  Table table;
  table.path = path;
  std::vector<std::string> fields;
  std::size_t line = 0, expected = 0;
  while (reader.row(fields, line)) {
    if (expected == 0) {
      expected = fields.size();
      bool numbers = true;
      double ignored = 0;
      for (const std::string& f : fields) numbers = numbers && to_number(f, ignored);
      if (!numbers) {
        table.header = fields;
        continue;
      }
    }
    if (fields.size() != expected) {
      fail("{}: line {} has {} columns, expected {}", path, line, fields.size(), expected);
    }
    table.rows.push_back(fields);
    table.lines.push_back(line);
  }
  if (table.rows.empty()) fail("{}: no rows of data", path);
  return table;
}

Array table_array(const Table& table, const std::vector<std::size_t>& columns, bool integers_stay,
                  bool flat) {
  const std::size_t n = table.rows.size();
  std::vector<double> values;
  values.reserve(n * columns.size());
  bool whole = integers_stay;
  for (std::size_t r = 0; r < n; ++r) {
    for (const std::size_t c : columns) {
      const double v = table.number(r, c);
      whole = whole && v == std::floor(v) && std::fabs(v) < 0x1p53;
      values.push_back(v);
    }
  }
  Shape shape{static_cast<std::int32_t>(n)};
  if (!flat || columns.size() != 1) shape.push_back(static_cast<std::int32_t>(columns.size()));
  Array array = Array::zeros(whole ? DType::kInt64 : DType::kFloat32, shape);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (whole) {
      reinterpret_cast<std::int64_t*>(array.mutable_data())[i] =
          static_cast<std::int64_t>(values[i]);
    } else {
      reinterpret_cast<float*>(array.mutable_data())[i] = static_cast<float>(values[i]);
    }
  }
  return array;
}

}  // namespace litegap
