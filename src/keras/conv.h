// Convolutions of one, two and three spatial axes as operators of two; shared by several families.
#pragma once
#include <string>
#include <vector>

#include "keras/lower.h"

namespace litegap {

// A window that moves over spatial axes; each list has one value an axis.
struct LayerWindow {
  std::vector<int> kernel, stride, dilation;
  std::string padding;  // "same", "valid", "causal"
};

LayerWindow conv_window(LayerCall& c, std::size_t axes);
LayerWindow pool_window(LayerCall& c, std::size_t axes);

// Length of an axis after the window; Error where nothing would be left.
int window_output(int in, int kernel, int stride, int dilation, const std::string& padding);
// How many elements SAME puts before and after.
std::pair<int, int> same_pads(int in, int kernel, int stride, int dilation);

bool channels_first(LayerCall& c);
// NCHW -> NHWC and back, for any number of spatial axes; the tensor itself when not asked for.
int to_channels_last(GraphBuilder& b, int x, bool first);
int from_channels_last(GraphBuilder& b, int x, bool first);

// [N, T, C] -> [N, 1, T, C] and back.
int lift(GraphBuilder& b, int x);
int drop(GraphBuilder& b, int x);
// [N, D, H, W, C] -> [N, D, HWC], [N * D, H, W, C].
int merge_depth(GraphBuilder& b, int x);

int conv_2d(GraphBuilder& b, int x, int weights, int bias, const LayerWindow& w);
int depthwise_2d(GraphBuilder& b, int x, int weights, int bias, const LayerWindow& w,
                 int multiplier);
int pool_2d(GraphBuilder& b, OpCode code, int x, const LayerWindow& w);

int bias_of(LayerCall& c, int units, const std::string& name = "bias", const std::string& sub = "");

}  // namespace litegap
