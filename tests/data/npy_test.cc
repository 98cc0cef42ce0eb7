#include "data/npy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "model/aligned.h"

namespace litegap {
namespace {

const std::string kFixtures = std::string(LITEGAP_SOURCE_DIR) + "/tests/data/fixtures/";

std::string scratch(const std::string& name) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("litegap_npy_" + std::to_string(::getpid()));
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

template <class T>
std::vector<double> values(const Array& a) {
  const auto s = a.span<T>();
  return {s.begin(), s.end()};
}

// Written by NumPy: every type, both byte orders, Fortran order, a scalar and an empty array.
class Types : public testing::TestWithParam<const char*> {};

TEST_P(Types, NumpysFilesAreRead) {
  const NamedArrays arrays = read_npz(kFixtures + GetParam());
  const auto get = [&](const std::string& name) { return *find_array(arrays, name); };
  EXPECT_EQ(arrays.size(), 17u);
  EXPECT_EQ(arrays[0].first, "t_b1");
  const std::vector<double> low{-2, -1, 0, 1, 2, 3}, up{0, 1, 2, 3, 4, 5};
  EXPECT_EQ(get("t_b1").dtype(), DType::kBool);
  EXPECT_EQ(values<bool>(get("t_b1")), (std::vector<double>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(values<std::int8_t>(get("t_i1")), low);
  EXPECT_EQ(values<std::uint8_t>(get("t_u1")), up);
  EXPECT_EQ(values<std::int16_t>(get("t_i2")), low);
  EXPECT_EQ(values<std::uint16_t>(get("t_u2")), up);
  EXPECT_EQ(values<std::int32_t>(get("t_i4")), low);
  EXPECT_EQ(values<std::uint32_t>(get("t_u4")), up);
  EXPECT_EQ(values<std::int64_t>(get("t_i8")), low);
  EXPECT_EQ(values<std::uint64_t>(get("t_u8")), up);
  EXPECT_EQ(values<float>(get("t_f4")), low);
  EXPECT_EQ(values<double>(get("t_f8")), low);
  const Array half = get("t_f2");
  EXPECT_EQ(half.dtype(), DType::kFloat16);
  EXPECT_EQ(float_from_half(reinterpret_cast<const std::uint16_t*>(half.data())[5]), 3.0f);
  EXPECT_EQ(values<double>(get("big")),
            (std::vector<double>{0, 1000.5, 2001, 3001.5, 4002, 5002.5}));
  EXPECT_EQ(values<std::int32_t>(get("bigint")),
            (std::vector<double>{-3, 69997, 139997, 209997, 279997, 349997}));
  std::vector<double> counted(24);
  for (std::size_t i = 0; i < 24; ++i) counted[i] = static_cast<double>(i);
  EXPECT_EQ(get("fortran").shape(), (Shape{2, 3, 4}));
  EXPECT_EQ(values<std::int16_t>(get("fortran")), counted);
  EXPECT_EQ(get("scalar").shape(), Shape{});
  EXPECT_EQ(values<float>(get("scalar")), std::vector<double>{7.5});
  EXPECT_EQ(get("none").shape(), (Shape{0, 4}));
}

INSTANTIATE_TEST_SUITE_P(Npz, Types, testing::Values("types_stored.npz", "types_deflated.npz"));

// NumPy puts values where the name and the header end.
TEST(Npz, ValuesAtOddAddressesMayStayInTheFile) {
  const NamedArrays copied = read_npz(kFixtures + "types_stored.npz"),
                    stay = read_npz(kFixtures + "types_stored.npz", OddAddress::kStays);
  ASSERT_EQ(copied.size(), stay.size());
  std::size_t odd = 0;
  for (std::size_t i = 0; i < stay.size(); ++i) {
    const Array &a = copied[i].second, &b = stay[i].second;
    EXPECT_TRUE(is_aligned(a)) << stay[i].first;
    EXPECT_TRUE(is_aligned(aligned(b)));
    ASSERT_EQ(a.shape(), b.shape());
    EXPECT_TRUE(std::ranges::equal(a.bytes(), aligned(b).bytes())) << stay[i].first;
    odd += is_aligned(b) ? 0 : 1;
    if (!is_aligned(b) && b.dtype() == DType::kFloat32) {
      EXPECT_THROW(b.span<float>(), Error);
    }
  }
  EXPECT_GT(odd, 0u);
}

TEST(Npy, Versions2And3) {
  for (const char* name : {"version2.npy", "version3.npy"}) {
    EXPECT_EQ(values<std::int32_t>(read_npy(kFixtures + name)), (std::vector<double>{0, 1, 2}));
  }
}

TEST(Npz, Zip64) {
  const NamedArrays arrays = read_npz(kFixtures + "zip64.npz");
  EXPECT_EQ(values<float>(arrays.at(0).second), (std::vector<double>{0, 1, 2, 3, 4}));
}

TEST(Npz, WhatIsNotSupportedIsNamed) {
  EXPECT_NE(error_of([] { read_npz(kFixtures + "bzip2.npz"); }).find("compression method 12"),
            std::string::npos);
  EXPECT_NE(error_of([] { read_npz(kFixtures + "objects.npz"); }).find("type '<U1'"),
            std::string::npos);
  EXPECT_NE(error_of([] { read_npz(kFixtures + "version2.npy"); }).find("not a .npz file"),
            std::string::npos);
  EXPECT_NE(error_of([] { read_npy(kFixtures + "zip64.npz"); }).find("not a .npy array"),
            std::string::npos);
}

TEST(Npz, WhatIsWrittenIsReadAgainAndMapped) {
  const std::string path = scratch("round.npz");
  NamedArrays arrays;
  arrays.emplace_back("out_0", Array::of<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  arrays.emplace_back("codes", Array::of<std::int8_t>({5}, {-128, -1, 0, 1, 127}));
  arrays.emplace_back("scalar", Array::of<std::int64_t>({}, {42}));
  arrays.emplace_back("none", Array::zeros(DType::kFloat64, {3, 0}));
  write_npz(path, arrays);
  const NamedArrays back = read_npz(path);
  ASSERT_EQ(back.size(), arrays.size());
  for (std::size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].first, arrays[i].first);
    EXPECT_EQ(back[i].second.dtype(), arrays[i].second.dtype());
    EXPECT_EQ(back[i].second.shape(), arrays[i].second.shape());
    EXPECT_TRUE(std::equal(back[i].second.bytes().begin(), back[i].second.bytes().end(),
                           arrays[i].second.bytes().begin()));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(back[i].second.data()) % 64, 0u);
  }
}

TEST(Npy, RoundTripAndCutFile) {
  const std::string path = scratch("a.npy");
  write_npy(path, Array::of<double>({2, 2}, {1, -2, 3.5, 4}));
  EXPECT_EQ(values<double>(read_npy(path)), (std::vector<double>{1, -2, 3.5, 4}));
  const std::string text = read_text(path);
  for (std::size_t n = 0; n < text.size(); n += 7) {
    write_text(path, text.substr(0, n));
    EXPECT_NE(error_of([&] { read_npy(path); }), "no error") << n;
  }
  EXPECT_NE(error_of([&] { write_npy(path, Array::zeros(DType::kInt4, {2})); }).find("int4"),
            std::string::npos);
}

TEST(Npy, AbsurdSizesAreRefusedBeforeMemoryIsTaken) {
  const std::string path = scratch("absurd.npy");
  std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2000000000, 500), }";
  header.resize(118, ' ');
  write_text(path, std::string("\x93NUMPY\x01\x00", 8) + char(118) + '\0' + header + "data");
  EXPECT_NE(error_of([&] { read_npy(path); }).find("needs 8000000000000 bytes"), std::string::npos);
}

// Any damage is an Error or a different value, never a crash (run under the sanitizers).
TEST(Npz, DamagedBytesNeverCrash) {
  const std::string path = scratch("damaged.npz");
  Random random(7);
  for (const char* name : {"types_stored.npz", "types_deflated.npz", "zip64.npz"}) {
    const std::string whole = read_text(kFixtures + name);
    for (int i = 0; i < 400; ++i) {
      std::string text = whole;
      for (int k = 0; k < 3; ++k)
        text[random.below(text.size())] = static_cast<char>(random.bits());
      if (i % 4 == 0) text.resize(random.below(text.size()));
      write_text(path, text);
      error_of([&] { read_npz(path); });
    }
  }
}

}  // namespace
}  // namespace litegap
