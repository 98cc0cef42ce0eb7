// CONV_2D, product by product.
#pragma once
#include "oracle/product.h"

namespace litegap::oracle {

Shape window_shape(const ProductCase& c);  // CONV_2D and DEPTHWISE_CONV_2D
// In the order of the window: rows, columns, input channels.
void conv_products(const ProductCase& c, const Visit& visit);

}  // namespace litegap::oracle
