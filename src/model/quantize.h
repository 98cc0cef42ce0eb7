// Codes of floats that may lie at any address, as rows of a mapped file do: the values of
// quantize() (model.h) without arrays around them.
#pragma once
#include <cstddef>
#include <span>

#include "model/model.h"

namespace litegap {

// Whether short_codes() can make codes of `dtype`: 8 or 16 bits, one scale, no extreme zero point.
bool has_short_codes(const Quant& quant, DType dtype);
// As many codes as `codes` has room for; `real` are as many floats.
void short_codes(const std::byte* real, const Quant& quant, DType dtype,
                 std::span<std::byte> codes);

}  // namespace litegap
