// The rows of a data set in pieces drawn at random: whatever a run has seen when it is stopped is a
// fair sample, and every piece rises, which is how memory likes to be read.
//
//   DrawnRows draw(10000, 1, seed);
//   auto some = draw.next(256);     // 256 of 10000, rising
//   auto more = draw.next(10000);   // the other 9744, rising
//   DrawnRows pairs(10, 2, seed);
//   auto two = pairs.next(2);       // such as {6, 7}: rows of a unit stay together
//
// No order of all rows is made: units are marked in a byte each, those wanted or, where it is less
// work, those to be left for later.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace litegap {

class DrawnRows {
 public:
  // Units of `unit` rows each; rows that do not fill one are left out.  In order: not drawn, the
  // pieces follow one another as the rows do.
  DrawnRows(std::size_t rows, std::size_t unit, std::uint64_t seed, bool in_order = false);
  // Rows not seen before: `rows` of them in whole units, at least one unit, or all that are left.
  std::vector<std::size_t> next(std::size_t rows);
  std::size_t left() const { return left_ * unit_; }

 private:
  enum Mark : std::uint8_t { kLeft, kTaken, kDrawn };
  std::vector<std::size_t> draw(std::size_t units);
  std::vector<std::size_t> marked(Mark which, std::size_t count) const;
  std::vector<std::size_t> rows_of(std::vector<std::size_t> units) const;

  std::size_t unit_ = 1, left_ = 0;
  bool in_order_ = false;
  std::vector<std::uint8_t> marks_;  // by unit
  Random random_;
};

struct Dataset;
// Of a data set: labels of pairs keep their two samples together.
DrawnRows drawn_rows(const Dataset& data, std::uint64_t seed, bool in_order = false);

}  // namespace litegap
