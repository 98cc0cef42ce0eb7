// The front and the choice, on candidates made by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tune/tune.h"

namespace litegap {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

Candidate candidate(const std::string& name, double value, std::uint64_t bytes, double latency) {
  Candidate c;
  c.name = name;
  c.path = name + ".tflite";
  c.measured.value = value;
  c.bytes = bytes;
  c.latency_ms = latency;
  return c;
}

TuneResult result_of(const std::string& metric, const std::vector<Candidate>& candidates) {
  TuneResult r;
  r.metric = find_metric(metric).value();
  r.candidates = candidates;
  for (Candidate& c : r.candidates) {
    c.drop.delta = loss_between(r.metric, candidates[0].measured.value, c.measured.value);
    c.drop.interval = {c.drop.delta, c.drop.delta};
  }
  return r;
}

std::vector<std::string> front(const TuneResult& r) {
  std::vector<std::string> names;
  for (const Candidate& c : r.candidates) {
    if (c.on_front) names.push_back(c.name);
  }
  return names;
}

std::vector<std::string> allowed(const TuneResult& r) {
  std::vector<std::string> names;
  for (const Candidate& c : r.candidates) {
    if (c.allowed) names.push_back(c.name);
  }
  return names;
}

std::string chosen(const TuneResult& r) {
  return r.chosen < 0 ? "none" : r.candidates[static_cast<std::size_t>(r.chosen)].name;
}

using Names = std::vector<std::string>;

// beaten: as accurate as small, larger and slower.
std::vector<Candidate> four() {
  return {candidate("float", 0.90, 1000, 1.0), candidate("half", 0.90, 500, 1.0),
          candidate("small", 0.88, 250, 0.5), candidate("beaten", 0.88, 300, 0.8)};
}

TEST(Choose, FrontIsWhatNothingBeats) {
  TuneResult r = result_of("top1", four());
  choose(r, {});
  EXPECT_EQ(front(r), (Names{"half", "small"}));
  EXPECT_EQ(chosen(r), "small");  // 250/1000 + 0.5/1
  EXPECT_EQ(allowed(r).size(), 4u);
}

TEST(Choose, LessIsBetterForErrors) {
  TuneResult r =
      result_of("mse", {candidate("float", 0.10, 1000, 1), candidate("worse", 0.20, 1000, 1),
                        candidate("better", 0.05, 1000, 1)});
  choose(r, {});
  EXPECT_EQ(front(r), Names{"better"});
}

// Two latencies within 5 % are equal: neither wins by them, neither loses.
TEST(Choose, LatencyNoiseBeatsNobody) {
  TuneResult r =
      result_of("top1", {candidate("float", 0.9, 1000, 1), candidate("a", 0.9, 500, 1.00),
                         candidate("b", 0.9, 500, 1.03), candidate("c", 0.9, 500, 1.20)});
  choose(r, {});
  EXPECT_EQ(front(r), (Names{"a", "b"}));
  // More accurate and a little slower within the noise: beats.
  r = result_of("top1", {candidate("float", 0.9, 1000, 1), candidate("a", 0.8, 500, 1.00),
                         candidate("b", 0.9, 500, 1.03)});
  choose(r, {});
  EXPECT_EQ(front(r), Names{"b"});
}

TEST(Choose, DropIsInPointsForFractions) {
  TuneRequest request;
  request.max_drop = 1.9;  // points; small loses two
  TuneResult r = result_of("top1", four());
  choose(r, request);
  EXPECT_EQ(allowed(r), (Names{"float", "half"}));
  EXPECT_EQ(chosen(r), "half");
  request.max_drop = 2.1;
  choose(r, request);
  EXPECT_EQ(chosen(r), "small");
}

TEST(Choose, DropIsInTheMetricsUnitElse) {
  TuneRequest request;
  request.max_drop = 0.05;
  TuneResult r =
      result_of("mse", {candidate("float", 0.10, 1000, 1), candidate("far", 0.16, 100, 0.1),
                        candidate("near", 0.14, 500, 1)});
  choose(r, request);
  EXPECT_EQ(chosen(r), "near");
}

TEST(Choose, SizeAndLatencyAreInclusiveLimits) {
  TuneRequest request;
  request.max_bytes = 300;
  TuneResult r = result_of("top1", four());
  choose(r, request);
  EXPECT_EQ(allowed(r), (Names{"small", "beaten"}));
  request.max_bytes.reset();
  request.max_latency_ms = 0.8;
  choose(r, request);
  EXPECT_EQ(allowed(r), (Names{"small", "beaten"}));
  request.max_latency_ms = 0.79;
  choose(r, request);
  EXPECT_EQ(allowed(r), Names{"small"});
}

TEST(Choose, NothingAllowedGivesTheMostAccurate) {
  TuneRequest request;
  request.max_bytes = 10;
  std::vector<Candidate> all = four();
  all[3].measured.value = 0.95;
  TuneResult r = result_of("top1", all);
  choose(r, request);
  EXPECT_TRUE(allowed(r).empty());
  EXPECT_EQ(chosen(r), "beaten");
  EXPECT_NE(r.because.find("no candidate is within all limits"), std::string::npos);
}

TEST(Choose, ValuesThatAreNoNumbersNeverWin) {
  std::vector<Candidate> all = four();
  all.push_back(candidate("broken", kNan, 1, 0.001));
  TuneResult r = result_of("top1", all);
  choose(r, {});
  EXPECT_EQ(front(r), (Names{"half", "small"}));
  EXPECT_EQ(chosen(r), "small");
  TuneRequest request;
  request.max_bytes = 2;  // only the broken one is so small
  choose(r, request);
  EXPECT_EQ(chosen(r), "float");
}

TEST(Choose, NothingIsChosenWhereNothingHasAValue) {
  TuneResult r =
      result_of("mse", {candidate("float", kNan, 1000, 1), candidate("small", kNan, 100, 1)});
  choose(r, {});
  EXPECT_EQ(r.chosen, -1);
  EXPECT_TRUE(front(r).empty());
  EXPECT_EQ(r.because, "no candidate has a finite value");
}

// A float model without a value (it answers NaN) leaves drops without one.
TEST(Choose, UnknownDropIsOverTheLimit) {
  TuneRequest request;
  request.max_drop = 100;
  TuneResult r =
      result_of("mse", {candidate("float", kNan, 1000, 1), candidate("small", 0.5, 100, 1)});
  choose(r, request);
  EXPECT_TRUE(allowed(r).empty());
  EXPECT_EQ(chosen(r), "small");
}

TEST(Choose, RefusedCandidatesAreOut) {
  std::vector<Candidate> all = four();
  all[2].refused = "no form";
  TuneResult r = result_of("top1", all);
  choose(r, {});
  EXPECT_EQ(chosen(r), "beaten");
  EXPECT_EQ(front(r), (Names{"half", "beaten"}));
  EXPECT_FALSE(r.candidates[2].allowed);
}

TEST(Choose, SaysWhenTheIntervalReachesPastTheLimit) {
  TuneRequest request;
  request.max_drop = 2.5;
  TuneResult r = result_of("top1", four());
  r.candidates[2].drop.interval = {0.01, 0.03};
  choose(r, request);
  EXPECT_EQ(chosen(r), "small");
  EXPECT_NE(r.because.find("past --max-drop"), std::string::npos);
  r.candidates[2].drop.interval = {0.01, 0.024};
  choose(r, request);
  EXPECT_EQ(r.because.find("past --max-drop"), std::string::npos);
}

// Costs 0.5 + 1.00, 0.5 + 1.03 and 0.5 + 1.20: the second is as cheap as the first but for noise.
TEST(Choose, AccuracyDecidesWithinTheNoise) {
  TuneResult r =
      result_of("top1", {candidate("float", 0.9, 1000, 1), candidate("fast", 0.80, 500, 1.00),
                         candidate("good", 0.85, 500, 1.03), candidate("slow", 0.89, 500, 1.20)});
  choose(r, {});
  EXPECT_EQ(chosen(r), "good");
  r.candidates[2].measured.value = 0.80;  // nothing tells them apart: the earlier one
  choose(r, {});
  EXPECT_EQ(chosen(r), "fast");
}

TEST(Choose, SameFileStandsOnTheFrontOnce) {
  TuneResult r = result_of("top1", four());
  r.candidates.push_back(r.candidates[2]);
  r.candidates.back().name = "twin";
  r.candidates.back().same_as = "small";
  choose(r, {});
  EXPECT_EQ(front(r), (Names{"half", "small"}));
  EXPECT_EQ(chosen(r), "small");
  EXPECT_TRUE(r.candidates.back().allowed);
}

TEST(Choose, NoCandidatesNoChoice) {
  TuneResult r;
  r.metric = find_metric("top1").value();
  choose(r, {});
  EXPECT_EQ(r.chosen, -1);
}

}  // namespace
}  // namespace litegap
