// How the program ends when it cannot go on: stopped by a signal, or by a disk that takes no more.
// In both cases: the documented exit code, one line, no temporary and no half-written file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>

#include "base/file.h"
#include "base/random.h"
#include "data/npy.h"
#include "text_model.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// Large enough that no verb is done before a signal reaches it.
constexpr std::int32_t kSide = 24, kSamples = 1200;

class Ending : public testing::Test {
 protected:
  Ending()
      : folder_(fs::temp_directory_path() /
                ("litegap_ending_" + std::to_string(::getpid()) + "_" +
                 testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_model(net(), at("m.tflite"));
    Random random(5);
    std::vector<float> x(static_cast<std::size_t>(kSamples * kSide * kSide * 8));
    for (float& v : x) v = static_cast<float>(random.uniform(-1, 1));
    std::vector<std::int64_t> y;
    for (int i = 0; i < kSamples; ++i) y.push_back(i % 10);
    write_npz(at("d.npz"), {{"x", Array::of<float>({kSamples, kSide, kSide, 8}, x)},
                            {"y", Array::of<std::int64_t>({kSamples}, y)}});
  }
  ~Ending() override { fs::remove_all(folder_); }

  static Model net() {
    TextModel text("net");
    for (const char* line :
         {"tensor x float32 [1,24,24,8]", "tensor k float32 [16,3,3,8] = 0.3 -0.2 0.1 -0.1 0.05",
          "tensor b float32 [16] = 0.1", "tensor b3 float32 [10] = 0",
          "tensor h float32 [1,24,24,16]", "tensor k2 float32 [16,3,3,16] = 0.2 -0.1 -0.15 0.1",
          "tensor h2 float32 [1,24,24,16]", "tensor p float32 [1,1,1,16]",
          "tensor k3 float32 [10,1,1,16] = 0.5 -0.4 0.3 -0.7 0.2 0.1 -0.9",
          "tensor z float32 [1,1,1,10]", "tensor s int32 [2] = 1 10", "tensor y float32 [1,10]",
          "input x", "output y", "op CONV_2D x k b -> h activation=relu",
          "op CONV_2D h k2 b -> h2 activation=relu",
          "op AVERAGE_POOL_2D h2 -> p filter=24 stride=24 padding=valid", "op CONV_2D p k3 b3 -> z",
          "op RESHAPE z s -> y"}) {
      EXPECT_TRUE(text.line(line)) << line;
    }
    return text.model();
  }

  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  // Starts the program in the folder; `prepare` runs in it before.
  pid_t start(Words words, const std::function<void()>& prepare = nullptr) {
    words.insert(words.begin(), LITEGAP_BINARY);
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    const int out = ::open(at("stdout").c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    const int err = ::open(at("stderr").c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ::dup2(out, 1);
    ::dup2(err, 2);
    if (::chdir(folder_.c_str()) != 0) ::_exit(125);
    if (prepare) prepare();
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  static int wait_for(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // True when the process itself answers to the signal: before, it would be ended by the system, as
  // every program that has hardly begun.
  static bool catches(pid_t pid, int signal) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigCgt:"))
        return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0;
    }
    return false;
  }
  // Sends the signal that long after the program is able to answer it.
  int interrupted(const Words& words, int milliseconds, int signal = SIGINT) {
    const pid_t pid = start(words);
    for (int i = 0; i < 10000 && !catches(pid, signal); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    ::kill(pid, signal);
    return wait_for(pid);
  }
  int on_full_disk(const Words& words, rlim_t bytes) {
    return wait_for(start(words, [bytes] {
      const struct rlimit limit { bytes, bytes };
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }));
  }

  std::string said() const { return read_text(at("stderr")); }
  std::size_t lines() const {  // that say something
    std::istringstream in(said());
    std::size_t n = 0;
    for (std::string line; std::getline(in, line);) n += line.empty() ? 0 : 1;
    return n;
  }
  std::vector<std::string> left(const std::string& folder = "") const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / folder)) {
      const std::string name = entry.path().filename().string();
      if (name != "m.tflite" && name != "d.npz" && name != "stdout" && name != "stderr") {
        names.push_back(name);
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path folder_;
};

const Words kQuantize{"quantize",   "m.tflite", "--technique", "static",   "--calibration", "d.npz",
                      "--rounding", "auto",     "-o",          "q.tflite", "--threads",     "1"};

TEST_F(Ending, InterruptedQuantizeLeavesNothing) {
  for (const int milliseconds : {0, 100, 300}) {
    for (const int signal : {SIGINT, SIGTERM}) {
      ASSERT_EQ(interrupted(kQuantize, milliseconds, signal), 3) << said();
      EXPECT_EQ(lines(), 1u) << said();
      EXPECT_TRUE(left().empty()) << left()[0];
    }
  }
}

TEST_F(Ending, InterruptedTrainingWritesWhatItReached) {
  for (const bool qat : {false, true}) {
    Words words{"train",   "--init",       "m.tflite", "--data",  "d.npz",
                "--loss",  "crossentropy", "--epochs", "1000000", "--learning-rate",
                "0.00001", "-o",           "t.tflite"};
    words.push_back(qat ? "--qat" : "--resume");
    ASSERT_EQ(interrupted(words, 1500), 3) << said();
    EXPECT_NE(said().find("stopped; t.tflite holds what was reached"), std::string::npos);
    EXPECT_EQ(lines(), 1u) << said();
    EXPECT_NO_THROW(read_model(at("t.tflite")));
    for (const std::string& name : left()) {
      EXPECT_TRUE(name == "t.tflite" || name == "t.tflite.checkpoint") << name;
    }
  }
}

TEST_F(Ending, InterruptedSearchKeepsItsFolderSound) {
  const Words words{"tune", "m.tflite", "--data", "d.npz", "-o", "out"};
  for (const int milliseconds : {0, 700, 1500}) {
    ASSERT_EQ(interrupted(words, milliseconds), 3) << said();
    EXPECT_LE(lines(), 1u) << said();
    if (!file_exists(at("out"))) continue;
    for (const std::string& name : left("out")) {
      EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
      if (!name.ends_with(".tflite")) continue;
      EXPECT_NO_THROW(read_model(at("out/" + name))) << name;
    }
  }
}

TEST_F(Ending, FullDiskIsAnErrorOfOneLine) {
  ASSERT_EQ(on_full_disk({"quantize", "m.tflite", "--technique", "float16", "-o", "q.tflite"}, 900),
            1);
  EXPECT_NE(said().find("litegap: error: q.tflite: cannot write"), std::string::npos) << said();
  EXPECT_EQ(lines(), 1u);
  EXPECT_TRUE(left().empty());
  ASSERT_EQ(on_full_disk({"train", "--init", "m.tflite", "--data", "d.npz", "--loss",
                          "crossentropy", "--learning-rate", "0.00001", "-o", "t.tflite"},
                         900),
            1);
  EXPECT_NE(said().find("litegap: error: t.tflite: cannot write"), std::string::npos) << said();
  EXPECT_EQ(lines(), 1u);
  EXPECT_TRUE(left().empty());
  ASSERT_EQ(on_full_disk({"tune", "m.tflite", "--data", "d.npz", "-o", "out"}, 900), 1);
  EXPECT_NE(said().find("float.tflite: cannot write"), std::string::npos) << said();
  EXPECT_EQ(lines(), 1u);
  EXPECT_TRUE(left("out").empty());
}

// The file that was there before survives what the disk did not take.
TEST_F(Ending, OldFileSurvivesAFullDisk) {
  write_text(at("q.tflite"), "old");
  ASSERT_EQ(on_full_disk({"quantize", "m.tflite", "--technique", "float16", "-o", "q.tflite"}, 900),
            1);
  EXPECT_EQ(read_text(at("q.tflite")), "old");
  EXPECT_EQ(left(), Words{"q.tflite"});
}

TEST_F(Ending, ResultThatNobodyCanReadIsAnError) {
  const pid_t pid = start({"inspect", "m.tflite"}, [] {
    const int full = ::open("/dev/full", O_WRONLY);
    if (full >= 0) ::dup2(full, 1);
  });
  if (!fs::exists("/dev/full")) GTEST_SKIP();
  EXPECT_EQ(wait_for(pid), 1);
  EXPECT_NE(said().find("stdout: cannot write"), std::string::npos) << said();
}

}  // namespace
}  // namespace litegap
