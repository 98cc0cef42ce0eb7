// How long work tells its door how far it is.  Rooms never print; doors decide what to show.
#pragma once
#include <functional>
#include <string_view>

namespace litegap {

// done is in [0, 1]; a negative value means "unknown".
using Progress = std::function<void(std::string_view stage, double done)>;

inline void report_progress(const Progress& progress, std::string_view stage, double done) {
  if (progress) progress(stage, done);
}

}  // namespace litegap
