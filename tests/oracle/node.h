// One operator with the values of its operands: what a judge sees, and what it says.
//
// A judge is a second, slow implementation of an operator, written from docs/numerics.md.  It gets
// a Node and gives the arrays that must come out; the registry (judges()) has one for every row of
// the table of kernels, next to a function that draws random cases for it.
//
//   Node n = …;                                    // NEG of [1 -2]
//   Verdict v = judge_of(n.op)->judge(n);          // {[-1 2]}
//   std::string wrong = disagreement(v, outputs);  // "" when every output is as it must be
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/kernel.h"
#include "oracle/grid.h"
#include "oracle/values.h"

namespace litegap::oracle {

struct Value {
  bool present = false, constant = false, variable = false, sparse = false;
  Array array;
  Quant quant;
};

struct Node {
  Op op;
  Dialect dialect = Dialect::kReference;
  std::vector<Value> in;
  std::vector<Quant> intermediates;
  std::vector<DType> out_types;
  std::vector<Quant> out_quants;

  bool has(std::size_t i) const { return i < in.size() && in[i].present; }
  const Array& array(std::size_t i) const { return in.at(i).array; }
  const Shape& shape(std::size_t i) const { return in.at(i).array.shape(); }
  DType type(std::size_t i) const { return in.at(i).array.dtype(); }
  Codes codes(std::size_t i) const;                    // an operand of codes with one scale
  Codes result(Shape shape, std::size_t i = 0) const;  // an output, its codes still to be found
  template <class A>
  const A& attrs() const {
    return std::get<A>(op.attrs);
  }
};

// What must come out.  Integers and bool equal bit for bit; floats within `tolerance` of the
// largest finite magnitude of the output, bit for bit where it is 0.
struct Verdict {
  std::vector<Array> outputs;
  double tolerance = 0;
  // Why this node cannot be judged (a value at which the runtime stops); "" where it can.
  std::string silent;
  std::vector<std::pair<std::size_t, Array>> states;  // input index: its value after the run
  double scale = 0;  // the least magnitude that the tolerance refers to
};

// "" or the first element that differs.
std::string disagreement(const Verdict& verdict, const std::vector<Array>& outputs);
std::string difference_of(const Array& got, const Array& want, double tolerance, double scale = 0);

// ---- elements of any type
std::size_t width_of(DType type);              // bytes of one element
double number(const Array& a, std::size_t i);  // complex: its real part
double imaginary(const Array& a, std::size_t i);
std::int64_t integer(const Array& a, std::size_t i);        // of integer types and bool
void put(Array& a, std::size_t i, double v);                // rounds to a float type once
void put_integer(Array& a, std::size_t i, std::int64_t v);  // modulo the word
bool is_float(DType type);
double magnitude(const Array& a);                    // the largest
bool is_codes(const Node& node, std::size_t input);  // 8 or 16 bits with a scale
std::vector<std::int64_t> integers_of(const Array& a);
std::vector<float> floats_of(const Array& a);
Array array_like(DType type, const Shape& shape, const std::vector<double>& values);

// Every output element comes from one place of `from` (a flat position), or is zero (-1).
Array pick(const Array& from, const Shape& out,
           const std::function<std::int64_t(const Shape&)>& at);
// f(index of the output) for every element.
void each(const Shape& shape, const std::function<void(const Shape&, std::size_t)>& f);
Shape broadcast_shape(const Shape& a, const Shape& b);
std::size_t axis_of(std::int64_t axis, std::size_t rank);

}  // namespace litegap::oracle
