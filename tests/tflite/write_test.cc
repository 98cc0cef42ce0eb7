// Models built in memory: what is written is read again, aligned and complete.
#include <array>
#include <cstring>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "tflite/support.h"

namespace litegap {

// Inside the room (tflite/format.h): with the limit beyond which data goes behind the FlatBuffer.
std::vector<std::byte> serialize_model(const Model& model, std::uint64_t flatbuffer_limit);

namespace {

Tensor tensor(const std::string& name, DType dtype, Shape shape) {
  Tensor t;
  t.name = name;
  t.dtype = dtype;
  t.shape = std::move(shape);
  t.has_rank = true;
  return t;
}

// x [1, 4] int8 -> FULLY_CONNECTED -> y [1, 3], per-channel weights, int32 bias.
Model small_model() {
  Model m;
  m.path = "small";
  m.description = "hand-made";
  Graph& g = m.graphs.emplace_back();
  g.name = "main";
  g.tensors = {tensor("x", DType::kInt8, {1, 4}), tensor("w", DType::kInt8, {3, 4}),
               tensor("b", DType::kInt32, {3}), tensor("y", DType::kInt8, {1, 3})};
  g.tensors[0].quant = {.scale = {0.5f}, .zero_point = {-3}};
  g.tensors[0].shape_signature = {-1, 4};
  g.tensors[1].quant = {.scale = {0.1f, 0.2f, 0.3f}, .zero_point = {0, 0, 0}, .axis = 0};
  g.tensors[1].constant = Array::of<std::int8_t>({3, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  g.tensors[2].quant = {.scale = {0.05f, 0.1f, 0.15f}, .zero_point = {0, 0, 0}};
  g.tensors[2].constant = Array::of<std::int32_t>({3}, {100, -200, 300});
  g.tensors[3].quant = {.scale = {0.25f}, .zero_point = {7}, .min = {-1.5f}, .max = {2.5f}};
  Op op;
  op.code = OpCode::kFullyConnected;
  op.version = 4;
  op.inputs = {0, 1, 2};
  op.outputs = {3};
  op.attrs = FullyConnectedAttrs{.activation = Activation::kRelu6, .keep_num_dims = true};
  g.ops = {op};
  g.inputs = {0};
  g.outputs = {3};
  m.signatures = {{"serving_default", {{"image", 0}}, {{"scores", 3}}, 0}};
  m.metadata = {{"min_runtime_version", Array::of<std::uint8_t>({3}, {'1', '.', '5'})}};
  return m;
}

std::string error_of(const std::vector<std::byte>& bytes) {
  try {
    parse_bytes(bytes);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Write, RoundTrip) {
  const Model m = small_model();
  const auto bytes = serialize_model(m);
  EXPECT_EQ(std::memcmp(bytes.data() + 4, "TFL3", 4), 0);
  const ModelPtr back = parse_bytes(bytes);
  expect_same_model(m, *back);
  EXPECT_EQ(back->file_bytes, bytes.size());
  EXPECT_EQ(input_name(*back, 0), "image");
}

TEST(Write, EveryAttrs) {
  struct Case {
    OpCode code;
    Attrs attrs;
  };
  const std::vector<Case> cases = {
      {OpCode::kConv2d, ConvAttrs{Padding::kValid, 2, 3, Activation::kRelu, 4, 5, DType::kInt32}},
      {OpCode::kDepthwiseConv2d,
       DepthwiseAttrs{Padding::kValid, 2, 3, 4, Activation::kRelu6, 5, 6}},
      {OpCode::kFullyConnected,
       FullyConnectedAttrs{Activation::kRelu, 1, true, true, DType::kInt64}},
      {OpCode::kTransposeConv,
       TransposeConvAttrs{Padding::kValid, 2, 3, Activation::kRelu, DType::kInt32}},
      {OpCode::kAveragePool2d, PoolAttrs{Padding::kValid, 2, 3, 4, 5, Activation::kRelu}},
      {OpCode::kMaxPool2d, PoolAttrs{Padding::kSame, 3, 2, 5, 4, Activation::kNone}},
      {OpCode::kL2Pool2d, PoolAttrs{}},
      {OpCode::kAdd, AddAttrs{Activation::kRelu, false}},
      {OpCode::kAdd, AddAttrs{Activation::kNone, true}},
      {OpCode::kSub, AddAttrs{Activation::kRelu6, true}},
      {OpCode::kMul, ActivationAttrs{Activation::kRelu}},
      {OpCode::kDiv, ActivationAttrs{Activation::kRelu6}},
      {OpCode::kL2Normalization, ActivationAttrs{}},
      {OpCode::kConcatenation, ConcatAttrs{-1, Activation::kRelu}},
      {OpCode::kReshape, ReshapeAttrs{{1, -1}}},
      {OpCode::kSoftmax, SoftmaxAttrs{1.5f}},
      {OpCode::kGather, GatherAttrs{2, 1}},
      {OpCode::kMean, ReducerAttrs{true}},
      {OpCode::kSum, ReducerAttrs{}},
      {OpCode::kReduceMax, ReducerAttrs{true}},
      {OpCode::kReduceMin, ReducerAttrs{true}},
      {OpCode::kReduceProd, ReducerAttrs{true}},
      {OpCode::kReduceAny, ReducerAttrs{true}},
      {OpCode::kSqueeze, SqueezeAttrs{{1, 2}}},
      {OpCode::kStridedSlice, StridedSliceAttrs{1, 2, 4, 8, 16, true}},
      {OpCode::kSplit, SplitAttrs{3}},
      {OpCode::kSplitV, SplitAttrs{4}},
      {OpCode::kPack, PackAttrs{2, -1}},
      {OpCode::kUnpack, UnpackAttrs{3, 1}},
      {OpCode::kCast, CastAttrs{DType::kInt8, DType::kInt64}},
      {OpCode::kArgMax, OutputTypeAttrs{DType::kInt64}},
      {OpCode::kArgMin, OutputTypeAttrs{DType::kInt32}},
      {OpCode::kShape, OutputTypeAttrs{DType::kInt64}},
      {OpCode::kResizeBilinear, ResizeAttrs{true, false}},
      {OpCode::kResizeNearestNeighbor, ResizeAttrs{false, true}},
      {OpCode::kLeakyRelu, LeakyReluAttrs{0.3f}},
      {OpCode::kDepthToSpace, BlockSizeAttrs{2}},
      {OpCode::kSpaceToDepth, BlockSizeAttrs{4}},
      {OpCode::kUnidirectionalSequenceLstm,
       SequenceLstmAttrs{Activation::kTanh, 1.5f, 2.5f, true, true, true}},
      {OpCode::kBatchMatmul, BatchMatmulAttrs{true, false, true}},
      {OpCode::kMirrorPad, MirrorPadAttrs{1}},
      {OpCode::kGelu, GeluAttrs{true}},
      {OpCode::kLocalResponseNormalization, LocalResponseNormAttrs{2, 1.5f, 0.5f, 0.75f}},
      {OpCode::kSvdf, SvdfAttrs{2, Activation::kRelu, true}},
      {OpCode::kRnn, RnnAttrs{Activation::kTanh, true}},
      {OpCode::kUnidirectionalSequenceRnn, SequenceRnnAttrs{true, Activation::kRelu, false, true}},
      {OpCode::kBidirectionalSequenceRnn, SequenceRnnAttrs{true, Activation::kRelu, true, true}},
      {OpCode::kLstm, LstmAttrs{Activation::kTanh, 1.5f, 2.5f, 1, true}},
      {OpCode::kBidirectionalSequenceLstm,
       BidirectionalLstmAttrs{Activation::kTanh, 1.5f, 2.5f, true, false, true}},
      {OpCode::kEmbeddingLookupSparse, CombinerAttrs{2}},
      {OpCode::kFakeQuant, FakeQuantAttrs{-1.5f, 2.5f, 4, true}},
      {OpCode::kOneHot, OneHotAttrs{-1}},
      {OpCode::kSparseToDense, SparseToDenseAttrs{true}},
      {OpCode::kUnique, OutputTypeAttrs{DType::kInt64}},
      {OpCode::kReverseSequence, ReverseSequenceAttrs{2, 1}},
      {OpCode::kCumsum, CumsumAttrs{true, true}},
      {OpCode::kReduceAll, ReducerAttrs{true}},
      {OpCode::kConv3d, Conv3dAttrs{Padding::kValid, 2, 3, 4, Activation::kRelu, 5, 6, 7}},
      {OpCode::kConv3dTranspose, Conv3dAttrs{Padding::kSame, 4, 3, 2, Activation::kNone, 1, 2, 3}},
      {OpCode::kBucketize, BucketizeAttrs{{-1, 0.5f, 7}}},
      {OpCode::kVarHandle, VarHandleAttrs{"box", "counter"}},
      {OpCode::kStablehloPad, StablehloPadAttrs{{1, -2}, {3, 4}, {0, 5}}},
      {OpCode::kReduceWindow, ReduceWindowAttrs{4}},
      {OpCode::kStablehloScatter, StablehloScatterAttrs{true, true, {1, 2}, {0}, {0, 3}, 1, 0}},
      {OpCode::kStablehloGather, StablehloGatherAttrs{{2}, {0, 1}, {1}, 3, {1, 1, 4}, true}},
      {OpCode::kStablehloReduceWindow,
       StablehloReduceWindowAttrs{{2, 3}, {1, 2}, {3, 1}, {1, 4}, {0, 1, -2, 3}, 0}},
      {OpCode::kStablehloRngBitGenerator, RngBitGeneratorAttrs{2}},
      {OpCode::kStablehloCase, CaseAttrs{{0, 0}}},
      {OpCode::kRandomUniform, RandomAttrs{1LL << 40, -2}},
      {OpCode::kRandomStandardNormal, RandomAttrs{0, 7}},
      {OpCode::kMultinomial, RandomAttrs{-3, 0}},
      {OpCode::kHashtable, HashtableAttrs{3, DType::kInt64, DType::kString}},
      {OpCode::kLshProjection, LshProjectionAttrs{2}},
      {OpCode::kQuantize, NoAttrs{}},
      {OpCode::kLogistic, NoAttrs{}},
      {OpCode{161}, NoAttrs{}},
      {OpCode{999}, NoAttrs{}}};
  Model m = small_model();
  m.main().ops.clear();
  for (const Case& c : cases) {
    Op op;
    op.code = c.code;
    op.attrs = c.attrs;
    op.inputs = {0, -1};
    op.outputs = {3};
    op.intermediates = {-1, 1};
    op.mutating_variable_inputs = {false, true};
    m.main().ops.push_back(op);
  }
  expect_same_model(m, *parse_bytes(serialize_model(m)));
}

TEST(Write, DataIsAlignedAndShared) {
  Model m = small_model();
  Graph& g = m.main();
  Tensor twin = g.tensors[1];
  twin.name = "w twin";
  twin.constant = g.tensors[1].constant->clone();
  g.tensors.push_back(twin);
  Tensor wide = tensor("int64", DType::kInt64, {3});
  wide.constant = Array::of<std::int64_t>({3}, {1, std::numeric_limits<std::int64_t>::min(), 3});
  g.tensors.push_back(wide);
  const ModelPtr back = parse_bytes(serialize_model(m));
  expect_same_model(m, *back);
  const auto& t = back->main().tensors;
  EXPECT_EQ(t[1].constant->data(), t[4].constant->data());
  const auto base = reinterpret_cast<std::uintptr_t>(t[1].constant->data());
  for (const std::size_t i : {std::size_t{2}, std::size_t{5}}) {
    EXPECT_EQ((reinterpret_cast<std::uintptr_t>(t[i].constant->data()) - base) % 16, 0u);
  }
}

TEST(Write, PackedAndOddData) {
  Model m = small_model();
  Graph& g = m.main();
  Tensor packed = tensor("int4", DType::kInt4, {3, 3});
  packed.constant = Array::zeros(DType::kInt4, {3, 3});
  packed.constant->mutable_data()[4] = std::byte{0x08};
  packed.quant = {.scale = {0.5f}, .zero_point = {0}};
  Tensor blocks = tensor("blockwise", DType::kInt2, {2, 8});
  blocks.constant = Array::zeros(DType::kInt2, {2, 8});
  blocks.quant.block_scales = 6;
  blocks.quant.block_size = 4;
  Tensor scales = tensor("scales", DType::kFloat16, {2, 2});
  scales.constant = Array::zeros(DType::kFloat16, {2, 2});
  Tensor none = tensor("no elements", DType::kInt32, {0});
  none.constant = Array::zeros(DType::kInt32, {0});
  Tensor state = tensor("state", DType::kFloat32, {1, 2});
  state.is_variable = true;
  Tensor scalar = tensor("scalar", DType::kFloat32, {});
  scalar.constant = Array::of<float>({}, {1.0f});
  Tensor strange = tensor("strange", DType::kInt8, {2});
  strange.quant = {.scale = {std::numeric_limits<float>::quiet_NaN(), -0.0f},
                   .zero_point = {1LL << 40, -1}};
  for (const Tensor& t : {packed, blocks, scales, none, state, scalar, strange})
    g.tensors.push_back(t);
  expect_same_model(m, *parse_bytes(serialize_model(m)));
}

TEST(Write, SeveralGraphs) {
  Model m = small_model();
  m.graphs.push_back(m.graphs[0]);
  m.graphs[1].name = "body";
  m.signatures.push_back({"other", {{"a", 1}}, {{"b", 2}}, 1});
  expect_same_model(m, *parse_bytes(serialize_model(m)));
}

TEST(Write, DataBehindTheFlatBuffer) {
  const Model m = small_model();
  const auto bytes = serialize_model(m, 0);
  const ModelPtr back = parse_bytes(bytes);
  ASSERT_EQ(back->metadata.size(), 2u);
  EXPECT_EQ(back->metadata[1].name, "buffer_location");
  Model without = *back;
  without.metadata.pop_back();
  expect_same_model(m, without);
  EXPECT_EQ(serialize_model(*back, 0), bytes);
  const Array& w = *back->main().tensors[1].constant;
  EXPECT_GT(bytes.size(), w.byte_size());
  auto cut = bytes;
  cut.resize(cut.size() - 1);
  EXPECT_NE(error_of(cut).find("but the file has"), std::string::npos) << error_of(cut);
}

void put(std::vector<std::uint8_t>& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

// A ZIP with two stored files of two bytes, for a file in which it starts at `base`.
std::vector<std::uint8_t> archive_at(std::uint32_t base) {
  std::vector<std::uint8_t> out;
  std::vector<std::uint32_t> offsets;
  for (int i = 0; i < 2; ++i) {
    offsets.push_back(base + static_cast<std::uint32_t>(out.size()));
    put(out, 0x04034b50, 4);
    for (int k = 0; k < 7; ++k) put(out, 0, 2);
    put(out, 2, 4);
    put(out, 2, 4);
    put(out, 1, 2);
    put(out, 0, 2);
    put(out, static_cast<std::uint64_t>('a' + i), 1);
    put(out, 0x4f4b, 2);
  }
  const auto directory = static_cast<std::uint32_t>(out.size());
  for (int i = 0; i < 2; ++i) {
    put(out, 0x02014b50, 4);
    for (int k = 0; k < 8; ++k) put(out, 0, 2);
    put(out, 2, 4);
    put(out, 2, 4);
    put(out, 1, 2);
    for (int k = 0; k < 6; ++k) put(out, 0, 2);
    put(out, offsets[static_cast<std::size_t>(i)], 4);
    put(out, static_cast<std::uint64_t>('a' + i), 1);
  }
  const auto size = static_cast<std::uint32_t>(out.size()) - directory;
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, 2, 2);
  put(out, 2, 2);
  put(out, size, 4);
  put(out, base + directory, 4);
  put(out, 0, 2);
  return out;
}

TEST(Write, ArchiveMovesWithTheFile) {
  const Model m = small_model();
  auto bytes = serialize_model(m);
  const auto archive = archive_at(static_cast<std::uint32_t>(bytes.size()));
  for (const auto b : archive) bytes.push_back(std::byte{b});
  const ModelPtr back = parse_bytes(bytes);
  ASSERT_EQ(back->appended.byte_size(), archive.size());
  Model longer = *back;
  longer.description += std::string(1000, '.');
  const auto written = serialize_model(longer);
  const std::size_t base = written.size() - archive.size();
  const auto expected = archive_at(static_cast<std::uint32_t>(base));
  EXPECT_EQ(std::memcmp(written.data() + base, expected.data(), expected.size()), 0);
  EXPECT_EQ(parse_bytes(written)->appended.byte_size(), archive.size());
}

TEST(Write, FileRoundTrip) {
  const Model m = small_model();
  const std::string path = testing::TempDir() + "write_test.tflite";
  write_model(m, path);
  expect_same_model(m, *read_model(path));
  std::filesystem::remove(path);
}

// ---- reading
// ---------------------------------------------------------------------------------------

std::string source_error(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + name;
  write_text(path, text);
  std::string what;
  try {
    read_model(path);
  } catch (const Error& e) {
    what = e.what();
  }
  std::filesystem::remove(path);
  return what;
}

TEST(Read, CSource) {
  const Model m = small_model();
  const auto bytes = serialize_model(m);
  std::string list;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int v = std::to_integer<int>(bytes[i]);
    const std::array<std::string, 4> styles = {fmt::format("0x{:02x}", v), fmt::format("{}", v),
                                               fmt::format("0X{:X}u", v), fmt::format("0{:o}", v)};
    list += styles[i % 4] + (i % 12 == 11 ? ", // { 1, 2 }\n  " : ", ");
  }
  const std::string path = testing::TempDir() + "model_data.cc";
  write_text(
      path,
      "#include \"model_data.h\"\n/* {9, 9} */\nnamespace x {\nconst int other[] = {1, 2, 3};\n"
      "alignas(16) const unsigned char g_model[] = {\n  " +
          list +
          "\n};\nconst char* s = \"{ 1 }\";\n"
          "const int g_model_len = " +
          std::to_string(bytes.size()) + ";\n}\n");
  const ModelPtr back = read_model(path);
  expect_same_model(m, *back);
  EXPECT_EQ(back->file_bytes, bytes.size());
  std::filesystem::remove(path);
  EXPECT_NE(source_error("a.h", "extern const unsigned char g_model[];").find("without an array"),
            std::string::npos);
  EXPECT_NE(source_error("a.c", "char a[] = {1, 2, 3};").find("not a .tflite"), std::string::npos);
  EXPECT_NE(source_error("a.cpp", "char a[] = {1, 2, 300};").find("without an array"),
            std::string::npos);
}

TEST(Read, OtherFilesAreNamed) {
  EXPECT_NE(source_error("m.tflite", "").find("empty file"), std::string::npos);
  EXPECT_NE(source_error("m.h5", "\x89HDF\r\n...........").find("HDF5"), std::string::npos);
  EXPECT_NE(source_error("m.keras", "PK\x03\x04..........").find("ZIP"), std::string::npos);
  EXPECT_NE(source_error("m.onnx", "\x08\x07..........").find("ONNX"), std::string::npos);
  EXPECT_NE(source_error("m.tflite", "some words of text").find(" wor"), std::string::npos);
  const std::string folder = testing::TempDir() + "saved";
  make_directories(folder);
  EXPECT_THROW(read_model(folder), Error);
  write_text(folder + "/saved_model.pb", "x");
  try {
    read_model(folder);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("SavedModel"), std::string::npos);
  }
  std::filesystem::remove_all(folder);
}

TEST(Read, UnalignedMemory) {
  const Model m = small_model();
  const auto bytes = serialize_model(m);
  for (std::size_t shift = 1; shift < 16; shift += 2) {
    auto owner = std::make_shared<std::vector<std::byte>>(bytes.size() + shift);
    std::copy(bytes.begin(), bytes.end(), owner->begin() + static_cast<std::ptrdiff_t>(shift));
    expect_same_model(m, *parse_model(std::span(*owner).subspan(shift), owner, "shifted"));
  }
}

TEST(Read, RefusesWrongIndicesAndSizes) {
  const auto refused = [](auto change, const std::string& word) {
    Model m = small_model();
    change(m);
    const std::string what = error_of(serialize_model(m));
    EXPECT_NE(what.find(word), std::string::npos) << word << " in: " << what;
  };
  refused([](Model& m) { m.main().inputs = {4}; }, "input 0 is tensor 4");
  refused([](Model& m) { m.main().outputs = {-1}; }, "output 0 is tensor -1");
  refused([](Model& m) { m.main().ops[0].inputs = {0, 9}; }, "input 1 is tensor 9");
  refused([](Model& m) { m.main().ops[0].outputs = {-1}; }, "output 0 is tensor -1");
  refused([](Model& m) { m.main().ops[0].outputs = {0}; }, "input and output at once");
  refused([](Model& m) { m.signatures[0].graph = 3; }, "subgraph 3");
  refused([](Model& m) { m.signatures[0].inputs[0].second = 4; }, "image is tensor 4");
  refused([](Model& m) { m.main().tensors[0].dtype = DType{99}; }, "type 99");
  refused([](Model& m) { m.main().tensors[0].shape = {-2}; }, "negative");
  refused([](Model& m) { m.main().tensors[0].shape = Shape(5, 0x7fffffff); }, "2^40");
  refused([](Model& m) { m.main().tensors[1].shape = {3, 5}; }, "needs 15 bytes, found 12");
  refused([](Model& m) { m.main().tensors[1].quant.axis = 1; }, "3 scales, expected 4");
  refused([](Model& m) { m.main().tensors[1].quant.axis = 7; }, "axis 7");
  refused([](Model& m) { m.main().tensors[1].quant.block_scales = 70; },
          "block scales in tensor 70");
  refused([](Model& m) { m.version = 2; }, "schema version 2");
  refused(
      [](Model& m) {
        m.graphs.clear();
        m.signatures.clear();
      },
      "no subgraph");
  refused(
      [](Model& m) {
        std::get<FullyConnectedAttrs>(m.main().ops[0].attrs).activation = Activation{77};
      },
      "activation 77");
}

TEST(Read, ToleratesWhatIsOnlyStrange) {
  Model m = small_model();
  m.main().tensors[1].quant.zero_point = {5};  // one for all
  m.main().tensors[2].quant.axis = 3;          // a vector has one axis
  const ModelPtr back = parse_bytes(serialize_model(m));
  EXPECT_EQ(back->main().tensors[1].quant.zero_point, (std::vector<std::int64_t>{5, 5, 5}));
  EXPECT_EQ(back->main().tensors[2].quant.axis, 0);
}

// As the runtime does, whatever the type.
TEST(Read, RefusesNegativeDimensions) {
  for (const DType type : {DType::kFloat32, DType::kInt8}) {
    Model m = small_model();
    m.main().tensors[0].dtype = type;
    m.main().tensors[0].shape = {-1, 4};
    EXPECT_THROW(parse_bytes(serialize_model(m)), Error);
  }
}

TEST(Read, EveryByteBroken) {
  const auto bytes = serialize_model(small_model());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      auto broken = bytes;
      broken[i] ^= std::byte(flip);
      try {
        const ModelPtr m = parse_bytes(broken);
        serialize_model(*m);
      } catch (const Error&) {
      }
    }
  }
  for (std::size_t n = 0; n < bytes.size(); n += 3) {
    EXPECT_NE(error_of({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)}), "") << n;
  }
}

}  // namespace
}  // namespace litegap
