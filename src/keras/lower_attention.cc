#include "keras/lower.h"

namespace litegap {
std::span<const LayerRow> attention_layers() { return {}; }
}  // namespace litegap
