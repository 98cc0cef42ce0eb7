#include "verbs/cover.h"

#include <algorithm>

#include "base/parallel.h"

namespace litegap {
namespace {

std::size_t row_bytes(const Contestant& c) {
  std::size_t bytes = 0;
  for (const Array& out : room_of(c, 1).outputs) bytes += out.byte_size();
  return bytes;
}

OutputSizes sizes_of(const Contestant& c, std::size_t samples) {
  OutputSizes sizes = sizes_of(room_of(c, 1));
  sizes.count = samples;
  return sizes;
}

}  // namespace

Cover::Cover(std::vector<Contestant>& all, const Dataset& data, const Metric& metric,
             Options options)
    : all_(all),
      data_(data),
      hit_metric_(is_hit_metric(metric)),
      hits_(all.size(), 0),
      covered_(data.count, 0) {
  const bool one_thread = std::any_of(all.begin(), all.end(), carries_state);
  threads_ = one_thread ? 1 : std::max(1, options.threads);
  lanes_.resize(static_cast<std::size_t>(threads_));
  block_for(options);
  const bool compared = all.size() > 1;
  AlsoKeep keep = compared ? kept_to_compare(metric) : AlsoKeep{};
  keep.classes = keep.classes || is_hit_metric(metric);
  const OutputSizes first = sizes_of(all[0], data.count);
  for (const Contestant& c : all) {
    const OutputSizes sizes = sizes_of(c, data.count);
    judges_.emplace_back(metric, OutputJudge::Given{&data, &c.setup.input_map, sizes, first}, keep);
    judged.push_back(judges_.back().room());
    if (judged.size() > 1) pairs.push_back(room_for_pair(first, sizes, true, keep));
  }
}

// As many rows as the memory for outputs allows; pairs of samples stay together.
void Cover::block_for(const Options& options) {
  const auto open_all = [&](std::size_t most) {
    for (Contestant& c : all_) {
      open_contestant(c, most, options.first);
      if (c.predictor) c.predictor->workers(threads_);
    }
  };
  open_all(std::min(kMostStacked, data_.count));
  std::size_t bytes = 0;
  for (const Contestant& c : all_) bytes += row_bytes(c);
  const std::size_t rows =
      options.output_bytes / std::max<std::size_t>(1, bytes * static_cast<std::size_t>(threads_));
  block_ = std::clamp<std::size_t>(rows / 2 * 2, 2, kMostStacked);
  if (block_ < kMostStacked) open_all(std::min(block_, data_.count));
  for (const Contestant& c : all_) {
    if (c.predictor) stack_ = std::max(stack_, c.predictor->samples());
  }
}

// Threads wait for the last block of a chunk: where it is short they take less at once, but no less
// than a run does.
std::size_t Cover::share_of(std::size_t rows) const {
  constexpr std::size_t kTurns = 16;
  if (threads_ == 1) return block_;
  const std::size_t fair = rows / (kTurns * static_cast<std::size_t>(threads_)) / 2 * 2;
  return std::clamp(fair, std::min(block_, std::max<std::size_t>(2, stack_)), block_);
}

void Cover::run_block(int worker, std::span<const std::size_t> rows) {
  auto& outputs = lanes_[static_cast<std::size_t>(worker)];
  if (outputs.empty()) {
    for (const Contestant& c : all_) outputs.push_back(room_of(c, block_));
  }
  for (std::size_t k = 0; k < all_.size(); ++k) {
    answer(all_[k], worker, rows, outputs[k]);
    const Piece piece{&outputs[k], &outputs[0], rows.size(), rows};
    judges_[k].judge(piece, judged[k]);
    if (k > 0) judge_pair(piece, judged[0], judged[k], pairs[k - 1]);
  }
}

// The first of `rows` between which so little of the data lies that it may all be in memory: the
// system reads more than it is asked for.
std::span<const std::size_t> Cover::near_rows(std::span<const std::size_t> rows) const {
  std::size_t bytes = 0;
  for (const auto* list : {&data_.inputs, &data_.quant_inputs}) {
    for (const Array& a : *list) bytes += a.byte_size();
  }
  const std::size_t row = std::max<std::size_t>(1, bytes / std::max<std::size_t>(1, data_.count));
  const std::size_t end = rows[0] + kHeldBytes / row;
  const auto near =
      static_cast<std::size_t>(std::lower_bound(rows.begin(), rows.end(), end) - rows.begin());
  const std::size_t least = block_ * static_cast<std::size_t>(threads_);
  return rows.first(std::min(rows.size(), std::max(near / 2 * 2, least)));
}

void Cover::run(std::span<const std::size_t> rows, const Progress& progress) {
  for (std::size_t first = 0; first < rows.size();) {
    const auto part = near_rows(rows.subspan(first));
    for_each_block(part.size(), share_of(part.size()), threads_,
                   [&](std::size_t, std::size_t begin, std::size_t end, int worker) {
                     run_block(worker, part.subspan(begin, end - begin));
                     if (worker != 0) return;
                     report_progress(
                         progress, "evaluating",
                         static_cast<double>(first + end) / static_cast<double>(rows.size()));
                   });
    first += part.size();
    if (part.size() < rows.size()) data_.forget();
  }
  for (const std::size_t r : rows) covered_[r] = 1;
  for (std::size_t k = 0; hit_metric_ && k < judged.size(); ++k) {
    for (const std::size_t r : rows) hits_[k] += judged[k].scores[r] > 0.5;
  }
  count += rows.size();
}

Interval Cover::hit_interval(std::size_t model) const { return wilson(hits_[model], count); }

std::vector<std::size_t> Cover::covered_rows() const {
  std::vector<std::size_t> rows;
  rows.reserve(count);
  for (std::size_t r = 0; r < covered_.size(); ++r) {
    if (covered_[r] != 0) rows.push_back(r);
  }
  return rows;
}

void Cover::settle() {
  lanes_.clear();
  if (count == data_.count) return;
  const std::vector<std::size_t> rows = covered_rows();
  for (Judged& j : judged) keep_rows(rows, j);
  for (JudgedPair& p : pairs) keep_rows(rows, p);
}

std::vector<int> Cover::label_classes() const {
  const std::span<const int> known = judges_[0].classes_of_labels();
  if (known.empty()) return litegap::label_classes(labels(), judged[0].sizes.widths[0]);
  if (count == data_.count) return {known.begin(), known.end()};
  std::vector<int> classes;
  for (const std::size_t r : covered_rows()) classes.push_back(known[r]);
  return classes;
}

Dataset Cover::labels() const {
  Dataset labels = data_;
  labels.inputs.clear();
  labels.quant_inputs.clear();
  labels.original.reset();
  return count == data_.count ? labels : labels.subset(covered_rows());
}

}  // namespace litegap
