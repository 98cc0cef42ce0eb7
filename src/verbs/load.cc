#include "verbs/load.h"

#include "base/error.h"
#include "base/file.h"
#include "kernels/gemm.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

ModelPtr load_model(const std::string& path) {
  if (is_directory(path)) {
    if (file_exists(path + "/saved_model.pb")) {
      fail(
          "{0}: a SavedModel folder; record its outputs instead and give the .npz: "
          "f = tf.saved_model.load('{0}').signatures['serving_default']; "
          "o = [v.numpy() for v in f(tf.constant(x)).values()]; "
          "np.savez('outputs.npz', **{{f'out_{{i}}': v for i, v in enumerate(o)}})",
          path);
    }
    fail("{}: is a folder, expected a .tflite file", path);
  }
  for (const char* suffix : {".keras", ".h5", ".hdf5"}) {
    if (lower(path).ends_with(suffix)) {
      fail(
          "{}: a Keras file, which this version cannot read; give its .tflite conversion, or its "
          "recorded outputs as .npz (out_0 ...)",
          path);
    }
  }
  return read_model(path);
}

Json dialect_json(Dialect dialect) {
  return Json{
      {"name", dialect_name(dialect)}, {"runtime", kRuntimeVersion}, {"isa", instruction_set()}};
}

}  // namespace litegap
