#include "train/loss.h"

#include <algorithm>
#include <cmath>

namespace litegap {
namespace {

constexpr double kEpsilon = 1e-7;  // keras.config.epsilon()

bool takes_logits(LossKind kind) {
  return kind == LossKind::kSparseCrossEntropy || kind == LossKind::kCrossEntropy ||
         kind == LossKind::kDistill;
}

// f(output, target) -> {loss, slope}, averaged over all elements.
template <class T, class F>
double elementwise(const T* output, std::size_t n, const float* target, T* grad, F f) {
  double sum = 0;
  const double share = 1.0 / static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto [loss, slope] = f(static_cast<double>(output[i]), static_cast<double>(target[i]));
    sum += loss;
    if (grad != nullptr) grad[i] = static_cast<T>(slope * share);
  }
  return sum * share;
}

struct Point {
  double loss, slope;
};

Point binary(bool logits, double x, double t) {
  if (logits) {
    const double e = std::exp(-std::fabs(x));
    const double p = x >= 0 ? 1 / (1 + e) : e / (1 + e);
    return {std::max(x, 0.0) - x * t + std::log1p(e), p - t};
  }
  const double p = std::clamp(x, kEpsilon, 1 - kEpsilon);
  const bool inside = p == x;
  return {-t * std::log(p) - (1 - t) * std::log(1 - p), inside ? (p - t) / (p * (1 - p)) : 0.0};
}

// The mean over rows of -sum t log softmax(x); targets are weights of classes or a class number.
template <class T>
double from_logits(const T* output, std::size_t rows, std::size_t classes, const float* target,
                   bool sparse, T* grad) {
  double sum = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const T* x = output + r * classes;
    const double peak = static_cast<double>(*std::max_element(x, x + classes));
    double total = 0, weight = 0;
    for (std::size_t c = 0; c < classes; ++c) total += std::exp(static_cast<double>(x[c]) - peak);
    const double log_total = std::log(total) + peak;
    const auto t = [&](std::size_t c) {
      if (!sparse) return static_cast<double>(target[r * classes + c]);
      return c == static_cast<std::size_t>(target[r]) ? 1.0 : 0.0;
    };
    for (std::size_t c = 0; c < classes; ++c) {
      weight += t(c);
      if (t(c) != 0) sum -= t(c) * (static_cast<double>(x[c]) - log_total);
    }
    if (grad == nullptr) continue;
    for (std::size_t c = 0; c < classes; ++c) {
      const double p = std::exp(static_cast<double>(x[c]) - log_total);
      grad[r * classes + c] = static_cast<T>((weight * p - t(c)) / static_cast<double>(rows));
    }
  }
  return sum / static_cast<double>(rows);
}

// Probabilities that no SOFTMAX made.  Dense: divided by their sum, then clipped; sparse: clipped,
// then divided.
template <class T>
double from_probabilities(const T* output, std::size_t rows, std::size_t classes,
                          const float* target, bool sparse, T* grad) {
  double sum = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const T* x = output + r * classes;
    double total = 0;
    const auto clip = [](double p) { return std::clamp(p, kEpsilon, 1 - kEpsilon); };
    for (std::size_t c = 0; c < classes; ++c) {
      const auto p = static_cast<double>(x[c]);
      total += sparse ? clip(p) : p;
    }
    double weight = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      const auto p = static_cast<double>(x[c]);
      const double t = sparse ? (c == static_cast<std::size_t>(target[r]) ? 1.0 : 0.0)
                              : static_cast<double>(target[r * classes + c]);
      const double q = sparse ? clip(p) / total : clip(p / total);
      const bool inside = sparse ? clip(p) == p : q == p / total;
      if (t != 0) sum -= t * std::log(q);
      if (inside) weight += t;
      if (grad != nullptr)
        grad[r * classes + c] =
            static_cast<T>(inside && t != 0 ? -t / (sparse ? p : q * total) : 0.0);
    }
    if (grad == nullptr) continue;
    for (std::size_t c = 0; c < classes; ++c) {
      const auto p = static_cast<double>(x[c]);
      const double shared = sparse && clip(p) != p ? 0.0 : weight / total;
      T& g = grad[r * classes + c];
      g = static_cast<T>((static_cast<double>(g) + shared) / static_cast<double>(rows));
    }
  }
  return sum / static_cast<double>(rows);
}

template <class T>
double kl(const T* output, std::size_t rows, std::size_t classes, const float* target, T* grad) {
  double sum = 0;
  for (std::size_t i = 0; i < rows * classes; ++i) {
    const double t = std::clamp(static_cast<double>(target[i]), kEpsilon, 1.0);
    const auto x = static_cast<double>(output[i]);
    const double p = std::clamp(x, kEpsilon, 1.0);
    sum += t * std::log(t / p);
    if (grad != nullptr)
      grad[i] = static_cast<T>(p == x ? -t / p / static_cast<double>(rows) : 0.0);
  }
  return sum / static_cast<double>(rows);
}

template <class T>
double distill(double temperature, const T* output, std::size_t rows, std::size_t classes,
               const float* target, T* grad) {
  double sum = 0;
  std::vector<double> p(classes);
  for (std::size_t r = 0; r < rows; ++r) {
    const T* x = output + r * classes;
    double teacher = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      // A floor as deep as float probabilities go: a root would lift a higher one into view.
      const double t = std::max(static_cast<double>(target[r * classes + c]), 1e-37);
      teacher += p[c] = std::pow(t, 1 / temperature);
    }
    const double peak = static_cast<double>(*std::max_element(x, x + classes)) / temperature;
    double total = 0;
    for (std::size_t c = 0; c < classes; ++c)
      total += std::exp(static_cast<double>(x[c]) / temperature - peak);
    for (std::size_t c = 0; c < classes; ++c) {
      const double log_q = static_cast<double>(x[c]) / temperature - peak - std::log(total);
      const double t = p[c] / teacher;
      sum += temperature * temperature * t * (std::log(t) - log_q);
      if (grad != nullptr)
        grad[r * classes + c] =
            static_cast<T>(temperature * (std::exp(log_q) - t) / static_cast<double>(rows));
    }
  }
  return sum / static_cast<double>(rows);
}

}  // namespace

const char* loss_name(LossKind kind) {
  switch (kind) {
    case LossKind::kMeanSquared:
      return "mse";
    case LossKind::kMeanAbsolute:
      return "mae";
    case LossKind::kHuber:
      return "huber";
    case LossKind::kBinaryCrossEntropy:
      return "binary-crossentropy";
    case LossKind::kSparseCrossEntropy:
    case LossKind::kCrossEntropy:
      return "crossentropy";
    case LossKind::kKlDivergence:
      return "kl";
    case LossKind::kDistill:
      return "distill";
  }
  return "";
}

LossSite loss_site(const TrainGraph& graph, const LossOptions& options) {
  const Graph& g = graph.model.main();
  if (g.outputs.size() != 1)
    fail("{}: has {} outputs, a loss needs exactly one", graph.model.path, g.outputs.size());
  LossSite site{g.outputs[0], options.from_logits || options.kind == LossKind::kDistill};
  const bool binary = options.kind == LossKind::kBinaryCrossEntropy;
  if (!binary && !takes_logits(options.kind)) return {g.outputs[0], false};
  int behind = g.outputs[0];
  for (std::size_t i = g.ops.size(); i-- > 0;) {
    const Op& op = g.ops[i];
    if (op.outputs.empty() || op.outputs[0] != behind) continue;
    if (op.code == OpCode::kReshape && binary) {  // elements stay in order
      behind = op.inputs[0];
      continue;
    }
    const auto* soft = std::get_if<SoftmaxAttrs>(&op.attrs);
    if ((op.code == OpCode::kSoftmax && soft != nullptr && soft->beta == 1 && !binary) ||
        (op.code == OpCode::kLogistic && binary)) {
      return {op.inputs[0], true};
    }
    break;
  }
  return site;
}

std::size_t targets_per_sample(const LossOptions& options, const Shape& output) {
  std::size_t n = 1;
  for (std::size_t d = 1; d < output.size(); ++d) n *= static_cast<std::size_t>(output[d]);
  if (options.kind != LossKind::kSparseCrossEntropy) return n;
  return n / static_cast<std::size_t>(output.back());
}

template <class T>
double loss_of(const LossOptions& options, bool logits, const T* output, const Shape& shape,
               const float* target, T* grad) {
  const std::size_t n = shape_elements(shape);
  const auto classes = static_cast<std::size_t>(shape.empty() ? 1 : shape.back());
  const std::size_t rows = n / classes;
  const double delta = options.delta;
  switch (options.kind) {
    case LossKind::kMeanSquared:
      return elementwise(output, n, target, grad, [](double x, double t) {
        return Point{(x - t) * (x - t), 2 * (x - t)};
      });
    case LossKind::kMeanAbsolute:
      return elementwise(output, n, target, grad, [](double x, double t) {
        return Point{std::fabs(x - t), x > t ? 1.0 : x < t ? -1.0 : 0.0};
      });
    case LossKind::kHuber:
      return elementwise(output, n, target, grad, [=](double x, double t) {
        const double e = x - t, size = std::fabs(e);
        if (size <= delta) return Point{0.5 * e * e, e};
        return Point{delta * size - 0.5 * delta * delta, e > 0 ? delta : -delta};
      });
    case LossKind::kBinaryCrossEntropy:
      return elementwise(output, n, target, grad,
                         [=](double x, double t) { return binary(logits, x, t); });
    case LossKind::kSparseCrossEntropy:
    case LossKind::kCrossEntropy: {
      const bool sparse = options.kind == LossKind::kSparseCrossEntropy;
      return logits ? from_logits(output, rows, classes, target, sparse, grad)
                    : from_probabilities(output, rows, classes, target, sparse, grad);
    }
    case LossKind::kKlDivergence:
      return kl(output, rows, classes, target, grad);
    case LossKind::kDistill:
      return distill(options.temperature, output, rows, classes, target, grad);
  }
  return 0;
}

template double loss_of(const LossOptions&, bool, const float*, const Shape&, const float*, float*);
template double loss_of(const LossOptions&, bool, const double*, const Shape&, const float*,
                        double*);

}  // namespace litegap
