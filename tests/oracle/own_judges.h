// Rows of the table of kernels that the registry of judges does not have, and where their judge is:
// operators whose attributes say so much that random cases need a test of their own, and random
// numbers.  No recorded case has them either; tests/kernels/ops_check.py compares them with the
// stock runtime.
#pragma once
#include "kernels/kernel.h"

namespace litegap::oracle {

struct OwnJudge {
  OpCode code;
  const char* name;  // in the file
  const char* file;
};
inline constexpr OwnJudge kOwnJudges[] = {
    {OpCode::kStablehloGather, "kStablehloGather", "tests/kernels/stablehlo_test.cc"},
    {OpCode::kStablehloScatter, "kStablehloScatter", "tests/kernels/stablehlo_test.cc"},
    {OpCode::kStablehloReduceWindow, "kStablehloReduceWindow", "tests/kernels/stablehlo_test.cc"},
    {OpCode::kStablehloAnd, "kStablehloAnd", "tests/kernels/stablehlo_test.cc"},
    {OpCode::kStablehloRngBitGenerator, "kStablehloRngBitGenerator",
     "tests/kernels/random_test.cc"},
    {OpCode::kRandomUniform, "kRandomUniform", "tests/kernels/random_test.cc"},
    {OpCode::kRandomStandardNormal, "kRandomStandardNormal", "tests/kernels/random_test.cc"},
    {OpCode::kMultinomial, "kMultinomial", "tests/kernels/random_test.cc"},
    {OpCode::kLshProjection, "LSH_PROJECTION", "tests/kernels/ops_check.py"},
};

inline bool has_own_judge(OpCode code) {
  for (const OwnJudge& o : kOwnJudges) {
    if (o.code == code) return true;
  }
  return false;
}

}  // namespace litegap::oracle
