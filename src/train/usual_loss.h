// The loss that fits a model and its labels, for whoever does not name one.
//
//   ends in SOFTMAX over 10 classes, y = [600] class numbers   sparse cross-entropy
//   ends in a layer of 10 outputs, y = [600] class numbers     the same, from logits
//   y = [600, 3] real numbers                                  mean squared error
#pragma once
#include "data/dataset.h"
#include "train/loss.h"

namespace litegap {

// Whether output 0 of the main graph comes from this operator.
bool ends_in(const Model& model, OpCode code);

// Cross-entropy of class numbers, or of distributions where y has one value for each output; from
// logits where the model does not end in SOFTMAX.
LossOptions class_loss(const Model& model, const Dataset& data);

// Throws Error when there are no labels.
LossOptions usual_loss(const Model& model, const Dataset& data);

}  // namespace litegap
