// RFFT2D, AudioSpectrogram, Mfcc: sound and its frequencies, in double, rounded once at the end
// (docs/numerics.md, section 4).
//
//   RFFT2D of a row [1 0 0 0] -> [1 1 1]; a row of ones -> [4 0 0]
#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

#include "kernels/arithmetic_ops.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

using Wave = std::complex<double>;

bool is_power_of_two(std::int64_t n) { return n > 0 && (n & (n - 1)) == 0; }

// In place; n = a.size() is a power of two; e^(-2 pi i j k / n).
void transform(Wave* a, std::size_t n, std::size_t step) noexcept {
  for (std::size_t i = 1, j = 0; i < n; ++i) {
    std::size_t bit = n >> 1;
    for (; (j & bit) != 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(a[i * step], a[j * step]);
  }
  for (std::size_t length = 2; length <= n; length *= 2) {
    const double angle = -2 * std::numbers::pi / static_cast<double>(length);
    for (std::size_t k = 0; k < length / 2; ++k) {
      const Wave turn = std::polar(1.0, angle * static_cast<double>(k));
      for (std::size_t at = k; at < n; at += length) {
        Wave &low = a[at * step], &high = a[(at + length / 2) * step];
        const Wave moved = high * turn;
        high = low - moved;
        low += moved;
      }
    }
  }
}

std::unique_ptr<Kernel> prepare_rfft2d(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  if (spec.inputs[0].dtype != DType::kFloat32 || spec.outputs[0].dtype != DType::kComplex64)
    refuse(spec, "types {} and {}, expected float32 and complex64",
           dtype_name(spec.inputs[0].dtype), dtype_name(spec.outputs[0].dtype));
  const Shape& in = spec.inputs[0].shape;
  const auto length = plan_integers(spec, 1, "length");
  if (in.size() < 2 || length.size() != 2 || spec.inputs[1].dtype != DType::kInt32)
    refuse(spec, "an input of shape {} and {} lengths", shape_text(in), length.size());
  for (const std::int64_t n : length) {
    if (!is_power_of_two(n) || n > 1 << 24)
      refuse(spec, "a length of {}, expected a power of two", n);
  }
  const auto h = static_cast<std::size_t>(length[0]), w = static_cast<std::size_t>(length[1]);
  const auto rows = static_cast<std::size_t>(in[in.size() - 2]),
             columns = static_cast<std::size_t>(in.back()), half = w / 2 + 1;
  const auto images = static_cast<std::size_t>(product(in, 0, in.size() - 2));
  Shape out = in;
  out[in.size() - 2] = static_cast<std::int32_t>(h);
  out.back() = static_cast<std::int32_t>(half);
  shape_elements(out);
  spec.outputs[0].shape = out;
  return make_kernel(
      [=](const Io& io) {
        auto* a = reinterpret_cast<Wave*>(io.scratch);
        const auto* x = static_cast<const float*>(io.inputs[0]);
        auto* y = static_cast<std::complex<float>*>(io.outputs[0]);
        for (std::size_t image = 0; image < images; ++image, x += rows * columns) {
          for (std::size_t r = 0; r < h; ++r) {
            for (std::size_t c = 0; c < w; ++c)
              a[r * w + c] =
                  r < rows && c < columns ? static_cast<double>(x[r * columns + c]) : 0.0;
            transform(a + r * w, w, 1);
          }
          for (std::size_t c = 0; c < half; ++c) transform(a + c, h, w);
          for (std::size_t r = 0; r < h; ++r) {
            for (std::size_t c = 0; c < half; ++c) *y++ = std::complex<float>(a[r * w + c]);
          }
        }
      },
      sizeof(Wave) * h * w);
}

double number_or(const OpSpec& spec, const char* name, double other) {
  const auto& numbers = attrs_of<CustomAttrs>(spec).numbers;
  const auto found = numbers.find(name);
  return found == numbers.end() ? other : found->second;
}

// ---- AudioSpectrogram: windows of sound, weighted by a periodic Hann window and transformed
std::unique_ptr<Kernel> prepare_spectrogram(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  if (spec.inputs[0].dtype != DType::kFloat32 || spec.outputs[0].dtype != DType::kFloat32)
    refuse(spec, "its operands are not float32");
  const Shape& in = spec.inputs[0].shape;
  if (in.size() != 2) refuse(spec, "an input of shape {}, expected 2 axes", shape_text(in));
  const double window_size = number_or(spec, "window_size", 0), hop = number_or(spec, "stride", 0);
  const bool squared = number_or(spec, "magnitude_squared", 0) != 0;
  if (!(window_size >= 2 && window_size <= 1 << 24) || !(hop >= 1 && hop <= 1 << 24))
    refuse(spec, "a window of {} moved by {}", window_size, hop);
  const auto window = static_cast<std::int64_t>(window_size),
             stride = static_cast<std::int64_t>(hop);
  std::size_t n = 1;
  while (n < static_cast<std::size_t>(window)) n *= 2;
  const std::int64_t frames = in[0] < window ? 0 : 1 + (in[0] - window) / stride;
  const std::int32_t channels = in[1];
  const std::size_t bins = n / 2 + 1;
  spec.outputs[0].shape = {channels, checked_dim(spec, frames), static_cast<std::int32_t>(bins)};
  shape_elements(spec.outputs[0].shape);
  std::vector<double> weights;
  for (std::int64_t i = 0; i < window; ++i)
    weights.push_back(0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) /
                                           static_cast<double>(window)));
  return make_kernel(
      [=](const Io& io) {
        auto* a = reinterpret_cast<Wave*>(io.scratch);
        const auto* x = static_cast<const float*>(io.inputs[0]);
        auto* y = static_cast<float*>(io.outputs[0]);
        for (std::int32_t c = 0; c < channels; ++c) {
          for (std::int64_t f = 0; f < frames; ++f) {
            std::fill_n(a, n, Wave{});
            for (std::int64_t i = 0; i < window; ++i)
              a[i] = weights[static_cast<std::size_t>(i)] *
                     static_cast<double>(x[(f * stride + i) * channels + c]);
            transform(a, n, 1);
            for (std::size_t k = 0; k < bins; ++k) {
              const double power = std::norm(a[k]);
              *y++ = static_cast<float>(squared ? power : std::sqrt(power));
            }
          }
        }
      },
      sizeof(Wave) * n);
}

// ---- Mfcc: bands that are triangles on the mel scale, the logarithm, a cosine transform
double mel(double hertz) { return 1127.0 * std::log1p(hertz / 700.0); }

struct Bands {
  struct Bin {
    std::int32_t band = -2;  // the band that falls here; the next one rises.  -2: not used
    double weight = 0;       // of the falling one
  };
  std::vector<Bin> bins;
  std::int32_t count = 0;
};

Bands make_bands(std::int64_t bins, double rate, std::int32_t count, double low, double high) {
  Bands b;
  b.count = count;
  b.bins.resize(static_cast<std::size_t>(bins));
  const double mel_low = mel(low), spacing = (mel(high) - mel_low) / (count + 1);
  const auto center = [&](std::int32_t i) { return mel_low + spacing * (i + 1); };  // -1: the edge
  const double hertz = 0.5 * rate / static_cast<double>(bins - 1);
  const double first = 1.5 + low / hertz, last = high / hertz;
  std::int32_t band = 0;
  for (std::int64_t i = static_cast<std::int64_t>(first);
       i <= static_cast<std::int64_t>(last) && i < bins; ++i) {
    const double m = mel(static_cast<double>(i) * hertz);
    while (band < count && center(band) < m) ++band;
    b.bins[static_cast<std::size_t>(i)] = {band - 1, (center(band) - m) / spacing};
  }
  return b;
}

struct Cepstrum {
  Bands bands;
  std::vector<double> cosines;  // [coefficient, band]
  std::int64_t frames = 0, coefficients = 0;

  void operator()(const Io& io) const noexcept {
    const auto* x = static_cast<const float*>(io.inputs[0]);
    auto* y = static_cast<float*>(io.outputs[0]);
    auto* energy = reinterpret_cast<double*>(io.scratch);
    for (std::int64_t f = 0; f < frames; ++f, x += bands.bins.size()) {
      std::fill_n(energy, bands.count, 0.0);
      for (std::size_t i = 0; i < bands.bins.size(); ++i) {
        const Bands::Bin& bin = bands.bins[i];
        if (bin.band < -1) continue;
        const double amplitude = std::sqrt(static_cast<double>(x[i])),
                     falls = amplitude * bin.weight;
        if (bin.band >= 0) energy[bin.band] += falls;
        if (bin.band + 1 < bands.count) energy[bin.band + 1] += amplitude - falls;
      }
      for (std::int32_t c = 0; c < bands.count; ++c)
        energy[c] = std::log(std::max(energy[c], 1e-12));
      for (std::int64_t k = 0; k < coefficients; ++k) {
        double sum = 0;
        for (std::int32_t c = 0; c < bands.count; ++c)
          sum += cosines[static_cast<std::size_t>(k * bands.count + c)] * energy[c];
        *y++ = static_cast<float>(sum);
      }
    }
  }
};

std::unique_ptr<Kernel> prepare_mfcc(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  if (spec.inputs[0].dtype != DType::kFloat32 || spec.outputs[0].dtype != DType::kFloat32)
    refuse(spec, "its operands are not float32");
  const Shape& in = spec.inputs[0].shape;
  const auto rate = plan_integers(spec, 1, "sample rate");
  if (in.size() != 3 || in[2] < 2 || rate.size() != 1 || rate[0] < 1)
    refuse(spec, "a spectrogram of shape {} and {} sample rates", shape_text(in), rate.size());
  const double high = number_or(spec, "upper_frequency_limit", 0),
               low = number_or(spec, "lower_frequency_limit", 0);
  const double bands = number_or(spec, "filterbank_channel_count", 0),
               coefficients = number_or(spec, "dct_coefficient_count", 0);
  if (!(low >= 0 && high > low) || !(bands >= 1 && bands <= 4096) ||
      !(coefficients >= 1 && coefficients <= bands))
    refuse(spec, "{} bands from {} to {} Hz and {} coefficients", bands, low, high, coefficients);
  const auto count = static_cast<std::int32_t>(bands);
  Cepstrum c;
  c.bands = make_bands(in[2], static_cast<double>(rate[0]), count, low, high);
  c.frames = std::int64_t{in[0]} * in[1];
  c.coefficients = static_cast<std::int64_t>(coefficients);
  for (std::int64_t k = 0; k < c.coefficients; ++k) {
    for (std::int32_t b = 0; b < count; ++b)
      c.cosines.push_back(std::sqrt(2.0 / count) *
                          std::cos(static_cast<double>(k) * std::numbers::pi / count * (b + 0.5)));
  }
  spec.outputs[0].shape = {in[0], in[1], static_cast<std::int32_t>(c.coefficients)};
  return make_kernel(std::move(c), sizeof(double) * static_cast<std::size_t>(count));
}

constexpr KernelRow kRows[] = {
    {OpCode::kRfft2d, prepare_rfft2d, "float32"},
    {OpCode::kCustom, prepare_spectrogram, "float32", "AudioSpectrogram"},
    {OpCode::kCustom, prepare_mfcc, "float32", "Mfcc"},
};

}  // namespace

std::span<const KernelRow> spectrum_kernel_rows() { return kRows; }

}  // namespace litegap
