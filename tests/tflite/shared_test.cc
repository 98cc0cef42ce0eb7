// Every file of the shared material, when it is there: what is read, written and read again is the
// same model; hostile files end in one line.
#include <chrono>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "tflite/support.h"

namespace litegap {
namespace {

void round_trip(const std::string& path) {
  SCOPED_TRACE(path);
  ModelPtr first;
  try {
    first = read_model(path);
  } catch (const Error& e) {
    // The stock runtime refuses this one, too.
    if (path.find("add_shared_tensors") == std::string::npos) ADD_FAILURE() << e.what();
    return;
  }
  const std::vector<std::byte> bytes = serialize_model(*first);
  const ModelPtr second = parse_bytes(bytes, path);
  expect_same_model(*first, *second);
  EXPECT_EQ(serialize_model(*second), bytes) << "writing is not stable";
}

TEST(Shared, CorpusRoundTrip) {
  const std::string shared = shared_folder();
  if (shared.empty()) GTEST_SKIP() << "no shared files";
  std::vector<std::string> files;
  for (const char* folder :
       {"/corpus/models", "/corpus/ops", "/corpus/ops_tflm_seanet", "/cases"}) {
    for (auto& f : files_under(shared + folder, {".tflite", ".bin"})) files.push_back(std::move(f));
  }
  EXPECT_GT(files.size(), 100u);
  for (const auto& f : files) round_trip(f);
}

TEST(Shared, GoldensRoundTrip) {
  const std::string shared = shared_folder();
  const auto files =
      shared.empty() ? std::vector<std::string>() : files_under(shared + "/goldens", {".tflite"});
  if (files.empty()) GTEST_SKIP() << "no shared files";
  for (std::size_t i = 0; i < files.size(); i += std::max<std::size_t>(1, files.size() / 400))
    round_trip(files[i]);
}

TEST(Shared, HostileFilesEndInOneLine) {
  const std::string shared = shared_folder();
  const auto files = shared.empty() ? std::vector<std::string>()
                                    : files_under(shared + "/corpus/hostile", {".tflite", ".bin"});
  if (files.empty()) GTEST_SKIP() << "no shared files";
  for (const auto& path : files) {
    SCOPED_TRACE(path);
    const auto start = std::chrono::steady_clock::now();
    try {
      const ModelPtr model = read_model(path);
      expect_same_model(*model, *parse_bytes(serialize_model(*model), path));
    } catch (const Error& e) {
      const std::string what = e.what();
      EXPECT_EQ(what.find('\n'), std::string::npos);
      EXPECT_EQ(what.rfind(path, 0), 0u) << what;
      if (std::getenv("LITEGAP_SHOW") != nullptr)
        std::printf("%s\n", what.substr(path.rfind('/') + 1).c_str());
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    EXPECT_LT(spent.count(), 2.0);
  }
}

// For roundtrip_check.py: each line of the file names a model to read and where to write it.
TEST(Shared, WriteListed) {
  const char* list = std::getenv("LITEGAP_ROUNDTRIP_LIST");
  if (list == nullptr) GTEST_SKIP() << "LITEGAP_ROUNDTRIP_LIST not set";
  std::ifstream in(list);
  for (std::string line; std::getline(in, line);) {
    const std::size_t tab = line.find('\t');
    ASSERT_NE(tab, std::string::npos) << line;
    try {
      write_model(*read_model(line.substr(0, tab)), line.substr(tab + 1));
    } catch (const Error& e) {
      std::printf("%s\n", e.what());
    }
  }
}

}  // namespace
}  // namespace litegap
