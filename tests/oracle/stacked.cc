#include "oracle/stacked.h"

#include <cstring>
#include <map>
#include <tuple>

namespace litegap {
namespace {

using Key = std::tuple<int, int, int, std::size_t>;  // kind, operator, tensor, sample

class Keeper final : public Observer {
 public:
  explicit Keeper(std::size_t first) : first_(first) {}
  void on_sample(std::size_t sample) override { sample_ = first_ + sample; }
  void on_value(int op, int tensor, const Array& value) override {
    kept[{0, op, tensor, sample_}] = value.clone();
  }
  void on_state(int op, int tensor, const Array& value) override {
    kept[{1, op, tensor, sample_}] = value.clone();
  }
  void on_accumulators(int op, const Array& sums) override {
    kept[{2, op, 0, sample_}] = sums.clone();
  }
  bool wants_accumulators() const override { return true; }
  std::map<Key, Array> kept;

 private:
  std::size_t first_, sample_ = 0;
};

Array together(const std::vector<std::vector<Array>>& samples, std::size_t from, std::size_t count,
               std::size_t input) {
  const Array& one = samples[from][input];
  Shape shape = one.shape();
  shape.insert(shape.begin(), static_cast<std::int32_t>(count));
  Array all = Array::zeros(one.dtype(), shape);
  for (std::size_t s = 0; s < count; ++s) {
    if (one.byte_size() == 0) break;
    std::memcpy(all.mutable_data() + s * one.byte_size(), samples[from + s][input].data(),
                one.byte_size());
  }
  return all;
}

bool same(const Array& a, const Array& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && a.byte_size() == b.byte_size() &&
         (a.byte_size() == 0 || std::memcmp(a.data(), b.data(), a.byte_size()) == 0);
}

std::map<Key, Array> run_all(const ModelPtr& model, const Numerics& numerics,
                             const PlanOptions& options,
                             const std::vector<std::vector<Array>>& samples, std::size_t* stacked) {
  const Plan plan = make_plan(model, numerics, options);
  if (stacked != nullptr) *stacked = plan.samples();
  Workspace space(plan);
  std::map<Key, Array> all;
  for (std::size_t from = 0; from < samples.size(); from += plan.samples()) {
    const std::size_t count = std::min(plan.samples(), samples.size() - from);
    std::vector<Array> inputs;
    for (std::size_t i = 0; i < plan.input_count(); ++i) {
      inputs.push_back(plan.samples() == 1 ? samples[from][i] : together(samples, from, count, i));
    }
    space.reset();
    Keeper keeper(from);
    run(plan, space, inputs, &keeper);
    all.merge(keeper.kept);
    for (std::size_t j = 0; j < plan.output_count(); ++j) {
      for (std::size_t s = 0; s < count; ++s) {
        const Array& out = space.output(j);
        all[{3, 0, static_cast<int>(j), from + s}] =
            plan.samples() == 1 ? out.clone()
                                : out.slice0(s, s + 1).reshaped(plan.output_shape(j)).clone();
      }
    }
  }
  return all;
}

}  // namespace

std::string stacking_difference(const ModelPtr& model, const Numerics& numerics,
                                const PlanOptions& options,
                                const std::vector<std::vector<Array>>& samples,
                                std::size_t* stacked) {
  PlanOptions many = options;
  many.samples = samples.size();
  many.stack_bytes = std::uint64_t{1} << 40;
  const auto one = run_all(model, numerics, options, samples, nullptr);
  const auto all = run_all(model, numerics, many, samples, stacked);
  for (const auto& [key, value] : one) {
    const auto [kind, op, tensor, sample] = key;
    const auto found = all.find(key);
    static constexpr const char* kKinds[] = {"value", "state", "sums", "output"};
    if (found == all.end() || !same(value, found->second)) {
      return fmt::format("{} of {}, tensor {}, sample {}: {}", kKinds[kind],
                         op < 0 || kind == 3
                             ? std::string("the graph")
                             : op_label(model->main(), static_cast<std::size_t>(op)),
                         tensor, sample, found == all.end() ? "missing" : "other bits");
    }
  }
  return one.size() == all.size() ? "" : "more values than of single runs";
}

}  // namespace litegap
