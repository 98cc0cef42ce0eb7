#include "data/dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "data/npy.h"

namespace litegap {
namespace {

std::string scratch(const std::string& name) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("litegap_data_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return (folder / name).string();
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

#define EXPECT_ERROR(body, text)                           \
  do {                                                     \
    const std::string what = error_of([&] { body; });      \
    EXPECT_NE(what.find(text), std::string::npos) << what; \
  } while (false)

std::string csv(const std::string& name, const std::string& text) {
  const std::string path = scratch(name);
  write_text(path, text);
  return path;
}

template <class T>
std::vector<double> values(const Array& a) {
  const auto s = a.span<T>();
  return {s.begin(), s.end()};
}

Model model_with(const std::vector<std::pair<std::string, Shape>>& inputs) {
  Model model;
  model.path = "m.tflite";
  model.graphs.emplace_back();
  for (const auto& [name, shape] : inputs) {
    Tensor t;
    t.name = name;
    t.shape = shape;
    t.has_rank = true;
    model.main().inputs.push_back(static_cast<int>(model.main().tensors.size()));
    model.main().tensors.push_back(t);
  }
  return model;
}

TEST(Csv, HeaderAndTarget) {
  const std::string path = csv("a.csv", "a,\"b \"\"quoted\"\", c\",price\n1,2,3.5\r\n\n4,5,6.5\n");
  DataOptions options;
  options.target_column = "price";
  const Dataset data = read_dataset(path, options);
  EXPECT_EQ(data.count, 2u);
  EXPECT_EQ(values<float>(data.inputs[0]), (std::vector<double>{1, 2, 4, 5}));
  EXPECT_EQ(values<float>(*data.labels), (std::vector<double>{3.5, 6.5}));
  options.target_column = "-1";
  EXPECT_EQ(values<float>(*read_dataset(path, options).labels), (std::vector<double>{3.5, 6.5}));
  options.target_column = "prize";
  EXPECT_ERROR(read_dataset(path, options), "no column 'prize', expected one of a, b");
}

TEST(Csv, NoHeaderAndIntegerLabels) {
  const std::string path = csv("b.csv", "0.5,1\n1.5,0\n");
  EXPECT_FALSE(read_dataset(path).labels.has_value());
  DataOptions options;
  options.target_column = "1";
  const Dataset data = read_dataset(path, options);
  EXPECT_EQ(values<std::int64_t>(*data.labels), (std::vector<double>{1, 0}));
  EXPECT_EQ(data.inputs[0].shape(), (Shape{2, 1}));
}

TEST(Csv, AHeaderThatSaysLabelIsUsedAndRecorded) {
  const Dataset data = read_dataset(csv("c.csv", "a;label\n1;0\n2;1\n"));
  EXPECT_EQ(values<std::int64_t>(*data.labels), (std::vector<double>{0, 1}));
  ASSERT_EQ(data.decisions.size(), 1u);
  EXPECT_EQ(data.decisions[0].chosen, "column label");
}

TEST(Csv, FaultsNameLineAndColumn) {
  EXPECT_ERROR(read_dataset(csv("d.csv", "a,b\n1,2\n3,x\n")),
               "line 3, column 2 (b): expected a number, found 'x'");
  EXPECT_ERROR(read_dataset(csv("e.csv", "1,2\n3\n")), "line 2 has 1 columns, expected 2");
  EXPECT_ERROR(read_dataset(csv("f.csv", "a,b\n")), "no rows");
  EXPECT_ERROR(read_dataset(csv("g.csv", "a,b\n\"1,2\n")), "line 2: a quoted field");
}

TEST(Labels, ACsvWithRowsMayBeInAnyOrder) {
  write_npy(scratch("x.npy"), Array::of<std::uint8_t>({3, 2}, {1, 2, 3, 4, 5, 6}));
  DataOptions options;
  options.labels_path = csv("labels.csv", "row,source_file,label\n2,\"c, d\",7\n0,a,5\n1,b,6\n");
  const Dataset data = read_dataset(scratch("x.npy"), options);
  EXPECT_EQ(values<std::int64_t>(*data.labels), (std::vector<double>{5, 6, 7}));
  EXPECT_EQ(data.inputs[0].dtype(), DType::kUint8);
  options.labels_path = csv("labels2.csv", "row,label\n2,7\n0,5\n2,6\n");
  EXPECT_ERROR(read_dataset(scratch("x.npy"), options), "line 4: row 2, expected each of 0 to 2");
  options.labels_path = csv("labels3.csv", "5\n6\n");
  EXPECT_ERROR(read_dataset(scratch("x.npy"), options), "labels of shape [2], expected 3 rows");
}

TEST(Npz, InputsLabelsAndCodes) {
  const std::string path = scratch("d.npz");
  write_npz(path, {{"x1", Array::of<double>({2, 1}, {3, 4})},
                   {"y", Array::of<std::uint8_t>({2}, {1, 0})},
                   {"x0", Array::of<float>({2, 1}, {1, 2})},
                   {"x_quant", Array::of<std::int8_t>({2, 1}, {-1, 1})}});
  const Dataset data = read_dataset(path);
  EXPECT_EQ(data.names, (std::vector<std::string>{"x0", "x1"}));
  EXPECT_EQ(values<float>(data.inputs[1]), (std::vector<double>{3, 4}));
  EXPECT_EQ(values<std::int64_t>(*data.labels), (std::vector<double>{1, 0}));
  EXPECT_EQ(data.quant_inputs.size(), 1u);
  const Dataset swapped = data.subset({1, 0});
  EXPECT_EQ(values<float>(swapped.inputs[0]), (std::vector<double>{2, 1}));
  EXPECT_EQ(values<std::int64_t>(*swapped.labels), (std::vector<double>{0, 1}));
}

TEST(Npz, LimitDrawsRowsBySeedAndKeepsPairsTogether) {
  std::vector<float> x(100);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  std::vector<std::int64_t> y(50);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<std::int64_t>(i);
  const std::string path = scratch("pairs.npz");
  write_npz(path, {{"x", Array::of<float>({100, 1}, x)}, {"y", Array::of<std::int64_t>({50}, y)}});
  DataOptions options;
  options.limit = 20;
  const Dataset data = read_dataset(path, options);
  ASSERT_EQ(data.count, 20u);
  EXPECT_TRUE(data.paired_labels());
  for (std::size_t i = 0; i < 10; ++i) {
    const auto pair = static_cast<float>(data.labels->span<std::int64_t>()[i]);
    EXPECT_EQ(data.inputs[0].span<float>()[2 * i], 2 * pair);
    EXPECT_EQ(data.inputs[0].span<float>()[2 * i + 1], 2 * pair + 1);
  }
  EXPECT_EQ(values<float>(read_dataset(path, options).inputs[0]), values<float>(data.inputs[0]));
  ASSERT_EQ(data.decisions.size(), 1u);
}

TEST(Bind, ByNameByNumberAndErrors) {
  Dataset data;
  data.path = "d.npz";
  data.count = 2;
  data.names = {"image", "size"};
  data.inputs = {Array::zeros(DType::kFloat32, {2, 4, 4, 1}),
                 Array::zeros(DType::kFloat32, {2, 3})};
  const Model model = model_with({{"serving_default_size:0", {1, 3}}, {"image", {1, 4, 4, 1}}});
  const Dataset bound = bind_dataset(data, model);
  EXPECT_EQ(bound.names, (std::vector<std::string>{"size", "image"}));
  data.names = {"foo", "bar"};
  EXPECT_ERROR(
      bind_dataset(data, model),
      "holds 2 input arrays (foo, bar), m.tflite expects 2: serving_default_size:0 [1, 3]");
  data.names = {"x0", "x1"};
  EXPECT_ERROR(bind_dataset(data, model),
               "x0 has samples of shape [1, 4, 4, 1], m.tflite expects [1, 3]");
}

TEST(Bind, AxesOfLengthOneMayDifferAndPlanarNeedsTheMap) {
  Dataset data;
  data.count = 5;
  data.names = {"x"};
  data.inputs = {Array::zeros(DType::kUint8, {5, 28, 28})};
  const Dataset bound = bind_dataset(data, model_with({{"in", {1, 28, 28, 1}}}));
  ASSERT_EQ(bound.decisions.size(), 1u);
  data.inputs = {Array::zeros(DType::kUint8, {5, 3, 8, 4})};
  const Model model = model_with({{"in", {1, 8, 4, 3}}});
  EXPECT_ERROR(bind_dataset(data, model), "[1, 3, 8, 4], m.tflite expects [1, 8, 4, 3]");
  EXPECT_EQ(bind_dataset(data, model, parse_input_map("chw")).inputs.size(), 1u);
}

TEST(Dataset, DistinctRows) {
  Dataset data;
  data.count = 4;
  data.inputs = {Array::of<float>({4, 2}, {1, 2, 3, 4, 1, 2, 1, 3})};
  EXPECT_EQ(data.distinct_rows(), 3u);
}

TEST(InputMap, Expressions) {
  const auto affine = [](const std::string& text) {
    const InputMap m = parse_input_map(text);
    return std::pair(m.scale, m.offset);
  };
  EXPECT_EQ(affine("x"), std::pair(1.0, 0.0));
  EXPECT_EQ(affine("x/255"), std::pair(1 / 255.0, 0.0));
  EXPECT_EQ(affine("x/127.5-1"), std::pair(1 / 127.5, -1.0));
  EXPECT_EQ(affine("(x-127.5)/127.5"), std::pair(1 / 127.5, -1.0));
  EXPECT_EQ(affine(" ( x - 128 ) / 128 "), std::pair(1 / 128.0, -1.0));
  EXPECT_EQ(affine("x*0.5+3"), std::pair(0.5, 3.0));
  EXPECT_EQ(affine("3+2*x-x"), std::pair(1.0, 3.0));
  EXPECT_EQ(affine("-x"), std::pair(-1.0, 0.0));
  EXPECT_EQ(affine("255-x"), std::pair(-1.0, 255.0));
  EXPECT_TRUE(parse_input_map("bgr").reverse_channels);
  EXPECT_TRUE(parse_input_map("rgb:hwc").identity());
  const InputMap m = parse_input_map("chw:bgr:(x/255-[0.5,0.25])/[0.25,0.5]");
  EXPECT_TRUE(m.reverse_channels && m.transpose_chw);
  EXPECT_EQ(m.channel_scale, (std::vector<double>{1 / 255.0 / 0.25, 1 / 255.0 / 0.5}));
  EXPECT_EQ(m.channel_offset, (std::vector<double>{-2, -0.5}));
}

TEST(InputMap, FaultsTellTheirPlace) {
  EXPECT_ERROR(parse_input_map("x/"), "at character 3");
  EXPECT_ERROR(parse_input_map("x*x"), "square");
  EXPECT_ERROR(parse_input_map("1/x"), "divisor");
  EXPECT_ERROR(parse_input_map("x/0"), "not finite");
  EXPECT_ERROR(parse_input_map("(x-1"), "expected ')' at character 5");
  EXPECT_ERROR(parse_input_map("brg"), "expected a number, x or '(' at character 1");
  EXPECT_ERROR(parse_input_map(""), "at character 1");
  EXPECT_ERROR(parse_input_map("x:v:v"), "third");
  EXPECT_ERROR(parse_input_map("[1,2]*x+[1,2,3]"), "vectors of 2 and 3");
  EXPECT_ERROR(parse_input_map(std::string(100000, '(')), "too long");
}

TEST(Dataset, FromArrays) {
  const Array a = Array::of<double>({3, 2}, {1, 2, 3, 4, 5, 6});
  const Dataset d = make_dataset({a, Array::of<float>({3, 1}, {7, 8, 9})},
                                 Array::of<std::int32_t>({3}, {0, 1, 2}));
  EXPECT_EQ(d.count, 3u);
  EXPECT_EQ(d.names, (std::vector<std::string>{"x0", "x1"}));
  EXPECT_EQ(d.inputs[0].dtype(), DType::kFloat32);
  EXPECT_EQ(d.labels->dtype(), DType::kInt64);
  EXPECT_ERROR(make_dataset({a, Array::of<float>({2, 1}, {7, 8})}), "x1 has 2 samples");
  EXPECT_ERROR(make_dataset({a}, Array::of<float>({2}, {7, 8})), "expected 3 rows");
}

TEST(InputMap, TextRoundTrip) {
  for (const char* text :
       {"x", "x/255", "x/127.5-1", "bgr:x", "chw:bgr:x*0.58470291-48.5", "x*1e-30",
        "(x-83)*0.58470291", "-x+3", "x/255:v*[1,2,3]-[0.1,0.2,0.3]", "x*[1,2]+3", "x/3-1e20"}) {
    const InputMap map = parse_input_map(text);
    EXPECT_EQ(parse_input_map(to_text(map)), map) << text << " -> " << to_text(map);
  }
  EXPECT_EQ(to_text(parse_input_map("(x-127.5)/127.5")), "x/127.5-1");
  EXPECT_EQ(to_text(parse_input_map("bgr")), "bgr:x");
}

TEST(InputMap, Apply) {
  const Array image = Array::of<std::uint8_t>({2, 1, 3}, {0, 51, 102, 153, 204, 255});
  EXPECT_EQ(values<float>(apply_input_map(parse_input_map("bgr:x/51"), image, {1, 2, 1, 3})),
            (std::vector<double>{2, 1, 0, 5, 4, 3}));
  const Array planar = Array::of<std::int8_t>({3, 2, 1}, {0, 3, 1, 4, 2, 5});
  EXPECT_EQ(values<float>(apply_input_map(parse_input_map("chw"), planar, {1, 2, 1, 3})),
            (std::vector<double>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values<float>(apply_input_map(parse_input_map("chw:bgr"), planar, {1, 2, 1, 3})),
            (std::vector<double>{2, 1, 0, 5, 4, 3}));
  EXPECT_EQ(values<float>(apply_input_map(parse_input_map("x*[1,10,100]+1"), planar, {1, 2, 1, 3})),
            (std::vector<double>{1, 31, 101, 5, 21, 501}));
  EXPECT_ERROR(apply_input_map(parse_input_map("x*[1,2]"), planar, {1, 2, 1, 3}), "2 channels");
  EXPECT_ERROR(apply_input_map(parse_input_map("chw"), planar, {2, 3}), "chw needs");
}

// The maps people write in Python, computed there in float32, give the same numbers here.
TEST(InputMap, SameAsFloat32DivisionForPixels) {
  const InputMap map = parse_input_map("x/255");
  for (int i = 0; i < 256; ++i) {
    const Array a = Array::of<std::uint8_t>({1}, {static_cast<std::uint8_t>(i)});
    EXPECT_EQ(apply_input_map(map, a, {1}).span<float>()[0], static_cast<float>(i) / 255.0f) << i;
  }
}

}  // namespace
}  // namespace litegap
