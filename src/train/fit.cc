#include "train/fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "train/checkpoint.h"

namespace litegap {

Trainer::Trainer(TrainGraph graph, const FitOptions& options)
    : graph_(std::move(graph)),
      options_(options),
      site_(loss_site(graph_, options.loss)),
      weights_(initial_weights<float>(graph_)),
      optimizer_(options.optimizer, graph_) {
  mode_.seed = options.seed;
}

Tape<float>& Trainer::tape(std::size_t batch) {
  auto& t = tapes_[batch];
  if (!t) {
    t = std::make_unique<Tape<float>>(graph_, weights_, static_cast<int>(batch),
                                      TapeOptions{&mode_, site_.tensor, false});
  }
  return *t;
}

void Trainer::fill(Tape<float>& tape, const Samples& samples, const std::size_t* rows) {
  const auto n = static_cast<std::size_t>(tape.batch());
  const Graph& g = graph_.model.main();
  for (std::size_t i = 0; i < samples.inputs.size(); ++i) {
    const std::size_t size = samples.sizes[i];
    float* const to = tape.value(g.inputs[i]);
    for (std::size_t r = 0; r < n; ++r) {
      const float* from = samples.inputs[i].data() + rows[r] * size;
      std::copy(from, from + size, to + r * size);
    }
  }
  batch_targets_.resize(n * samples.target_size);
  for (std::size_t r = 0; r < n; ++r) {
    const float* from = samples.targets.data() + rows[r] * samples.target_size;
    std::copy(from, from + samples.target_size, batch_targets_.data() + r * samples.target_size);
  }
}

double Trainer::regularize() {
  double loss = 0;
  for (std::size_t p = 0; p < graph_.parameters.size(); ++p) {
    const TrainParameter& t = graph_.parameters[p];
    if (t.l1 == 0 && t.l2 == 0) continue;
    for (std::size_t i = 0; i < weights_.value[p].size(); ++i) {
      const float w = weights_.value[p][i];
      loss += static_cast<double>(t.l1 * std::fabs(w)) + static_cast<double>(t.l2 * w * w);
      if (t.trainable)
        weights_.grad[p][i] += t.l1 * (w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f) + 2 * t.l2 * w;
    }
  }
  return loss;
}

std::size_t Trainer::count_right(const Tape<float>& tape) const {
  const LossKind kind = options_.loss.kind;
  const bool sparse = kind == LossKind::kSparseCrossEntropy;
  if (!sparse && kind != LossKind::kCrossEntropy && kind != LossKind::kDistill) return 0;
  const Shape& shape = tape.shape(site_.tensor);
  const auto classes = static_cast<std::size_t>(shape.back());
  const float* x = tape.value(site_.tensor);
  std::size_t right = 0;
  for (std::size_t r = 0; r * classes < tape.count(site_.tensor); ++r) {
    const float* row = x + r * classes;
    const auto best = std::max_element(row, row + classes) - row;
    const float* t = batch_targets_.data() + r * (sparse ? 1 : classes);
    const auto truth =
        sparse ? static_cast<std::ptrdiff_t>(t[0]) : std::max_element(t, t + classes) - t;
    right += best == truth ? 1 : 0;
  }
  return right;
}

double Trainer::step(const Samples& samples, const std::size_t* rows, std::size_t count) {
  Tape<float>& t = tape(count);
  mode_.training = true;
  mode_.step = optimizer_.iterations;
  fill(t, samples, rows);
  for (auto& g : weights_.grad) std::fill(g.begin(), g.end(), 0.0f);
  for (auto& g : weights_.square) std::fill(g.begin(), g.end(), 0.0f);
  t.forward();
  double loss = loss_of<float>(options_.loss, site_.logits, t.value(site_.tensor),
                               t.shape(site_.tensor), batch_targets_.data(), t.grad(site_.tensor));
  right_ = count_right(t);
  t.backward();
  loss += regularize();
  optimizer_.step(weights_);
  return loss;
}

void Trainer::look(const Samples& samples, const std::size_t* rows, std::size_t count) {
  Tape<float>& t = tape(count);
  mode_.training = true;
  fill(t, samples, rows);
  t.forward();
}

double Trainer::evaluate(const Samples& samples, std::size_t begin, std::size_t end,
                         double* accuracy) {
  mode_.training = false;
  std::vector<std::size_t> rows;
  double sum = 0;
  std::size_t right = 0;
  for (std::size_t i = begin; i < end; i += options_.batch_size) {
    const std::size_t count = std::min(options_.batch_size, end - i);
    rows.resize(count);
    std::iota(rows.begin(), rows.end(), i);
    Tape<float>& t = tape(count);
    fill(t, samples, rows.data());
    t.forward();
    sum += static_cast<double>(count) * loss_of<float>(options_.loss, site_.logits,
                                                       t.value(site_.tensor), t.shape(site_.tensor),
                                                       batch_targets_.data(), nullptr);
    right += count_right(t);
  }
  mode_.training = true;
  const auto n = static_cast<double>(end - begin);
  if (accuracy != nullptr)
    *accuracy =
        static_cast<double>(right) /
        (n * static_cast<double>(
                 options_.loss.kind == LossKind::kSparseCrossEntropy ? samples.target_size : 1));
  return sum / n;
}

Array Trainer::outputs(const Samples& samples) {
  mode_.training = false;
  const int output = graph_.model.main().outputs[0];
  std::vector<float> all;
  std::vector<std::size_t> rows;
  Shape shape;
  for (std::size_t i = 0; i < samples.count; i += options_.batch_size) {
    rows.resize(std::min(options_.batch_size, samples.count - i));
    std::iota(rows.begin(), rows.end(), i);
    Tape<float>& t = tape(rows.size());
    fill(t, samples, rows.data());
    t.forward();
    all.insert(all.end(), t.value(output), t.value(output) + t.count(output));
    shape = t.shape(output);
  }
  mode_.training = true;
  const auto per_batch = static_cast<std::size_t>(shape.at(0));
  shape[0] = static_cast<std::int32_t>(samples.count * per_batch / rows.size());
  return Array::of<float>(shape, all);
}

namespace {

bool classifies(LossKind kind) {
  return kind == LossKind::kSparseCrossEntropy || kind == LossKind::kCrossEntropy ||
         kind == LossKind::kDistill;
}

// One pass over rows [0, n) in the order of this epoch.  False when it was told to stop.
bool epoch_pass(Trainer& trainer, const Samples& samples, std::size_t n, int epoch,
                const FitOptions& o, EpochReport* report) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (o.shuffle) {
    Random random(o.seed * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(epoch));
    random.shuffle(order);
  }
  double sum = 0;
  std::size_t right = 0;
  for (std::size_t at = 0; at < n; at += o.batch_size) {
    const std::size_t count = std::min(o.batch_size, n - at);
    report->learning_rate = trainer.optimizer().learning_rate();
    const double loss = trainer.step(samples, order.data() + at, count);
    if (!std::isfinite(loss)) {
      fail(
          "{}: the loss is {} in epoch {}, batch {} (sample {} first); a smaller --learning-rate "
          "or clipped gradients usually help",
          samples.path, std::isnan(loss) ? "not a number" : "infinite", epoch + 1,
          at / o.batch_size + 1, order[at]);
    }
    sum += loss * static_cast<double>(count);
    right += trainer.right();
    if (o.after_step) o.after_step();
    const double done =
        (static_cast<double>(epoch) + static_cast<double>(at + count) / static_cast<double>(n)) /
        static_cast<double>(o.epochs);
    report_progress(o.progress, "training", done);
    if (o.stop && o.stop()) return false;
  }
  report->loss = sum / static_cast<double>(n);
  if (classifies(o.loss.kind)) {
    const std::size_t each = o.loss.kind == LossKind::kSparseCrossEntropy ? samples.target_size : 1;
    report->accuracy = static_cast<double>(right) / static_cast<double>(n * each);
  }
  return true;
}

}  // namespace

// Keras: the split point is int(count * (1 - split)).
std::size_t training_rows(const Samples& samples, const FitOptions& o) {
  return static_cast<std::size_t>(
      std::floor(static_cast<double>(samples.count) * (1 - o.validation_split)));
}

FitResult fit(Trainer& trainer, const Samples& samples, const FitOptions& o) {
  if (o.batch_size == 0) fail("batch size 0: expected at least 1");
  if (!(o.validation_split >= 0 && o.validation_split < 1))
    fail("validation split {}: expected 0 to less than 1", o.validation_split);
  const std::size_t n = training_rows(samples, o);
  if (n == 0) fail("{}: {} samples leave none to train on", samples.path, samples.count);
  Checkpoint c;
  if (o.resume && !o.checkpoint.empty()) c = read_checkpoint(o.checkpoint, trainer);
  if (o.load && !c.own.empty()) o.load(c.own);
  FitResult r;
  r.epochs = c.epochs;
  int waited = c.waited;
  double best = c.best;
  std::vector<std::vector<float>> best_weights = c.best_weights;
  r.best_epoch = c.best_epoch;
  for (int epoch = static_cast<int>(r.epochs.size()); epoch < o.epochs; ++epoch) {
    if (o.patience > 0 && waited >= o.patience) {
      r.stopped_early = true;
      break;
    }
    EpochReport report;
    if (!epoch_pass(trainer, samples, n, epoch, o, &report)) {
      r.stopped = true;
      break;
    }
    if (n < samples.count) {
      double accuracy = 0;
      report.validation_loss = trainer.evaluate(samples, n, samples.count, &accuracy);
      if (classifies(o.loss.kind)) report.validation_accuracy = accuracy;
    }
    r.epochs.push_back(report);
    const double judged = n < samples.count ? report.validation_loss : report.loss;
    ++waited;
    if (judged < best || r.best_epoch < 0) {
      best = judged;
      waited = 0;
      r.best_epoch = epoch;
      if (o.keep_best) best_weights = trainer.weights().value;
      if (o.after_best) o.after_best();
    }
    if (o.after_epoch) o.after_epoch(epoch);
    if (o.checkpoint.empty()) continue;
    Checkpoint now{r.epochs, best, r.best_epoch, waited, best_weights, {}};
    if (o.save) now.own = o.save();
    write_checkpoint(o.checkpoint, trainer, now);
  }
  Weights<float> last = trainer.weights();
  if (o.keep_best && !best_weights.empty()) last.value = best_weights;
  r.parameters = weight_arrays(trainer.graph(), last);
  return r;
}

FitResult fit(const TrainGraph& graph, const Dataset& data, const FitOptions& options) {
  const Samples samples = read_samples(graph, options.loss, data);
  Trainer trainer(graph, options);
  return fit(trainer, samples, options);
}

}  // namespace litegap
