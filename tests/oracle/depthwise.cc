#include "oracle/depthwise.h"

#include <algorithm>
#include <array>

namespace litegap::oracle {

void depthwise_products(const ProductCase& c, const Visit& visit) {
  const auto outputs = static_cast<std::size_t>(c.o), inputs = static_cast<std::size_t>(c.c);
  each_window_cell(c, [&](std::size_t y, std::size_t x, std::size_t tap) {
    for (std::size_t o = 0; o < outputs; ++o)
      visit(y * outputs + o, x * inputs + o / (outputs / inputs), tap * outputs + o);
  });
}

void depthwise_products_by_column(const ProductCase& c, const Visit& visit) {
  std::vector<std::array<std::size_t, 3>> cells;
  each_window_cell(c, [&](std::size_t y, std::size_t x, std::size_t tap) {
    cells.push_back({y, x, tap});
  });
  const auto width = static_cast<std::size_t>(c.kw);
  std::stable_sort(cells.begin(), cells.end(), [width](const auto& a, const auto& b) {
    return a[0] != b[0] ? a[0] < b[0] : a[2] % width < b[2] % width;
  });
  const auto outputs = static_cast<std::size_t>(c.o);
  for (const auto& cell : cells) {
    for (std::size_t o = 0; o < outputs; ++o)
      visit(cell[0] * outputs + o, cell[1] * outputs + o, cell[2] * outputs + o);
  }
}

}  // namespace litegap::oracle
