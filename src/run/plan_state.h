// The inside of a Plan, shared by the planner (plan.cc) and the engine (engine.cc).  Include
// run/plan.h instead.
//
// A *slot* is one value in one form: a tensor as the file types it, or as float32 real values.  A
// *step* is a prepared kernel with the slots it reads and writes.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "run/plan.h"

namespace litegap {

struct Plan::State {
  enum class Form : std::uint8_t { kFile, kReal };
  struct Slot {
    int tensor = -1;
    Form form = Form::kFile;
    DType dtype = DType::kFloat32;
    Shape shape;
    std::size_t bytes = 0;  // of one sample
    std::size_t offset = 0;
    std::optional<Array> constant;
    bool persistent = false;        // own place in the arena, never shared by lifetime
    bool variable = false;          // state between runs
    std::int64_t initial_code = 0;  // of a variable
    const Quant* fake = nullptr;    // round to this after the operator ran
  };
  struct Step {
    int op = -1;  // -1: a conversion
    Dialect dialect = Dialect::kXnnpack;
    std::unique_ptr<Kernel> kernel;
    std::vector<int> inputs, outputs;  // slots; -1 = absent
  };
  struct Port {  // a graph input or output
    int tensor = -1;
    int slot = -1;
    int real_slot = -1;  // inputs: the float32 twin, where an operator reads it
    const Quant* quant = nullptr;
    bool fake = false;  // inputs: real values are rounded to the tensor's scale
    int seen() const { return real_slot >= 0 ? real_slot : slot; }  // by observers
  };

  ModelPtr model;
  Numerics numerics;
  std::vector<Slot> slots;
  std::vector<Step> steps;
  std::vector<Port> inputs, outputs;
  std::size_t samples = 1;  // values that are no constants hold so many, one behind the other
  std::size_t arena_bytes = 0, scratch_bytes = 0;
  // Set where shapes or control flow depend on the data: there are no steps, only ports, and the
  // graph is walked (run/walk.h).
  std::optional<PlanOptions> walked;

  const Slot& slot(int i) const { return slots[static_cast<std::size_t>(i)]; }
};

// Gives every slot a place: persistent ones their own, the others share an arena by lifetime.
void lay_out(Plan::State& state);

}  // namespace litegap
