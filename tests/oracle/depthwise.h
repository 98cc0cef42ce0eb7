// DEPTHWISE_CONV_2D, product by product; ProductCase::o = c * multiplier.
#pragma once
#include "oracle/product.h"

namespace litegap::oracle {

// Every cell of every window that lies in the image: output pixel, input pixel, tap.
using WindowVisit = std::function<void(std::size_t, std::size_t, std::size_t)>;
void each_window_cell(const ProductCase& c, const WindowVisit& visit);

void depthwise_products(const ProductCase& c, const Visit& visit);
// The same, each window column by column: XNNPACK's order of float sums for a multiplier of 1.
void depthwise_products_by_column(const ProductCase& c, const Visit& visit);

}  // namespace litegap::oracle
