// Bytes <-> Model.  The only room that sees the file format's schema.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

// Reads a .tflite file, or a C/C++ source with one byte array.  Verified before any access; every
// index checked.  Throws Error (one line) on anything that is not a sound model.
ModelPtr read_model(const std::string& path);
// The same from memory; `owner` keeps the bytes alive; `path` is for messages.
ModelPtr parse_model(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                     const std::string& path);

// A file the stock runtime loads: data aligned to 16 bytes, signatures, metadata, appended archive
// and everything not understood carried through.
std::vector<std::byte> serialize_model(const Model& model);
void write_model(const Model& model, const std::string& path);  // temporary name, then renamed

}  // namespace litegap
