// Random numbers: RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL, MULTINOMIAL and
// STABLEHLO_RNG_BIT_GENERATOR.
//
// A counter-based generator is a function: a key and a counter go in, a block of random words comes
// out, and the next block is that of the counter plus one.  Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011), describe the two used here, Philox 4x32 with ten rounds
// and Threefry 2x32 with twenty.
//
//   counter 0 0 0 0, key 0 0              ->  6627e8d5 e169c58d bc57ac4c 9b00dbd8   (Philox)
//   counter 0 0, key 0 0                  ->  6b200159 99ba4efe                     (Threefry)
//
// The three operators with seeds go on where the last call ended.  Every run here is the first one
// after loading, so that a result does not depend on what was run before.  With both seeds 0 the
// runtime takes seeds from the system: there is nothing to reproduce, and such a file is refused.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/arithmetic_ops.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

using Words4 = std::array<std::uint32_t, 4>;
using Words2 = std::array<std::uint32_t, 2>;

Words4 philox(Words2 key, Words4 x) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * x[0], b = std::uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<std::uint32_t>(b >> 32) ^ x[1] ^ key[0], static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ x[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return x;
}

Words2 threefry(Words2 key, Words2 x) {
  constexpr int kTurns[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  const std::array<std::uint32_t, 3> keys = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA};
  x[0] += keys[0];
  x[1] += keys[1];
  for (std::uint32_t round = 0; round < 20; ++round) {
    x[0] += x[1];
    x[1] = std::rotl(x[1], kTurns[round % 8]) ^ x[0];
    if (round % 4 != 3) continue;
    const std::uint32_t n = round / 4 + 1;
    x[0] += keys[n % 3];
    x[1] += keys[(n + 1) % 3] + n;
  }
  return x;
}

// Philox as the operators with seeds use it: the first seed is the key, the second the upper half
// of the counter.
class Stream {
 public:
  explicit Stream(const RandomAttrs& a)
      : key_{low(a.seed), high(a.seed)}, counter_{0, 0, low(a.seed2), high(a.seed2)} {}
  Words4 next() noexcept {
    const Words4 out = philox(key_, counter_);
    for (std::uint32_t& word : counter_) {
      if (++word != 0) break;
    }
    return out;
  }

 private:
  static std::uint32_t low(std::int64_t v) { return static_cast<std::uint32_t>(v); }
  static std::uint32_t high(std::int64_t v) {
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(v) >> 32);
  }
  Words2 key_;
  Words4 counter_;
};

// [0, 1) with 23 bits: the fraction of a number in [1, 2).
float unit_float(std::uint32_t word) noexcept {
  return std::bit_cast<float>(0x3F800000u | (word & 0x7FFFFFu)) - 1.0f;
}
// The same with 52 bits.
double unit_double(std::uint32_t upper, std::uint32_t lower) noexcept {
  const std::uint64_t fraction = std::uint64_t{upper & 0xFFFFFu} << 32 | lower;
  return std::bit_cast<double>(std::uint64_t{1023} << 52 | fraction) - 1.0;
}

// The runtime keeps the lower 32 bits of a seed, as a signed number.
RandomAttrs seeds_of(const OpSpec& spec) {
  RandomAttrs a = attrs_of<RandomAttrs>(spec);
  a.seed = static_cast<std::int32_t>(a.seed);
  a.seed2 = static_cast<std::int32_t>(a.seed2);
  if (a.seed == 0 && a.seed2 == 0)
    refuse(spec, "both seeds are 0: the runtime draws other numbers every time");
  return a;
}

// ---- RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL
void fill_uniform(Stream& stream, float* out, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; i += 4) {
    const Words4 words = stream.next();
    for (std::size_t k = 0; k < std::min<std::size_t>(4, n - i); ++k)
      out[i + k] = unit_float(words[k]);
  }
}

// Box and Muller: a length from one word, an angle from the next, a sine and a cosine from both.
void fill_normal(Stream& stream, float* out, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; i += 4) {
    const Words4 words = stream.next();
    for (std::size_t k = 0; k < 4 && i + k < n; k += 2) {
      const float u = std::max(unit_float(words[k]), 1.0e-7f);
      const auto angle = static_cast<float>(2.0 * 3.14159265358979323846 *
                                            static_cast<double>(unit_float(words[k + 1])));
      const float length = std::sqrt(-2.0f * std::log(u));
      out[i + k] = std::sin(angle) * length;
      if (i + k + 1 < n) out[i + k + 1] = std::cos(angle) * length;
    }
  }
}

template <void (*fill)(Stream&, float*, std::size_t) noexcept>
std::unique_ptr<Kernel> prepare_random(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const RandomAttrs seeds = seeds_of(spec);
  if (spec.inputs[0].dtype != DType::kInt32 || spec.inputs[0].shape.size() != 1)
    refuse(spec, "its shape is not a vector of int32");
  if (spec.outputs[0].dtype != DType::kFloat32)
    refuse(spec, "an output of {}, expected float32", dtype_name(spec.outputs[0].dtype));
  Shape shape;
  for (const std::int64_t d : plan_integers(spec, 0, "shape"))
    shape.push_back(checked_dim(spec, d));
  const std::size_t n = shape_elements(shape);
  spec.outputs[0].shape = shape;
  return make_kernel([seeds, n](const Io& io) {
    Stream stream(seeds);
    fill(stream, static_cast<float*>(io.outputs[0]), n);
  });
}

// ---- MULTINOMIAL: a class by each number, drawn with the probabilities exp(logit)
struct Draws {
  RandomAttrs seeds;
  std::size_t rows = 0, classes = 0, samples = 0;
  DType type = DType::kInt64;

  void operator()(const Io& io) const noexcept {
    const auto* logits = static_cast<const float*>(io.inputs[0]);
    auto* sums = reinterpret_cast<double*>(io.scratch);
    Stream stream(seeds);
    Words4 words{};
    std::size_t used = 4, at = 0;
    for (std::size_t r = 0; r < rows; ++r, logits += classes) {
      const double total = add_up(logits, sums);
      for (std::size_t j = 0; j < samples; ++j, ++at) {
        if (used == 4) {
          words = stream.next();
          used = 0;
        }
        const double pick = unit_double(words[used], words[used + 1]) * total;
        used += 2;
        const std::int64_t found = std::upper_bound(sums, sums + classes, pick) - sums;
        if (type == DType::kInt64)
          static_cast<std::int64_t*>(io.outputs[0])[at] = found;
        else
          static_cast<std::int32_t*>(io.outputs[0])[at] = static_cast<std::int32_t>(found);
      }
    }
  }

 private:
  // Running sums of exp(logit - largest); logits that are not finite have no share.
  double add_up(const float* logits, double* sums) const noexcept {
    float largest = std::numeric_limits<float>::lowest();
    for (std::size_t c = 0; c < classes; ++c) {
      if (std::isfinite(logits[c])) largest = std::max(largest, logits[c]);
    }
    double total = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      if (std::isfinite(logits[c]))
        total += std::exp(static_cast<double>(logits[c]) - static_cast<double>(largest));
      sums[c] = total;
    }
    return total;
  }
};

std::unique_ptr<Kernel> prepare_multinomial(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const RandomAttrs seeds = seeds_of(spec);
  const Shape& logits = spec.inputs[0].shape;
  const DType type = spec.outputs[0].dtype;
  if (spec.inputs[0].dtype != DType::kFloat32 || logits.size() != 2 || logits[1] < 1)
    refuse(spec, "logits of {} {}, expected a matrix of float32", dtype_name(spec.inputs[0].dtype),
           shape_text(logits));
  if (type != DType::kInt64 && type != DType::kInt32)
    refuse(spec, "an output of {}, expected int64 or int32", dtype_name(type));
  if (spec.inputs[1].dtype != DType::kInt32 || !spec.inputs[1].shape.empty())
    refuse(spec, "its number of samples is not a scalar of int32");
  const auto samples = plan_integers(spec, 1, "number of samples");
  const Shape shape{logits[0], checked_dim(spec, samples.at(0))};
  shape_elements(shape);
  spec.outputs[0].shape = shape;
  Draws draws{seeds, static_cast<std::size_t>(logits[0]), static_cast<std::size_t>(logits[1]),
              static_cast<std::size_t>(shape[1]), type};
  return make_kernel(draws, draws.classes * sizeof(double));
}

// ---- STABLEHLO_RNG_BIT_GENERATOR: state [key, counter, upper counter] in, new state and bits out
template <std::size_t kWords, class F>
void fill_bits(F block, Words2 key, std::array<std::uint32_t, kWords> counter, const Io& io,
               std::size_t state_bytes, std::size_t words) noexcept {
  auto* out = static_cast<std::byte*>(io.outputs[1]);
  for (std::size_t i = 0; i < words; i += kWords) {
    const auto bits = block(key, counter);
    std::memcpy(out + 4 * i, bits.data(), 4 * std::min(kWords, words - i));
    if (++counter[0] == 0) ++counter[1];
  }
  std::memcpy(io.outputs[0], io.inputs[0], state_bytes);
  std::memcpy(static_cast<std::byte*>(io.outputs[0]) + 8, counter.data(), 8);
}

std::unique_ptr<Kernel> prepare_bit_generator(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 2);
  const auto& a = attrs_of<RngBitGeneratorAttrs>(spec);
  const Operand& state = spec.inputs[0];
  const DType type = spec.outputs[1].dtype;
  if (state.dtype != DType::kUint64 || spec.outputs[0].dtype != DType::kUint64 ||
      state.shape.size() != 1)
    refuse(spec, "its state is not a vector of uint64");
  if (a.algorithm < 0 || a.algorithm > 2) refuse(spec, "algorithm {}", a.algorithm);
  const bool three = a.algorithm == 2;
  const std::int32_t size = state.shape[0];
  if (size != 2 && (three || size != 3))
    refuse(spec, "a state of {} numbers, expected 2{}", size, three ? "" : " or 3");
  if (type != DType::kInt32 && type != DType::kUint32 && type != DType::kInt64 &&
      type != DType::kUint64)
    refuse(spec, "bits of {}", dtype_name(type));
  spec.outputs[0].shape = state.shape;
  const std::size_t bytes = dtype_bytes(type, shape_elements(spec.outputs[1].shape));
  return make_kernel([three, size, words = bytes / 4](const Io& io) {
    Words4 s{};
    std::array<std::uint32_t, 6> in{};
    const std::size_t state_bytes = static_cast<std::size_t>(size) * 8;
    std::memcpy(in.data(), io.inputs[0], state_bytes);
    s = {in[2], in[3], in[size == 3 ? 4 : 0], in[size == 3 ? 5 : 1]};
    if (three)
      fill_bits<2>(threefry, {in[0], in[1]}, {in[2], in[3]}, io, state_bytes, words);
    else
      fill_bits<4>(philox, {in[0], in[1]}, s, io, state_bytes, words);
  });
}

constexpr KernelRow kRows[] = {
    {OpCode::kRandomUniform, prepare_random<fill_uniform>, "int32"},
    {OpCode::kRandomStandardNormal, prepare_random<fill_normal>, "int32"},
    {OpCode::kMultinomial, prepare_multinomial, "float32"},
    {OpCode::kStablehloRngBitGenerator, prepare_bit_generator, "uint64"},
};

}  // namespace

std::span<const KernelRow> random_kernel_rows() { return kRows; }

}  // namespace litegap
