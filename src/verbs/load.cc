#include "verbs/load.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "keras/keras.h"
#include "tflite/tflite.h"

namespace litegap {

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
  if (is_keras_file(path)) {
    auto model = std::make_shared<Model>(lower(read_keras(path)).model);
    model->file_bytes = file_size(path);
    return model;
  }
  return read_model(path);
}

Json dialect_json(Dialect dialect) {
  return Json{
      {"name", dialect_name(dialect)}, {"runtime", kRuntimeVersion}, {"isa", instruction_set()}};
}

}  // namespace litegap
