// Outputs judged piece by piece: the same values as from one piece, and as many bytes a sample
// however wide the outputs are.
#include "run/judged.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/parallel.h"
#include "base/random.h"
#include "run/stats.h"

namespace litegap {
namespace {

constexpr std::size_t kSamples = 150;

Array numbers(Random& random, std::size_t rows, std::size_t width, bool whole = false) {
  Array a = Array::zeros(DType::kFloat32,
                         {static_cast<std::int32_t>(rows), static_cast<std::int32_t>(width)});
  for (float& v : a.mutable_span<float>())
    v = static_cast<float>(whole ? static_cast<double>(random.below(5)) : random.normal());
  return a;
}

Array classes(Random& random, std::size_t rows, std::size_t most, std::size_t columns = 1) {
  Array a = Array::zeros(DType::kInt64,
                         {static_cast<std::int32_t>(rows), static_cast<std::int32_t>(columns)});
  for (std::int64_t& v : a.mutable_span<std::int64_t>())
    v = static_cast<std::int64_t>(random.below(most));
  return a;
}

// Two models' outputs and the labels of one metric.
struct Scene {
  Metric metric;
  Dataset data;
  Predictions a, b;
  ScoreInput first() const { return {&a, &data, &a, nullptr}; }
  ScoreInput second() const { return {&b, &data, &a, nullptr}; }
};

Array boxes(Random& random, std::size_t columns, std::size_t count) {
  Array a = Array::zeros(DType::kFloat32, {kSamples, static_cast<std::int32_t>(count),
                                           static_cast<std::int32_t>(columns)});
  for (float& v : a.mutable_span<float>()) v = static_cast<float>(random.uniform());
  return a;
}

Scene scene(const std::string& name, std::size_t width, std::uint64_t seed = 3) {
  Random random(seed);
  Scene s{find_metric(name).value(), {}, {}, {}};
  s.data.count = s.a.count = s.b.count = kSamples;
  s.data.inputs = {numbers(random, kSamples, width)};
  const bool whole = name == "top5";  // with ties
  for (Predictions* p : {&s.a, &s.b}) {
    p->outputs = {numbers(random, kSamples, width, whole)};
    if (name == "heads") p->outputs.push_back(numbers(random, kSamples, 3));
    if (name == "map50") p->outputs = {boxes(random, 7, 6)};
  }
  s.data.labels = classes(random, kSamples, width);
  if (name == "binary" || name == "auc" || name == "recon_auc")
    s.data.labels = classes(random, kSamples, 2);
  if (name == "pair_auc") s.data.labels = classes(random, kSamples / 2, 2);
  if (name == "heads") s.data.labels = classes(random, kSamples, 3, 2);
  if (name == "mse" || name == "rmse" || name == "r2")
    s.data.labels = numbers(random, kSamples, width);
  if (name == "mae") s.data.labels = classes(random, kSamples, 9, width);
  if (name == "map50") {
    s.data.labels = boxes(random, 5, 2);
    auto values = s.data.labels->mutable_span<float>();
    for (std::size_t i = 0; i < values.size(); i += 5)
      values[i] = static_cast<float>(random.below(4)) - 1;
  }
  return s;
}

const std::vector<std::pair<std::string, std::size_t>> kScenes = {
    {"top1", 5},  {"top5", 7}, {"binary", 1},   {"auc", 2},    {"mse", 4},
    {"rmse", 1},  {"mae", 6},  {"r2", 2},       {"map50", 42}, {"recon_auc", 5},
    {"heads", 4}, {"kl", 6},   {"pair_auc", 5}, {"cosine", 5}, {"agreement", 3}};

struct Both {
  Judged a, b;
  JudgedPair pair;
};

// The outputs of some samples, copied together.
Predictions some_of(const Predictions& p, std::span<const std::size_t> rows) {
  Predictions part;
  part.count = rows.size() + 1;  // room for more than there are
  for (const Array& all : p.outputs) {
    const std::size_t width = all.elements() / p.count;
    Shape shape = all.shape();
    shape[0] = static_cast<std::int32_t>(part.count);
    Array out = Array::zeros(DType::kFloat32, shape);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(all.span<float>().begin() + static_cast<std::ptrdiff_t>(rows[i] * width), width,
                  out.mutable_span<float>().begin() + static_cast<std::ptrdiff_t>(i * width));
    }
    part.outputs.push_back(out);
  }
  return part;
}

// In pieces of `size` rows by `threads` threads, pairs of samples in any order.
Both judged_in_pieces(const Scene& s, std::size_t size, int threads) {
  std::vector<std::size_t> units(kSamples / 2), rows;
  std::iota(units.begin(), units.end(), std::size_t{0});
  Random(size).shuffle(units);
  for (const std::size_t u : units) rows.insert(rows.end(), {2 * u, 2 * u + 1});
  const AlsoKeep keep = kept_to_compare(s.metric);
  const OutputSizes sizes = sizes_of(s.a);
  const OutputJudge judge(s.metric, {&s.data, nullptr, sizes, sizes}, keep);
  Both both{judge.room(), judge.room(), room_for_pair(sizes, sizes, true, keep)};
  for_each_block(kSamples, size, threads,
                 [&](std::size_t, std::size_t begin, std::size_t end, int) {
                   const std::span<const std::size_t> some(rows.data() + begin, end - begin);
                   const Predictions a = some_of(s.a, some), b = some_of(s.b, some);
                   judge.judge({&a, &a, some.size(), some}, both.a);
                   const Piece piece{&b, &a, some.size(), some};
                   judge.judge(piece, both.b);
                   judge_pair(piece, both.a, both.b, both.pair);
                 });
  return both;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

void expect_same(const Interval& a, const Interval& b, const std::string& what) {
  EXPECT_TRUE(same(a.low, b.low) && same(a.high, b.high)) << what;
}

void expect_as_one_piece(const Scene& s, const Both& both, const std::string& what) {
  const Measurement m = measure_judged(s.metric, both.b, &s.data),
                    whole = measure_score(s.metric, s.second());
  EXPECT_TRUE(same(m.value, whole.value)) << what;
  EXPECT_EQ(m.count, whole.count) << what;
  expect_same(m.interval, whole.interval, what);
  const Paired p = compare_judged(s.metric, both.a, &s.data, both.b, &s.data, both.pair),
               of_whole = compare(s.metric, s.first(), s.second());
  EXPECT_TRUE(same(p.delta, of_whole.delta)) << what;
  EXPECT_TRUE(same(p.agreement, of_whole.agreement)) << what;
  EXPECT_TRUE(same(p.p_value, of_whole.p_value)) << what;
  EXPECT_EQ(p.only_a_right, of_whole.only_a_right) << what;
  EXPECT_EQ(p.only_b_right, of_whole.only_b_right) << what;
  expect_same(p.interval, of_whole.interval, what);
}

TEST(Judged, PiecesOfAnySizeAndThreadsSayWhatOneSays) {
  for (const auto& [name, width] : kScenes) {
    const Scene s = scene(name, width);
    for (const auto& [size, threads] : {std::pair{2u, 1}, {14u, 3}, {64u, 2}, {150u, 1}}) {
      expect_as_one_piece(s, judged_in_pieces(s, size, threads),
                          fmt::format("{}, pieces of {}, {} threads", name, size, threads));
    }
  }
}

TEST(Judged, ValuesThatAreNotFiniteStayWhereTheyAre) {
  for (const auto& [name, width] : kScenes) {
    Scene s = scene(name, width);
    auto values = s.b.outputs[0].mutable_span<float>();
    values[0] = std::nanf("");
    values[values.size() - 1] = INFINITY;
    expect_as_one_piece(s, judged_in_pieces(s, 6, 1), name);
  }
}

// The distances of a pair are the metrics of their names.
TEST(Judged, DistancesOfAPairAreThoseMetrics) {
  const Scene s = scene("top1", 5);
  const Both both = judged_in_pieces(s, 10, 1);
  for (const auto& [name, values] : {std::pair{"kl", &both.pair.kl}, {"cosine", &both.pair.cosine}})
    EXPECT_EQ(*values, sample_scores(find_metric(name).value(), s.second())) << name;
  const OutputSizes one{kSamples, {1}, 1}, two{kSamples, {2}, 2};
  EXPECT_TRUE(room_for_pair(one, one, true, {}).kl.empty());
  EXPECT_TRUE(room_for_pair(one, two, true, {.moments = true}).products.empty());
}

// From means and spreads of samples: the correlation of all values, as computed from all of them.
TEST(Judged, CorrelationIsThatOfAllValues) {
  for (const std::size_t width : {1u, 2u, 33u}) {
    Scene s = scene("mse", width);
    auto a = s.a.outputs[0].mutable_span<float>(), b = s.b.outputs[0].mutable_span<float>();
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] += 100 + static_cast<float>(i / width % 7);  // far from zero, and samples differ
      b[i] = a[i] - 0.5f * b[i];
    }
    const double expected = correlation(a, b);
    EXPECT_NEAR(compare(s.metric, s.first(), s.second()).agreement, expected, 1e-12) << width;
    EXPECT_EQ(compare(s.metric, s.first(), s.first()).agreement, 1) << width;
  }
}

TEST(Judged, SomeRowsAreAsIfTheOthersHadNeverBeen) {
  for (const auto& [name, width] : kScenes) {
    const Scene s = scene(name, width);
    Both both = judged_in_pieces(s, 20, 1);
    std::vector<std::size_t> rows;
    for (std::size_t i = 0; i < kSamples; ++i) {
      if (i / 2 % 3 != 1) rows.push_back(i);
    }
    Scene part = s;
    part.a = some_of(s.a, rows);
    part.b = some_of(s.b, rows);
    for (Predictions* p : {&part.a, &part.b}) {
      p->count = rows.size();
      for (Array& out : p->outputs) out = out.slice0(0, rows.size());
    }
    part.data = s.data.subset(rows);
    keep_rows(rows, both.a);
    keep_rows(rows, both.b);
    keep_rows(rows, both.pair);
    expect_as_one_piece(part, both, name);
  }
}

std::size_t bytes_of(const Judged& j) {
  std::size_t bytes = j.scores.size() * sizeof(double) + j.classes.size() * sizeof(int) +
                      j.moments.size() * sizeof(RowMoments) + j.outputs.byte_size() +
                      j.boxes.size() * sizeof(std::vector<FoundBox>);
  for (const auto& b : j.boxes) bytes += b.size() * sizeof(FoundBox);
  return bytes;
}
std::size_t bytes_of(const JudgedPair& p) {
  return (p.kl.size() + p.cosine.size() + p.products.size()) * sizeof(double) + p.equal.size();
}

TEST(Judged, BytesKeptDoNotGrowWithTheOutputs) {
  for (const std::string name : {"top1", "top5", "mse", "mae", "rmse", "recon_auc", "pair_auc",
                                 "heads", "kl", "cosine", "agreement"}) {
    for (const std::size_t width : {6u, 600u}) {
      const Both both = judged_in_pieces(scene(name, width), 64, 1);
      const std::size_t kept = bytes_of(both.a) + bytes_of(both.b) + bytes_of(both.pair);
      EXPECT_LE(kept, 73 * kSamples) << name << " of " << width;
    }
  }
}

}  // namespace
}  // namespace litegap
