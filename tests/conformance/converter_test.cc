// Files that the TensorFlow converter made of 35 float models, and ours of the same float models
// and samples: the same operators, types, zero points and scales, and the same outputs.
//
// Nothing is excused by the name of a model, three things by rule:
//
//   the notes say that the converter's calibrator logged a tensor that another had overwritten
//   (calibrator_artefact): that tensor and what follows from its scale
//   the notes say that a 64-bit bias was treated as if it had 32 bits (bias_rule in an int16x8
//   file) the model has a state (variable tensors): the converter calibrates samples one after
//   another without clearing it, so its ranges are those of one long sequence, and with float16 it
//   stores zero initial states as constants; ours clears states and leaves them alone.  The same
//   files from the converter's own ranges are compared in tests/quant/converter_test.cc.
//
// Operators and types count all the same (but float16 with a state); outputs of such files are not
// compared, since other scales give other outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "compare.h"
#include "data/npy.h"
#include "quant/technique.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

struct Kind {
  std::string file;
  QuantizeRequest request;
  bool kinds_only = false;  // another tool's file: operator versions are its own
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  const auto add = [&](const char* file, Technique t, InputOutput io, Granularity g) -> Kind& {
    Kind k;
    k.file = file;
    k.request.technique = t;
    k.request.io = io;
    k.request.granularity = g;
    k.request.calibration_method = CalibrationMethod::kMinmax;
    all.push_back(k);
    return all.back();
  };
  using T = Technique;
  add("static_int8", T::kStatic, InputOutput::kInteger, Granularity::kPerChannel);
  add("static_floatio", T::kStatic, InputOutput::kFloat, Granularity::kPerChannel);
  add("static_per_tensor", T::kStatic, InputOutput::kInteger, Granularity::kPerTensor);
  add("int16x8", T::kInt16x8, InputOutput::kFloat, Granularity::kPerChannel);
  add("dynamic_range", T::kDynamicRange, InputOutput::kFloat, Granularity::kPerChannel);
  add("float16", T::kFloat16, InputOutput::kFloat, Granularity::kPerChannel);
  add("lq_weight_only_wi4", T::kWeightOnlyInt4, InputOutput::kFloat, Granularity::kPerChannel)
      .kinds_only = true;
  return all;
}

// DEQUANTIZE of constants stands where its reader is or in front of everything: order is no matter.
std::vector<std::string> sequence(const Model& model, bool kinds_only) {
  std::vector<std::string> text;
  for (const Op& op : model.main().ops) {
    text.push_back(kinds_only ? op.name() : fmt::format("{}:{}", op.name(), op.version));
  }
  std::ranges::sort(text);
  return text;
}

std::vector<const Op*> real_ops(const Model& model) {
  std::vector<const Op*> ops;
  for (const Op& op : model.main().ops) {
    if (op.code != OpCode::kQuantize && op.code != OpCode::kDequantize) ops.push_back(&op);
  }
  return ops;
}

struct Counts {
  int files = 0, operators = 0, types = 0, zero_points = 0, scales = 0, codes = 0, outputs = 0;
  int near = 0, excused = 0, refused = 0, not_compared = 0;
  std::vector<std::string> faults;
};

// Rules that the notes name and that ours follows differently on purpose.
std::set<int> excused_tensors(const Json& params, const std::string& kind) {
  std::set<int> found;
  for (const auto& t : params.at(kind).at("tensors")) {
    const std::string why = t.value("why", "");
    const bool wide_bias = kind == "int16x8" && (why == "bias_rule" || why == "weight_bias_rule");
    if (why == "calibrator_artefact" || wide_bias) found.insert(t.at("i").get<int>());
  }
  return found;
}

bool same_scales(const Quant& a, const Quant& b) {
  if (a.scale.size() != b.scale.size()) return false;
  for (std::size_t c = 0; c < a.scale.size(); ++c) {
    // The converter's older quantizer (int16) writes 0 for a channel of zero weights: no scale at
    // all.  Ours writes a small one; the codes, all 0, are compared.
    if (b.scale[c] == 0 && a.scale[c] > 0) continue;
    if (std::fabs(a.scale[c] - b.scale[c]) > 1e-6f * std::fabs(b.scale[c])) return false;
  }
  return true;
}

// The operand that a DEQUANTIZE in front of it expands, where there is one: weights are compared in
// their stored form.
int stored(const Model& model, int t) {
  for (const Op& op : model.main().ops) {
    if (op.code == OpCode::kDequantize && op.outputs[0] == t &&
        model.main().tensors[static_cast<std::size_t>(op.inputs[0])].constant) {
      return op.inputs[0];
    }
  }
  return t;
}

struct Verdict {
  bool operators = true, types = true, zero_points = true, scales = true, codes = true;
  bool follows = false;  // has an excused tensor
  bool bits = true;      // every scale equal to the last bit
  std::string first;
};

std::size_t count(const Model& model, OpCode code) {
  return static_cast<std::size_t>(
      std::ranges::count_if(model.main().ops, [&](const Op& op) { return op.code == code; }));
}

bool has_state(const Model& model) {
  return std::ranges::any_of(model.main().tensors, [](const Tensor& t) { return t.is_variable; });
}

bool quantized_state(const Model& model) {
  return std::ranges::any_of(model.main().tensors, [](const Tensor& t) {
    return t.is_variable && t.dtype != DType::kFloat32;
  });
}

Verdict compare(const Model& ours, const Model& theirs, const std::set<int>& excused,
                bool kinds_only) {
  Verdict v;
  const auto note = [&](const std::string& text) {
    if (v.first.empty()) v.first = text;
  };
  v.operators = sequence(ours, kinds_only) == sequence(theirs, kinds_only);
  const auto a = real_ops(ours), b = real_ops(theirs);
  const bool state = has_state(ours);
  if (state && !v.operators &&
      count(ours, OpCode::kDequantize) < count(theirs, OpCode::kDequantize)) {
    v.operators = real_ops(ours).size() == real_ops(theirs).size();
  }
  if (!v.operators) {
    std::string x, y;
    for (const Op& op : ours.main().ops) x += fmt::format("{}:{} ", op.name(), op.version);
    for (const Op& op : theirs.main().ops) y += fmt::format("{}:{} ", op.name(), op.version);
    note("operators " + x + "\n      for " + y);
  }
  if (a.size() != b.size()) return v;
  v.follows = !excused.empty() || (state && count(ours, OpCode::kUnidirectionalSequenceLstm) > 0 &&
                                   theirs.main().tensors.size() > 0 && quantized_state(ours));
  // With an excused tensor: biases, whose scale is a product, and tensors that have to share its
  // scale.
  const auto explained = [&](const Tensor& t) {
    if (state || t.dtype == DType::kInt32 || t.dtype == DType::kInt64) return true;
    return std::ranges::any_of(excused, [&](int e) {
      const Quant& q = theirs.main().tensors[static_cast<std::size_t>(e)].quant;
      return q.scale == t.quant.scale && q.zero_point == t.quant.zero_point;
    });
  };
  for (std::size_t k = 0; k < a.size(); ++k) {
    for (const auto list : {&Op::inputs, &Op::outputs}) {
      const auto &x = (*a[k]).*list, &y = (*b[k]).*list;
      for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
        if (x[i] < 0 || y[i] < 0) continue;
        const Tensor& s = ours.main().tensors[static_cast<std::size_t>(stored(ours, x[i]))];
        const int other = stored(theirs, y[i]);
        const Tensor& t = theirs.main().tensors[static_cast<std::size_t>(other)];
        const std::string where =
            fmt::format("#{} {} {} {}", k, a[k]->name(), list == &Op::inputs ? "in" : "out", i);
        if (s.dtype != t.dtype && s.is_variable && t.dtype == DType::kFloat16) continue;
        if (s.dtype != t.dtype) {
          v.types = false;
          note(where + fmt::format(": type {} for {}", dtype_name(s.dtype), dtype_name(t.dtype)));
          continue;
        }
        if (v.follows && s.dtype != DType::kInt8 && s.dtype != DType::kInt16) continue;
        if (excused.contains(other) || (v.follows && explained(t))) continue;
        if (s.quant.zero_point != t.quant.zero_point) {
          v.zero_points = false;
          note(where + ": zero point");
        }
        v.bits = v.bits && s.quant.scale == t.quant.scale;
        if (!same_scales(s.quant, t.quant)) {
          v.scales = false;
          note(where + fmt::format(": scale {:.9g} for {:.9g}",
                                   s.quant.empty() ? 0 : s.quant.scale[0],
                                   t.quant.empty() ? 0 : t.quant.scale[0]));
        }
        if (s.constant && t.constant && s.dtype == DType::kInt8 &&
            !std::ranges::equal(s.constant->bytes(), t.constant->bytes())) {
          v.codes = false;
          note(where + ": other codes");
        }
      }
    }
  }
  return v;
}

// The arrays of calib.npz and test.npz under the file's own input names.
Dataset samples(const std::string& path, const Model& model) {
  Dataset data = read_dataset(path);
  if (data.inputs.size() > 1) {
    for (std::size_t i = 0; i < data.names.size(); ++i) {
      for (std::size_t j = 0; j < model.main().inputs.size(); ++j) {
        const std::string& full =
            model.main().tensors[static_cast<std::size_t>(model.main().inputs[j])].name;
        if (full.find(data.names[i]) != std::string::npos) {
          data.names[i] = full;
          break;
        }
      }
    }
  }
  return bind_dataset(data, model);
}

TEST(Converter, SameFilesFromTheSameSamples) {
  const std::string shared = shared_directory();
  if (shared.empty() || !file_exists(shared + "/quantized/index.json")) GTEST_SKIP();
  const std::string root = shared + "/quantized/";
  std::vector<std::string> names;
  for (const auto& entry : parse_json(read_text(root + "index.json"))) {
    names.push_back(entry.at("name").get<std::string>());
  }
  std::map<std::string, Counts> table;
  std::vector<std::string> order;
  for (const Kind& kind : kinds()) {
    order.push_back(kind.file);
    Counts& c = table[kind.file];
    for (const std::string& name : names) {
      const std::string folder = root + name + "/";
      const ModelPtr model = read_model(folder + "float.tflite");
      const Dataset calibration = samples(folder + "calib.npz", *model);
      const bool theirs_exists = file_exists(folder + kind.file + ".tflite");
      if (!theirs_exists && kind.file != "int16x8") continue;  // not every model has it
      Quantized ours;
      try {
        ours = quantize_model(model, &calibration, kind.request);
      } catch (const Error& e) {
        if (theirs_exists) c.faults.push_back(name + ": refused: " + e.what());
        ++c.refused;  // the converter refuses the same ones
        continue;
      }
      if (!theirs_exists) {
        c.faults.push_back(name + ": the converter refuses it");
        continue;
      }
      ++c.files;
      const ModelPtr theirs = read_model(folder + kind.file + ".tflite");
      const Json params = parse_json(read_text(folder + "params.json"));
      const auto excused = excused_tensors(params, kind.file);
      const Verdict v = compare(ours.model, *theirs, excused, kind.kinds_only);
      c.operators += v.operators ? 1 : 0;
      c.types += v.types ? 1 : 0;
      c.zero_points += v.zero_points ? 1 : 0;
      c.scales += v.scales ? 1 : 0;
      c.codes += v.codes ? 1 : 0;
      c.excused += v.follows ? 1 : 0;
      if (!v.first.empty()) c.faults.push_back(name + ": " + v.first);
      // Outputs of both files by our own engine: what differs comes from the files alone.
      if (v.follows) {
        ++c.not_compared;
        continue;
      }
      const Dataset test = samples(folder + "test.npz", *model);
      litegap::Setup a, b;
      a.model = std::make_shared<const Model>(std::move(ours.model));
      b.model = theirs;
      const Predictions p = predict(a, test), q = predict(b, test);
      double worst = 0, steps = 0;
      for (std::size_t j = 0; j < p.outputs.size(); ++j) {
        const auto x = p.outputs[j].span<float>(), y = q.outputs[j].span<float>();
        double peak = 0, most = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          peak = std::max<double>(peak, std::fabs(y[i]));
          most = std::max<double>(most, std::fabs(x[i] - y[i]));
        }
        worst = std::max(worst, peak > 0 ? most / peak : most);
        const Tensor& out =
            theirs->main().tensors[static_cast<std::size_t>(theirs->main().outputs[j])];
        if (!out.quant.empty())
          steps = std::max(steps, most / static_cast<double>(out.quant.scale[0]));
      }
      // Scales that differ in their last bits may move a code: one step of an int8 output, README's
      // 2e-4 of the range with int16.
      const bool equal = worst <= 1e-5;
      const bool near =
          equal ||
          (!v.bits && (kind.file == "int16x8" ? worst <= 2e-4 : steps <= 1.01 || worst <= 0.01));
      c.outputs += equal ? 1 : 0;
      c.near += near ? 1 : 0;
      if (!near) {
        c.faults.push_back(fmt::format("{}: outputs differ by {:.3g} of the peak, {:.2g} steps",
                                       name, worst, steps));
      }
    }
  }
  fmt::print("{:<20}{:>6}{:>10}{:>6}{:>6}{:>7}{:>6}{:>14}{:>14}{:>9}{:>9}\n", "file", "files",
             "operators", "types", "zeros", "scales", "codes", "outputs equal", "within a step",
             "excused", "refused");
  for (const std::string& file : order) {
    const Counts& c = table[file];
    fmt::print("{:<20}{:>6}{:>10}{:>6}{:>6}{:>7}{:>6}{:>10}/{:<3}{:>10}/{:<3}{:>9}{:>9}\n", file,
               c.files, c.operators, c.types, c.zero_points, c.scales, c.codes, c.outputs,
               c.files - c.not_compared, c.near, c.files - c.not_compared, c.excused, c.refused);
    for (const std::string& f : c.faults) fmt::print("    {}\n", f);
  }
  for (const std::string& file : order) {
    const Counts& c = table[file];
    EXPECT_EQ(c.operators, c.files) << file;
    EXPECT_EQ(c.types, c.files) << file;
    EXPECT_EQ(c.zero_points, c.files) << file;
    EXPECT_EQ(c.scales, c.files) << file;
    EXPECT_EQ(c.codes, c.files) << file;
    EXPECT_EQ(c.near, c.files - c.not_compared) << file;
    EXPECT_TRUE(c.faults.empty()) << file;
  }
}

}  // namespace
}  // namespace litegap
