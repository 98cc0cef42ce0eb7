// The little of HDF5 that Keras files use: groups, datasets of numbers, attributes of text.
//
//   Hdf5 file = Hdf5::open("model.h5");
//   Array w   = file.array("/model_weights/dense/dense/kernel:0");   // float32, whatever is stored
//
// Every size is checked against a limit before memory is taken; the library's own printing is
// silent and its failures become an Error with the file and the place in it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/array.h"

namespace litegap {

class Hdf5 {
 public:
  static Hdf5 open(const std::string& path);
  static Hdf5 from_memory(std::vector<std::byte> bytes, const std::string& name);

  bool has(const std::string& path) const;
  std::vector<std::string> children(const std::string& group) const;  // in order of names
  std::optional<std::string> text(const std::string& object, const std::string& attribute) const;
  // A list of texts; long ones are split by Keras into attribute0, attribute1 ...
  std::vector<std::string> texts(const std::string& object, const std::string& attribute) const;
  Array array(const std::string& dataset) const;
  const std::string& name() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace litegap
