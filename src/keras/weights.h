// Weights of a file, found by their place, not by their name.
//
// A .keras file numbers the layers of one class in the order of the model (a layer named "second"
// may be stored as "dense"); a .h5 file lists the weights of each outermost layer, the trainable
// ones first.  Both orders follow from the architecture; names in the file are only looked at to
// tell what is missing.
#pragma once
#include <string>
#include <vector>

#include "keras/hdf5.h"
#include "keras/layers.h"

namespace litegap {

// Values in the order of `declared`.
std::vector<Array> weights_of_v3(const Hdf5& file, const KerasLayers& layers,
                                 const std::vector<Declared>& declared);
std::vector<Array> weights_of_h5(const Hdf5& file, const KerasLayers& layers,
                                 const std::vector<Declared>& declared);

}  // namespace litegap
