// FULLY_CONNECTED by weights of which blocks are left out (sparse.cc).
#pragma once
#include <memory>

#include "kernels/kernel.h"

namespace litegap {

// int8 or float32 input of `rows` rows, int8 weights stored in blocks of 1 x 16.  Refuses other
// layouts, which the runtime refuses or misreads.
std::unique_ptr<Kernel> prepare_sparse(const OpSpec& spec, std::size_t rows);

}  // namespace litegap
