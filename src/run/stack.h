// Many samples in one run: where a sample is tiny, what surrounds the arithmetic is what costs.
//
// Values of a stacked plan hold N samples one behind the other, each of the shape that the plan
// says.  Every operator becomes one of two things, decided when the plan is made:
//
//   stacked      its kernel, prepared for operands with N times as many rows on axis 0, where the
//                formula of no row looks at another row or at its own place
//   each sample  the kernel of one sample, run N times along the buffers; always right
//
// so that the bits of a sample never depend on its neighbours:
//
//   FULLY_CONNECTED [1, 640]    -> [64, 640] by one product of 64 rows
//   MEAN over axis 0 of [3, 5]  -> 64 runs over [3, 5]: rows of different samples must not meet
//   DEQUANTIZE of 10 codes      -> 64 runs: the built-in kernel rounds in blocks of 8, and with 640
//                                  codes other elements would be the ones that fill no block
//
// RESHAPE and its kin copy.  State (variable tensors) exists once a sample.  Inside of run/ only.
#pragma once
#include <cstddef>
#include <memory>

#include "kernels/kernel.h"
#include "run/plan_state.h"

namespace litegap {

// Turns a laid-out plan of one sample into one of `samples`: state.samples is set and every step
// replaced; the places of the slots have to be laid out again.  `most_bytes`: activations of all
// samples together; fewer samples are taken to keep below, possibly one: then nothing changes.
// Nor does it where an activation has scales along an axis.
void stack_samples(Plan::State& state, std::size_t samples, std::uint64_t most_bytes);

}  // namespace litegap
