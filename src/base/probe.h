// Work on untrusted bytes by a library that trusts them, tried first where a crash does no harm.
//
//   if (!survives([&] { walk(file); })) fail("{}: damaged", file);
//   walk(file);                       // the same bytes, the same library: it returns here too
#pragma once
#include <functional>

namespace litegap {

// Runs `work` in a copy of this process; true when it came to an end there, with or without an
// Error.  False when it crashed or did not end within `seconds`.  True where no copy can be made.
bool survives(const std::function<void()>& work, unsigned seconds = 300);

}  // namespace litegap
