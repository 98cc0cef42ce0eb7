#include "oracle/fully_connected.h"

namespace litegap::oracle {

void fully_connected_products(const ProductCase& c, const Visit& visit) {
  const auto rows = static_cast<std::size_t>(c.n), depth = static_cast<std::size_t>(c.c),
             outputs = static_cast<std::size_t>(c.o);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t o = 0; o < outputs; ++o) {
      for (std::size_t i = 0; i < depth; ++i) visit(r * outputs + o, r * depth + i, o * depth + i);
    }
  }
}

}  // namespace litegap::oracle
