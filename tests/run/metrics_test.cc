#include "run/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "data/npy.h"
#include "run/stats.h"

namespace litegap {
namespace {

const float kNanF = std::numeric_limits<float>::quiet_NaN();

// Values computed in NumPy by the definitions in metrics.h.
const NamedArrays& fixture() {
  static const NamedArrays arrays =
      read_npz(std::string(LITEGAP_SOURCE_DIR) + "/tests/run/fixtures/metrics.npz");
  return arrays;
}
Array get(const std::string& name) { return *find_array(fixture(), name); }
double expected(const std::string& metric) { return get("expected_" + metric).span<double>()[0]; }

struct Case {
  Predictions predictions;
  Dataset data;
  ScoreInput input() const { return {&predictions, &data, nullptr, nullptr}; }
};

Case make_case(const std::vector<Array>& outputs, const Array& labels) {
  Case c;
  c.predictions.outputs = outputs;
  c.predictions.count = static_cast<std::size_t>(outputs[0].shape()[0]);
  c.data.count = c.predictions.count;
  c.data.labels = labels;
  c.data.inputs = {get("x")};
  return c;
}

Metric metric(const std::string& name) { return find_metric(name).value(); }

Model model_with(const std::vector<Shape>& outputs) {
  Model model;
  model.path = "m.tflite";
  model.graphs.emplace_back();
  for (const Shape& shape : outputs) {
    Tensor t;
    t.shape = shape;
    model.main().outputs.push_back(static_cast<int>(model.main().tensors.size()));
    model.main().tensors.push_back(t);
  }
  return model;
}

TEST(Score, SameAsNumPy) {
  const std::vector<std::pair<std::string, Case>> cases{
      {"top1", make_case({get("scores")}, get("classes"))},
      {"binary", make_case({get("sigmoid")}, get("zero_one"))},
      {"auc", make_case({get("sigmoid")}, get("zero_one"))},
      {"mse", make_case({get("values")}, get("targets"))},
      {"rmse", make_case({get("values")}, get("targets"))},
      {"mae", make_case({get("values")}, get("targets"))},
      {"recon_auc", make_case({get("rec")}, get("zero_one"))},
      {"pair_auc", make_case({get("embeddings")}, get("same"))},
      {"heads", make_case({get("head0"), get("head1")}, get("head_labels"))},
      {"map50", make_case({get("det")}, get("boxes"))},
  };
  for (const auto& [name, c] : cases) {
    EXPECT_NEAR(score(metric(name), c.input()), expected(name), 1e-12) << name;
    const Measurement m = measure_score(metric(name), c.input());
    EXPECT_NEAR(m.value, expected(name), 1e-12) << name;
    EXPECT_LT(m.interval.low, m.value) << name;
    EXPECT_GT(m.interval.high, m.value) << name;
    EXPECT_TRUE(m.trusted) << name;
    const Paired same = compare(metric(name), c.input(), c.input());
    EXPECT_EQ(same.delta, 0) << name;
    EXPECT_EQ(same.p_value, 1) << name;
    const auto samples = sample_scores(metric(name), c.input());
    if (samples.empty()) continue;
    double mean = 0;
    for (const double s : samples) mean += s / static_cast<double>(samples.size());
    EXPECT_NEAR(name == "rmse" ? std::sqrt(mean) : mean, expected(name), 1e-12) << name;
  }
}

TEST(Score, RowsAreASubsetAndPairsCount) {
  const Case c = make_case({get("values")}, get("targets"));
  const auto samples = sample_scores(metric("mse"), c.input());
  EXPECT_NEAR(score(metric("mse"), c.input(), {3, 5}), (samples[3] + samples[5]) / 2, 1e-12);
  EXPECT_THROW(score(metric("mse"), c.input(), {999}), Error);
}

TEST(Score, R2AndTop5) {
  const Case c =
      make_case({Array::of<float>({4, 1}, {1, 2, 3, 5})}, Array::of<float>({4}, {1, 2, 3, 4}));
  EXPECT_NEAR(score(metric("r2"), c.input()), 1 - 1.0 / 5.0, 1e-12);
  const Case t = make_case({Array::of<float>({3, 7}, {7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                                      7, 6, 5, 4, 3, 2, 1})},
                           Array::of<std::int64_t>({3}, {4, 4, 5}));
  EXPECT_NEAR(score(metric("top5"), t.input()), 2.0 / 3.0, 1e-12);
}

TEST(Score, NotFiniteIsWrongOrNaN) {
  const Case top =
      make_case({Array::of<float>({2, 2}, {kNanF, 1, 0, 1})}, Array::of<std::int64_t>({2}, {1, 1}));
  EXPECT_EQ(score(metric("top1"), top.input()), 0.5);
  EXPECT_EQ(predicted_classes(top.predictions), (std::vector<int>{-1, 1}));
  const Case low =
      make_case({Array::of<float>({2, 1}, {kNanF, 0})}, Array::of<std::int64_t>({2}, {0, 0}));
  EXPECT_EQ(score(metric("binary"), low.input()), 0.5);
  EXPECT_TRUE(std::isnan(score(metric("mse"), low.input())));
  EXPECT_TRUE(std::isnan(score(metric("auc"), low.input())));
  EXPECT_TRUE(std::isnan(measure_score(metric("mse"), low.input()).interval.low));
  EXPECT_FALSE(measure_score(metric("mse"), low.input()).trusted);
  EXPECT_TRUE(std::isnan(compare(metric("mse"), low.input(), low.input()).p_value));
  EXPECT_EQ(score(metric("mse"), low.input(), {1}), 0);
}

TEST(Score, AgainstTheFloatModel) {
  Case a = make_case({Array::of<float>({2, 2}, {0.75f, 0.25f, 0.5f, 0.5f})},
                     Array::of<std::int64_t>({2}, {0, 0}));
  Case b = make_case({Array::of<float>({2, 2}, {0.5f, 0.5f, 0.25f, 0.75f})},
                     Array::of<std::int64_t>({2}, {0, 0}));
  ScoreInput input = b.input();
  input.reference = &a.predictions;
  EXPECT_EQ(score(metric("agreement"), input), 0.5);
  const double kl = (0.75 * std::log(1.5) + 0.25 * std::log(0.5) + 0.5 * std::log(2) +
                     0.5 * std::log(0.5 / 0.75)) /
                    2;
  EXPECT_NEAR(score(metric("kl"), input), kl, 1e-7);
  const double cosine = (0.5 / std::sqrt(0.625 * 0.5) + 0.5 / std::sqrt(0.5 * 0.625)) / 2;
  EXPECT_NEAR(score(metric("cosine"), input), cosine, 1e-12);
  EXPECT_THROW(score(metric("kl"), b.input()), Error);
}

TEST(Stats, WilsonAndMcNemar) {
  EXPECT_NEAR(wilson(8, 10).low, 0.4901625, 1e-6);
  EXPECT_NEAR(wilson(8, 10).high, 0.9433178, 1e-6);
  EXPECT_EQ(wilson(0, 50).low, 0);
  EXPECT_EQ(wilson(50, 50).high, 1);
  EXPECT_EQ(mcnemar_exact(0, 0), 1);
  EXPECT_NEAR(mcnemar_exact(0, 5), 0.0625, 1e-12);
  EXPECT_NEAR(mcnemar_exact(2, 10), 0.03857421875, 1e-12);
  EXPECT_NEAR(mcnemar_exact(10, 2), 0.03857421875, 1e-12);
  EXPECT_EQ(mcnemar_exact(7, 7), 1);
  EXPECT_NEAR(mcnemar_exact(0, 2000), std::exp2(-1999.0), 1e-300);
  EXPECT_GT(mcnemar_exact(0, 1000), 0);
}

TEST(Stats, PairedProportions) {
  const Interval none = paired_proportion_interval(0, 0, 1000);
  EXPECT_LT(none.low, 0);
  EXPECT_GT(none.high, 0);
  EXPECT_LT(none.high, 0.003);
  const Interval loss = paired_proportion_interval(60, 10, 500);
  EXPECT_LT(loss.low, 0.1);
  EXPECT_GT(loss.high, 0.1);
  EXPECT_GT(loss.low, 0.05);
}

TEST(Stats, PercentileAndCorrelation) {
  EXPECT_EQ(percentile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(percentile({1, 2}, 0.25), 1.25);
  const std::vector<float> a{1, 2, 3}, b{2, 4, 6}, c{3, 2, 1};
  EXPECT_NEAR(correlation(a, b), 1, 1e-12);
  EXPECT_NEAR(correlation(a, c), -1, 1e-12);
}

TEST(Compare, CountsAndSigns) {
  const Array labels = Array::of<std::int64_t>({4}, {0, 0, 1, 1});
  const Case a = make_case({Array::of<float>({4, 2}, {1, 0, 1, 0, 0, 1, 1, 0})}, labels);
  const Case b = make_case({Array::of<float>({4, 2}, {0, 1, 1, 0, 1, 0, 0, 1})}, labels);
  const Paired p = compare(metric("top1"), a.input(), b.input());
  EXPECT_EQ(p.only_a_right, 2u);
  EXPECT_EQ(p.only_b_right, 1u);
  EXPECT_EQ(p.delta, 0.25);
  EXPECT_EQ(p.agreement, 0.25);
  EXPECT_EQ(p.p_value, 1);
  const std::vector<int> of_labels = label_classes(a.data, 2);
  const std::vector<int> of_a = predicted_classes(a.predictions),
                         of_b = predicted_classes(b.predictions);
  const auto changes = class_changes(of_labels, of_a, of_b);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].a, 1);
  EXPECT_EQ(changes[0].b, 0.5);
  EXPECT_EQ(changes[1].predicted_b, 2u);
  const auto flipped = flips(of_labels, of_a, of_b);
  ASSERT_EQ(flipped.size(), 3u);
  EXPECT_EQ(flipped[1].row, 2u);
  EXPECT_EQ(flipped[1].label, 1);
  EXPECT_EQ(flipped[1].b, 0);
}

TEST(PerSample, TheClassIsTheFirstLargestInRowsOfAnyWidth) {
  Random random(2);
  for (std::size_t width = 2; width < 80; ++width) {
    const std::size_t count = 20;
    Predictions p;
    p.count = count;
    p.outputs = {Array::zeros(DType::kFloat32, {20, static_cast<std::int32_t>(width)})};
    auto values = p.outputs[0].mutable_span<float>();
    for (float& v : values) v = static_cast<float>(random.below(9)) - 4;  // with ties
    values[random.below(width)] = kNanF;
    values[width + random.below(width)] = -INFINITY;
    const std::vector<int> classes = predicted_classes(p);
    for (std::size_t i = 0; i < count; ++i) {
      const auto row = values.subspan(i * width, width);
      const int expected =
          i < 2 ? -1 : static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
      ASSERT_EQ(classes[i], expected) << width << ", row " << i;
    }
  }
}

TEST(MeanInterval, IsWhatManyResamplesTendTo) {
  Random random(4);
  for (const std::size_t n : {30u, 300u, 3000u}) {
    std::vector<double> plain(n), skewed(n), share(n);
    for (std::size_t i = 0; i < n; ++i) {
      plain[i] = random.normal() - 7;
      skewed[i] = std::exp(1.5 * random.normal());
      share[i] = random.uniform() < 0.2;
    }
    for (const auto& values : {plain, skewed, share}) {
      std::vector<double> means;
      resample(n, 9, 4000, [&](std::span<const double> weights) {
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) sum += weights[i] * values[i];
        means.push_back(sum / static_cast<double>(n));
      });
      const Interval drawn = central_interval(means), found = mean_interval(values);
      const double width = drawn.high - drawn.low;
      EXPECT_NEAR(found.low, drawn.low, 0.08 * width) << n;
      EXPECT_NEAR(found.high, drawn.high, 0.08 * width) << n;
    }
  }
}

// The mean at which r* (stats.h) reaches `deviate`, by halving, from exponentials in long double.
double mean_at(const std::vector<double>& values, long double deviate) {
  const auto n = static_cast<long double>(values.size());
  long double middle = 0, squares = 0;
  for (const double v : values) middle += v / n;
  for (const double v : values) squares += (v - middle) * (v - middle);
  const auto point = [&](long double t) {
    long double sum = 0, first = 0, second = 0;
    for (const double v : values) {
      const long double d = v - middle, e = std::exp(t * d);
      sum += e;
      first += e * d;
      second += e * d * d;
    }
    const long double mean = first / sum, k = std::log(sum / n);
    const long double w = std::copysign(std::sqrt(2 * n * (t * mean - k)), t);
    const long double u = t * std::sqrt(n * (second / sum - mean * mean));
    return std::pair{w + std::log(u / w) / w, mean};
  };
  long double near = 0, far = deviate / (10 * std::sqrt(squares));
  while (std::fabs(point(far).first) < std::fabs(deviate)) far *= 2;
  for (int i = 0; i < 60; ++i) {
    const long double t = (near + far) / 2;
    (std::fabs(point(t).first) < std::fabs(deviate) ? near : far) = t;
  }
  return static_cast<double>(middle + point(far).second);
}

// Of many values by series, of few and of those that stand out by exponentials.
TEST(MeanInterval, SolvesItsEquation) {
  Random random(5);
  for (const std::size_t n : {12u, 100u, 2003u}) {
    for (const double far : {0.0, 20.0, 400.0}) {
      std::vector<double> values(n);
      for (double& v : values) v = 100 + 3 * random.normal();
      for (std::size_t i = 0; i < 3; ++i) values[i * n / 3] += far * static_cast<double>(i);
      const Interval found = mean_interval(values);
      const double low = mean_at(values, -1.959964L), high = mean_at(values, 1.959964L);
      EXPECT_NEAR(found.low, low, 2e-6 * (high - low)) << n << ' ' << far;
      EXPECT_NEAR(found.high, high, 2e-6 * (high - low)) << n << ' ' << far;
    }
  }
}

TEST(MeanInterval, ValuesWithoutASpread) {
  EXPECT_EQ(mean_interval(std::vector<double>(5, 3.0)).low, 3);
  EXPECT_EQ(mean_interval(std::vector<double>(5, 3.0)).high, 3);
  EXPECT_EQ(mean_interval(std::vector<double>{2}).high, 2);
  // Many a sum of equal shares is not their whole: 1/300 three hundred times is less than 1.
  for (std::size_t n = 1; n < 400; ++n) {
    EXPECT_EQ(mean_interval(std::vector<double>(n, 0.1)).low, 0.1) << n;
    std::vector<double> nearly(n, 1.0);
    nearly[n / 2] = std::nextafter(1.0, 2.0);
    EXPECT_NEAR(mean_interval(nearly).high, 1, 1e-15) << n;
  }
  EXPECT_TRUE(std::isnan(mean_interval({}).low));
  EXPECT_TRUE(std::isnan(mean_interval(std::vector<double>{1, INFINITY, 2}).high));
  // One value of 30 stands out: more than a third of the resamples do not hold it.
  std::vector<double> one(30, 0.0);
  one[7] = 1;
  EXPECT_NEAR(mean_interval(one).low, 0, 1e-3);
  EXPECT_NEAR(mean_interval(one).high, 3.0 / 30, 1.0 / 30);
}

TEST(Compare, ResampledMeansAreThoseOfTheWeights) {
  const std::vector<double> values = {1, 2, 4, 8, 16};
  const auto means = resampled_means(values, 6, 20);
  std::size_t at = 0;
  resample(values.size(), 6, 20, [&](std::span<const double> weights) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += weights[i] * values[i];
    EXPECT_EQ(means[at++], sum / 5);
  });
}

TEST(Compare, ErrorsAreSignedAsLossAndSeeded) {
  const Case a = make_case({get("values")}, get("targets"));
  Case b = a;
  b.predictions.outputs[0] = a.predictions.outputs[0].clone();
  for (float& v : b.predictions.outputs[0].mutable_span<float>()) v += 0.3f;
  const Paired p = compare(metric("mse"), a.input(), b.input(), 3);
  EXPECT_GT(p.delta, 0);
  EXPECT_GT(p.interval.low, 0);
  EXPECT_LT(p.p_value, 0.01);
  EXPECT_EQ(compare(metric("mse"), a.input(), b.input(), 3).interval.low, p.interval.low);
  EXPECT_NEAR(compare(metric("mse"), b.input(), a.input()).delta, -p.delta, 1e-15);
}

TEST(Choose, FromShapesAndLabels) {
  const auto chosen = [](const std::vector<Shape>& outputs, const std::optional<Array>& labels,
                         const std::string& task = "") {
    Dataset data;
    data.count = 4;
    data.inputs = {Array::zeros(DType::kFloat32, {4, 6})};
    data.labels = labels;
    std::vector<Decision> decisions;
    const Metric m = choose_metric("", task, model_with(outputs), data, decisions);
    EXPECT_EQ(decisions.size(), 1u);
    return m.name + (m.needs_labels ? "" : "*");
  };
  const Array classes = Array::of<std::int64_t>({4}, {0, 1, 2, 3});
  const Array bits = Array::of<std::int64_t>({4}, {0, 1, 1, 0});
  const Array real = Array::of<float>({4, 1}, {0.5f, 1, 2, 3});
  const Array hot = Array::of<float>({4, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0});
  EXPECT_EQ(chosen({{1, 10}}, classes), "top1");
  EXPECT_EQ(chosen({{1, 10}}, Array::of<float>({4, 1}, {0, 1, 2, 9})), "top1");
  EXPECT_EQ(chosen({{1, 3}}, hot), "top1");
  EXPECT_EQ(chosen({{1, 1}}, bits), "binary");
  EXPECT_EQ(chosen({{1, 1}}, real), "mse");
  EXPECT_EQ(chosen({{1, 1}}, classes), "mse");
  EXPECT_EQ(chosen({{1, 6}}, bits), "recon_auc");
  EXPECT_EQ(chosen({{1, 5}}, bits), "top1");
  EXPECT_EQ(chosen({{1, 8}}, Array::of<std::int64_t>({2}, {0, 1})), "pair_auc");
  EXPECT_EQ(chosen({{1, 4}, {1, 3}}, Array::of<std::int64_t>({4, 2}, {0, 1, 1, 0, 2, 1, 3, 2})),
            "heads");
  EXPECT_EQ(chosen({{1, 36, 6}}, Array::zeros(DType::kFloat32, {4, 2, 5})), "map50");
  EXPECT_EQ(chosen({{1, 10}}, std::nullopt), "agreement*");
  EXPECT_EQ(chosen({{1, 1}}, std::nullopt), "rmse*");
  EXPECT_EQ(chosen({{1, 1}}, bits, "regression"), "mse");
  EXPECT_EQ(chosen({{1, 10}}, std::nullopt, "embedding"), "cosine*");
}

TEST(Choose, WhatDoesNotFitIsAnErrorWithShapes) {
  Dataset data;
  data.count = 4;
  data.inputs = {Array::zeros(DType::kFloat32, {4, 6})};
  data.labels = Array::of<float>({4, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  std::vector<Decision> decisions;
  const auto error = [&](const std::string& name, const Shape& output) -> std::string {
    try {
      choose_metric(name, "", model_with({output}), data, decisions);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(error("", {1, 10}),
            "metric mse: labels of shape [4, 2] do not fit outputs of shape "
            "[1, 10], expected as many targets as outputs");
  EXPECT_NE(error("accuracy", {1, 10}).find("expected one of top1, top5"), std::string::npos);
  EXPECT_NE(error("top1", {1, 1}).find("do not fit"), std::string::npos);
  data.labels.reset();
  EXPECT_NE(error("mse", {1, 2}).find("needs labels"), std::string::npos);
}

}  // namespace
}  // namespace litegap
