// Counts of values whose range nobody knows in advance.
//
// A bin is a sign, an exponent and the six leading bits of the mantissa: every bin is 1/64 of its
// value wide, nothing has to be rescaled when a larger value comes, and two histograms merge by
// addition.  10241 bins cover 2^-40 to 2^40; what lies outside shares the outermost bins.
//
//   h.add(1.0f), h.add(1.01f)   one bin;   h.add(1.02f)   the next
//   h.quantile(0.9999)          the value below which 99.99 % of the counts lie
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace litegap {

class LogHistogram {
 public:
  static constexpr int kBins = 80 * 64;
  struct Bin {
    double low = 0, high = 0;  // its values
    double count = 0;
    double middle() const { return (low + high) / 2; }
  };

  void add(float v) {
    if (counts_.empty()) counts_.assign(2 * kBins + 1, 0);
    ++counts_[static_cast<std::size_t>(index(v))];
  }
  void merge(const LogHistogram& other) {
    if (other.counts_.empty()) return;
    if (counts_.empty()) counts_.assign(2 * kBins + 1, 0);
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  }
  // The value below which a share q of the counts lies (middle of its bin).
  double quantile(double q) const {
    std::uint64_t total = 0;
    for (const std::uint64_t c : counts_) total += c;
    const double want = q * static_cast<double>(total);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      sum += counts_[i];
      if (static_cast<double>(sum) >= want && counts_[i] > 0) {
        return bin(static_cast<int>(i)).middle();
      }
    }
    return 0;
  }
  // Those that hold something, by rising value.
  std::vector<Bin> bins() const {
    std::vector<Bin> list;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] == 0) continue;
      list.push_back(bin(static_cast<int>(i)));
      list.back().count = static_cast<double>(counts_[i]);
    }
    return list;
  }

 private:
  static int index(float v) {
    std::uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    const int exponent = static_cast<int>((bits >> 23) & 0xFF) - 127;
    if (exponent < -40) return kBins;
    const int at = (exponent + 40) * 64 + static_cast<int>((bits >> 17) & 63);
    const int bin = at < kBins ? at : kBins - 1;
    return (bits >> 31) != 0 ? kBins - 1 - bin : kBins + 1 + bin;
  }
  static Bin bin(int i) {
    if (i == kBins) return {};
    const int b = i > kBins ? i - kBins - 1 : kBins - 1 - i;
    const double near = std::ldexp(1.0 + (b % 64) / 64.0, b / 64 - 40);
    const double far = std::ldexp(1.0 + (b % 64 + 1) / 64.0, b / 64 - 40);
    return i > kBins ? Bin{near, far, 0} : Bin{-far, -near, 0};
  }
  std::vector<std::uint64_t> counts_;
};

}  // namespace litegap
