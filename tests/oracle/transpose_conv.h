// TRANSPOSE_CONV as the scatter it is defined by (docs/numerics.md, section 2.5).
#pragma once
#include "oracle/product.h"

namespace litegap::oracle {

// Input pixel by input pixel, input channel, tap: the reference kernel's order.
void transpose_conv_products(const ProductCase& c, const Visit& visit);
// Tap by tap, input channel: XNNPACK's order of float sums.
void transpose_conv_products_by_tap(const ProductCase& c, const Visit& visit);

}  // namespace litegap::oracle
