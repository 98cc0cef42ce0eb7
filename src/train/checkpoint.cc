#include "train/checkpoint.h"

#include "base/file.h"
#include "data/npy.h"

namespace litegap {
namespace {

template <class T>
Array row(const std::vector<T>& v) {
  return Array::of<T>({static_cast<std::int32_t>(v.size())}, v);
}

void take(const NamedArrays& all, const std::string& name, std::vector<float>& to,
          const std::string& path) {
  const Array* a = find_array(all, name);
  if (a == nullptr || a->dtype() != DType::kFloat32 || a->elements() != to.size()) {
    fail("{}: {} has {} values, expected {}: the checkpoint belongs to another model or optimizer",
         path, name, a == nullptr ? 0 : a->elements(), to.size());
  }
  to.assign(a->span<float>().begin(), a->span<float>().end());
}

std::vector<double> numbers(const NamedArrays& all, const std::string& name, std::size_t least,
                            const std::string& path) {
  const Array* a = find_array(all, name);
  if (a == nullptr || a->dtype() != DType::kFloat64 || a->elements() < least)
    fail("{}: no checkpoint of a training ({} is missing)", path, name);
  return {a->span<double>().begin(), a->span<double>().end()};
}

}  // namespace

void write_checkpoint(const std::string& path, Trainer& trainer, const Checkpoint& c) {
  NamedArrays all;
  all.push_back(
      {"state", row<double>({static_cast<double>(trainer.optimizer().iterations), c.best,
                             static_cast<double>(c.best_epoch), static_cast<double>(c.waited)})});
  std::vector<double> epochs;
  for (const EpochReport& e : c.epochs)
    epochs.insert(epochs.end(),
                  {e.loss, e.learning_rate, e.validation_loss, e.accuracy, e.validation_accuracy});
  all.push_back({"epochs", row(epochs)});
  const auto& weights = trainer.weights().value;
  for (std::size_t i = 0; i < weights.size(); ++i)
    all.push_back({fmt::format("w{}", i), row(weights[i])});
  for (std::size_t s = 0; s < trainer.optimizer().slots.size(); ++s)
    for (std::size_t i = 0; i < weights.size(); ++i)
      all.push_back({fmt::format("s{}_{}", s, i), row(trainer.optimizer().slots[s][i])});
  for (std::size_t i = 0; i < c.best_weights.size(); ++i)
    all.push_back({fmt::format("b{}", i), row(c.best_weights[i])});
  all.insert(all.end(), c.own.begin(), c.own.end());
  write_npz(path, all);
}

Checkpoint read_checkpoint(const std::string& path, Trainer& trainer) {
  Checkpoint c;
  if (!file_exists(path)) return c;
  const NamedArrays all = read_npz(path);
  const auto state = numbers(all, "state", 4, path), epochs = numbers(all, "epochs", 0, path);
  trainer.optimizer().iterations = static_cast<std::uint64_t>(state[0]);
  c.best = state[1];
  c.best_epoch = static_cast<int>(state[2]);
  c.waited = static_cast<int>(state[3]);
  for (std::size_t i = 0; i + 4 < epochs.size(); i += 5)
    c.epochs.push_back({epochs[i], epochs[i + 1], epochs[i + 2], epochs[i + 3], epochs[i + 4]});
  auto& weights = trainer.weights().value;
  for (std::size_t i = 0; i < weights.size(); ++i)
    take(all, fmt::format("w{}", i), weights[i], path);
  for (std::size_t s = 0; s < trainer.optimizer().slots.size(); ++s)
    for (std::size_t i = 0; i < weights.size(); ++i)
      take(all, fmt::format("s{}_{}", s, i), trainer.optimizer().slots[s][i], path);
  if (find_array(all, "b0") != nullptr) {
    c.best_weights = weights;
    for (std::size_t i = 0; i < weights.size(); ++i)
      take(all, fmt::format("b{}", i), c.best_weights[i], path);
  }
  c.own = all;
  return c;
}

}  // namespace litegap
