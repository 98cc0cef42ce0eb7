// How long work tells its door how far it is.  Rooms never print; doors decide what to show.
#pragma once
#include <functional>
#include <stdexcept>
#include <string_view>

namespace litegap {

// done is in [0, 1]; a negative value means "unknown".
using Progress = std::function<void(std::string_view stage, double done)>;

// Thrown by a progress call when the user asked to stop; long work lets it pass, or keeps what it
// has.
class Stopped : public std::runtime_error {
 public:
  Stopped() : std::runtime_error("stopped") {}
};

inline void report_progress(const Progress& progress, std::string_view stage, double done) {
  if (progress) progress(stage, done);
}

}  // namespace litegap
