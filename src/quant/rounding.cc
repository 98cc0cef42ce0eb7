#include "quant/rounding.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "quant/params.h"

namespace litegap {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MapH = Eigen::Map<const Matrix>;

constexpr std::size_t kExhaustive = 12;
constexpr int kSweeps = 10;

// Rows of weights that share one H, with a scale a row.
struct Problem {
  Matrix w;                   // [rows, k]
  std::vector<double> scale;  // by row
  double top = 127;
  Matrix h;  // [k, k]
};

double nearest(double w, double scale, double top) {
  return std::clamp(std::round(w / scale), -top, top);
}

Matrix nearest(const Problem& p) {
  Matrix q(p.w.rows(), p.w.cols());
  for (Eigen::Index r = 0; r < q.rows(); ++r) {
    for (Eigen::Index i = 0; i < q.cols(); ++i) {
      q(r, i) = nearest(p.w(r, i), p.scale[static_cast<std::size_t>(r)], p.top);
    }
  }
  return q;
}

Eigen::RowVectorXd error_row(const Problem& p, const Matrix& q, Eigen::Index r) {
  return p.w.row(r) - q.row(r) * p.scale[static_cast<std::size_t>(r)];
}
double row_error(const Problem& p, const Matrix& q, Eigen::Index r) {
  const Eigen::RowVectorXd e = error_row(p, q, r);
  return (e * p.h).dot(e);
}

// Keeps of each row the better one.
void keep_better(const Problem& p, Matrix& best, const Matrix& other) {
  for (Eigen::Index r = 0; r < best.rows(); ++r) {
    if (row_error(p, other, r) < row_error(p, best, r)) best.row(r) = other.row(r);
  }
}

// Errors are passed on along the rows of U, the upper Cholesky factor of H^-1 = U^T U.
Matrix gptq(const Problem& p) {
  const Eigen::Index k = p.w.cols();
  std::vector<Eigen::Index> order(static_cast<std::size_t>(k));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](Eigen::Index a, Eigen::Index b) { return p.h(a, a) > p.h(b, b); });
  Matrix h(k, k), w(p.w.rows(), k);
  for (Eigen::Index i = 0; i < k; ++i) {
    w.col(i) = p.w.col(order[static_cast<std::size_t>(i)]);
    for (Eigen::Index j = 0; j < k; ++j) {
      h(i, j) = p.h(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
    }
  }
  const double damp = 0.01 * h.diagonal().mean();
  if (!(damp > 0)) return nearest(p);
  h.diagonal().array() += damp;
  const Eigen::LLT<Matrix> factor(h);
  if (factor.info() != Eigen::Success) return nearest(p);
  const Matrix inverse = factor.solve(Matrix::Identity(k, k));
  const Eigen::LLT<Matrix, Eigen::Upper> root(inverse);
  if (root.info() != Eigen::Success) return nearest(p);
  const Matrix u = root.matrixU();
  Matrix q(p.w.rows(), k);
  for (Eigen::Index i = 0; i < k; ++i) {
    Eigen::VectorXd passed(w.rows());
    for (Eigen::Index r = 0; r < w.rows(); ++r) {
      const double s = p.scale[static_cast<std::size_t>(r)];
      const double code = nearest(w(r, i), s, p.top);
      q(r, order[static_cast<std::size_t>(i)]) = code;
      passed(r) = (w(r, i) - code * s) / u(i, i);
    }
    const Eigen::Index rest = k - i - 1;
    if (rest > 0) w.rightCols(rest).noalias() -= passed * u.row(i).rightCols(rest);
  }
  return q;
}

// One code up or down: e' = e - d s, change of e H e^T = -2 d s g + s^2 H_ii with g = (e H)_i.
void descend(const Problem& p, Matrix& q) {
  for (Eigen::Index r = 0; r < q.rows(); ++r) {
    const double s = p.scale[static_cast<std::size_t>(r)];
    Eigen::RowVectorXd g = error_row(p, q, r) * p.h;
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      bool moved = false;
      for (Eigen::Index i = 0; i < q.cols(); ++i) {
        const double d = g(i) > 0 ? 1 : -1;
        if (2 * s * std::fabs(g(i)) <= s * s * p.h(i, i) * (1 + 1e-9)) continue;
        if (std::fabs(q(r, i) + d) > p.top) continue;
        q(r, i) += d;
        g -= d * s * p.h.row(i);
        moved = true;
      }
      if (!moved) break;
    }
  }
}

// All 2^k choices of floor and ceiling, one flip at a time (Gray code).
void exhaust(const Problem& p, Matrix& q) {
  const Eigen::Index k = q.cols();
  for (Eigen::Index r = 0; r < q.rows(); ++r) {
    const double s = p.scale[static_cast<std::size_t>(r)];
    Eigen::RowVectorXd code(k);
    for (Eigen::Index i = 0; i < k; ++i) {
      code(i) = std::clamp(std::floor(p.w(r, i) / s), -p.top, p.top - 1);
    }
    Eigen::RowVectorXd e = p.w.row(r) - code * s, g = e * p.h;
    double error = g.dot(e), least = row_error(p, q, r);
    std::vector<bool> up(static_cast<std::size_t>(k), false);
    for (std::uint32_t n = 1; n < (1u << k); ++n) {
      const int i = __builtin_ctz(n);
      const double d = up[static_cast<std::size_t>(i)] ? -1 : 1;
      up[static_cast<std::size_t>(i)] = d > 0;
      error += -2 * d * s * g(i) + s * s * p.h(i, i);
      g -= d * s * p.h.row(i);
      code(i) += d;
      if (error < least - 1e-12 * std::fabs(least)) {
        least = error;
        q.row(r) = code;
      }
    }
  }
}

Matrix solve(const Problem& p, Rounding rounding) {
  Matrix q = nearest(p);
  if (rounding == Rounding::kNearest) return q;
  if (static_cast<std::size_t>(q.cols()) <= kExhaustive) {
    exhaust(p, q);
    return q;
  }
  keep_better(p, q, gptq(p));
  if (rounding == Rounding::kCoordinate) {
    Matrix lower = q;
    descend(p, lower);
    keep_better(p, q, lower);
  }
  return q;
}

double clipping_error(const std::vector<float>& w, std::size_t from, std::size_t to, double scale,
                      double top) {
  double sum = 0;
  for (std::size_t i = from; i < to; ++i) {
    const double e = w[i] - scale * nearest(w[i], scale, top);
    sum += e * e;
  }
  return sum;
}

double mse_scale(const std::vector<float>& w, std::size_t from, std::size_t to, double whole,
                 double top) {
  double best = whole, least = clipping_error(w, from, to, whole, top);
  for (int i = 99; i >= 30; --i) {
    const double s = whole * i / 100;
    if (const double e = clipping_error(w, from, to, s, top); e < least) {
      least = e;
      best = s;
    }
  }
  return best;
}

// s = E[|w|; |w| > s] / (4 / (12 (2 top)^2) P(|w| <= s) + P(|w| > s)).
double octav_scale(const std::vector<float>& w, std::size_t from, std::size_t to, double whole,
                   double top) {
  const double c = 1 / (12 * top * top);
  double sum = 0;
  for (std::size_t i = from; i < to; ++i) sum += std::fabs(w[i]);
  double s = sum / static_cast<double>(std::max<std::size_t>(1, to - from));
  for (int round = 0; round < 20 && s > 0; ++round) {
    double beyond = 0, count = 0, inside = 0;
    for (std::size_t i = from; i < to; ++i) {
      const double a = std::fabs(w[i]);
      if (a > s) {
        beyond += a;
        count += 1;
      } else if (a > 0) {
        inside += 1;
      }
    }
    const double next = beyond / (c * inside + count);
    if (!(next > 0)) break;
    const bool still = std::fabs(next - s) < 1e-6 * s;
    s = next;
    if (still) break;
  }
  return s > 0 ? std::min(whole, s / top) : whole;
}

double top_code(int bits) { return bits == 4 ? 7 : 127; }

}  // namespace

Quant weight_scales(const Array& weights, OpCode code, const CodingOptions& options) {
  const bool per_channel = options.granularity == Granularity::kPerChannel;
  Quant q = weight_quant(weights, per_channel ? weight_axis(code) : -1, options.bits);
  if (options.scale == WeightScale::kMinmax) return q;
  const std::vector<float> rows = weight_rows(weights, code);
  const std::size_t n = q.scale.size(), each = rows.size() / n;
  const double top = top_code(options.bits);
  for (std::size_t c = 0; c < n; ++c) {
    const double whole = static_cast<double>(q.scale[c]);
    q.scale[c] = static_cast<float>(options.scale == WeightScale::kMse
                                        ? mse_scale(rows, c * each, (c + 1) * each, whole, top)
                                        : octav_scale(rows, c * each, (c + 1) * each, whole, top));
  }
  return q;
}

CodedWeights code_weights(const Array& weights, OpCode code, const Moments* moments,
                          const CodingOptions& options) {
  CodedWeights coded;
  coded.quant = weight_scales(weights, code, options);
  if (moments == nullptr || options.rounding == Rounding::kNearest) {
    coded.codes = quantize_weights(weights, coded.quant, options.bits);
    return coded;
  }
  const std::vector<float> rows = weight_rows(weights, code);
  const std::size_t outs = weight_row_count(weights.shape(), code), k = moments->k;
  const std::size_t each = outs / moments->groups;  // rows of one group
  std::vector<float> codes(rows.size());
  for (std::size_t g = 0; g < moments->groups; ++g) {
    Problem p;
    p.top = top_code(options.bits);
    p.h = MapH(moments->h(g), static_cast<Eigen::Index>(k), static_cast<Eigen::Index>(k));
    p.w.resize(static_cast<Eigen::Index>(each), static_cast<Eigen::Index>(k));
    for (std::size_t r = 0; r < each; ++r) {
      const std::size_t o = g * each + r;
      p.scale.push_back(static_cast<double>(coded.quant.scale[coded.quant.per_channel() ? o : 0]));
      for (std::size_t i = 0; i < k; ++i) {
        p.w(static_cast<Eigen::Index>(r), static_cast<Eigen::Index>(i)) = rows[o * k + i];
      }
    }
    const Matrix q = solve(p, options.rounding);
    for (std::size_t r = 0; r < each; ++r) {
      for (std::size_t i = 0; i < k; ++i) {
        codes[(g * each + r) * k + i] =
            static_cast<float>(q(static_cast<Eigen::Index>(r), static_cast<Eigen::Index>(i)));
      }
    }
  }
  const Array real = weights_from_rows(codes, weights.shape(), code);
  coded.codes = Array::zeros(DType::kInt8, weights.shape());
  const auto from = real.span<float>();
  const auto to = coded.codes.mutable_span<std::int8_t>();
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::int8_t>(from[i]);
  return coded;
}

double layer_error(const Array& weights, OpCode code, const CodedWeights& coded,
                   const Moments& moments) {
  const std::vector<float> real = weight_rows(weights, code);
  const std::vector<float> back = weight_rows(dequantize(coded.codes, coded.quant), code);
  const std::size_t outs = weight_row_count(weights.shape(), code), k = moments.k;
  const std::size_t each = outs / moments.groups;
  double sum = 0;
  for (std::size_t o = 0; o < outs; ++o) {
    const double* h = moments.h(o / each);
    for (std::size_t i = 0; i < k; ++i) {
      const double e = static_cast<double>(real[o * k + i]) - static_cast<double>(back[o * k + i]);
      for (std::size_t j = 0; j < k; ++j) {
        sum += e * h[i * k + j] *
               (static_cast<double>(real[o * k + j]) - static_cast<double>(back[o * k + j]));
      }
    }
  }
  return sum / static_cast<double>(outs);
}

}  // namespace litegap
