// What the tests of this room share: files to read, and what "the same model" means.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tflite/tflite.h"

namespace litegap {

// Folder of shared test material, empty when there is none.
inline std::string shared_folder() {
  const char* set = std::getenv("LITEGAP_SHARED");
  const std::string folder = set != nullptr ? set : std::string(LITEGAP_SOURCE_DIR) + "/../shared";
  return std::filesystem::is_directory(folder) ? folder : std::string();
}

inline std::vector<std::string> files_under(const std::string& folder,
                                            const std::vector<std::string>& suffixes) {
  std::vector<std::string> out;
  if (!std::filesystem::is_directory(folder)) return out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    const bool fits = std::any_of(suffixes.begin(), suffixes.end(),
                                  [&](const std::string& s) { return path.ends_with(s); });
    if (entry.is_regular_file() && fits) out.push_back(path);
  }
  std::sort(out.begin(), out.end());
  return out;
}

// From bytes that go away at once, so that a dangling view shows.
inline ModelPtr parse_bytes(const std::vector<std::byte>& bytes,
                            const std::string& path = "test.tflite") {
  auto owner = std::make_shared<std::vector<std::byte>>(bytes);
  return parse_model(*owner, owner, path);
}

inline bool same_bytes(const Array& a, const Array& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && a.byte_size() == b.byte_size() &&
         (a.byte_size() == 0 || std::memcmp(a.data(), b.data(), a.byte_size()) == 0);
}

inline bool same_floats(const std::vector<float>& a,
                        const std::vector<float>& b) {  // NaN equals NaN
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline void expect_same_tensor(const Tensor& a, const Tensor& b, const std::string& where) {
  EXPECT_EQ(a.name, b.name) << where;
  EXPECT_EQ(a.dtype, b.dtype) << where;
  EXPECT_EQ(a.shape, b.shape) << where;
  EXPECT_EQ(a.shape_signature, b.shape_signature) << where;
  EXPECT_EQ(a.has_rank, b.has_rank) << where;
  EXPECT_EQ(a.is_variable, b.is_variable) << where;
  EXPECT_EQ(a.sparse, b.sparse) << where;
  EXPECT_TRUE(same_floats(a.quant.scale, b.quant.scale)) << where;
  EXPECT_TRUE(same_floats(a.quant.min, b.quant.min)) << where;
  EXPECT_TRUE(same_floats(a.quant.max, b.quant.max)) << where;
  EXPECT_EQ(a.quant.zero_point, b.quant.zero_point) << where;
  if (a.quant.per_channel()) {
    EXPECT_EQ(a.quant.axis, b.quant.axis) << where;
  }
  EXPECT_EQ(a.quant.block_scales, b.quant.block_scales) << where;
  EXPECT_EQ(a.quant.block_zero_points, b.quant.block_zero_points) << where;
  EXPECT_EQ(a.quant.block_size, b.quant.block_size) << where;
  EXPECT_EQ(a.foreign == nullptr, b.foreign == nullptr) << where;
  ASSERT_EQ(a.constant.has_value(), b.constant.has_value()) << where;
  if (a.constant) {
    EXPECT_TRUE(same_bytes(*a.constant, *b.constant)) << where;
  }
}

inline void expect_same_op(const Op& a, const Op& b, const std::string& where) {
  EXPECT_EQ(a.code, b.code) << where;
  EXPECT_EQ(a.version, b.version) << where;
  EXPECT_EQ(a.custom_code, b.custom_code) << where;
  EXPECT_EQ(a.inputs, b.inputs) << where;
  EXPECT_EQ(a.outputs, b.outputs) << where;
  EXPECT_EQ(a.intermediates, b.intermediates) << where;
  EXPECT_EQ(a.mutating_variable_inputs, b.mutating_variable_inputs) << where;
  EXPECT_EQ(a.attrs, b.attrs) << where;
  EXPECT_EQ(a.foreign == nullptr, b.foreign == nullptr) << where;
}

inline void expect_same_model(const Model& a, const Model& b) {
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.description, b.description);
  ASSERT_EQ(a.graphs.size(), b.graphs.size());
  for (std::size_t g = 0; g < a.graphs.size(); ++g) {
    const Graph& x = a.graphs[g];
    const Graph& y = b.graphs[g];
    EXPECT_EQ(x.name, y.name);
    EXPECT_EQ(x.inputs, y.inputs);
    EXPECT_EQ(x.outputs, y.outputs);
    ASSERT_EQ(x.tensors.size(), y.tensors.size());
    ASSERT_EQ(x.ops.size(), y.ops.size());
    for (std::size_t t = 0; t < x.tensors.size(); ++t) {
      expect_same_tensor(x.tensors[t], y.tensors[t],
                         fmt::format("{}: graph {} tensor {}", a.path, g, t));
    }
    for (std::size_t o = 0; o < x.ops.size(); ++o) {
      expect_same_op(x.ops[o], y.ops[o], fmt::format("{}: graph {} op {}", a.path, g, o));
    }
  }
  ASSERT_EQ(a.signatures.size(), b.signatures.size());
  for (std::size_t s = 0; s < a.signatures.size(); ++s) {
    EXPECT_EQ(a.signatures[s].key, b.signatures[s].key);
    EXPECT_EQ(a.signatures[s].inputs, b.signatures[s].inputs);
    EXPECT_EQ(a.signatures[s].outputs, b.signatures[s].outputs);
    EXPECT_EQ(a.signatures[s].graph, b.signatures[s].graph);
  }
  ASSERT_EQ(a.metadata.size(), b.metadata.size());
  for (std::size_t m = 0; m < a.metadata.size(); ++m) {
    EXPECT_EQ(a.metadata[m].name, b.metadata[m].name);
    EXPECT_TRUE(same_bytes(a.metadata[m].bytes, b.metadata[m].bytes)) << a.metadata[m].name;
  }
  EXPECT_EQ(a.appended.byte_size(), b.appended.byte_size());
}

}  // namespace litegap
