#include "train/qat.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/random.h"
#include "quant/params.h"
#include "train/range_observer.h"

namespace litegap {
namespace {

std::size_t z(int i) { return static_cast<std::size_t>(i); }

constexpr std::size_t kStatisticsBatches = 64, kRangeBatches = 16;

// Statistics as an architecture starts with them: mean 0, variance 1 in every channel.
bool is_initial(const Graph& g, const FoldedNorm& f) {
  const auto all = [&](int t, float value) {
    const auto s = g.tensors[z(t)].constant->span<float>();
    return std::all_of(s.begin(), s.end(), [=](float v) { return v == value; });
  };
  return all(f.mean, 0) && all(f.variance, 1);
}

// A quantization-aware training under way.
class QatRun {
 public:
  QatRun(const TrainGraph& graph, const Dataset& data, const QatOptions& options)
      : options_(options),
        folded_(fold_norms(graph)),
        trainer_(fake_graph(folded_, options.quantization, slots_), options.fit),
        samples_(read_samples(trainer_.graph(), options.fit.loss, data)),
        observer_(folded_.file, slots_, {options.range_momentum, options.step_rate}) {
    if (!(options.freeze_after >= 0 && options.freeze_after <= 1))
      fail("freeze after {}: expected a share from 0 to 1", options.freeze_after);
    trainer_.mode().fakes = &slots_;
    trained_ = training_rows(samples_, options.fit);
    const std::size_t batch = std::max<std::size_t>(1, options.fit.batch_size);
    per_epoch_ = (trained_ + batch - 1) / batch;
    const double steps = static_cast<double>(per_epoch_) * options.fit.epochs;
    freeze_at_ = static_cast<std::uint64_t>(std::ceil(steps * options.freeze_after));
  }

  QatResult run() {
    trainer_.mode().frozen_statistics = freeze_at_ == 0;
    look_ranges(1);
    QatResult r;
    r.fit = fit(trainer_, samples_, fit_options());
    r.unsettled = observer_.unsettled();
    for (std::size_t i = 0; i < r.fit.parameters.size(); ++i)
      trainer_.weights().value[i].assign(r.fit.parameters[i].span<float>().begin(),
                                         r.fit.parameters[i].span<float>().end());
    Ranges ranges = takes_best(r.fit) ? best_ : observer_.ranges();
    if (never_froze(r.fit)) {
      trainer_.mode().frozen_statistics = false;
      freeze_now();
      ranges = observer_.ranges();
      r.fit.parameters = weight_arrays(trainer_.graph(), trainer_.weights());
    }
    r.float_model = folded_file(folded_, r.fit.parameters);
    observer_.set_ranges(ranges, r.float_model);
    r.ranges = observer_.shared_ranges();
    r.fake_loss = trainer_.evaluate(samples_, 0, samples_.count, &r.fake_accuracy);
    if (options_.keep_outputs) r.fake_outputs = trainer_.outputs(samples_);
    r.model = quantize_static(r.float_model, r.ranges, options_.quantization).model;
    decide(r);
    return r;
  }

 private:
  FitOptions fit_options() {
    FitOptions o = options_.fit;
    o.after_step = [this] {
      observer_.follow();
      freeze_when_due();
      if (options_.fit.after_step) options_.fit.after_step();
    };
    o.after_best = [this] {
      best_ = observer_.ranges();
      if (options_.fit.after_best) options_.fit.after_best();
    };
    o.after_epoch = [this](int epoch) {
      observer_.settle();
      if (options_.learned_steps && epoch == 0) observer_.learn_from_now_on();
      if (options_.fit.after_epoch) options_.fit.after_epoch(epoch);
    };
    o.save = [this] { return saved(); };
    o.load = [this](const NamedArrays& all) { load(all); };
    return o;
  }

  void freeze_when_due() {
    const TapeMode& mode = trainer_.mode();
    if (freezes() && !mode.frozen_statistics && trainer_.optimizer().iterations >= freeze_at_)
      freeze_now();
  }

  bool takes_best(const FitResult& r) const { return options_.fit.keep_best && r.best_epoch >= 0; }

  // The weights are from before the freeze: the training was stopped, or its best epoch was.  Of
  // the latter a validation saw what the moving statistics made, and found it best.
  bool never_froze(const FitResult& r) const {
    if (!freezes()) return false;
    if (!takes_best(r)) return !trainer_.mode().frozen_statistics;
    const auto steps = static_cast<std::uint64_t>(r.best_epoch + 1) * per_epoch_;
    return steps < freeze_at_ && trained_ == samples_.count;
  }

  void freeze_now() {
    measure_initial();
    freeze();
    observer_.restart();
    look_ranges(kRangeBatches);
  }

  NamedArrays saved() const {
    NamedArrays all = observer_.save();
    const auto n = static_cast<std::int32_t>(best_.min.size());
    all.push_back({"best_range_min", Array::of<float>({n}, best_.min)});
    all.push_back({"best_range_max", Array::of<float>({n}, best_.max)});
    return all;
  }

  void load(const NamedArrays& all) {
    observer_.load(all);
    best_ = observer_.ranges();
    for (auto& [name, to] :
         {std::pair{"best_range_min", &best_.min}, std::pair{"best_range_max", &best_.max}}) {
      const Array* a = find_array(all, name);
      if (a == nullptr || a->dtype() != DType::kFloat32 || a->elements() != to->size())
        fail("checkpoint: {} is missing or of another model", name);
      to->assign(a->span<float>().begin(), a->span<float>().end());
    }
    if (freezes() && trainer_.optimizer().iterations >= freeze_at_) freeze();
  }

  // Values of up to `most` batches, as training sees them.
  template <class Before, class After>
  void look(std::size_t most, Before before, After after) {
    std::vector<std::size_t> order(trained_);
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (options_.fit.shuffle) {
      Random random(options_.fit.seed);
      random.shuffle(order);
    }
    const std::size_t batch = std::min(options_.fit.batch_size, trained_);
    if (batch == 0) return;  // fit() says what is wrong
    for (std::size_t i = 0; i < std::min(trained_ / batch, most); ++i) {
      before(i);
      trainer_.look(samples_, order.data() + i * batch, batch);
      after();
    }
  }

  void look_ranges(std::size_t most) {
    trainer_.mode().update_statistics = false;
    look(
        most, [](std::size_t) {}, [this] { observer_.follow(); });
    trainer_.mode().update_statistics = true;
    observer_.mark();
  }

  // The mean over batches, of the weights as they are now.
  void look_statistics() {
    double& momentum = trainer_.mode().statistics_momentum;
    look(
        kStatisticsBatches,
        [&](std::size_t i) { momentum = static_cast<double>(i) / static_cast<double>(i + 1); },
        [] {});
    momentum = -1;
  }

  // A moving average forgets what it started from only slowly.  Statistics that came with the model
  // say something and are kept as the average has them; the zeros and ones of an architecture do
  // not: those are measured anew.
  void measure_initial() {
    const Graph& g = folded_.values.model.main();
    std::set<int> measured;
    for (const FoldedNorm& f : folded_.norms)
      if (is_initial(g, f) && !f.attrs.frozen) measured.insert({f.mean, f.variance});
    if (measured.empty()) return;
    const auto kept = trainer_.weights().value;
    look_statistics();
    const auto& parameters = trainer_.graph().parameters;
    for (std::size_t p = 0; p < parameters.size(); ++p)
      if (!measured.contains(parameters[p].tensor))
        std::copy(kept[p].begin(), kept[p].end(), trainer_.weights().value[p].begin());
  }

  // Some statistics follow the batches, and not to the end.
  bool freezes() const {
    const auto& norms = folded_.norms;
    const bool follow = std::any_of(norms.begin(), norms.end(),
                                    [](const FoldedNorm& f) { return !f.attrs.frozen; });
    return follow && freeze_at_ > 0 && options_.freeze_after < 1;
  }

  void freeze() {
    trainer_.mode().frozen_statistics = true;
    trainer_.optimizer().rate_factor = options_.frozen_rate;
  }

  void decide(QatResult& r) const {
    if (freezes()) {
      r.fit.decisions.push_back(
          {"batch normalization",
           fmt::format("statistics frozen after {} steps, then {:g} of the learning rate",
                       freeze_at_, options_.frozen_rate),
           "the file holds folded weights and fixed statistics, and the last part of the training "
           "has to see them",
           {}});
    }
    if (r.unsettled.empty()) return;
    r.fit.decisions.push_back(
        {"ranges",
         fmt::format("{} still moving", r.unsettled.size()),
         fmt::format("the range of {} changed by more than 2 % in the last epoch; more epochs or a "
                     "smaller learning rate let it settle",
                     r.unsettled.front()),
         {}});
  }

  const QatOptions& options_;
  std::vector<FakeSlot> slots_;
  FoldedModel folded_;
  Trainer trainer_;
  Samples samples_;
  RangeObserver observer_;
  Ranges best_;
  std::size_t trained_ = 0;
  std::uint64_t per_epoch_ = 0, freeze_at_ = 0;  // steps
};

}  // namespace

TrainGraph qat_graph(const KerasModel& model) {
  const Lowered lowered = lower(model, {.keep_norms = true});
  TrainGraph g = train_graph(lowered);
  std::set<int> known;
  for (const TrainParameter& p : g.parameters) known.insert(p.tensor);
  // Weights that the file holds in another form than the variables (parts, spread taps).
  const Graph& m = g.model.main();
  for (const Op& op : m.ops) {
    const int w = weight_input(op.code);
    if (w < 0) continue;
    for (const int t : {op.input(z(w)), op.input(z(bias_input(op.code)))}) {
      if (t < 0 || !m.tensors[z(t)].constant || m.tensors[z(t)].name.ends_with("/no_bias"))
        continue;
      if (known.insert(t).second) g.parameters.push_back({t});
    }
  }
  if (g.parameters.empty()) fail("{}: no weights to train", model.path);
  return g;
}

QatResult qat(const TrainGraph& graph, const Dataset& data, const QatOptions& options) {
  return QatRun(graph, data, options).run();
}

QatResult qat(const Model& float_model, const Dataset& data, const QatOptions& options) {
  return qat(train_graph(float_model), data, options);
}

QatResult qat(const KerasModel& model, const Dataset& data, const QatOptions& options) {
  return qat(qat_graph(model), data, options);
}

}  // namespace litegap
