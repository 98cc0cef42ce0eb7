// What observers ask of every value: extremes and moments, in one look at memory that is still
// warm.
//
//   Scan s;
//   scan(value, quant, s);          // s.low, s.high, s.sum / s.count …, of the finite values
//   TwinErrors e;
//   compare_twin(exact, found, quant, e);   // e.error / e.signal: relative squared error
//
// Values are taken in chunks of 16384, a chunk in two halves of whole steps of 32 and what is left.
// In a half 32 float sums run side by side (those of squares by fused multiply-adds); those of the
// second are added to those of the first, which take what is left, eight at a time, and are joined
// to eight; those, chunks, and what does not fill eight lanes add up in double.  The order is part
// of the definition, so every instruction set gives the same bits: AVX-512 takes both halves at
// once, as it would wait for its sums otherwise.  Errors are summed in the same way, by steps of
// 16.  Moments are exact to about 10^-6 of their size, extremes exactly.  Codes are summed as
// integers, exactly, and become real numbers at the end.
//
// A scan is bound by its operations, four a vector, so an extreme that cannot move is not looked
// for: where 0 has been seen and nothing below (behind a ReLU), the greatest bit pattern, as an
// unsigned integer, is the largest value, or tells that there is a negative one, and the chunk is
// taken again; codes cannot pass the bounds of their type.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "model/model.h"

namespace litegap {

// Of the finite values seen.
struct Scan {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  double sum = 0, squares = 0;
  std::size_t count = 0;
  bool any() const { return count > 0; }
  void merge(const Scan& other);
};

// Between the value of a float twin (the signal) and what was found in its place.
struct TwinErrors {
  double signal = 0;   // sum of squares of the float values
  double bias = 0;     // sum of the errors
  double error = 0;    // sum of squares of the errors
  double largest = 0;  // absolute error
  std::size_t count = 0;
};

// Adds the values of an array: float32, or codes of 8 or 16 bits with one scale; others are left
// out.
void scan(const Array& value, const Quant& quant, Scan& to);
void scan(std::span<const float> value, Scan& to);

// Adds exact float32 values against float32 values or codes as above; differing sizes are left out.
void compare_twin(const Array& exact, const Array& found, const Quant& quant, TwinErrors& to);

// The loops of one instruction set, over n values: of floats a multiple of kScanStep and at most
// kScanChunk, of codes a multiple of kScanLanes and at most kCodeChunk, whose squares fit into
// eight 32-bit sums.
inline constexpr std::size_t kScanStep = 8, kScanLanes = 32, kScanChunk = 16384,
                             kCodeChunk = 131072;
// Where the second half of n floats begins, and of n errors.
constexpr std::size_t scan_half(std::size_t n) { return n / 64 * 32; }
constexpr std::size_t error_half(std::size_t n) { return n / 32 * 16; }
struct FloatSums {
  float low = 0, high = 0;
  double sum = 0, squares = 0;
};
struct CodeSums {
  std::int32_t low = 0, high = 0;
  std::int64_t sum = 0, squares = 0;
};
struct ErrorSums {
  double signal = 0, bias = 0, error = 0;
  float largest = 0;  // absolute
};
// Eight lanes, as the compiler's vectors.
typedef float F8 __attribute__((vector_size(32)));
typedef std::int32_t I8 __attribute__((vector_size(32)));
// Extremes that are known to be those of the type: loops over codes need not look for them, and say
// them.
struct KnownCodes {
  bool low = false, high = false;
};
struct ScanLoops {
  void (*floats)(const float* v, std::size_t n, FloatSums& out);
  // the same of values of which none is below +0, where `low` becomes 0; false, and `out` of no
  // use, where one is
  bool (*positive)(const float* v, std::size_t n, FloatSums& out);
  void (*int8)(const std::int8_t* v, std::size_t n, KnownCodes known, CodeSums& out);
  void (*uint8)(const std::uint8_t* v, std::size_t n, KnownCodes known, CodeSums& out);
  void (*int16)(const std::int16_t* v, std::size_t n, KnownCodes known, CodeSums& out);
  // errors of found - exact; of codes: scale * (code - zero) - exact
  void (*errors)(const float* exact, const float* found, std::size_t n, ErrorSums& out);
  void (*errors_int8)(const float* exact, const std::int8_t* found, std::size_t n, float scale,
                      std::int32_t zero, ErrorSums& out);
  void (*errors_uint8)(const float* exact, const std::uint8_t* found, std::size_t n, float scale,
                       std::int32_t zero, ErrorSums& out);
};
const ScanLoops& portable_scan_loops();
const ScanLoops* avx2_scan_loops();    // null where the machine has no AVX2 and FMA
const ScanLoops* avx512_scan_loops();  // null where the machine has no AVX-512 with VNNI
const ScanLoops& best_scan_loops();
// The same with chosen loops: tests compare every table of the machine.
void scan(const ScanLoops& loops, const Array& value, const Quant& quant, Scan& to);
void compare_twin(const ScanLoops& loops, const Array& exact, const Array& found,
                  const Quant& quant, TwinErrors& to);

}  // namespace litegap
