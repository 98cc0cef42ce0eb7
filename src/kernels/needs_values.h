// What prepare() says where an operand's values decide a shape and are not known yet: not that the
// operator is wrong, but that it can be prepared once they are (run/walk.h does).
#pragma once
#include "kernels/kernel.h"

namespace litegap {

class NeedsValues : public Error {
 public:
  using Error::Error;
};

[[noreturn]] void needs_values(const OpSpec& spec, std::size_t input);

}  // namespace litegap
