#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

namespace litegap {
namespace {

double norm2(const std::vector<float>& g) {
  double sum = 0;
  for (const float v : g) sum += static_cast<double>(v) * static_cast<double>(v);
  return sum;
}

void scale(std::vector<float>& g, double factor) {
  const auto f = static_cast<float>(factor);
  for (float& v : g) v *= f;
}

void clip(const OptimizerOptions& o, const std::vector<bool>& trainable,
          std::vector<std::vector<float>>& grads) {
  double total = 0;
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (!trainable[i]) continue;
    if (o.clip_norm > 0) {
      scale(grads[i], o.clip_norm / std::max(std::sqrt(norm2(grads[i])), o.clip_norm));
    } else if (o.global_clip_norm > 0) {
      total += norm2(grads[i]);
    } else if (o.clip_value > 0) {
      const auto c = static_cast<float>(o.clip_value);
      for (float& v : grads[i]) v = std::clamp(v, -c, c);
    }
  }
  if (o.clip_norm > 0 || o.global_clip_norm <= 0) return;
  const double factor = o.global_clip_norm / std::max(std::sqrt(total), o.global_clip_norm);
  for (std::size_t i = 0; i < grads.size(); ++i)
    if (trainable[i]) scale(grads[i], factor);
}

}  // namespace

double learning_rate_at(const OptimizerOptions& o, std::uint64_t step) {
  const double base = o.learning_rate > 0 || o.schedule.kind == ScheduleKind::kCosine
                          ? o.learning_rate
                      : o.kind == OptimizerKind::kSgd ? 0.01
                                                      : 0.001;
  const Schedule& s = o.schedule;
  const auto at = static_cast<double>(step);
  switch (s.kind) {
    case ScheduleKind::kConstant:
      return base;
    case ScheduleKind::kExponential: {
      const double p = at / s.decay_steps;
      return base * std::pow(s.decay_rate, s.staircase ? std::floor(p) : p);
    }
    case ScheduleKind::kPiecewise:
      for (std::size_t i = 0; i < s.boundaries.size(); ++i)
        if (at <= s.boundaries[i]) return s.values[i];
      return s.values.empty() ? base : s.values.back();
    case ScheduleKind::kCosine: {
      double peak = base, from = at;
      if (s.warmup_target) {
        peak = *s.warmup_target;
        if (at < s.warmup_steps) return base + (peak - base) * at / s.warmup_steps;
        from = at - s.warmup_steps;
      }
      const double done = std::min(from, s.decay_steps) / s.decay_steps;
      const double wave = 0.5 * (1 + std::cos(3.14159265358979323846 * done));
      return peak * ((1 - s.alpha) * wave + s.alpha);
    }
  }
  return base;
}

Optimizer::Optimizer(const OptimizerOptions& options, const TrainGraph& graph) : options_(options) {
  const OptimizerOptions& o = options_;
  std::size_t count = 0;
  if (o.kind == OptimizerKind::kSgd) count = o.momentum > 0 ? 1 : 0;
  if (o.kind == OptimizerKind::kAdam || o.kind == OptimizerKind::kAdamW) count = 2;
  if (o.kind == OptimizerKind::kRmsprop)
    count = 1 + (o.centered ? 1 : 0) + (o.momentum > 0 ? 1 : 0);
  slots.resize(count);
  for (const TrainParameter& p : graph.parameters) {
    const Tensor& t = graph.model.main().tensors[static_cast<std::size_t>(p.tensor)];
    for (auto& slot : slots) slot.emplace_back(p.trainable ? t.constant->elements() : 0, 0.0f);
    trainable_.push_back(p.trainable);
  }
}

void Optimizer::step(Weights<float>& weights) {
  const OptimizerOptions& o = options_;
  clip(o, trainable_, weights.grad);
  const auto rate = static_cast<float>(learning_rate());
  ++iterations;
  const auto t = static_cast<double>(iterations);
  const auto alpha = static_cast<float>(
      static_cast<double>(rate) * std::sqrt(1 - std::pow(o.beta2, t)) / (1 - std::pow(o.beta1, t)));
  const auto eps = static_cast<float>(o.epsilon), momentum = static_cast<float>(o.momentum);
  const auto up1 = static_cast<float>(1 - o.beta1), up2 = static_cast<float>(1 - o.beta2);
  const auto rho = static_cast<float>(o.rho), up = static_cast<float>(1 - o.rho);
  const double decay = o.weight_decay.value_or(o.kind == OptimizerKind::kAdamW ? 0.004 : 0.0);
  for (std::size_t p = 0; p < weights.value.size(); ++p) {
    if (!trainable_[p]) continue;
    float* const w = weights.value[p].data();
    const float* const g = weights.grad[p].data();
    const std::size_t n = weights.value[p].size();
    const float* const squares = weights.square[p].empty() ? nullptr : weights.square[p].data();
    const auto square = [=](std::size_t i) { return squares ? squares[i] : g[i] * g[i]; };
    if (decay != 0) {
      const auto less = static_cast<float>(decay * static_cast<double>(rate));
      for (std::size_t i = 0; i < n; ++i) w[i] -= w[i] * less;
    }
    switch (o.kind) {
      case OptimizerKind::kSgd: {
        if (momentum == 0) {
          for (std::size_t i = 0; i < n; ++i) w[i] -= rate * g[i];
          break;
        }
        float* const m = slots[0][p].data();
        for (std::size_t i = 0; i < n; ++i) {
          m[i] = momentum * m[i] - rate * g[i];
          w[i] += o.nesterov ? momentum * m[i] - rate * g[i] : m[i];
        }
        break;
      }
      case OptimizerKind::kAdam:
      case OptimizerKind::kAdamW: {
        float *const m = slots[0][p].data(), *const v = slots[1][p].data();
        for (std::size_t i = 0; i < n; ++i) {
          m[i] += (g[i] - m[i]) * up1;
          v[i] += (square(i) - v[i]) * up2;
          w[i] -= m[i] * alpha / (std::sqrt(v[i]) + eps);
        }
        break;
      }
      case OptimizerKind::kRmsprop: {
        float* const v = slots[0][p].data();
        float* const mean = o.centered ? slots[1][p].data() : nullptr;
        float* const m = momentum > 0 ? slots[o.centered ? 2 : 1][p].data() : nullptr;
        for (std::size_t i = 0; i < n; ++i) {
          v[i] = rho * v[i] + up * square(i);
          float below = v[i] + eps;
          if (mean != nullptr) {
            mean[i] = rho * mean[i] + up * g[i];
            below -= mean[i] * mean[i];
          }
          float change = rate * g[i] / std::sqrt(below);
          if (m != nullptr) change = m[i] = momentum * m[i] + change;
          w[i] -= change;
        }
        break;
      }
    }
  }
}

}  // namespace litegap
