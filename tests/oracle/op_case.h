// One operator run directly, outside of a plan, for tests of kernels.
//
//   OpCase c{OpCode::kPad, NoAttrs{}};
//   c.add(values).constant(paddings);
//   Array y = c.run(Dialect::kBuiltin)[0];
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace litegap::oracle {

class OpCase {
 public:
  OpCase(OpCode code, Attrs attrs, std::size_t outputs = 1);
  OpCase& add(Array value, Quant quant = {});       // known only at run time
  OpCase& constant(Array value, Quant quant = {});  // known when preparing
  OpCase& variable(Array value, Quant quant = {});  // state; state() gives its value after run()
  OpCase& absent();
  OpCase& intermediate(Quant quant);
  OpCase& output(DType type, Quant quant = {});  // of every output; default: input 0's
  OpCase& types(std::vector<DType> types);       // of the outputs, one by one
  OpCase& custom(std::string name);              // of a CUSTOM operator
  OpCase& body(std::vector<OpCode> codes);       // of the graph that combines two values
  OpCase& shape(Shape shape);                    // of every output, where the file decides it
  OpCase& block_scales(Array scales);            // of the last input
  OpCase& sparse(int block);                     // the last input is stored so
  std::vector<Array> run(Dialect dialect);       // throws Error when refused
  const Array& value(std::size_t input) const { return inputs_[input].value; }

 private:
  struct Input {
    Array value;
    Quant quant;
    bool present = true, constant = false, variable = false;
    std::optional<Array> block_scales = {};
    int sparse_block = 0;
  };
  Op op_;
  std::size_t outputs_;
  std::vector<Input> inputs_;
  std::vector<Quant> intermediates_;
  std::optional<DType> type_;
  std::vector<DType> types_;
  std::vector<OpCode> body_;
  Shape shape_;
  Quant quant_;
};

Quant quant_of(float scale, std::int64_t zero_point);

// The flat position of an index in a dense array, and back.
std::size_t flat(const Shape& shape, const Shape& index);
Shape unflat(const Shape& shape, std::size_t position);

}  // namespace litegap::oracle
