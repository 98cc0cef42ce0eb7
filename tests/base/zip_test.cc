// ZIP containers: one that Python's zipfile wrote, our own records, and damaged ones.
#include "base/zip.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace litegap {
namespace {

// 'a.txt' ("stored"), stored, and 'b' (three times "deflated "), deflated; Python 3.11's zipfile.
constexpr std::string_view kPython =
    "504b0304140000000000000021000bf94356060000000600000005000000612e74787473746f726564504b0304"
    "14000000080000002100ca26a72a0e0000001b00000001000000624b494dcb492c494d5148c1600000504b0102"
    "1403140000000000000021000bf943560600000006000000050000000000000000000000800100000000612e74"
    "7874504b0102140314000000080000002100ca26a72a0e0000001b000000010000000000000000000000800129"
    "00000062504b0506000000000200020062000000560000000000";

std::vector<std::byte> bytes_of(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What reading every member says, the empty text where it says nothing.
std::string complaint(std::span<const std::byte> bytes, std::uint64_t most = 1000) {
  try {
    const ZipFile file{bytes, "some.keras", ".keras"};
    for (const ZipMember& m : zip_directory(file)) zip_contents(file, m, most);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Zip, ReadsWhatPythonWrote) {
  const auto bytes = bytes_of(kPython);
  const ZipFile file{bytes, "some.keras", ".keras"};
  const auto members = zip_directory(file);
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].name, "a.txt");
  EXPECT_TRUE(members[0].stored());
  EXPECT_EQ(text_of(zip_packed(file, members[0])), "stored");
  EXPECT_EQ(text_of(zip_contents(file, members[0], 6)), "stored");
  EXPECT_EQ(members[1].name, "b");
  EXPECT_FALSE(members[1].stored());
  EXPECT_EQ(text_of(zip_contents(file, members[1], 27)), "deflated deflated deflated ");
}

TEST(Zip, ReadsItsOwnRecords) {
  std::string all, directory;
  for (const std::string name : {"x", "longer/name"}) {
    const std::string text = "contents of " + name;
    const auto data = std::as_bytes(std::span(text));
    const ZipWritten m{name, zip_checksum(0, data), text.size(), all.size()};
    all += zip_local_record(m);
    EXPECT_EQ(all.size() % 64, 0u) << name;
    all += text;
    directory += zip_directory_record(m);
  }
  const std::size_t start = all.size();
  all += directory + zip_end_records(start, directory.size(), 2);
  const ZipFile file{std::as_bytes(std::span(all)), "some.npz", ".npz"};
  const auto members = zip_directory(file);
  ASSERT_EQ(members.size(), 2u);
  for (const ZipMember& m : members)
    EXPECT_EQ(text_of(zip_contents(file, m, 100)), "contents of " + m.name);
}

TEST(Zip, SaysWhatIsWrong) {
  const auto sound = bytes_of(kPython);
  EXPECT_EQ(complaint(sound), "");
  EXPECT_NE(complaint(sound, 20).find("b: states 27 bytes, expected 20 at most"),
            std::string::npos);
  EXPECT_NE(complaint(std::span(sound).first(100)).find("not a .keras file"), std::string::npos);
  auto damaged = sound;
  damaged[36] ^= std::byte{1};  // in "stored"
  EXPECT_NE(complaint(damaged).find("a.txt: checksum differs"), std::string::npos);
  damaged = sound;
  damaged[75] = std::byte{0xFF};  // in what was deflated
  EXPECT_NE(complaint(damaged), "");
}

// Whatever happens to one byte or to the end: a complaint or the contents, never a byte outside.
TEST(Zip, ReadsOrRefusesDamagedOnes) {
  const auto sound = bytes_of(kPython);
  for (std::size_t at = 0; at < sound.size(); ++at) {
    for (const int value : {0, 1, 0x7F, 0xFF}) {
      std::vector<std::byte> damaged = sound;
      damaged[at] = static_cast<std::byte>(value);
      complaint(damaged);
    }
    EXPECT_NE(
        complaint(std::vector(sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(at))), "");
  }
}

}  // namespace
}  // namespace litegap
