// Comma-separated text.  Inside of data/ only.
#pragma once
#include <string>
#include <vector>

#include "model/array.h"

namespace litegap {

// All fields as text: quoted fields may hold separators, line breaks and doubled quotes.  The
// separator is a comma, or a semicolon or tab when the first line has no comma.  Every row has the
// same number of fields; empty lines are skipped.
struct Table {
  std::string path;
  std::vector<std::string> header;  // empty: the first row is data
  std::vector<std::vector<std::string>> rows;
  std::vector<std::size_t> lines;  // of each row in the file, from 1

  std::size_t columns() const { return rows.empty() ? header.size() : rows.front().size(); }
  // By header name, else by number from 0 (negative: from the end); throws Error listing the names.
  std::size_t column(const std::string& name) const;
  // -1 when no header has that name.
  int find(const std::string& name) const;
  // Throws Error with line and column on anything that is not a number.
  double number(std::size_t row, std::size_t column) const;
};
Table read_table(const std::string& path);

// Columns of numbers as int64 when `integers_stay` and all are whole, else float32; [rows,
// columns], or [rows] for one column when `flat`.
Array table_array(const Table& table, const std::vector<std::size_t>& columns, bool integers_stay,
                  bool flat);

}  // namespace litegap
