// Runs tests/cases/*.case: each makes what it needs, runs the program and looks at what it says.
//
//   # comment
//   model m.tflite … end        a model as text (text_model.h)
//   array d.npz x float32 [3,2] = 1 2 3 4 5 6    (values are repeated to fill the shape)
//   text labels.csv … end       a file as it stands
//   $ litegap eval m.tflite --data d.npz
//   exit 0
//   out: REGEX                  a line of stdout, in order; `err:` of stderr
//   no out: REGEX               no such line;  `no out` alone: stdout is empty;  `no err` too
//   err lines 1
//   file out.npz                it was written;  `no file out.npz`: it was not
//
// A case lives in a folder of its own, in which its commands run.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>

#include "base/file.h"
#include "data/npy.h"
#include "text_model.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> case_files() {
  std::vector<std::string> files;
  for (const auto& entry :
       fs::directory_iterator(std::string(LITEGAP_SOURCE_DIR) + "/tests/cases")) {
    if (entry.path().extension() == ".case") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class CaseRunner {
 public:
  explicit CaseRunner(const std::string& path)
      : path_(path),
        lines_(lines_of(read_text(path))),
        folder_(fs::temp_directory_path() / ("litegap_case_" + std::to_string(::getpid()) + "_" +
                                             fs::path(path).stem().string())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~CaseRunner() { fs::remove_all(folder_); }

  void play() {
    for (at_ = 0; at_ < lines_.size(); ++at_) {
      const std::string& line = lines_[at_];
      if (line.empty() || line[0] == '#') continue;
      SCOPED_TRACE(fmt::format("{}:{}: {}", path_, at_ + 1, line));
      step(line);
      if (testing::Test::HasFatalFailure()) return;
    }
    flush_arrays();
  }

 private:
  std::string in_folder(const std::string& name) const { return (folder_ / name).string(); }

  void step(const std::string& line) {
    if (line.starts_with("model ")) {
      model(line.substr(6));
    } else if (line.starts_with("array ")) {
      array(line.substr(6));
    } else if (line.starts_with("text ")) {
      text(line.substr(5));
    } else if (line.starts_with("$ ")) {
      command(line.substr(2));
    } else if (line.starts_with("exit ")) {
      EXPECT_EQ(exit_, std::stoi(line.substr(5))) << "stdout:\n" << out_ << "stderr:\n" << err_;
    } else if (line.starts_with("out: ")) {
      expect_line(out_, line.substr(5), out_at_);
    } else if (line.starts_with("err: ")) {
      expect_line(err_, line.substr(5), err_at_);
    } else if (line.starts_with("no out: ")) {
      expect_no_line(out_, line.substr(8));
    } else if (line.starts_with("no err: ")) {
      expect_no_line(err_, line.substr(8));
    } else if (line == "no out") {
      EXPECT_EQ(out_, "");
    } else if (line == "no err") {
      EXPECT_EQ(err_, "");
    } else if (line.starts_with("err lines ")) {
      EXPECT_EQ(lines_of(err_).size(), std::stoul(line.substr(10))) << err_;
    } else if (line.starts_with("no file ")) {
      EXPECT_FALSE(file_exists(in_folder(line.substr(8))));
    } else if (line.starts_with("file ")) {
      EXPECT_TRUE(file_exists(in_folder(line.substr(5))));
    } else {
      FAIL() << "not understood";
    }
  }

  void model(const std::string& name) {
    TextModel builder(in_folder(name));
    while (++at_ < lines_.size() && lines_[at_] != "end") {
      const std::string& line = lines_[at_];
      if (line.empty() || line[0] == '#') continue;
      ASSERT_TRUE(builder.line(line)) << line;
    }
    write_model(builder.model(), in_folder(name));
  }

  void text(const std::string& name) {
    std::string content;
    while (++at_ < lines_.size() && lines_[at_] != "end") content += lines_[at_] + "\n";
    write_text(in_folder(name), content);
  }

  void array(const std::string& line) {
    std::istringstream in(line);
    std::string file, name, type, shape, word;
    in >> file;
    if (file.ends_with(".npz")) in >> name;
    in >> type >> shape >> word;
    std::vector<double> values;
    while (in >> word) values.push_back(std::stod(word));  // nan and inf too
    const Array a = array_from_text(dtype_from_name(type), shape_from_text(shape), values);
    if (file.ends_with(".npy")) {
      write_npy(in_folder(file), a);
    } else {
      archives_[file].emplace_back(name, a);
    }
  }

  void flush_arrays() {
    for (const auto& [file, arrays] : archives_) write_npz(in_folder(file), arrays);
    archives_.clear();
  }

  void command(std::string line) {
    flush_arrays();
    const std::string program = "litegap";
    ASSERT_TRUE(line.starts_with(program));
    line = fmt::format("cd '{}' && '{}' {} >stdout 2>stderr </dev/null", folder_.string(),
                       LITEGAP_BINARY, line.substr(program.size()));
    const int status = std::system(line.c_str());
    exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    out_ = read_text(in_folder("stdout"));
    err_ = read_text(in_folder("stderr"));
    out_at_ = err_at_ = 0;
  }

  static void expect_line(const std::string& text, const std::string& pattern, std::size_t& from) {
    const std::vector<std::string> lines = lines_of(text);
    const std::regex regex(pattern);
    for (std::size_t i = from; i < lines.size(); ++i) {
      if (!std::regex_search(lines[i], regex)) continue;
      from = i + 1;
      return;
    }
    ADD_FAILURE() << "no line from line " << from + 1 << " on matches; the text is:\n" << text;
  }

  static void expect_no_line(const std::string& text, const std::string& pattern) {
    for (const std::string& line : lines_of(text)) {
      EXPECT_FALSE(std::regex_search(line, std::regex(pattern))) << line;
    }
  }

  std::string path_;
  std::vector<std::string> lines_;
  fs::path folder_;
  std::size_t at_ = 0, out_at_ = 0, err_at_ = 0;
  std::map<std::string, NamedArrays> archives_;
  int exit_ = 0;
  std::string out_, err_;
};

class Cases : public testing::TestWithParam<std::string> {};

TEST_P(Cases, Plays) { CaseRunner(GetParam()).play(); }

INSTANTIATE_TEST_SUITE_P(All, Cases, testing::ValuesIn(case_files()), [](const auto& info) {
  std::string name = fs::path(info.param).stem().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); },
      '_');
  return name;
});

}  // namespace
}  // namespace litegap
