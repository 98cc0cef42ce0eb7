// Random cases of operators on values: runs the kernel, compares every code with the judge's.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>

#include "oracle/op_case.h"
#include "oracle/values.h"

namespace litegap::oracle {

constexpr DType kCodeTypes[] = {DType::kInt8, DType::kUint8, DType::kInt16};
constexpr Dialect kAllDialects[] = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack};

// Repetitions of a random test; fewer under sanitizers.
inline int rounds(int full) {
  return std::getenv("LITEGAP_TEST_LIGHT") != nullptr ? full / 8 : full;
}

inline void expect_codes(OpCase& c, const Codes& y, Dialect dialect, const Result& want) {
  const Array got = c.output(y.type, y.quant()).run(dialect)[0];
  ASSERT_EQ(got.shape(), y.shape);
  const std::vector<std::int32_t> codes = codes_of(got);
  ASSERT_EQ(codes.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(codes[i], want[i]) << dialect_name(dialect) << ", " << dtype_name(y.type)
                                 << ": element " << i << " of " << shape_text(y.shape);
  }
}

// What the message of a refusal says; "" when the operator is not refused.
inline std::string refusal(OpCase& c, Dialect dialect) {
  try {
    c.run(dialect);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace litegap::oracle
