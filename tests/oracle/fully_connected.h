// FULLY_CONNECTED, product by product: n rows of c values, weights [o, c].
#pragma once
#include "oracle/product.h"

namespace litegap::oracle {

void fully_connected_products(const ProductCase& c, const Visit& visit);

}  // namespace litegap::oracle
