// A random model that grows operator by operator, every one of them valid, and the list of all
// operators with their judges.
//
//   Draw draw(7);
//   Sketch s(draw);                                    // alone: fresh operands for each operator
//   s.grow(*judge_of(OpCode::kAdd), {DType::kInt8});   // one ADD of random codes
//   ModelPtr m = s.model();  s.inputs()                // the values to run it on
//
// A function of the registry draws what its operator needs: operands of fitting types and shapes,
// options, scales.  Inside of a graph operands are, where one fits, results of earlier operators.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/model.h"
#include "oracle/node.h"

namespace litegap::oracle {

struct Ask {
  DType type = DType::kFloat32;
  bool hybrid = false;  // float32 with weights of codes
};

struct Out {
  DType type;
  Quant quant = {};
};

class Sketch;

struct Judge {
  OpCode code;
  Verdict (*judge)(const Node&);
  void (*make)(Sketch&, OpCode, const Ask&);
  // An image or row of the first axis has a result of its own, whatever its neighbours are.
  bool rows_apart = false;
  const char* custom = nullptr;
};
std::span<const Judge> judges();
const Judge* judge_of(const Op& op);
// Half-precision operands widen and the result is rounded once, where the operator has them so.
// Not judged are values at which the runtime has none to compare with.
Verdict judge_node(const Judge& judge, const Node& node);

class Sketch {
 public:
  // `only`: operators that this dialect takes.
  explicit Sketch(Draw& random, bool chained = false, std::optional<Dialect> only = {})
      : draw(random), chained_(chained), only_(only) {
    model_.path = "sketch";
    model_.graphs.emplace_back();
  }
  Draw& draw;

  // ---- for the functions that draw a case
  int input(Array value, Quant quant = {});
  int constant(Array value, Quant quant = {});
  int variable(DType type, Shape shape, Quant quant = {});
  // A value of the type, from earlier or fresh, of that many axes.
  int value(DType type, std::size_t least, std::size_t most, std::int32_t longest = 5);
  int shaped(DType type, const Shape& shape);  // a value of exactly this shape
  int broadcastable(DType type, const Shape& shape);
  Array random(DType type, const Shape& shape);
  Quant quant(DType type);  // empty for types without codes
  const Tensor& at(int t) const { return model_.main().tensors[static_cast<std::size_t>(t)]; }
  const Shape& shape(int t) const { return at(t).shape; }
  int numbers(const std::vector<std::int64_t>& values, DType type = DType::kInt32);
  int scalar(std::int64_t value, DType type = DType::kInt32);
  void mark_sparse(int t) { model_.main().tensors[static_cast<std::size_t>(t)].sparse = true; }
  // False when no dialect takes it; why() says why, and the model is as it was.
  bool add(OpCode code, Attrs attrs, std::vector<int> inputs, std::vector<Out> outputs,
           std::vector<Quant> intermediates = {}, const std::string& custom = "");

  // ---- for tests
  bool grow(const Judge& judge, const Ask& ask);  // whether an operator was added
  std::size_t ops() const { return model_.main().ops.size(); }
  const std::string& why() const { return why_; }
  ModelPtr model(bool all_outputs = false);
  const std::vector<Array>& inputs() const { return inputs_; }

 private:
  int tensor(DType type, Shape shape, Quant quant);
  bool chained_;
  std::optional<Dialect> only_;
  Model model_;
  std::vector<Array> inputs_;
  std::vector<int> results_;
  std::string why_;
};

// The operator `op` of graph 0, its operands taken from `values` (by tensor).
Node node_of(const Model& model, std::size_t op, Dialect dialect, const std::vector<Array>& values);
// The same as a kernel sees it; points into the model.
OpSpec spec_of(const Model& model, std::size_t op, Dialect dialect);

// The types that a row of the table names, "any" as those that data comes in.
std::vector<Ask> asks_of(const KernelRow& row);
std::string ask_name(const Ask& ask);

// ---- the families of the registry
std::span<const Judge> move_judges();
std::span<const Judge> join_judges();
std::span<const Judge> index_judges();
std::span<const Judge> number_judges();
std::span<const Judge> code_judges();
std::span<const Judge> row_judges();
std::span<const Judge> product_judges();
std::span<const Judge> sound_judges();
std::span<const Judge> recurrent_judges();

}  // namespace litegap::oracle
