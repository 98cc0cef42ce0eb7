// What users hand over besides a .tflite: a C array of one, or something else altogether.
#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "tflite/format.h"

namespace litegap {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Comments, string and character literals and preprocessor lines become spaces.
std::string without_comments(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  bool line_start = true;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '/' && next == '/') {
      while (i < text.size() && text[i] != '\n') ++i;
    } else if (c == '/' && next == '*') {
      const std::size_t end = text.find("*/", i + 2);
      i = end == std::string::npos ? text.size() : end + 2;
      out += ' ';
    } else if (c == '"' || c == '\'') {
      ++i;
      while (i < text.size() && text[i] != c && text[i] != '\n') i += text[i] == '\\' ? 2 : 1;
      ++i;
      out += '"';
    } else if (c == '#' && line_start) {
      while (i < text.size() && text[i] != '\n') i += text[i] == '\\' && next != '\0' ? 2 : 1;
    } else {
      if (c == '\n')
        line_start = true;
      else if (std::isspace(static_cast<unsigned char>(c)) == 0)
        line_start = false;
      out += c;
      ++i;
    }
  }
  return out;
}

// "0x1c, 28, 034, -1" -> bytes; false when anything else is in between.
bool parse_numbers(std::string_view list, std::vector<std::byte>& bytes) {
  std::size_t i = 0;
  const auto skip = [&] {
    while (i < list.size() && std::isspace(static_cast<unsigned char>(list[i])) != 0) ++i;
  };
  for (skip(); i < list.size();) {
    const bool negative = list[i] == '-';
    if (negative) ++i;
    int base = 10;
    if (i + 1 < list.size() && list[i] == '0' && (list[i + 1] == 'x' || list[i + 1] == 'X')) {
      base = 16;
      i += 2;
    } else if (i + 1 < list.size() && list[i] == '0' &&
               std::isdigit(static_cast<unsigned char>(list[i + 1])) != 0) {
      base = 8;
      ++i;
    }
    int value = 0, digits = 0;
    for (; i < list.size(); ++i, ++digits) {
      const auto c = static_cast<unsigned char>(list[i]);
      const int digit = std::isdigit(c) != 0    ? c - '0'
                        : std::isxdigit(c) != 0 ? std::tolower(c) - 'a' + 10
                                                : 99;
      if (digit >= base) break;
      value = value * base + digit;
      if (value > 255) return false;
    }
    if (digits == 0 || (negative && value > 128)) return false;
    while (i < list.size() &&
           (list[i] == 'u' || list[i] == 'U' || list[i] == 'l' || list[i] == 'L'))
      ++i;
    bytes.push_back(static_cast<std::byte>(negative ? 256 - value : value));
    skip();
    if (i < list.size()) {
      if (list[i] != ',') return false;
      ++i;
      skip();
    }
  }
  return true;
}

bool is_tflite(std::span<const std::byte> bytes) {
  return bytes.size() >= 8 && std::memcmp(bytes.data() + 4, "TFL3", 4) == 0;
}

struct Magic {
  const char* start;
  std::size_t length;
  const char* what;
};
constexpr std::array kMagic = {
    Magic{"\x89HDF", 4,
          "a Keras HDF5 file; convert it with tf.lite.TFLiteConverter.from_keras_model and give "
          "the .tflite"},
    Magic{"PK\x03\x04", 4,
          "a ZIP archive (.keras, .npz, PyTorch .pt or a bundle); give the .tflite inside it or "
          "converted from it"},
    Magic{"PK\x05\x06", 4, "an empty ZIP archive; give a .tflite file"},
    Magic{"\x1f\x8b", 2, "a gzip archive; unpack it and give the .tflite inside"},
    Magic{"\x93NUMPY", 6, "a numpy array; it is data, not a model: give a .tflite file here"},
    Magic{"\x80\x02", 2,
          "a Python pickle (an old PyTorch file?); give a .tflite converted from it"},
    Magic{"\x7f"
          "ELF",
          4, "a compiled program; give the .tflite it was made of"},
    Magic{"\x89PNG", 4, "a picture; give a .tflite file"},
    Magic{"\xff\xd8\xff", 3, "a picture; give a .tflite file"},
    Magic{"<!DOCTYPE", 9, "a web page (a failed download?); give a .tflite file"},
    Magic{"<html", 5, "a web page (a failed download?); give a .tflite file"},
    Magic{"version https://git-lfs", 23,
          "a Git LFS pointer, not the model; fetch it with git lfs pull"},
};

}  // namespace

bool is_source_path(const std::string& path) {
  const std::string name = lower(path);
  return name.ends_with(".c") || name.ends_with(".cc") || name.ends_with(".cpp") ||
         name.ends_with(".cxx") || name.ends_with(".h") || name.ends_with(".hpp") ||
         name.ends_with(".inc");
}

std::vector<std::byte> bytes_of_source(const std::string& source, const std::string& path) {
  const std::string text = without_comments(source);
  std::vector<std::byte> found;
  std::size_t models = 0, arrays = 0;
  for (std::size_t open = text.find('{'); open != std::string::npos;
       open = text.find('{', open + 1)) {
    const std::size_t close = text.find_first_of("{}", open + 1);
    if (close == std::string::npos || text[close] == '{') continue;
    std::vector<std::byte> bytes;
    if (!parse_numbers(std::string_view(text).substr(open + 1, close - open - 1), bytes) ||
        bytes.empty())
      continue;
    ++arrays;
    if (is_tflite(bytes)) ++models;
    // A model beats any other array; among others the longest is worth a message.
    if (is_tflite(bytes) || (models == 0 && bytes.size() > found.size())) found = std::move(bytes);
  }
  if (models > 1)
    fail("{}: C source with {} models, expected one array that holds a .tflite", path, models);
  if (arrays == 0)
    fail("{}: C source without an array of bytes, expected one that holds a .tflite", path);
  if (models == 0) {
    fail("{}: C source whose array ({} bytes) is not a .tflite: no \"TFL3\" at byte 4", path,
         found.size());
  }
  return found;
}

void require_file(const std::string& path) {
  if (!is_directory(path)) return;
  if (file_exists(path + "/saved_model.pb")) {
    fail(
        "{}: a SavedModel folder, expected a .tflite file; convert it with "
        "tf.lite.TFLiteConverter.from_saved_model and give the result",
        path);
  }
  fail("{}: a folder, expected a .tflite file", path);
}

void require_tflite(std::span<const std::byte> bytes, const std::string& path) {
  if (is_tflite(bytes)) return;
  if (bytes.empty()) fail("{}: an empty file, expected a .tflite file", path);
  for (const Magic& m : kMagic) {
    if (bytes.size() >= m.length && std::memcmp(bytes.data(), m.start, m.length) == 0)
      fail("{}: {}", path, m.what);
  }
  if (lower(path).ends_with(".onnx")) {
    fail("{}: an ONNX model, expected a .tflite file; convert it (onnx2tf) and give the result",
         path);
  }
  if (lower(path).ends_with(".pb")) {
    fail(
        "{}: a TensorFlow graph, expected a .tflite file; convert it with tf.lite.TFLiteConverter "
        "and give the result",
        path);
  }
  if (bytes.size() < 8) fail("{}: {} bytes, too short for a .tflite file", path, bytes.size());
  std::string shown;
  for (std::size_t i = 4; i < 8; ++i) {
    const auto c = std::to_integer<unsigned char>(bytes[i]);
    shown +=
        std::isprint(c) != 0 ? std::string(1, static_cast<char>(c)) : fmt::format("\\x{:02x}", c);
  }
  fail("{}: not a .tflite file: found \"{}\" at byte 4, expected \"TFL3\"", path, shown);
}

}  // namespace litegap
