// From bytes to a random valid graph of any operators, run by a plan and judged node by node
// (oracle/graph_check.h): integers and codes bit for bit, floats by the rule of their operator.
#include <cstdio>
#include <cstdlib>
#include <span>

#include "oracle/graph_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace litegap::oracle;
  if (size == 0) return 0;
  Draw draw(std::span<const std::uint8_t>(data, size));
  const GraphCheck check = check_graph(draw, draw.in(1, 12));
  if (!check.wrong.empty()) {
    std::fprintf(stderr, "graph_fuzz: %s\n", check.wrong.c_str());
    std::abort();
  }
  return 0;
}
