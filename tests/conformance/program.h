// Runs the program and looks at it from outside.
#pragma once
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

namespace litegap {

inline std::string shared_path(const std::string& path) {
  const char* given = std::getenv("LITEGAP_SHARED");
  return (given != nullptr ? given : std::string(LITEGAP_SOURCE_DIR) + "/../shared") + "/" + path;
}

struct Ran {
  int exit = -1;  // 128 + signal when it was killed
  std::string out, err;
  double cpu_seconds = 0;
  std::uint64_t peak_bytes = 0;
};

// `litegap` with these arguments; killed after `seconds` of processor time.
inline Ran run_litegap(const std::vector<std::string>& arguments, unsigned seconds) {
  const std::string base =
      (std::filesystem::temp_directory_path() / ("litegap_ran_" + std::to_string(::getpid())))
          .string();
  const std::string out = base + ".out", err = base + ".err";
  std::vector<char*> argv{const_cast<char*>(LITEGAP_BINARY)};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const int o = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int e = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(o, 1);
    ::dup2(e, 2);
    const rlimit limit{seconds, seconds};
    ::setrlimit(RLIMIT_CPU, &limit);
    ::execv(LITEGAP_BINARY, argv.data());
    ::_exit(127);
  }
  Ran ran;
  int status = 0;
  struct rusage usage {};
  ::wait4(child, &status, 0, &usage);
  ran.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ran.out = read_text(out);
  ran.err = read_text(err);
  ran.cpu_seconds = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  ran.peak_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  std::filesystem::remove(out);
  std::filesystem::remove(err);
  return ran;
}

}  // namespace litegap
