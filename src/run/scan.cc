#include "run/scan.h"

#include <cmath>
#include <functional>

namespace litegap {
namespace {

template <class T>
void widen(const T* p, I8& out) {
  for (int j = 0; j < 8; ++j) out[j] = p[j];
}
struct Adder {
  void add(F8& sum, const F8& v) const { sum += v; }
  void add_square(F8& sum, const F8& v) const {
    for (int j = 0; j < 8; ++j) sum[j] = std::fmaf(v[j], v[j], sum[j]);
  }
};

}  // namespace
}  // namespace litegap

#define LITEGAP_SCAN
#include "run/scan_body.h"

namespace litegap {
namespace {

constexpr ScanLoops kLoops{all_floats,
                           positive_floats,
                           code_sums<std::int8_t>,
                           code_sums<std::uint8_t>,
                           code_sums<std::int16_t>,
                           float_errors,
                           code_errors<std::int8_t>,
                           code_errors<std::uint8_t>};

void add_finite(std::span<const float> v, Scan& to) {
  for (const float x : v) {
    if (!std::isfinite(x)) continue;
    const double d = static_cast<double>(x);
    to.low = std::min(to.low, d);
    to.high = std::max(to.high, d);
    to.sum += d;
    to.squares += d * d;
    ++to.count;
  }
}

// A chunk with NaN or infinities, or with squares beyond float, is taken again, one by one.
void add_chunk(const ScanLoops& loops, std::span<const float> v, Scan& to) {
  FloatSums sums;
  const std::size_t whole = v.size() / kScanStep * kScanStep;
  if (to.low != 0 || !loops.positive(v.data(), whole, sums)) loops.floats(v.data(), whole, sums);
  if (!std::isfinite(sums.squares)) return add_finite(v, to);
  // Of +0 and -0 every instruction set may keep another: + 0 is the former.
  to.low = std::min(to.low, static_cast<double>(sums.low) + 0.0);
  to.high = std::max(to.high, static_cast<double>(sums.high) + 0.0);
  to.sum += sums.sum;
  to.squares += sums.squares;
  to.count += whole;
  add_finite(v.subspan(whole), to);
}

void scan_floats(const ScanLoops& loops, std::span<const float> v, Scan& to) {
  for (std::size_t i = 0; i < v.size(); i += kScanChunk)
    add_chunk(loops, v.subspan(i, std::min(kScanChunk, v.size() - i)), to);
}

double real_of(std::int32_t code, const Quant& q) {
  return static_cast<double>(q.scale[0]) * (code - static_cast<double>(q.zero_point[0]));
}

// Real moments of codes c: sum of s (c - z) and of its square, from exact integer sums.
void add_codes(const CodeSums& c, std::size_t n, const Quant& q, Scan& to) {
  const double s = static_cast<double>(q.scale[0]), z = static_cast<double>(q.zero_point[0]);
  const double count = static_cast<double>(n), sum = static_cast<double>(c.sum);
  const double a = real_of(c.low, q), b = real_of(c.high, q);
  to.low = std::min(to.low, std::min(a, b));
  to.high = std::max(to.high, std::max(a, b));
  to.sum += s * (sum - count * z);
  to.squares += s * s * (static_cast<double>(c.squares) - 2 * z * sum + count * z * z);
  to.count += n;
}

template <class T>
void scan_codes(void (*loop)(const T*, std::size_t, KnownCodes, CodeSums&), std::span<const T> v,
                const Quant& q, Scan& to) {
  using Codes = std::numeric_limits<T>;
  const KnownCodes known{to.low == real_of(Codes::min(), q), to.high == real_of(Codes::max(), q)};
  CodeSums all{std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min(),
               0, 0};
  const auto add = [&](const CodeSums& c) {
    all.low = std::min(all.low, c.low);
    all.high = std::max(all.high, c.high);
    all.sum += c.sum;
    all.squares += c.squares;
  };
  const std::size_t whole = v.size() / kScanLanes * kScanLanes;
  if (whole > 0) loop(v.data(), std::min(kCodeChunk, whole), known, all);
  for (std::size_t i = kCodeChunk; i < whole; i += kCodeChunk) {
    CodeSums c;
    loop(v.data() + i, std::min(kCodeChunk, whole - i), known, c);
    add(c);
  }
  if (whole < v.size()) {  // the rest, filled up with its first value
    T rest[kScanLanes];
    const std::size_t count = v.size() - whole, more = kScanLanes - count;
    std::copy(v.begin() + static_cast<std::ptrdiff_t>(whole), v.end(), rest);
    std::fill(rest + count, rest + kScanLanes, rest[0]);
    CodeSums c;
    loop(rest, kScanLanes, known, c);
    const std::int64_t first = rest[0], n = static_cast<std::int64_t>(more);
    add({c.low, c.high, c.sum - n * first, c.squares - n * first * first});
  }
  if (!v.empty()) add_codes(all, v.size(), q, to);
}

// False, and nothing added, where a sum of squares does not fit into float.
bool add_sums(const ErrorSums& sums, TwinErrors& to) {
  if (!std::isfinite(sums.signal) || !std::isfinite(sums.error)) return false;
  to.signal += sums.signal;
  to.error += sums.error;
  to.bias += sums.bias;
  to.largest = std::max(to.largest, static_cast<double>(sums.largest));
  return true;
}

// loop(first, count, sums) over whole vectors; real(i) is the found value of the rest.
template <class Loop, class Real>
void add_errors(std::span<const float> exact, Loop loop, Real real, TwinErrors& to) {
  const auto one_by_one = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const double a = static_cast<double>(exact[i]), d = static_cast<double>(real(i)) - a;
      to.signal += a * a;
      to.bias += d;
      to.error += d * d;
      to.largest = std::max(to.largest, std::fabs(d));
    }
  };
  const std::size_t whole = exact.size() / kScanStep * kScanStep;
  for (std::size_t i = 0; i < whole; i += kScanChunk) {
    const std::size_t n = std::min(kScanChunk, whole - i);
    ErrorSums sums;
    loop(i, n, sums);
    if (!add_sums(sums, to)) one_by_one(i, i + n);
  }
  one_by_one(whole, exact.size());
  to.count += exact.size();
}

template <class T, class F>
void compare_codes(F loop, std::span<const float> exact, std::span<const T> found, const Quant& q,
                   TwinErrors& to) {
  const float scale = q.scale[0];
  const auto zero = static_cast<std::int32_t>(q.zero_point[0]);
  add_errors(
      exact,
      [&](std::size_t i, std::size_t n, ErrorSums& sums) {
        loop(exact.data() + i, found.data() + i, n, scale, zero, sums);
      },
      [&](std::size_t i) { return scale * static_cast<float>(found[i] - zero); }, to);
}

bool one_scale(const Quant& q) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  return q.scale.size() == 1 && q.zero_point[0] > -kMost && q.zero_point[0] < kMost;
}

}  // namespace

void Scan::merge(const Scan& other) {
  low = std::min(low, other.low);
  high = std::max(high, other.high);
  sum += other.sum;
  squares += other.squares;
  count += other.count;
}

const ScanLoops& portable_scan_loops() { return kLoops; }

const ScanLoops& best_scan_loops() {
  static const ScanLoops& best = []() -> const ScanLoops& {
    if (const ScanLoops* avx512 = avx512_scan_loops()) return *avx512;
    if (const ScanLoops* avx2 = avx2_scan_loops()) return *avx2;
    return portable_scan_loops();
  }();
  return best;
}

void scan(const ScanLoops& loops, const Array& value, const Quant& quant, Scan& to) {
  if (value.dtype() == DType::kFloat32) return scan_floats(loops, value.span<float>(), to);
  if (!one_scale(quant)) return;
  switch (value.dtype()) {
    case DType::kInt8:
      return scan_codes(loops.int8, value.span<std::int8_t>(), quant, to);
    case DType::kUint8:
      return scan_codes(loops.uint8, value.span<std::uint8_t>(), quant, to);
    case DType::kInt16:
      return scan_codes(loops.int16, value.span<std::int16_t>(), quant, to);
    default:
      return;
  }
}

void scan(const Array& value, const Quant& quant, Scan& to) {
  scan(best_scan_loops(), value, quant, to);
}

void scan(std::span<const float> value, Scan& to) { scan_floats(best_scan_loops(), value, to); }

void compare_twin(const ScanLoops& loops, const Array& exact, const Array& found,
                  const Quant& quant, TwinErrors& to) {
  if (exact.dtype() != DType::kFloat32 || exact.elements() != found.elements() || exact.empty())
    return;
  const auto a = exact.span<float>();
  if (found.dtype() == DType::kFloat32) {
    const auto b = found.span<float>();
    return add_errors(
        a,
        [&](std::size_t i, std::size_t n, ErrorSums& sums) {
          loops.errors(a.data() + i, b.data() + i, n, sums);
        },
        [&](std::size_t i) { return b[i]; }, to);
  }
  if (quant.empty()) return;
  if (one_scale(quant) && found.dtype() == DType::kInt8)
    return compare_codes(loops.errors_int8, a, found.span<std::int8_t>(), quant, to);
  if (one_scale(quant) && found.dtype() == DType::kUint8)
    return compare_codes(loops.errors_uint8, a, found.span<std::uint8_t>(), quant, to);
  compare_twin(loops, exact, dequantize(found, quant), quant, to);
}

void compare_twin(const Array& exact, const Array& found, const Quant& quant, TwinErrors& to) {
  compare_twin(best_scan_loops(), exact, found, quant, to);
}

}  // namespace litegap
