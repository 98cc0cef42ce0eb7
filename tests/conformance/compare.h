// How the conformance tests compare a result with a recorded one, and how they count.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/file.h"
#include "kernels/kernel.h"
#include "model/model.h"

namespace litegap {

// The directory with the recorded results, or "" when it is not on this machine.
inline std::string shared_directory() {
  const char* set = std::getenv("LITEGAP_SHARED");
  const std::string path = set != nullptr ? set : std::string(LITEGAP_SOURCE_DIR) + "/../shared";
  return is_directory(path) ? path : "";
}

// Empty when `got` is as good as `want`: integers bit for bit; floats within rel * (largest finite
// magnitude of `want`), values that are not finite equal in kind.
inline std::string difference(const Array& got, const Array& want, double rel);

namespace detail {

inline double as_double(const Array& a, std::size_t i) {
  switch (a.dtype()) {
    case DType::kFloat32:
      return a.span<float>()[i];
    case DType::kFloat64:
      return a.span<double>()[i];
    case DType::kComplex64:  // the parts in turn
      return reinterpret_cast<const float*>(a.data())[i];
    case DType::kUint16:
      return a.span<std::uint16_t>()[i];
    case DType::kUint32:
      return a.span<std::uint32_t>()[i];
    case DType::kFloat16:
      return float_from_half(reinterpret_cast<const std::uint16_t*>(a.data())[i]);
    case DType::kInt8:
      return a.span<std::int8_t>()[i];
    case DType::kUint8:
      return a.span<std::uint8_t>()[i];
    case DType::kInt16:
      return a.span<std::int16_t>()[i];
    case DType::kInt32:
      return a.span<std::int32_t>()[i];
    case DType::kInt64:
      return static_cast<double>(a.span<std::int64_t>()[i]);
    case DType::kBool:
      return a.span<bool>()[i] ? 1 : 0;
    default:
      return 0;
  }
}

inline bool same_value(double got, double want, double tolerance) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return want == got;
  return std::abs(got - want) <= tolerance;
}

}  // namespace detail

inline std::string difference(const Array& got, const Array& want, double rel) {
  if (got.dtype() != want.dtype())
    return fmt::format("type {}, expected {}", dtype_name(got.dtype()), dtype_name(want.dtype()));
  if (got.shape() != want.shape())
    return fmt::format("shape {}, expected {}", shape_text(got.shape()), shape_text(want.shape()));
  if (got.byte_size() == 0 || std::memcmp(got.data(), want.data(), got.byte_size()) == 0) return "";
  const DType t = want.dtype();
  const bool complex = t == DType::kComplex64;  // compared part by part
  const bool real = complex || t == DType::kFloat32 || t == DType::kFloat64 || t == DType::kFloat16;
  double peak = 0;
  const std::size_t n = want.elements() * (complex ? 2 : 1);
  if (real) {
    for (std::size_t i = 0; i < n; ++i) {
      const double v = std::abs(detail::as_double(want, i));
      if (std::isfinite(v)) peak = std::max(peak, v);
    }
  }
  const double tolerance = real ? peak * (t == DType::kFloat16 ? 1e-3 : rel) : 0;
  std::size_t bad = 0, first = 0;
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double g = detail::as_double(got, i), w = detail::as_double(want, i);
    if (detail::same_value(g, w, tolerance)) continue;
    if (bad++ == 0) first = i;
    if (std::isfinite(g) && std::isfinite(w)) largest = std::max(largest, std::abs(g - w));
  }
  if (bad == 0) return "";
  return fmt::format(
      "{} of {} elements differ, by up to {:.3g}{}; element {} is {:.9g}, expected {:.9g}", bad,
      want.elements(), largest,
      real ? fmt::format(" ({:.2g} of the peak)", peak > 0 ? largest / peak : 0) : "", first,
      detail::as_double(got, first), detail::as_double(want, first));
}

// Counts by operator, type and dialect; prints itself as a table.
class Tally {
 public:
  struct Count {
    int passed = 0, failed = 0, mistrusted = 0;
    int by_machine = 0, by_machine_passed = 0;  // float cases of XNNPACK (page.h)
    std::map<std::string, int> skipped;
  };
  Count& at(const std::string& op, const std::string& type, const std::string& dialect) {
    return counts_[{op, type, dialect}];
  }
  std::string text() const {
    std::string s = fmt::format("{:<32}{:<18}{:<10}{:>7}{:>7}{:>11}  skipped\n", "operator", "type",
                                "dialect", "passed", "failed", "mistrusted");
    std::map<std::string, Count> sums;
    for (const auto& [key, c] : counts_) {
      std::string skipped;
      for (const auto& [reason, n] : c.skipped)
        skipped += fmt::format("{}{} ({})", skipped.empty() ? "" : ", ", reason, n);
      s += fmt::format("{:<32}{:<18}{:<10}{:>7}{:>7}{:>11}  {}\n", std::get<0>(key),
                       std::get<1>(key), std::get<2>(key), c.passed, c.failed, c.mistrusted,
                       skipped);
      Count& sum = sums[std::get<2>(key)];
      sum.passed += c.passed;
      sum.failed += c.failed;
      sum.mistrusted += c.mistrusted;
      for (const auto& [reason, n] : c.skipped) sum.skipped["all"] += n;
    }
    for (auto& [dialect, c] : sums) {
      s += fmt::format("{:<32}{:<18}{:<10}{:>7}{:>7}{:>11}  {}\n", "all", "", dialect, c.passed,
                       c.failed, c.mistrusted, c.skipped["all"]);
    }
    return s;
  }
  bool empty() const { return counts_.empty(); }
  const auto& counts() const { return counts_; }

 private:
  std::map<std::tuple<std::string, std::string, std::string>, Count> counts_;
};

// The first operator of the model that has no kernel, or "".
inline std::string foreign_operator(const Model& model) {
  for (const Op& op : model.main().ops) {
    if (kernel_row(op) == nullptr) return op.name();
  }
  return "";
}

}  // namespace litegap
