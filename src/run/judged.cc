#include "run/judged.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "model/aligned.h"
#include "model/unset.h"
#include "run/metrics_prepare.h"

namespace litegap {
namespace {

// ---- of two rows
// ---------------------------------------------------------------------------------

double cosine_of(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double p = a[i], q = b[i];
    ab += p * q;
    aa += p * p;
    bb += q * q;
  }
  return ab / std::max(std::sqrt(aa) * std::sqrt(bb), 1e-9);
}

// A row as a distribution: as it is when it is one (to a per cent, for coarse output scales).
void distribution(std::span<const float> row, std::vector<double>& p) {
  p.assign(row.begin(), row.end());
  double sum = 0, low = 0, high = p[0];
  for (const double v : p) {
    sum += v;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (low < 0 || std::fabs(sum - 1) > 0.1) {
    sum = 0;
    for (double& v : p) sum += v = std::exp(v - high);
  }
  for (double& v : p) v /= sum;
}

// Kullback-Leibler divergences of many rows, in memory that is asked for once.
class Divergence {
 public:
  double operator()(std::span<const float> a, std::span<const float> b) {
    distribution(a, p_);
    distribution(b, q_);
    double sum = 0;
    for (std::size_t c = 0; c < p_.size(); ++c) {
      // A code of 0 says "less than half a step", not "impossible": keeps the sum finite.
      const double pc = std::isnan(p_[c]) ? p_[c] : std::max(p_[c], 1e-7);
      const double qc = std::isnan(q_[c]) ? q_[c] : std::max(q_[c], 1e-7);
      sum += pc * std::log(pc / qc);
    }
    return sum;
  }

 private:
  std::vector<double> p_, q_;
};

RowMoments moments_of(std::span<const float> row) {
  RowMoments m;
  for (const float v : row) m.mean += v;
  m.mean /= static_cast<double>(row.size());
  for (const float v : row) m.squares += (v - m.mean) * (v - m.mean);
  return m;
}

// Whether a row's own label is among the `k` largest scores; ties: the lower class first.
bool among_largest(std::span<const float> row, int label, std::uint32_t k) {
  if (arg_max(row) < 0 || label < 0 || static_cast<std::size_t>(label) >= row.size()) return false;
  const auto at = static_cast<std::size_t>(label);
  const float own = row[at];
  std::uint32_t better = 0;
  for (std::size_t c = 0; c < at; ++c) better += row[c] >= own;
  for (std::size_t c = at + 1; c < row.size(); ++c) better += row[c] > own;
  return better < k;
}

// The mean error of every row against the target(i) of the same length.
template <bool kSquared, class Target>
void store_errors(const Piece& piece, const ScoreRows& rows, const Target& target, Judged& to) {
  if (rows.width == 1) {
    for (std::size_t i = 0; i < piece.count; ++i) {
      const double d = static_cast<double>(rows.values[i]) - static_cast<double>(*target(i));
      to.scores[piece.sample(i)] = kSquared ? d * d : std::fabs(d);
    }
    return;
  }
  for (std::size_t i = 0; i < piece.count; ++i) {
    const auto row = rows.row(i);
    const auto* exact = target(i);
    double sum = 0;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const double d = static_cast<double>(row[c]) - static_cast<double>(exact[c]);
      sum += kSquared ? d * d : std::fabs(d);
    }
    to.scores[piece.sample(i)] = sum / static_cast<double>(rows.width);
  }
}

}  // namespace

OutputSizes sizes_of(const Predictions& predictions) {
  OutputSizes s;
  s.count = predictions.count;
  for (std::size_t j = 0; j < predictions.outputs.size(); ++j)
    s.widths.push_back(output_rows(predictions, j).width);
  if (!s.widths.empty() && !predictions.outputs[0].shape().empty())
    s.last = static_cast<std::size_t>(predictions.outputs[0].shape().back());
  return s;
}

// ---- the judge
// -----------------------------------------------------------------------------------

OutputJudge::Kind OutputJudge::kind_of(const Metric& metric) {
  static constexpr std::pair<const char*, Kind> kKinds[] = {{"top1", Kind::kTop1},
                                                            {"top5", Kind::kTop5},
                                                            {"binary", Kind::kBinary},
                                                            {"heads", Kind::kHeads},
                                                            {"agreement", Kind::kAgreement},
                                                            {"mse", Kind::kSquares},
                                                            {"rmse", Kind::kSquares},
                                                            {"mae", Kind::kDistances},
                                                            {"kl", Kind::kKl},
                                                            {"cosine", Kind::kCosine},
                                                            {"auc", Kind::kLast},
                                                            {"recon_auc", Kind::kReconstruction},
                                                            {"pair_auc", Kind::kPairs},
                                                            {"map50", Kind::kBoxes},
                                                            {"r2", Kind::kOutputs}};
  for (const auto& [name, kind] : kKinds) {
    if (metric.name == name) return kind;
  }
  fail("unknown metric '{}', expected one of {}", metric.name, metric_names());
}

OutputJudge::OutputJudge(const Metric& metric, Given given, AlsoKeep keep)
    : metric_(metric), kind_(kind_of(metric)), given_(std::move(given)), keep_(keep) {
  if (given_.sizes.widths.empty()) fail("no predictions to score");
  check_reference();
  check_labels();
}

bool OutputJudge::against_reference() const {
  const bool error = kind_ == Kind::kSquares || kind_ == Kind::kDistances;
  const bool compared = kind_ == Kind::kAgreement || kind_ == Kind::kKl || kind_ == Kind::kCosine;
  return compared || (error && !metric_.needs_labels);
}

void OutputJudge::check_reference() const {
  if (!against_reference()) return;
  if (!given_.reference) fail("metric {} needs the float model's outputs", metric_.name);
  const OutputSizes &own = given_.sizes, &other = *given_.reference;
  if (other.count != own.count || other.widths.at(0) != own.widths[0]) {
    fail("metric {}: outputs of {} values, the float model's have {}", metric_.name,
         own.count * own.widths[0], other.count * other.widths.at(0));
  }
}

void OutputJudge::check_labels() {
  if (against_reference()) return;
  const std::string& name = metric_.name;
  if (given_.data == nullptr || !given_.data->labels) fail("metric {} needs labels", name);
  labels_ = targets_of(*given_.data);
  const std::size_t n = given_.sizes.count, width = given_.sizes.widths[0];
  const auto expect = [&](std::size_t columns) {
    if (labels_.rows == n && (columns == 0 || labels_.columns == columns)) return;
    fail("metric {}: labels are {} rows of {}, expected {} rows of {}", name, labels_.rows,
         labels_.columns, n, columns);
  };
  switch (kind_) {
    case Kind::kTop1:
    case Kind::kTop5:
      classes_ = label_classes(*given_.data, width);
      if (classes_.size() != n) {
        fail("metric {}: the labels are no class numbers for {} samples of {} scores", name, n,
             width);
      }
      return;
    case Kind::kBinary:
      if (width != 1) fail("metric binary: {} output columns, expected 1", width);
      return expect(1);
    case Kind::kHeads:
      expect(0);
      if (given_.sizes.widths.size() < labels_.columns) {
        fail("metric heads: labels have {} columns, the model {} outputs", labels_.columns,
             given_.sizes.widths.size());
      }
      return;
    case Kind::kLast:
      if (width > 2) fail("metric auc: {} output columns, expected 1 or 2", width);
      return expect(1);
    case Kind::kReconstruction: {
      expect(1);
      const std::size_t inputs = given_.data->inputs.at(0).elements();
      if (inputs != n * width) {
        fail("metric recon_auc: inputs of {} values, outputs of {}, expected the same", inputs,
             n * width);
      }
      return;
    }
    case Kind::kPairs:
      if (labels_.rows * 2 == n) return;
      fail("metric pair_auc: {} labels for {} samples, expected one a pair", labels_.rows, n);
    case Kind::kBoxes:
      if (labels_.rows != n || labels_.columns % 5 != 0 || given_.sizes.last < 5 ||
          width % given_.sizes.last != 0) {
        fail("metric map50: labels are {} rows of {}, outputs {} rows of {}", labels_.rows,
             labels_.columns, n, width);
      }
      return;
    default:  // errors and r2
      return expect(width);
  }
}

Judged OutputJudge::room() const {
  Judged to;
  to.sizes = given_.sizes;
  const std::size_t n = to.sizes.count;
  if (kind_ == Kind::kBoxes) {
    to.boxes.resize(n);
  } else if (kind_ == Kind::kOutputs) {
    to.outputs = unset_array(DType::kFloat32, {static_cast<std::int32_t>(n),
                                               static_cast<std::int32_t>(to.sizes.widths[0])});
  } else {
    to.scores.resize(kind_ == Kind::kPairs ? n / 2 : n);
  }
  if (keep_.classes) to.classes.resize(n);
  if (keep_.moments) to.moments.resize(n);
  return to;
}

void OutputJudge::judge(const Piece& piece, Judged& to) const {
  const ScoreRows rows = output_rows(*piece.predictions);
  std::vector<int> classes;
  const bool by_class =
      kind_ == Kind::kAgreement || (kind_ == Kind::kTop1 && given_.sizes.widths[0] > 1);
  if (keep_.classes || by_class) classes = predicted_classes(*piece.predictions, piece.count);
  if (keep_.classes) {
    for (std::size_t i = 0; i < piece.count; ++i) to.classes[piece.sample(i)] = classes[i];
  }
  if (keep_.moments) {
    for (std::size_t i = 0; i < piece.count; ++i)
      to.moments[piece.sample(i)] = moments_of(rows.row(i));
  }
  score(piece, classes, to);
}

void OutputJudge::score(const Piece& piece, std::span<const int> classes, Judged& to) const {
  const ScoreRows rows = output_rows(*piece.predictions);
  const auto other = [&] { return output_rows(*piece.reference); };
  const auto each = [&](const auto& value) {
    for (std::size_t i = 0; i < piece.count; ++i) to.scores[piece.sample(i)] = value(i);
  };
  switch (kind_) {
    case Kind::kTop1:
    case Kind::kTop5:
      return top_hits(piece, classes, to);
    case Kind::kBinary:
      return each([&](std::size_t i) {
        const float v = rows.values[i];
        return std::isfinite(v) && (v > 0.5f ? 1.0 : 0.0) == labels_.at(piece.sample(i), 0) ? 1.0
                                                                                            : 0.0;
      });
    case Kind::kHeads:
      return head_hits(piece, to);
    case Kind::kAgreement: {
      const auto expected = predicted_classes(*piece.reference, piece.count);
      return each(
          [&](std::size_t i) { return expected[i] >= 0 && expected[i] == classes[i] ? 1.0 : 0.0; });
    }
    case Kind::kSquares:
    case Kind::kDistances:
      return errors(piece, to);
    case Kind::kKl: {
      Divergence divergence;
      const ScoreRows first = other();
      return each([&](std::size_t i) { return divergence(first.row(i), rows.row(i)); });
    }
    case Kind::kCosine: {
      const ScoreRows first = other();
      return each([&](std::size_t i) { return cosine_of(first.row(i), rows.row(i)); });
    }
    case Kind::kLast:
      return each([&](std::size_t i) { return static_cast<double>(rows.row(i).back()); });
    case Kind::kReconstruction:
      return reconstruction(piece, to);
    case Kind::kPairs:
      for (std::size_t i = 0; i + 1 < piece.count; i += 2)
        to.scores[piece.sample(i) / 2] = cosine_of(rows.row(i), rows.row(i + 1));
      return;
    case Kind::kBoxes:
      return boxes(piece, to);
    case Kind::kOutputs: {
      float* out = to.outputs.mutable_span<float>().data();
      for (std::size_t i = 0; i < piece.count; ++i)
        std::ranges::copy(rows.row(i), out + piece.sample(i) * rows.width);
      return;
    }
  }
}

void OutputJudge::top_hits(const Piece& piece, std::span<const int> classes, Judged& to) const {
  const ScoreRows rows = output_rows(*piece.predictions);
  if (kind_ == Kind::kTop1 && rows.width > 1) {
    // Nothing to guess: with two classes a branch would be wrong as often as the model.
    for (std::size_t i = 0; i < piece.count; ++i) {
      const std::size_t sample = piece.sample(i);
      const int found = classes[i], label = classes_[sample];
      to.scores[sample] =
          static_cast<double>(static_cast<int>(found >= 0) & static_cast<int>(found == label));
    }
    return;
  }
  const std::uint32_t k = kind_ == Kind::kTop1 ? 1 : 5;
  for (std::size_t i = 0; i < piece.count; ++i) {
    const std::size_t sample = piece.sample(i);
    to.scores[sample] = among_largest(rows.row(i), classes_[sample], k) ? 1.0 : 0.0;
  }
}

void OutputJudge::head_hits(const Piece& piece, Judged& to) const {
  for (std::size_t i = 0; i < piece.count; ++i) to.scores[piece.sample(i)] = 0;
  for (std::size_t k = 0; k < labels_.columns; ++k) {
    const ScoreRows rows = output_rows(*piece.predictions, k);
    for (std::size_t i = 0; i < piece.count; ++i) {
      const std::size_t sample = piece.sample(i);
      const bool right = arg_max(rows.row(i)) == labels_.at(sample, k);
      to.scores[sample] += right ? 1.0 / static_cast<double>(labels_.columns) : 0.0;
    }
  }
}

void OutputJudge::errors(const Piece& piece, Judged& to) const {
  const ScoreRows rows = output_rows(*piece.predictions);
  const auto store = [&](const auto& target) {
    if (kind_ == Kind::kSquares)
      store_errors<true>(piece, rows, target, to);
    else
      store_errors<false>(piece, rows, target, to);
  };
  if (!metric_.needs_labels) {
    const ScoreRows exact = output_rows(*piece.reference);
    store([&](std::size_t i) { return exact.values.data() + i * rows.width; });
  } else if (labels_.whole.empty()) {
    store([&](std::size_t i) { return labels_.real.data() + piece.sample(i) * rows.width; });
  } else {
    store([&](std::size_t i) { return labels_.whole.data() + piece.sample(i) * rows.width; });
  }
}

void OutputJudge::reconstruction(const Piece& piece, Judged& to) const {
  const ScoreRows rows = output_rows(*piece.predictions);
  const Array& x = given_.data->inputs.at(0);
  const InputMap map = given_.input_map != nullptr ? *given_.input_map : InputMap{};
  Shape shape = x.shape();
  shape[0] = 1;
  for (std::size_t i = 0; i < piece.count; ++i) {
    const std::size_t sample = piece.sample(i);
    const Array real = apply_input_map(map, aligned(x.slice0(sample, sample + 1)), shape);
    const auto exact = real.span<float>(), row = rows.row(i);
    double sum = 0;
    for (std::size_t c = 0; c < rows.width; ++c) {
      const double d = static_cast<double>(row[c]) - exact[c];
      sum += d * d;
    }
    to.scores[sample] = sum / static_cast<double>(rows.width);
  }
}

void OutputJudge::boxes(const Piece& piece, Judged& to) const {
  const ScoreRows rows = output_rows(*piece.predictions);
  for (std::size_t i = 0; i < piece.count; ++i) {
    const std::size_t sample = piece.sample(i);
    to.boxes[sample] = found_boxes(rows.row(i), given_.sizes.last, labels_, sample);
  }
}

// ---- two models
// ----------------------------------------------------------------------------------

JudgedPair room_for_pair(const OutputSizes& a, const OutputSizes& b, bool distances,
                         AlsoKeep keep) {
  JudgedPair to;
  const std::size_t n = a.count, width = a.widths.at(0);
  if (b.count != n || b.widths.at(0) != width) return to;
  if (distances && width > 1) {
    to.kl.resize(n);
    to.cosine.resize(n);
  }
  if (keep.moments) {
    to.products.resize(n);
    to.equal.resize(n);
  }
  return to;
}

void judge_pair(const Piece& piece, const Judged& a, const Judged& b, JudgedPair& to) {
  const ScoreRows p = output_rows(*piece.reference), q = output_rows(*piece.predictions);
  if (!to.kl.empty()) {
    Divergence divergence;
    for (std::size_t i = 0; i < piece.count; ++i) {
      const std::size_t sample = piece.sample(i);
      to.kl[sample] = divergence(p.row(i), q.row(i));
      to.cosine[sample] = cosine_of(p.row(i), q.row(i));
    }
  }
  if (to.products.empty()) return;
  for (std::size_t i = 0; i < piece.count; ++i) {
    const std::size_t sample = piece.sample(i);
    const auto x = p.row(i), y = q.row(i);
    const double mean_x = a.moments[sample].mean, mean_y = b.moments[sample].mean;
    double sum = 0;
    for (std::size_t c = 0; c < x.size(); ++c) sum += (x[c] - mean_x) * (y[c] - mean_y);
    to.products[sample] = sum;
    to.equal[sample] = std::equal(x.begin(), x.end(), y.begin());
  }
}

// ---- all of them, some of them
// -------------------------------------------------------------------

Judged judge_all(const Metric& metric, const ScoreInput& in, AlsoKeep keep) {
  if (in.predictions == nullptr || in.predictions->outputs.empty()) fail("no predictions to score");
  OutputJudge::Given given{in.data, in.input_map, sizes_of(*in.predictions)};
  if (in.reference != nullptr) given.reference = sizes_of(*in.reference);
  const OutputJudge judge(metric, std::move(given), keep);
  Judged all = judge.room();
  judge.judge({in.predictions, in.reference, in.predictions->count, {}}, all);
  return all;
}

namespace {

template <class T>
void take_from(std::vector<T>& values, std::span<const std::size_t> rows) {
  if (values.empty()) return;
  std::vector<T> some;
  some.reserve(rows.size());
  for (const std::size_t r : rows) some.push_back(std::move(values[r]));
  values = std::move(some);
}

}  // namespace

void keep_rows(std::span<const std::size_t> rows, Judged& judged) {
  if (judged.scores.size() < judged.sizes.count) {
    std::vector<std::size_t> pairs;
    for (std::size_t i = 0; i + 1 < rows.size(); i += 2) pairs.push_back(rows[i] / 2);
    take_from(judged.scores, pairs);
  } else {
    take_from(judged.scores, rows);
  }
  take_from(judged.classes, rows);
  take_from(judged.moments, rows);
  take_from(judged.boxes, rows);
  judged.sizes.count = rows.size();
  if (judged.outputs.empty()) return;
  Array some = unset_array(DType::kFloat32, {static_cast<std::int32_t>(rows.size()),
                                             static_cast<std::int32_t>(judged.sizes.widths[0])});
  const std::size_t bytes = judged.sizes.widths[0] * sizeof(float);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::memcpy(some.mutable_data() + i * bytes, judged.outputs.data() + rows[i] * bytes, bytes);
  judged.outputs = some;
}

void keep_rows(std::span<const std::size_t> rows, JudgedPair& pair) {
  take_from(pair.kl, rows);
  take_from(pair.cosine, rows);
  take_from(pair.products, rows);
  take_from(pair.equal, rows);
}

}  // namespace litegap
