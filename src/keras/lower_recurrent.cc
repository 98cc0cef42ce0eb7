#include "keras/lower.h"

namespace litegap {
std::span<const LayerRow> recurrent_layers() { return {}; }
}  // namespace litegap
