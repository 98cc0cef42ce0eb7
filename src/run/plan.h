// Numerics is data; a Plan is a model and a numerics proved compatible.
//
// Three arithmetics, chosen per operator:
//   kInteger  what the file says: integer kernels of a dialect on integer tensors, float kernels on
//             float tensors, hybrid kernels where float meets int8 weights
//   kReal     float32: quantized constants are dequantized, QUANTIZE and DEQUANTIZE copy
//   kFake     as kReal, then every quantized output is rounded to its tensor's scale and range
// Where two arithmetics meet the plan inserts a conversion, so that any mix runs.
//
//   Plan plan = make_plan(model, {});                       // the file as the default runtime runs
//   it Plan real = make_plan(model, {.arith = Arith::kReal});  // rung R2 Workspace w(plan);
//   run(plan, w, inputs);                                   // w.output(0) now holds the result
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernel.h"
#include "model/model.h"

namespace litegap {

enum class Arith : std::uint8_t { kReal, kFake, kInteger };
const char* arith_name(Arith arith);

struct Numerics {
  Arith arith = Arith::kInteger;
  Dialect dialect = Dialect::kXnnpack;
  std::map<int, Arith> overrides;  // operator of graph 0: computed otherwise
  std::map<int, Dialect> kernels;  // operator of graph 0: another dialect
  std::set<int> unquantized;       // kFake: this tensor of graph 0 is not rounded
  std::map<int, Array> constants;  // real value of a constant tensor in kReal and kFake
};

struct PlanOptions {
  std::vector<Shape> input_shapes;  // empty, or one per graph input: resizes the model
  std::uint64_t memory_limit = 0;   // bytes of activations; 0 = no limit
  bool keep_values = false;         // every tensor keeps its own buffer: Workspace::tensor() works
  // Samples that a run may take at once (run/stack.h); Plan::samples() says how many it does.  The
  // bits of each are those of a run of its own.
  std::size_t samples = 1;
  std::uint64_t stack_bytes = std::uint64_t{256} << 10;  // activations of all of them: stay in L2
};

// Receives every value while a plan runs.  Looking does not change the result.
class Observer {
 public:
  virtual ~Observer() = default;
  // What follows, up to the next call, belongs to this sample of the run.
  virtual void on_sample(std::size_t sample) { (void)sample; }
  // `op` is -1 for graph inputs.  `value` is float32 for an operator computed in kReal or kFake.
  virtual void on_value(int op, int tensor, const Array& value) = 0;
  // A state (variable tensor) that the operator has just updated.
  virtual void on_state(int op, int tensor, const Array& value) {
    (void)op;
    (void)tensor;
    (void)value;
  }
  virtual void on_accumulators(int op, const Array& sums) {
    (void)op;
    (void)sums;
  }
  virtual bool wants_accumulators() const { return false; }
};

class Workspace;

class Plan {
 public:
  const Model& model() const;
  const Numerics& numerics() const;
  // Types and shapes as they enter (the file's) and leave (the file's where the last operator was
  // computed in kInteger, float32 where it was computed in kReal or kFake).
  std::size_t input_count() const;
  std::size_t output_count() const;
  DType input_type(std::size_t i) const;
  const Shape& input_shape(std::size_t i) const;
  DType output_type(std::size_t i) const;
  const Shape& output_shape(std::size_t i) const;
  const Quant& input_quant(std::size_t i) const;
  const Quant& output_quant(std::size_t i) const;
  std::uint64_t activation_bytes() const;
  // Shapes and types are those of one sample; a run takes from one to this many.
  std::size_t samples() const;
  // True where shapes or control flow depend on the data (run/walk.h): outputs may have other
  // shapes than output_shape() says, and run() may throw Error for what only the values show.
  bool walked() const;

  struct State;  // plan.cc
  std::shared_ptr<const State> state;
};

// Throws Error: unsupported operator or type (by name), shapes that do not fit, cyclic graphs, …
Plan make_plan(ModelPtr model, const Numerics& numerics, const PlanOptions& options = {});

// Buffers of one run at a time.  Variable tensors live here between runs until reset().
class Workspace {
 public:
  // With several `threads` a run shares its large operators among them, for the shortest time of
  // one sample; many samples take less time with a thread and a workspace each.  The same bits.
  explicit Workspace(const Plan& plan, int threads = 1);
  void reset();  // variable tensors back to zero (the code of zero)
  // Valid until the next run; [samples, ...] for a plan of several samples.
  const Array& output(std::size_t i) const;
  // Where a run reads input `i`, one sample behind the other in the plan's input type: who fills
  // every input so calls run_filled().  Empty where run() has more to do than to copy: a walked
  // plan, or an input whose real values are read.
  std::span<std::byte> input_room(std::size_t i);
  // Last value of a tensor of graph 0, in the file's type where it was computed so; an empty array
  // if the plan does not compute it.  Only for plans made with keep_values.
  Array tensor(int index) const;

  struct Buffers;
  std::shared_ptr<Buffers> buffers;
};

// `inputs[i]` has the plan's input type and shape; for a quantized input a float32 array of the
// same shape is accepted too and taken as the real value.  A plan of several samples takes up to
// Plan::samples() of them one behind the other; the outputs of the missing ones are undefined.
// Throws Error only for inputs of the wrong type or shape, and for a walked plan.
void run(const Plan& plan, Workspace& workspace, std::span<const Array> inputs,
         Observer* observer = nullptr);
// The same for `samples` samples that already are in every Workspace::input_room().  Cannot fail.
void run_filled(const Plan& plan, Workspace& workspace, std::size_t samples,
                Observer* observer = nullptr);

}  // namespace litegap
