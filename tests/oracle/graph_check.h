// Random graphs, run by a plan and judged node by node.
//
// The plan computes the whole graph: values share memory, constants are folded, kernels are packed.
// The judge takes every operator by itself, with the values that the plan found for its operands,
// and says what must come out.  A plan that keeps every value and one that does not must agree.
//
//   Draw draw(seed);
//   GraphCheck check = check_graph(draw, 12);     // check.wrong == "" and check.judged > 0
#pragma once
#include <string>

#include "oracle/sketch.h"

namespace litegap::oracle {

struct GraphCheck {
  std::string wrong;  // "" or what differs, with the graph
  int ops = 0, judged = 0, silent = 0;
};

// A graph of at most that many operators of one dialect, drawn from the whole registry.
Sketch sketch_graph(Draw& draw, int ops, Dialect dialect);
GraphCheck check_graph(Draw& draw, int ops);

}  // namespace litegap::oracle
