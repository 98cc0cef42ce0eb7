#include "data/drawn_rows.h"

#include <algorithm>
#include <numeric>

#include "data/dataset.h"

namespace litegap {

DrawnRows::DrawnRows(std::size_t rows, std::size_t unit, std::uint64_t seed, bool in_order)
    : unit_(unit), left_(rows / unit), in_order_(in_order), marks_(left_, kLeft), random_(seed) {}

std::vector<std::size_t> DrawnRows::next(std::size_t rows) {
  const std::size_t all = marks_.size(),
                    units = std::min(left_, std::max<std::size_t>(1, rows / unit_));
  if (units == 0) return {};
  std::vector<std::size_t> taken;
  if (in_order_ || units == all) {
    taken.resize(units);
    std::iota(taken.begin(), taken.end(), all - left_);
  } else if (units == left_) {
    taken = marked(kLeft, units);
  } else if (units <= left_ / 2) {
    taken = draw(units);
    if (units < all / 8)
      std::sort(taken.begin(), taken.end());
    else
      taken = marked(kDrawn, units);
    for (const std::size_t u : taken) marks_[u] = kTaken;
  } else {
    draw(left_ - units);
    taken = marked(kLeft, units);
    for (std::uint8_t& mark : marks_) mark = mark == kDrawn ? kLeft : kTaken;
  }
  left_ -= units;
  return rows_of(std::move(taken));
}

// Marks units of those left, each set of them as likely as any other: by trying until one is free
// where that is often so, else (Knuth: The Art of Computer Programming 2, 3.4.2, algorithm S) by
// asking each of them in turn.
std::vector<std::size_t> DrawnRows::draw(std::size_t units) {
  std::vector<std::size_t> drawn;
  drawn.reserve(units);
  const std::size_t all = marks_.size();
  if (left_ >= all / 4) {
    while (drawn.size() < units) {
      const std::size_t u = random_.below(all);
      if (marks_[u] != kLeft) continue;
      marks_[u] = kDrawn;
      drawn.push_back(u);
    }
    return drawn;
  }
  std::size_t asked = left_;
  for (std::size_t u = 0; drawn.size() < units; ++u) {
    if (marks_[u] != kLeft || random_.below(asked--) >= units - drawn.size()) continue;
    marks_[u] = kDrawn;
    drawn.push_back(u);
  }
  return drawn;
}

// The units that are marked so, rising; there are `count` of them.
std::vector<std::size_t> DrawnRows::marked(Mark which, std::size_t count) const {
  // Room for one more, for a loop without a branch that half of the time goes the other way.
  std::vector<std::size_t> units(count + 1);
  std::size_t found = 0;
  for (std::size_t u = 0; u < marks_.size(); ++u) {
    units[found] = u;
    found += marks_[u] == which;
  }
  units.pop_back();
  return units;
}

std::vector<std::size_t> DrawnRows::rows_of(std::vector<std::size_t> units) const {
  if (unit_ == 1) return units;
  std::vector<std::size_t> rows;
  rows.reserve(units.size() * unit_);
  for (const std::size_t u : units) {
    for (std::size_t k = 0; k < unit_; ++k) rows.push_back(u * unit_ + k);
  }
  return rows;
}

DrawnRows drawn_rows(const Dataset& data, std::uint64_t seed, bool in_order) {
  return {data.count, data.paired_labels() ? std::size_t{2} : std::size_t{1}, seed, in_order};
}

}  // namespace litegap
