// Every inner loop of every table by itself: all heights of tiles, several segments, several tiles,
// and the products written out.
#include <cmath>
#include <limits>

#include "kernels/gemm.h"
#include "product_run.h"

namespace litegap::oracle {
namespace {

constexpr std::size_t kNr = 16, kMostPanels = 4;
constexpr std::size_t kTiles = 3, kMostRows = kTiles * kMaxTileRows;

// Rows of bytes, and a packed matrix of kMostPanels panels that is multiplied by them.
struct Operands {
  std::vector<Segment> segments;
  std::size_t groups = 0;
  std::vector<std::byte> data, weights;
  std::array<const std::byte*, kMostRows> rows{};
  std::array<std::int32_t, kMostPanels * kNr> start{}, sums{};
  std::array<std::int32_t, kMostRows> zeros{};
  std::size_t panel_bytes = 0;

  Operands(Dice& dice, std::size_t group_weights, bool floats) {  // group_weights: bytes a channel
    std::ptrdiff_t end = 0;
    for (std::int32_t s = dice.range(1, 3); s > 0; --s) {
      const std::int32_t n = dice.range(0, 9);
      segments.push_back({end + 4 * dice.range(0, 2), n});
      end = segments.back().offset + std::ptrdiff_t{4} * n;
      groups += static_cast<std::size_t>(n);
    }
    const std::size_t row_bytes = static_cast<std::size_t>(end) + 4;
    data.resize(kMostRows * row_bytes);
    panel_bytes = groups * kNr * group_weights + 64;  // panels need not follow one another closely
    weights.resize(kMostPanels * panel_bytes);
    fill(dice, data, floats);
    fill(dice, weights, floats);
    for (auto& v : start) v = number(dice, floats);
    for (auto& v : sums) v = dice.range(-1000000000, 1000000000);
    for (auto& v : zeros) v = dice.range(-128, 255);
    for (std::size_t r = 0; r < kMostRows; ++r)  // in any order
      rows[r] = data.data() + r * 7 % kMostRows * row_bytes;
  }
  GemmTask task(void* tile, std::size_t tiles) const {
    return {rows.data(),     segments.data(),
            segments.size(), weights.data(),
            start.data(),    tile,
            panel_bytes,     tiles};
  }

 private:
  static std::int32_t number(Dice& dice, bool floats) {
    return floats ? std::bit_cast<std::int32_t>(dice.normal())
                  : dice.range(std::numeric_limits<std::int32_t>::min() / 2,
                               std::numeric_limits<std::int32_t>::max() / 2);
  }
  static void fill(Dice& dice, std::vector<std::byte>& to, bool floats) {
    for (std::size_t i = 0; i + 4 <= to.size(); i += 4) {
      const std::int32_t v =
          floats           ? number(dice, true)
          : dice.one_in(8) ? std::bit_cast<std::int32_t>(0x80808080U)
                           : dice.range(std::numeric_limits<std::int32_t>::min() / 2, 1 << 30) * 2;
      std::memcpy(&to[i], &v, 4);
    }
  }
};

// The weights of channel n of a panel in group g, `per` of type W.
template <class W>
const W* weights_at(const Operands& o, std::size_t panel, std::size_t g, std::size_t n,
                    std::size_t per) {
  return reinterpret_cast<const W*>(o.weights.data() + panel * o.panel_bytes) + (g * kNr + n) * per;
}

// The sum of row r and channel n: X elements, `per` a group, by weights W; modulo 2^32.
template <class X, class W>
std::int32_t integer_sum(const Operands& o, std::size_t r, std::size_t panel, std::size_t n,
                         std::size_t per, bool zeros) {
  const std::size_t lane = panel * kNr + n;
  std::int64_t sum = o.start[lane];
  if (zeros) sum -= std::int64_t{o.zeros[r]} * o.sums[lane];
  std::size_t g = 0;
  for (const Segment& s : o.segments) {
    for (std::ptrdiff_t i = 0; i < s.groups; ++i, ++g) {
      const auto* x = reinterpret_cast<const X*>(o.rows[r] + s.offset + 4 * i);
      const W* w = weights_at<W>(o, panel, g, n, per);
      for (std::size_t k = 0; k < per; ++k) sum += std::int64_t{x[k]} * w[k];
    }
  }
  return static_cast<std::int32_t>(sum);
}

// Forms of `panels` panels; of the last one only `columns` are looked at.
template <class X, class W>
void expect_integers(const std::string& name, const std::array<GemmFn, kMaxTileRows>& forms,
                     std::size_t panels, std::size_t columns, bool with_zeros) {
  constexpr std::size_t kPer = 4 / sizeof(X);
  for (std::size_t rows = 1; rows <= kMaxTileRows; ++rows) {
    if (forms[rows - 1] == nullptr) continue;
    for (const std::size_t tiles : {std::size_t{1}, kTiles}) {
      for (const bool zeros : {false, with_zeros}) {
        Dice dice(static_cast<unsigned>(rows + 100 * tiles));
        const Operands o(dice, kPer * sizeof(W), false);
        alignas(64) std::array<std::int32_t, kMostRows * kMostPanels * kNr> tile{};
        GemmTask task = o.task(tile.data(), tiles);
        if (zeros) {
          task.zeros = o.zeros.data();
          task.weight_sums = o.sums.data();
        }
        forms[rows - 1](task);
        for (std::size_t r = 0; r < rows * tiles; ++r) {
          for (std::size_t n = 0; n < (panels - 1) * kNr + columns; ++n) {
            ASSERT_EQ(tile[r * panels * kNr + n],
                      (integer_sum<X, W>(o, r, n / kNr, n % kNr, kPer, zeros)))
                << name << ": row " << r << " of " << rows << " x " << tiles << ", channel " << n;
          }
        }
      }
    }
  }
}

TEST(GemmLoops, IntegersEqualSumsWrittenOut) {
  for (const GemmKernels* k : all_tables()) {
    const std::string name = k->name;
    expect_integers<std::int16_t, std::int8_t>(name + " pairs8", k->pairs8, 1, kNr, false);
    expect_integers<std::int16_t, std::int16_t>(name + " pairs16", k->pairs16, 1, kNr, false);
    expect_integers<std::int16_t, std::int8_t>(name + " half", k->half_pairs8, 1, 8, false);
    expect_integers<std::int16_t, std::int16_t>(name + " half", k->half_pairs16, 1, 8, false);
    if (k->signed_quads) {
      expect_integers<std::int8_t, std::int8_t>(name + " quads", k->quads, 1, kNr, true);
      expect_integers<std::int8_t, std::int8_t>(name + " two", k->two_quads, 2, kNr, true);
    } else {
      expect_integers<std::uint8_t, std::int8_t>(name + " quads", k->quads, 1, kNr, true);
      expect_integers<std::uint8_t, std::int8_t>(name + " two", k->two_quads, 2, kNr, true);
    }
  }
}

float float_sum(const Operands& o, std::size_t r, std::size_t panel, std::size_t n, bool fused) {
  float sum = std::bit_cast<float>(o.start[panel * kNr + n]);
  std::size_t g = 0;
  for (const Segment& s : o.segments) {
    for (std::ptrdiff_t i = 0; i < s.groups; ++i, ++g) {
      float x = 0;
      std::memcpy(&x, o.rows[r] + s.offset + 4 * i, sizeof x);
      const float w = *weights_at<float>(o, panel, g, n, 1);
      sum = fused ? std::fma(x, w, sum) : sum + x * w;
    }
  }
  return sum;
}

// To the tile, and clamped to `count` channels of the pixels, with nothing behind them touched.
void expect_floats_of(const std::string& name, const std::array<GemmFn, kMaxTileRows>& forms,
                      std::size_t panels, std::size_t columns, bool fused, bool any_count) {
  const std::size_t most = (panels - 1) * kNr + columns, stride = panels * kNr;
  for (std::size_t rows = 1; rows <= kMaxTileRows; ++rows) {
    if (forms[rows - 1] == nullptr) continue;
    for (std::size_t count = any_count ? most - columns + 1 : most; count <= most; ++count) {
      Dice dice(static_cast<unsigned>(rows + 100 * count));
      const Operands o(dice, sizeof(float), true);
      alignas(64) std::array<float, kMostRows * kMostPanels * kNr> tile{};
      GemmTask task = o.task(tile.data(), kTiles);
      forms[rows - 1](task);
      std::vector<float> image(kMostRows * (stride + 8), 77.0f);
      std::array<std::byte*, kMostRows> out{};
      for (std::size_t r = 0; r < kMostRows; ++r)
        out[r] = reinterpret_cast<std::byte*>(&image[r * (stride + 8)]);
      task.out = out.data();
      task.channel = 3;
      task.count = static_cast<int>(count);
      task.low = -0.5f;
      task.high = 1.5f;
      forms[rows - 1](task);
      for (std::size_t r = 0; r < rows * kTiles; ++r) {
        for (std::size_t n = 0; n < stride + 5; ++n) {
          const float got = image[r * (stride + 8) + 3 + n];
          if (n >= count) {
            ASSERT_EQ(got, 77.0f) << name << ": behind " << count << " channels of row " << r;
            continue;
          }
          const float want = float_sum(o, r, n / kNr, n % kNr, fused);
          ASSERT_EQ(tile[r * stride + n], want) << name << ": row " << r << ", channel " << n;
          ASSERT_EQ(got, std::clamp(want, -0.5f, 1.5f)) << name << ": row " << r << " of " << rows;
        }
        ASSERT_EQ(image[r * (stride + 8) + 2], 77.0f) << name;
      }
    }
  }
}

TEST(GemmLoops, FloatsEqualSumsWrittenOut) {
  for (const GemmKernels* k : all_tables()) {
    const std::string name = k->name;
    expect_floats_of(name + " fused", k->fused, 1, kNr, true, k->any_count);
    expect_floats_of(name + " plain", k->plain, 1, kNr, false, k->any_count);
    expect_floats_of(name + " half fused", k->half_fused, 1, 8, true, k->any_count);
    expect_floats_of(name + " half plain", k->half_plain, 1, 8, false, k->any_count);
    expect_floats_of(name + " two fused", k->two_fused, 2, kNr, true, k->any_count);
    expect_floats_of(name + " two plain", k->two_plain, 2, kNr, false, k->any_count);
  }
}

TEST(GemmLoops, ARowByFourPanels) {
  for (const GemmKernels* k : all_tables()) {
    for (const bool fused : {false, true}) {
      Dice dice(7);
      const Operands o(dice, sizeof(float), true);
      alignas(64) std::array<float, kMostPanels * kNr> tile{};
      (fused ? k->fused_row : k->plain_row)(o.task(tile.data(), 1));
      for (std::size_t n = 0; n < tile.size(); ++n)
        ASSERT_EQ(tile[n], float_sum(o, 0, n / kNr, n % kNr, fused)) << k->name << ", " << n;
    }
  }
}

float scaled(FloatScale how, float sum, float s, float w, float bias) {
  switch (how) {
    case FloatScale::kProduct:
      return sum * (s * w) + bias;
    case FloatScale::kWeightFirst:
      return (sum * w) * s + bias;
    case FloatScale::kInputFirst:
      return (sum * s) * w + bias;
    default:
      return std::fma(sum * s, w, bias);
  }
}

// The ends of hybrid sums.  Channels before `first` have `how`, others `then`; of a row whose scale
// is NaN those before `low_for_nan` have the lower bound and others NaN.
void expect_ends(const GemmKernels& k, FloatScale how, FloatScale then, std::size_t first,
                 std::size_t low_for_nan, int count) {
  constexpr std::size_t kChannels = 96, kStride = 48, kRows = 7, kChannel = 16;
  Dice dice(static_cast<unsigned>(count));
  alignas(64) std::array<std::int32_t, kRows * kStride + kTileSlack> tile{};
  std::array<float, kChannels> w{}, bias{};
  std::array<float, kRows> s{};
  for (auto& v : tile) v = dice.range(-2000000000, 2000000000);
  for (auto& v : w) v = dice.real(0.001f, 0.1f);
  for (auto& v : bias) v = dice.normal();
  for (auto& v : s) v = dice.real(1e-8f, 1e-6f);
  s[3] = std::numeric_limits<float>::quiet_NaN();
  s[5] = std::numeric_limits<float>::infinity();
  std::vector<float> image(kRows * kChannels, 77.0f);
  std::array<std::byte*, kRows> out{};
  for (std::size_t r = 0; r < kRows; ++r)
    out[r] = reinterpret_cast<std::byte*>(&image[r * kChannels]);
  FloatFinish f{how, first, then, w.data(), bias.data(), -3.0f, 5.0f, low_for_nan};
  k.finish_float(f, {tile.data(), kStride, static_cast<int>(kRows), kChannel, count, out.data(),
                     s.data(), nullptr});
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t n = 0; n < kChannels - kChannel; ++n) {
      const std::size_t c = kChannel + n;
      const float got = image[r * kChannels + c];
      const auto where = std::string(k.name) + ": row " + std::to_string(r) + ", channel " +
                         std::to_string(n) + " of " + std::to_string(count);
      if (n >= static_cast<std::size_t>(count)) {
        ASSERT_EQ(got, 77.0f) << where;
        continue;
      }
      const auto sum = static_cast<float>(tile[r * kStride + n]);
      const float v = scaled(c < first ? how : then, sum, s[r], w[c], bias[c]);
      if (!std::isnan(v))
        ASSERT_EQ(got, std::clamp(v, -3.0f, 5.0f)) << where;
      else if (c < low_for_nan)
        ASSERT_EQ(got, -3.0f) << where;
      else
        ASSERT_TRUE(std::isnan(got)) << where;
    }
  }
}

TEST(GemmLoops, EndsOfHybridSums) {
  for (const GemmKernels* k : all_tables()) {
    for (int count = 1; count <= 48; ++count) {
      for (const FloatScale how : {FloatScale::kProduct, FloatScale::kWeightFirst,
                                   FloatScale::kInputFirst, FloatScale::kFused}) {
        ASSERT_NO_FATAL_FAILURE(expect_ends(*k, how, how, 0, 0, count));
        ASSERT_NO_FATAL_FAILURE(expect_ends(*k, how, how, 0, 1000, count));
      }
      const std::size_t split = 16 + static_cast<std::size_t>(count) / 4 * 4;
      ASSERT_NO_FATAL_FAILURE(
          expect_ends(*k, FloatScale::kWeightFirst, FloatScale::kProduct, split, split, count));
    }
  }
}

}  // namespace
}  // namespace litegap::oracle
