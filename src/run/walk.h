// Running a graph that no fixed plan can hold: its shapes are decided by the data (WHERE, a
// computed RESHAPE, NON_MAX_SUPPRESSION), its operators are other graphs (IF, WHILE, CALL_ONCE,
// STABLEHLO_COMPOSITE), or it keeps resource variables.
//
// A Plan prepares every kernel once, for shapes that it knows.  Here the operators are walked one
// by one with the arrays at hand: a kernel is prepared when its operator is reached for the first
// time, kept, and prepared again only when a shape, or a value that decides a shape, has changed.
// Each graph that is called has a frame of its own; a value is freed behind its last reader.
//
//   if cond: y = a + a             frame of graph 0:  cond, a, y
//   else:    y = a                 frame of graph 1:  a, y     (run by the IF, its outputs copied)
//
//   y = a[a > 0]                   WHERE is prepared with the values of its condition
//
// Inside of run/ only: make_plan() decides, run() in plan.h is the door.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "run/plan_state.h"

namespace litegap {

// IF, WHILE, CALL_ONCE, STABLEHLO_COMPOSITE and the operators of resource variables: run here, not
// by kernels.
bool is_control(OpCode code);

// Whether graph 0 has an operator that a fixed plan never runs.
bool needs_walking(const Model& model);

// Throws Error by name for what can be seen without running: an operator without a kernel, a value
// that nothing computes, a graph number out of range, a type that holds no numbers.
void check_walk(const Model& model);

// One input: its value in the file's type, and the real one where the caller gave that.
struct WalkInput {
  Array file;
  std::optional<Array> real;
};

class Walker {
 public:
  Walker(const Plan::State& plan, const PlanOptions& options);
  void reset();  // variable tensors back to zero; resources stay, as in the runtime
  // Throws Error where shapes or values do not fit.
  std::vector<Array> run(const std::vector<WalkInput>& inputs, Observer* observer);
  // The last value of a tensor of graph 0 (for plans made with keep_values); empty when it has
  // none.
  Array tensor(int index) const;

 private:
  struct Value {
    std::optional<Array> file, real;  // the forms it has so far
  };
  struct Frame {
    int graph = 0;
    std::vector<Value> values;
    std::vector<int> readers;  // still to come
  };
  struct Prepared {
    std::vector<Shape> shapes;
    std::uint64_t values = 0;  // hash of what the shapes depend on
    bool by_value = false;     // the kernel asks for its inputs' values
    std::vector<Array> held;   // inputs whose values the kernel was prepared with; it may point to
                               // them
    std::unique_ptr<Kernel> kernel;
    std::vector<Shape> outputs;
    std::vector<DType> types;
  };

  const Graph& graph(int g) const { return plan_.model->graphs[static_cast<std::size_t>(g)]; }
  const Tensor& info(int g, int t) const { return graph(g).tensors[static_cast<std::size_t>(t)]; }
  std::string label(int g, std::size_t op) const;
  bool has_real_form(int g, int t) const;
  Arith arith_of(int g, std::size_t op) const;
  Dialect dialect_of(int g, std::size_t op, bool by_value) const;
  void note_biases();

  std::vector<Value> run_graph(int g, std::vector<Value> inputs, int depth);
  void run_op(Frame& f, std::size_t index, int depth);
  bool run_control(Frame& f, const Op& op, std::size_t index, int depth);
  bool run_resource(Frame& f, const Op& op, std::size_t index);
  void run_kernel(Frame& f, const Op& op, std::size_t index);
  Prepared& prepared(Frame& f, const Op& op, std::size_t index, const std::vector<Array>& inputs,
                     bool real);
  void prepare_now(Prepared& p, const Frame& f, const Op& op, std::size_t index,
                   const std::vector<Array>& inputs, bool real);
  const Array& value(Frame& f, int t, bool real, std::size_t op);
  Array real_constant(int g, int t) const;
  void store(Frame& f, int t, Value value);
  void give(Frame& f, const std::vector<int>& outputs, std::vector<Value> values,
            std::size_t index);
  bool truth(Frame& f, int t, std::size_t op);
  void release(Frame& f, const Op& op);
  int input_of(const Frame& f, const Op& op, std::size_t index, std::size_t input) const;
  // `op` is -1 for what comes from outside, `t` for scratch: both only for messages.
  Array fresh(int g, int t, DType type, const Shape& shape, std::ptrdiff_t op) const;
  Array counted(const Array& a, int g, int t, std::ptrdiff_t op) const;
  void expect_room(std::uint64_t bytes, int g, int t, std::ptrdiff_t op) const;

  const Plan::State& plan_;
  PlanOptions options_;
  Observer* observer_ = nullptr;
  // Bytes of the arrays that are alive; each of them takes its own off when it goes.
  std::shared_ptr<std::atomic<std::uint64_t>> live_ =
      std::make_shared<std::atomic<std::uint64_t>>(0);
  std::map<std::pair<int, std::size_t>, Prepared> prepared_;
  Array scratch_;                                   // of the kernel that runs; kept for the next
  std::map<std::pair<int, int>, Value> variables_;  // variable tensors, by graph and tensor
  std::map<std::string, Array> resources_;
  std::map<std::int32_t, std::string> handles_;  // the number that stands for a resource
  std::set<int> called_;                         // graphs that a CALL_ONCE has run
  std::map<std::pair<int, int>, Quant> biases_;  // scale that the kernels use, s_input * s_weights
  std::vector<Value> main_;                      // of the last run, where they are kept
};

}  // namespace litegap
