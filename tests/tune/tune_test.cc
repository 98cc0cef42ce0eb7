// The search from end to end, on a small classifier: what it finds, and what it remembers.
#include "tune/tune.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "run/setup.h"
#include "tflite/tflite.h"
#include "train/net.h"

namespace litegap {
namespace {

namespace fs = std::filesystem;

constexpr std::int32_t kIn = 40, kHidden = 32, kClasses = 3;

struct Layers {
  std::vector<float> w1, w2;
};

Layers layers(std::uint64_t seed) {
  Random random(seed);
  Layers l;
  for (int i = 0; i < kIn * kHidden; ++i) l.w1.push_back(static_cast<float>(random.normal() / 6));
  for (int i = 0; i < kHidden * kClasses; ++i) {
    l.w2.push_back(static_cast<float>(random.normal() / 4));
  }
  return l;
}

ModelPtr classifier(std::uint64_t seed = 7) {
  const Layers l = layers(seed);
  Net n;
  const int x = n.input({1, kIn});
  FullyConnectedAttrs relu;
  relu.activation = Activation::kRelu;
  const int h =
      n.op(OpCode::kFullyConnected, relu, {x, n.given({kHidden, kIn}, l.w1), -1}, {1, kHidden});
  n.op(OpCode::kFullyConnected, FullyConnectedAttrs{}, {h, n.given({kClasses, kHidden}, l.w2), -1},
       {1, kClasses});
  n.model.path = "classifier.tflite";
  return std::make_shared<const Model>(n.model);
}

// Scores of one sample, by the definition and in double.
std::vector<double> answer(const Layers& l, const float* x) {
  std::vector<double> h(kHidden), y(kClasses);
  for (std::size_t o = 0; o < h.size(); ++o) {
    for (std::size_t i = 0; i < kIn; ++i) h[o] += static_cast<double>(l.w1[o * kIn + i] * x[i]);
    h[o] = std::max(0.0, h[o]);
  }
  for (std::size_t o = 0; o < y.size(); ++o) {
    for (std::size_t i = 0; i < kHidden; ++i) {
      y[o] += static_cast<double>(l.w2[o * kHidden + i]) * h[i];
    }
  }
  return y;
}

// Labelled by the network itself; every tenth label is wrong, so that the float model has 90 %.
// Samples whose two best scores are close are left out: rounding must not decide what is expected.
Dataset samples(std::size_t count, std::uint64_t seed = 3) {
  const Layers l = layers(7);
  Random random(seed);
  std::vector<float> x;
  std::vector<std::int64_t> y;
  while (y.size() < count) {
    std::vector<float> one;
    for (int i = 0; i < kIn; ++i) one.push_back(static_cast<float>(random.normal()));
    std::vector<double> s = answer(l, one.data());
    const auto best = std::max_element(s.begin(), s.end()) - s.begin();
    std::sort(s.begin(), s.end());
    if (s[2] - s[1] < 0.05) continue;
    x.insert(x.end(), one.begin(), one.end());
    y.push_back(y.size() % 10 == 9 ? (best + 1) % kClasses : best);
  }
  Dataset d;
  d.path = "samples.npz";
  d.count = count;
  d.names = {"x"};
  d.inputs = {Array::of<float>({static_cast<std::int32_t>(count), kIn}, x)};
  d.labels = Array::of<std::int64_t>({static_cast<std::int32_t>(count)}, y);
  return d;
}

class Tune : public testing::Test {
 protected:
  Tune()
      : folder_((fs::temp_directory_path() /
                 ("litegap_tune_" + std::to_string(::getpid()) + "_" +
                  testing::UnitTest::GetInstance()->current_test_info()->name()))
                    .string()) {
    fs::remove_all(folder_);
    request_.out = folder_;
    request_.threads = 1;
  }
  ~Tune() override { fs::remove_all(folder_); }

  TuneResult search() { return tune(model_, data_, &calibration_, request_); }
  std::string in_folder(const std::string& name) const { return folder_ + "/" + name; }
  std::vector<std::string> temporary_files() const {
    std::vector<std::string> found;
    if (!fs::exists(folder_)) return found;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name.find(".tmp") != std::string::npos) found.push_back(name);
    }
    return found;
  }
  std::string refusal() {
    try {
      search();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  std::string folder_;
  ModelPtr model_ = classifier();
  Dataset data_ = samples(200), calibration_ = samples(40, 11);
  TuneRequest request_;
};

const Candidate& named(const TuneResult& r, const std::string& name) {
  for (const Candidate& c : r.candidates) {
    if (c.name == name) return c;
  }
  throw std::runtime_error("no candidate " + name);
}

std::vector<std::pair<std::string, double>> latencies(const TuneResult& r) {
  std::vector<std::pair<std::string, double>> all;
  for (const Candidate& c : r.candidates) all.emplace_back(c.name, c.latency_ms);
  return all;
}

TEST_F(Tune, MeasuresWhatIsThere) {
  const TuneResult r = search();
  EXPECT_EQ(r.stopped_by, "complete");
  EXPECT_EQ(r.metric.name, "top1");
  EXPECT_EQ(r.samples, 200u);
  EXPECT_EQ(r.calibration_samples, 40u);
  EXPECT_EQ(r.candidates.size(), r.planned);
  EXPECT_EQ(r.resumed, 0u);
  EXPECT_EQ(r.candidates[0].name, "float");
  EXPECT_DOUBLE_EQ(r.candidates[0].measured.value, 0.9);
  EXPECT_EQ(r.candidates[0].drop.delta, 0);
  for (const Candidate& c : r.candidates) {
    SCOPED_TRACE(c.name);
    ASSERT_EQ(c.refused, "");
    EXPECT_EQ(c.bytes, fs::file_size(c.path));
    EXPECT_GT(c.latency_ms, 0);
    EXPECT_DOUBLE_EQ(c.drop.delta, 0.9 - c.measured.value);
    EXPECT_NO_THROW(make_plan(read_model(c.path), {}));
  }
  // Half-precision weights are 2 bytes of 4, int8 ones 1.
  const double parameters = kIn * kHidden + kHidden * kClasses;
  const auto saved = [&](const std::string& name) {
    return static_cast<double>(r.candidates[0].bytes) - static_cast<double>(named(r, name).bytes);
  };
  EXPECT_NEAR(saved("float16"), 2 * parameters, 1024);
  EXPECT_NEAR(saved("static-minmax"), 3 * parameters, 1024);
  ASSERT_GE(r.chosen, 0);
  EXPECT_EQ(read_text(in_folder("best.tflite")),
            read_text(r.candidates[static_cast<std::size_t>(r.chosen)].path));
  EXPECT_TRUE(temporary_files().empty());
}

// One distinct calibration sample leaves min/max and the moving average the same ranges.
TEST_F(Tune, SameFilesAreMeasuredOnce) {
  calibration_ = samples(1, 11);
  const TuneResult r = search();
  const Candidate &a = named(r, "static-auto"), &b = named(r, "static-moving-average");
  EXPECT_EQ(b.same_as, "static-auto");
  EXPECT_EQ(read_text(a.path), read_text(b.path));
  EXPECT_EQ(b.latency_ms, a.latency_ms);
  EXPECT_FALSE(b.on_front);
  for (const Candidate& c : r.candidates) {
    for (const Candidate& d : r.candidates) {
      if (&c != &d && c.same_as.empty() && d.same_as.empty()) {
        EXPECT_NE(read_text(c.path), read_text(d.path)) << c.name << " and " << d.name;
      }
    }
  }
}

TEST_F(Tune, SetsCalibrationApartWhereNoneIsGiven) {
  const TuneResult r = tune(model_, data_, nullptr, request_);
  EXPECT_EQ(r.samples, 160u);
  EXPECT_EQ(r.calibration_samples, 40u);
  ASSERT_FALSE(r.decisions.empty());
  EXPECT_EQ(r.decisions[0].item, "calibration");
}

TEST_F(Tune, FinishedSearchIsNotRepeated) {
  const TuneResult first = search();
  const TuneResult second = search();
  EXPECT_EQ(second.resumed, second.planned);
  EXPECT_EQ(second.stopped_by, "complete");
  EXPECT_EQ(latencies(second), latencies(first));  // measured again they would differ
  EXPECT_EQ(second.chosen, first.chosen);
  for (std::size_t i = 0; i < first.candidates.size(); ++i) {
    const Candidate &a = first.candidates[i], &b = second.candidates[i];
    EXPECT_EQ(a.measured.value, b.measured.value);
    EXPECT_EQ(a.measured.interval.low, b.measured.interval.low);
    EXPECT_EQ(a.drop.interval.high, b.drop.interval.high);
    EXPECT_EQ(a.edits, b.edits);
    EXPECT_EQ(a.on_front, b.on_front);
  }
}

TEST_F(Tune, TrainsWhereSamplesToTrainOnAreGiven) {
  const Dataset train = samples(150, 21), others = samples(150, 22);
  request_.train = &train;
  const TuneResult first = search();
  const Candidate& c = named(first, "qat");
  EXPECT_EQ(c.refused, "");
  EXPECT_GT(c.measured.value, 0.8);  // the float model has 90 %
  EXPECT_EQ(search().resumed, first.planned);
  request_.train = &others;  // only this candidate is another one then
  EXPECT_EQ(search().resumed, first.planned - 1);
}

TEST_F(Tune, OtherLimitsChooseAmongWhatIsKnown) {
  const TuneResult first = search();
  request_.max_bytes = named(first, "weight-only-int4").bytes;
  const TuneResult second = search();
  EXPECT_EQ(second.resumed, second.planned);
  ASSERT_GE(second.chosen, 0);
  EXPECT_LE(second.candidates[static_cast<std::size_t>(second.chosen)].bytes, *request_.max_bytes);
  EXPECT_EQ(fs::file_size(in_folder("best.tflite")),
            second.candidates[static_cast<std::size_t>(second.chosen)].bytes);
}

TEST_F(Tune, DamagedStateIsMeasuredAgain) {
  const TuneResult first = search();
  const std::string path = in_folder("tune-state.json"), whole = read_text(path);
  const std::size_t value = whole.find("\"value\": 0.");
  ASSERT_NE(value, std::string::npos);
  std::string edited = whole;
  edited[value + 11] = edited[value + 11] == '1' ? '2' : '1';
  for (const std::string& text :
       {whole.substr(0, whole.size() / 2), std::string(), std::string("[]"), std::string("{}"),
        std::string("\0\xff{", 3), edited, whole + "}"}) {
    write_text(path, text);
    request_.budget = 1e-9;  // the float model and one candidate are enough to see it
    const TuneResult r = search();
    EXPECT_EQ(r.resumed, 0u) << text.substr(0, 40);
    EXPECT_EQ(r.candidates[0].measured.value, first.candidates[0].measured.value);
  }
}

TEST_F(Tune, ChangedAndLostFilesAreMadeAgain) {
  const TuneResult first = search();
  const std::string changed = named(first, "float16").path, lost = named(first, "int16x8").path;
  const std::string bytes = read_text(changed);
  std::string other = bytes;
  other[other.size() / 2] = static_cast<char>(other[other.size() / 2] ^ 1);
  write_text(changed, other);
  fs::remove(lost);
  const TuneResult second = search();
  EXPECT_EQ(second.resumed, second.planned - 2);
  EXPECT_EQ(read_text(changed), bytes);
  EXPECT_TRUE(file_exists(lost));
  // A folder where a candidate was is no reason to fail before the search.
  fs::remove(lost);
  fs::create_directory(lost);
  EXPECT_NE(refusal().find("int16x8.tflite"), std::string::npos);
}

TEST_F(Tune, LostBestFileIsWrittenAgain) {
  search();
  fs::remove(in_folder("best.tflite"));
  search();
  EXPECT_TRUE(file_exists(in_folder("best.tflite")));
}

TEST_F(Tune, AnotherQuestionStartsAnew) {
  request_.budget = 1e-9;
  search();
  EXPECT_EQ(search().resumed, 2u);
  const auto fresh = [&](const char* what) {
    EXPECT_EQ(search().resumed, 0u) << what;
    EXPECT_EQ(search().resumed, 2u) << what;
  };
  request_.seed = 2;
  fresh("seed");
  data_ = samples(200, 4);
  fresh("data");
  data_.labels = data_.labels->clone();
  data_.labels->mutable_span<std::int64_t>()[5] ^= 1;
  fresh("one label");
  calibration_ = samples(40, 12);
  fresh("calibration");
  request_.dialect = Dialect::kReference;
  fresh("dialect");
  request_.input_map = parse_input_map("x*2");
  fresh("input map");
  model_ = classifier(8);
  fresh("model");
  Model other = *model_;  // the same constants in another graph
  std::get<FullyConnectedAttrs>(other.main().ops[0].attrs).activation = Activation::kNone;
  model_ = std::make_shared<const Model>(other);
  fresh("activation");
}

TEST_F(Tune, BudgetEndsTheSearchAndASecondCallGoesOn) {
  request_.budget = 1e-9;
  const TuneResult first = search();
  EXPECT_EQ(first.stopped_by, "budget");
  EXPECT_EQ(first.candidates.size(), 2u);
  EXPECT_TRUE(file_exists(in_folder("best.tflite")));
  request_.budget = 0;
  const TuneResult second = search();
  EXPECT_EQ(second.stopped_by, "complete");
  EXPECT_EQ(second.resumed, 2u);
  EXPECT_EQ(second.candidates.size(), second.planned);
}

// Stopped in every phase of the work: what was finished stays, and the end is the same.
TEST_F(Tune, InterruptKeepsWhatIsFinished) {
  const TuneResult whole = search();
  fs::remove_all(folder_);
  std::size_t known = 0;
  int interrupts = 0;
  for (int calls = 30;; calls += 17) {
    int left = calls;
    request_.progress = [&](std::string_view, double) {
      if (left-- == 0) throw Stopped();
    };
    TuneResult r;
    try {
      r = search();
    } catch (const Stopped&) {
      EXPECT_EQ(known, 0u);
      EXPECT_FALSE(file_exists(in_folder("best.tflite")));
      continue;
    }
    EXPECT_TRUE(temporary_files().empty());
    EXPECT_GE(r.candidates.size(), known);
    EXPECT_GE(r.resumed, std::min(known, r.candidates.size()));
    EXPECT_NO_THROW(make_plan(read_model(in_folder("best.tflite")), {}));
    if (r.stopped_by == "complete") break;
    EXPECT_EQ(r.stopped_by, "interrupt");
    EXPECT_LT(r.candidates.size(), r.planned);
    known = r.candidates.size();
    ++interrupts;
    ASSERT_LT(interrupts, 500);
  }
  EXPECT_GE(interrupts, 1);
  request_.progress = nullptr;
  const TuneResult last = search();
  EXPECT_EQ(last.resumed, last.planned);
  for (std::size_t i = 0; i < whole.candidates.size(); ++i) {
    EXPECT_EQ(last.candidates[i].name, whole.candidates[i].name);
    EXPECT_EQ(last.candidates[i].measured.value, whole.candidates[i].measured.value);
    EXPECT_EQ(last.candidates[i].file_hash, whole.candidates[i].file_hash);
  }
}

TEST_F(Tune, InterruptBeforeTheFirstCandidateLeavesNothing) {
  request_.progress = [](std::string_view, double) { throw Stopped(); };
  EXPECT_THROW(search(), Stopped);
  EXPECT_FALSE(file_exists(in_folder("best.tflite")));
  EXPECT_FALSE(file_exists(in_folder("tune-state.json")));
}

// A limit on file sizes stands for a full disk: the file system refuses in the middle of a write.
TEST_F(Tune, FullDiskEndsTheSearchWithoutHalfFiles) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit tight = before;
  tight.rlim_cur = 2048;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string said = refusal();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(said.find("float.tflite: cannot write"), std::string::npos) << said;
  EXPECT_TRUE(temporary_files().empty());
  EXPECT_FALSE(file_exists(in_folder("best.tflite")));
  EXPECT_EQ(search().stopped_by, "complete");
}

TEST_F(Tune, RefusesWhatMakesNoSense) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Dataset good = data_;
  const auto with_label = [&](std::int64_t label) {
    data_ = good;
    data_.labels = good.labels->clone();
    data_.labels->mutable_span<std::int64_t>()[17] = label;
    return refusal();
  };
  EXPECT_EQ(with_label(3),
            "samples.npz: label of sample 17 is 3, expected 0 to 2: classifier.tflite has 3 "
            "outputs");
  EXPECT_NE(with_label(-2).find("label of sample 17 is -2"), std::string::npos);
  data_ = good;
  data_.inputs[0] = good.inputs[0].clone();
  data_.inputs[0].mutable_span<float>()[kIn * 5 + 2] = nan;
  EXPECT_NE(refusal().find("samples.npz: sample 5, input 0: nan at element 2"), std::string::npos);
  data_ = good;
  calibration_.inputs[0] = calibration_.inputs[0].clone();
  calibration_.inputs[0].mutable_span<float>()[kIn * 6 + 1] = nan;
  EXPECT_NE(refusal().find("sample 6, input 0: nan at element 1"), std::string::npos);
  calibration_ = samples(0);
  EXPECT_NE(refusal().find("holds no samples"), std::string::npos);
  calibration_ = samples(40, 11);
  data_ = samples(0);
  EXPECT_NE(refusal().find("holds no samples"), std::string::npos);
  data_ = good;
  request_.max_drop = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(refusal().find("largest drop"), std::string::npos);
  request_.max_drop.reset();
  request_.max_latency_ms = -1;
  EXPECT_NE(refusal().find("largest latency"), std::string::npos);
  request_.max_latency_ms.reset();
  request_.max_bytes = 0;
  EXPECT_NE(refusal().find("largest size"), std::string::npos);
  request_.max_bytes.reset();
  request_.metric = "accuracy";
  EXPECT_NE(refusal().find("expected one of"), std::string::npos);
  EXPECT_FALSE(file_exists(in_folder("tune-state.json")));
}

TEST_F(Tune, RefusesTooFewSamplesWithoutCalibration) {
  data_ = samples(4);
  try {
    tune(model_, data_, nullptr, request_);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("give --calibration"), std::string::npos);
  }
}

TEST_F(Tune, RefusesAQuantizedModelAndAFileAsFolder) {
  search();
  const ModelPtr good = model_;
  model_ = read_model(in_folder("static-minmax.tflite"));
  EXPECT_NE(refusal().find("is quantized already"), std::string::npos);
  model_ = good;
  request_.out = in_folder("best.tflite");
  EXPECT_NE(refusal().find("cannot create the folder"), std::string::npos);
}

}  // namespace
}  // namespace litegap
