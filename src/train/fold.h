// Batch normalization inside of quantization-aware training.
//
// The file has no batch normalization: it is folded into weights and bias.  So the folded weights
// are what has to be rounded, while gamma, beta, the moving statistics and the weights themselves
// go on being trained.  With k = gamma / sigma of the moving statistics (kTrainFold):
//
//   W' = W k, b' = b k + (beta - mean k)     as keras/fold.h has it
//   z  = conv(x, rounded W')                 without bias
//
// and behind it kTrainFoldedNorm (Jacob et al. 2018; Krishnamoorthi 2018, 3.2.2):
//
//   batch statistics     y = (z - mean_z) sigma / sigma_batch + beta,
//                        sigma_batch^2 = var_z / k^2 + epsilon; the moving statistics follow
//   moving statistics    y = z + rounded b'  what the file computes
//
// Without rounding the first is batch normalization itself, values and gradients.  The statistics
// are those of the layer as it is rounded: the mean that the file subtracts contains the shift that
// rounding makes.  They are taken from z, so that no second convolution is needed.
//
// A channel with k = 0 or a constant z says nothing about its statistics, which then stay.
//
//   conv, batch normalization, relu    file: conv(x, W', b'), fused relu
//   batch normalization alone          file: MUL by k, ADD of b'; W is 1
//
// For the last part of the training the statistics are frozen (QatOptions::freeze_after).
#pragma once
#include <map>
#include <utility>
#include <vector>

#include "train/graph.h"

namespace litegap {

// One normalization.  Tensors of the training graph, -1 = absent; op, folded_w and folded_b are
// those of the file as well.
struct FoldedNorm {
  int op = -1;  // takes W' and b'; of a normalization alone its ADD, behind its MUL
  bool alone = false;
  int w = -1, b = -1, gamma = -1, beta = -1, mean = -1, variance = -1;
  int folded_w = -1, folded_b = -1;
  BatchNormAttrs attrs;
};

// A dropout: operators of the file that read `tensor` see it dropped.
struct FoldedDrop {
  int tensor = -1;
  int before = -1;  // a dropout whose result this one takes
  DropoutAttrs attrs;
};

// A file and what is trained for it.
struct FoldedModel {
  Model file;         // float, without any operator of training
  TrainGraph values;  // the parameters; its tensors begin with those of the file
  std::vector<FoldedNorm> norms;
  std::vector<FoldedDrop> drops;
  std::map<std::pair<int, std::size_t>, int> dropped;  // (operator, input) of the file -> drops
};

// From the graph of lower() with keep_norms, or of any float model, which is its own file.
FoldedModel fold_norms(const TrainGraph& graph);

// The file with these values of the parameters (as in values.parameters), folded anew.
Model folded_file(const FoldedModel& folded, const std::vector<Array>& parameters);

}  // namespace litegap
