// Errors, files, hashes, JSON numbers and random numbers.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/random.h"

namespace litegap {
namespace {

class Folder {
 public:
  Folder() {
    path_ = (std::filesystem::temp_directory_path() / "litegap_base_XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no temporary folder");
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::size_t entries() const {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++n;
    return n;
  }

 private:
  std::string path_;
};

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(ErrorTest, FormatsItsMessage) {
  EXPECT_EQ(message_of([] { fail("{}: shape {}, expected {}", "x", 3, 4); }),
            "x: shape 3, expected 4");
}

TEST(FileTest, ReadsBackWhatItWrote) {
  const Folder folder;
  const std::string path = folder / "a.txt";
  write_text(path, "first");
  write_text(path, "second\n");
  EXPECT_EQ(read_text(path), "second\n");
  EXPECT_EQ(file_size(path), 7u);
  EXPECT_EQ(folder.entries(), 1u) << "the temporary file is still there";
}

TEST(FileTest, MapsAnEmptyFile) {
  const Folder folder;
  write_text(folder / "empty", "");
  EXPECT_TRUE(file_exists(folder / "empty"));
  EXPECT_TRUE(MappedFile::open(folder / "empty")->bytes().empty());
}

TEST(FileTest, KeepsTheMappingAfterTheFileIsGone) {
  const Folder folder;
  write_text(folder / "a", "abc");
  const auto file = MappedFile::open(folder / "a");
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(std::to_integer<char>(file->bytes()[2]), 'c');
}

TEST(FileTest, SaysWhatIsWrong) {
  const Folder folder;
  EXPECT_NE(message_of([&] { MappedFile::open(folder / "none"); }).find("cannot open"),
            std::string::npos);
  make_directories(folder / "x/y");
  EXPECT_TRUE(is_directory(folder / "x/y"));
  EXPECT_NE(message_of([&] { MappedFile::open(folder / "x"); }).find("is a folder"),
            std::string::npos);
  EXPECT_NE(message_of([&] { write_text(folder / "no/such/a", "b"); }).find("cannot write"),
            std::string::npos);
  EXPECT_EQ(file_size(folder / "none"), 0u);
  EXPECT_FALSE(file_exists(folder / "none"));
}

TEST(SystemTest, ClockAndMachineAnswer) {
  const double before = seconds_now();
  EXPECT_LE(before, seconds_now());
  EXPECT_GE(hardware_threads(), 1);
  EXPECT_GT(peak_memory_bytes(), 0u);
  EXPECT_FALSE(instruction_set().empty());
}

TEST(SystemTest, PeakMemoryGrowsByWhatIsTouched) {
  const std::uint64_t before = peak_memory_bytes(), touched = std::uint64_t{96} << 20;
  const std::vector<char> block(touched, 1);
  EXPECT_GE(peak_memory_bytes(), std::max(before, touched)) << static_cast<int>(block.back());
}

TEST(HashTest, IsFnv1a) {
  // From the authors' published test vectors (64 bit).
  EXPECT_EQ(hash_text(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(hash_text("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(hash_text("foobar"), 0x85944171f73967e8ULL);
}

// Every byte, its place, the length and what came before count, in whole blocks and behind them.
TEST(HashTest, OfBytesDependsOnAllOfThem) {
  std::set<std::uint64_t> seen;
  std::vector<std::byte> bytes(77);
  const auto add = [&](std::span<const std::byte> b, std::uint64_t seed = kHashSeed) {
    EXPECT_TRUE(seen.insert(hash_bytes(b, seed)).second) << b.size();
  };
  for (std::size_t n = 0; n <= bytes.size(); ++n) add(std::span(bytes).first(n));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      bytes[at] = static_cast<std::byte>(1 << bit);
      add(bytes);
      bytes[at] = std::byte{0};
    }
  }
  add(bytes, 7);
  EXPECT_EQ(hash_bytes(bytes, 7), hash_bytes(std::vector<std::byte>(77), 7));
}

TEST(HashTest, ContinuesFromASeed) {
  EXPECT_EQ(hash_text("bar", hash_text("foo")), hash_text("foobar"));
}

TEST(JsonTest, SpellsNonFiniteNumbers) {
  EXPECT_EQ(json_number(std::numeric_limits<double>::quiet_NaN()), "NaN");
  EXPECT_EQ(json_number(std::numeric_limits<double>::infinity()), "Infinity");
  EXPECT_EQ(json_number(-std::numeric_limits<double>::infinity()), "-Infinity");
  EXPECT_EQ(json_text(json_number(0.5)), "0.5");
  EXPECT_EQ(json_text("a\xff"
                      "b"),
            "\"a\xEF\xBF\xBD"
            "b\"");  // a name that is not UTF-8
}

TEST(JsonTest, ReadsItsSpellingBack) {
  EXPECT_TRUE(std::isnan(json_value("NaN")));
  EXPECT_EQ(json_value("Infinity"), std::numeric_limits<double>::infinity());
  EXPECT_EQ(json_value("-Infinity"), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(json_value(0.5), 0.5);
  EXPECT_THROW(json_value("seven"), Json::exception);
}

TEST(JsonTest, KeepsTheOrderOfKeys) {
  Json j;
  j["z"] = 1;
  j["a"] = 2;
  EXPECT_EQ(json_text(j), R"({"z":1,"a":2})");
}

TEST(ProgressTest, NobodyListening) { report_progress({}, "stage", 0.5); }

TEST(RandomTest, IsSplitMix64) {
  // First outputs for the seed 1234567, from the reference implementation of its authors.
  Random random(1234567);
  EXPECT_EQ(random.bits(), 6457827717110365317ULL);
  EXPECT_EQ(random.bits(), 3203168211198807973ULL);
  EXPECT_EQ(random.bits(), 9817491932198370423ULL);
}

TEST(RandomTest, StaysInRange) {
  Random random(7);
  std::array<int, 5> hits{};
  for (int i = 0; i < 5000; ++i) {
    const double u = random.uniform(-2, 3);
    EXPECT_GE(u, -2);
    EXPECT_LT(u, 3);
    ++hits.at(random.below(5));
  }
  for (const int h : hits) EXPECT_NEAR(h, 1000, 150);
}

TEST(RandomTest, NormalHasItsMoments) {
  Random random(11);
  const int n = 20000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double v = random.normal();
    sum += v;
    squares += v * v;
  }
  EXPECT_NEAR(sum / n, 0, 0.03);
  EXPECT_NEAR(squares / n, 1, 0.05);
}

TEST(RandomTest, ShufflesWithoutLoss) {
  Random random(3);
  std::vector<int> items(100);
  for (int i = 0; i < 100; ++i) items[static_cast<std::size_t>(i)] = i;
  const auto sorted = items;
  random.shuffle(items);
  EXPECT_NE(items, sorted);
  EXPECT_EQ(std::set<int>(items.begin(), items.end()).size(), 100u);
}

}  // namespace
}  // namespace litegap
