// From bytes to a model and back: whatever the bytes, reading refuses with Error or gives a model
// that can be written, read again to the same bytes, and looked at.
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "diagnose/faults.h"
#include "diagnose/technique.h"
#include "tflite/tflite.h"

namespace {

using namespace litegap;

void require(bool condition) {
  if (!condition) std::abort();
}

ModelPtr parse(std::vector<std::byte> bytes) {
  auto owner = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  return parse_model(*owner, owner, "fuzz");
}

void exercise(const Model& model) {
  identify(model);
  static_faults(model);
  for (const Graph& g : model.graphs) {
    for (std::size_t o = 0; o < g.ops.size(); ++o) op_label(g, o);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* p = reinterpret_cast<const std::byte*>(data);
  ModelPtr model;
  try {
    model = parse({p, p + size});
  } catch (const Error&) {
    return 0;
  }
  exercise(*model);
  const std::vector<std::byte> written = serialize_model(*model);
  try {
    const ModelPtr again = parse(written);
    require(serialize_model(*again) == written);
    require(again->graphs.size() == model->graphs.size());
  } catch (const Error&) {
    std::abort();  // what we write we must be able to read
  }
  return 0;
}
