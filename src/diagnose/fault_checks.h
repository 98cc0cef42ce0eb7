// Inside faults: the checks, one family a file, and what they share.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "diagnose/faults.h"
#include "diagnose/weights.h"

namespace litegap {

struct FaultScan {
  const Model& model;
  const Graph& graph;
  std::vector<int> producer;
  std::vector<Weight> weights;
  std::vector<Fault> faults;

  const Tensor* tensor(int t) const {
    return t < 0 ? nullptr : &graph.tensors[static_cast<std::size_t>(t)];
  }
  // Short: names of fused layers run over several lines.
  std::string label(int o) const { return fmt::format("#{} {}", o, op(o).name()); }
  const Op& op(int o) const { return graph.ops[static_cast<std::size_t>(o)]; }
};

bool is_activation_code(DType t);  // int8, uint8, int16
bool usable_scale(float scale);    // finite, positive, normal
double code_low(DType t);
double code_high(DType t);
// Convolutions and matrix products; `input` is the activation, `bias` may be -1.
struct Product {
  int input = -1, weight = -1, bias = -1, output = -1, axis = 0;
};
bool as_product(const Graph& graph, const Op& op, Product& product);
// One number per output channel: the largest |code - zero point| of a constant int8, uint8 or int4.
std::vector<int> channel_peaks(const Tensor& weight, int axis);
// All codes of a constant int8, uint8 or int4, unpacked, zero point subtracted; empty for other
// types.
std::vector<std::int16_t> codes(const Tensor& tensor);

void check_scales(FaultScan& scan);       // C08, B13, C05
void check_constants(FaultScan& scan);    // C03, A20
void check_biases(FaultScan& scan);       // D04, D05, D06
void check_weights(FaultScan& scan);      // D01, D02, F10
void check_unsupported(FaultScan& scan);  // B12

}  // namespace litegap
