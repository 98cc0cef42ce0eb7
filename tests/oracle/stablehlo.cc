#include "oracle/stablehlo.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "oracle/op_case.h"

namespace litegap::oracle {
namespace {

using Numbers = std::vector<std::int64_t>;

bool has(const Numbers& list, std::size_t v) {
  return std::find(list.begin(), list.end(), static_cast<std::int64_t>(v)) != list.end();
}

// The index vector at a batch index: `batch` with the dimension of the vectors put in.
Numbers vector_at(const Grid& indices, const Shape& batch, std::int64_t vector_dim) {
  Numbers v;
  const auto d = static_cast<std::size_t>(vector_dim);
  for (std::int32_t k = 0; k < indices.shape[d]; ++k) {
    Shape at = batch;
    at.insert(at.begin() + static_cast<std::ptrdiff_t>(d), k);
    v.push_back(static_cast<std::int64_t>(indices(at)));
  }
  return v;
}

// Places of the operand that a window has, in order.
std::vector<std::size_t> kept_dims(std::size_t rank, const Numbers& left_out) {
  std::vector<std::size_t> kept;
  for (std::size_t d = 0; d < rank; ++d) {
    if (!has(left_out, d)) kept.push_back(d);
  }
  return kept;
}

double combined(std::optional<OpCode> body, double there, double update, DType type) {
  if (!body) return update;
  switch (*body) {
    case OpCode::kAdd:
    case OpCode::kStablehloAdd:
      return held(there + update, type);
    case OpCode::kMul:
    case OpCode::kStablehloMultiply:
      return held(there * update, type);
    case OpCode::kMaximum:
    case OpCode::kStablehloMaximum:
      return std::max(there, update);
    case OpCode::kMinimum:
    case OpCode::kStablehloMinimum:
      return std::min(there, update);
    case OpCode::kLogicalAnd:
    case OpCode::kStablehloAnd:
      return there != 0 && update != 0 ? 1 : 0;
    default:
      return there != 0 || update != 0 ? 1 : 0;
  }
}

}  // namespace

Grid stablehlo_gather(const Grid& operand, const Grid& indices, const StablehloGatherAttrs& a) {
  const std::size_t rank = operand.shape.size();
  const auto kept = kept_dims(rank, a.collapsed_slice_dims);
  Shape batch = indices.shape;
  batch.erase(batch.begin() + static_cast<std::ptrdiff_t>(a.index_vector_dim));
  Shape out(batch.size() + kept.size());
  std::size_t w = 0, b = 0;
  for (std::size_t d = 0; d < out.size(); ++d) {
    if (has(a.offset_dims, d))
      out[d] = static_cast<std::int32_t>(a.slice_sizes[kept[w++]]);
    else
      out[d] = batch[b++];
  }
  return make_grid(out, [&](const Shape& at) {
    Shape of_batch, of_window;
    for (std::size_t d = 0; d < at.size(); ++d)
      (has(a.offset_dims, d) ? of_window : of_batch).push_back(at[d]);
    const Numbers v = vector_at(indices, of_batch, a.index_vector_dim);
    Shape place(rank, 0);
    for (std::size_t k = 0; k < a.start_index_map.size(); ++k) {
      const auto d = static_cast<std::size_t>(a.start_index_map[k]);
      const std::int64_t last = operand.shape[d] - a.slice_sizes[d];
      place[d] = static_cast<std::int32_t>(std::clamp<std::int64_t>(v[k], 0, last));
    }
    for (std::size_t i = 0; i < kept.size(); ++i) place[kept[i]] += of_window[i];
    return operand(place);
  });
}

Grid stablehlo_scatter(const Grid& operand, const Grid& indices, const Grid& updates,
                       const StablehloScatterAttrs& a, std::optional<OpCode> body, DType type) {
  Grid y = operand;
  const auto kept = kept_dims(operand.shape.size(), a.inserted_window_dims);
  for (std::size_t u = 0; u < updates.at.size(); ++u) {
    const Shape at = unflat(updates.shape, u);
    Shape batch;
    for (std::size_t d = 0; d < at.size(); ++d) {
      if (!has(a.update_window_dims, d)) batch.push_back(at[d]);
    }
    const Numbers v = vector_at(indices, batch, a.index_vector_dim);
    Numbers place(operand.shape.size(), 0);
    for (std::size_t k = 0; k < a.scatter_dims_to_operand_dims.size(); ++k)
      place[static_cast<std::size_t>(a.scatter_dims_to_operand_dims[k])] = v[k];
    for (std::size_t i = 0; i < kept.size(); ++i)
      place[kept[i]] += at[static_cast<std::size_t>(a.update_window_dims[i])];
    Shape to;
    bool inside = true;
    for (std::size_t d = 0; d < place.size(); ++d) {
      inside = inside && place[d] >= 0 && place[d] < operand.shape[d];
      to.push_back(static_cast<std::int32_t>(place[d]));
    }
    if (!inside) continue;
    double& there = y.at[flat(y.shape, to)];
    there = combined(body, there, updates.at[u], type);
  }
  return y;
}

// The dilated and padded array is made as it stands, then the windows are read from it.
Grid stablehlo_window(const Grid& x, double start, const StablehloReduceWindowAttrs& a, OpCode body,
                      DType type) {
  const std::size_t rank = x.shape.size();
  Shape padded, out;
  for (std::size_t d = 0; d < rank; ++d) {
    const std::int64_t n =
        (x.shape[d] - 1) * a.base_dilations[d] + 1 + a.padding[2 * d] + a.padding[2 * d + 1];
    const std::int64_t reach = (a.window_dimensions[d] - 1) * a.window_dilations[d] + 1;
    padded.push_back(static_cast<std::int32_t>(n));
    out.push_back(static_cast<std::int32_t>(n < reach ? 0 : (n - reach) / a.window_strides[d] + 1));
  }
  const Grid whole = make_grid(padded, [&](const Shape& at) {
    Shape from;
    for (std::size_t d = 0; d < rank; ++d) {
      const std::int64_t p = at[d] - a.padding[2 * d];
      if (p < 0 || p % a.base_dilations[d] != 0 || p / a.base_dilations[d] >= x.shape[d])
        return start;
      from.push_back(static_cast<std::int32_t>(p / a.base_dilations[d]));
    }
    return x(from);
  });
  const Shape window(a.window_dimensions.begin(), a.window_dimensions.end());
  return make_grid(out, [&](const Shape& at) {
    double sum = start;
    for (std::size_t i = 0; i < shape_elements(window); ++i) {
      const Shape k = unflat(window, i);
      Shape from;
      for (std::size_t d = 0; d < rank; ++d)
        from.push_back(
            static_cast<std::int32_t>(at[d] * a.window_strides[d] + k[d] * a.window_dilations[d]));
      sum = combined(body, sum, whole(from), type);
    }
    return sum;
  });
}

// ---- rows in codes, weights in blocks
CodedRow coded_row(const std::vector<float>& row, RowRule rule) {
  float low = 0, high = 0;
  for (const float v : row) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  CodedRow c;
  float factor = 1;
  int least = -128;
  if (rule == RowRule::kSymmetric) {
    least = -127;
    const float peak = std::max(-low, high);
    if (peak > 0) {
      factor = 127.0f / peak;
      c.scale = peak / 127.0f;
    }
  } else if (rule == RowRule::kAsymmetric && low != high) {
    const double step = static_cast<double>(high - low) / 255;
    const double at_low = -128 - static_cast<double>(low) / step,
                 at_high = 127 - static_cast<double>(high) / step;
    const double error_low = 128 + std::abs(static_cast<double>(low) / step),
                 error_high = 127 + std::abs(static_cast<double>(high) / step);
    c.zero = static_cast<int>(
        std::clamp(std::round(error_low < error_high ? at_low : at_high), -128.0, 127.0));
    c.scale = static_cast<float>(step);
    factor = 1.0f / c.scale;
  } else if (rule == RowRule::kQd8) {
    if (low != high) factor = 255.0f / (high - low);
    const float a = low * factor, b = high * factor;
    const float zero = (-128.0f + a) + (127.0f + b) > 0 ? -128.0f - a : 127.0f - b;
    c.zero = static_cast<int>(std::nearbyint(std::clamp(zero, -128.0f, 127.0f)));
    c.scale = 1.0f / factor;
  }
  for (const float v : row) {
    const float scaled = v * factor;
    const float whole = rule == RowRule::kQd8 ? std::nearbyint(scaled) : std::round(scaled);
    c.code.push_back(std::clamp(static_cast<int>(whole) + c.zero, least, 127));
  }
  return c;
}

namespace {

float to_bfloat16(float v) {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  const std::uint32_t low = bits & 0xFFFF, kept = bits - low;
  const bool up = low > 0x8000 || (low == 0x8000 && (kept & 0x10000) != 0);
  return std::bit_cast<float>(kept + (up ? 0x10000u : 0u));
}

std::vector<float> row_of(const BlockCase& c, std::int32_t r) {
  return {c.x.begin() + r * c.depth, c.x.begin() + (r + 1) * c.depth};
}

}  // namespace

std::vector<float> blockwise_product(const BlockCase& c, Dialect dialect) {
  const bool xnn = dialect == Dialect::kXnnpack && c.block % 32 == 0 && c.depth % 2 == 0;
  const bool blocks = xnn || (dialect != Dialect::kReference && c.depth % 2 == 0 && c.depth >= 32 &&
                              c.channels >= 4);
  std::vector<float> y;
  for (std::int32_t r = 0; r < c.rows; ++r) {
    const CodedRow q = coded_row(row_of(c, r), xnn ? RowRule::kQd8 : RowRule::kAsymmetric);
    for (std::int32_t o = 0; o < c.channels; ++o) {
      const float bias = c.bias.empty() ? 0.0f : c.bias[static_cast<std::size_t>(o)];
      float correction = 0;
      const auto code = [&](std::int32_t k) {
        return c.weights[static_cast<std::size_t>(o * c.depth + k)];
      };
      const auto scale = [&](std::int32_t k) {
        const float s = c.scale[static_cast<std::size_t>((o * c.depth + k) / c.block)];
        return xnn ? to_bfloat16(s) : s;
      };
      const std::int32_t run = xnn ? 16 : c.block;
      for (std::int32_t k = 0; k < c.depth; k += run) {
        std::int32_t part = 0;
        for (std::int32_t i = k; i < k + run; ++i) part += code(i);
        correction += static_cast<float>(part) * scale(k);
      }
      const std::int32_t shift = xnn ? 128 : 0;
      float sum = xnn ? -(static_cast<float>(q.zero + shift) * correction) : 0.0f;
      for (std::int32_t k = 0; k < c.depth; k += c.block) {
        std::int32_t a = 0;
        for (std::int32_t i = k; i < k + c.block; ++i)
          a += (q.code[static_cast<std::size_t>(i)] + shift) * code(i);
        const float product = static_cast<float>(a) * scale(k);
        sum = xnn ? std::fma(static_cast<float>(a), scale(k), sum) : sum + product;
      }
      if (!xnn) sum -= static_cast<float>(q.zero) * correction;
      y.push_back(blocks ? sum * q.scale + bias : 0.0f + bias);
    }
  }
  return y;
}

std::vector<float> sparse_product(const BlockCase& c, bool asymmetric) {
  std::vector<float> y;
  for (std::int32_t r = 0; r < c.rows; ++r) {
    const CodedRow q =
        coded_row(row_of(c, r), asymmetric ? RowRule::kAsymmetric : RowRule::kSymmetric);
    for (std::int32_t o = 0; o < c.channels; ++o) {
      std::int32_t sum = 0, weights = 0;
      for (std::int32_t k = 0; k < c.depth; ++k) {
        const std::int32_t w = c.weights[static_cast<std::size_t>(o * c.depth + k)];
        sum += w * q.code[static_cast<std::size_t>(k)];
        weights += w;
      }
      const bool one = c.scale.size() == 1;
      const float ws = c.scale[one ? 0 : static_cast<std::size_t>(o)];
      float v = c.bias.empty() ? 0.0f : c.bias[static_cast<std::size_t>(o)];
      const auto zero = static_cast<float>(q.zero);
      const float shift = one ? (q.scale * ws) * zero : (q.scale * zero) * ws;
      if (asymmetric) v -= shift * static_cast<float>(weights);
      v += static_cast<float>(sum) * (q.scale * ws);
      y.push_back(v);
    }
  }
  return y;
}

}  // namespace litegap::oracle
