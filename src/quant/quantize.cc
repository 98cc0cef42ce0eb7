#include "quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "quant/forms.h"
#include "quant/params.h"
#include "quant/scales.h"

namespace litegap {
namespace {

Op conversion(OpCode code, int version, int from, int to) {
  Op op;
  op.code = code;
  op.version = version;
  op.inputs = {from};
  op.outputs = {to};
  return op;
}

// ---- the plan: who computes how, who is stored how --------------------------------------------

bool real(const Tensor& t) { return t.dtype == DType::kFloat32; }

DType stored(Form form) {
  return form == Form::kInt8    ? DType::kInt8
         : form == Form::kInt16 ? DType::kInt16
                                : DType::kFloat32;
}

class StaticQuantizer {
 public:
  StaticQuantizer(const Model& source, const Ranges& ranges, const StaticOptions& options)
      : source_(source), ranges_(ranges), options_(options) {
    choose_forms();
    scales_ = choose_scales(source, ranges, forms_);
    if (has(Form::kInt16)) wide_ = choose_scales_int16(source, ranges, forms_);
    choose_homes();
    result_.model = source;
  }

  StaticResult make() {
    for (std::size_t t = 0; t < home_.size(); ++t) {
      if (original(t).constant || !real(original(t)) || original(t).is_variable) continue;
      if (home_[t] != Form::kFloat) set(static_cast<int>(t), scale_of(t, home_[t]), home_[t]);
    }
    for (const int t : source_.main().inputs) {
      add_rescales(t);
      add_output_border(t);
    }
    for (std::size_t k = 0; k < source_.main().ops.size(); ++k) {
      add(static_cast<int>(k));
      for (const int t : source_.main().ops[k].outputs) {
        add_rescales(t);
        add_output_border(t);
      }
    }
    graph().ops = std::move(ops_);
    finish_borders();
    finish_versions();
    result_.model.description = "quantized by litegap: static int8";
    return std::move(result_);
  }

 private:
  Graph& graph() { return result_.model.main(); }
  Tensor& at(int t) { return graph().tensors[static_cast<std::size_t>(t)]; }
  const Tensor& original(std::size_t t) const { return source_.main().tensors[t]; }
  const Op& source_op(int k) const { return source_.main().ops[static_cast<std::size_t>(k)]; }
  bool has(Form form) const { return std::ranges::find(forms_, form) != forms_.end(); }
  bool is_float(int t) const {
    return t >= 0 && static_cast<std::size_t>(t) < source_.main().tensors.size() &&
           real(original(static_cast<std::size_t>(t)));
  }
  const Quant& scale_of(std::size_t t, Form form) const {
    return form == Form::kInt16 ? wide_.tensor[t] : scales_.tensor[t];
  }

  void choose_forms() {
    if (source_.graphs.size() > 1) {
      fail("{}: has {} graphs (control flow), which static quantization does not cover",
           source_.path, source_.graphs.size());
    }
    for (std::size_t k = 0; k < source_.main().ops.size(); ++k) {
      const Op& op = source_.main().ops[k];
      for (const int t : op.inputs) {
        if (t >= 0 && !original(static_cast<std::size_t>(t)).quant.empty()) {
          fail("{}: is quantized already (tensor {}, {}); expected a float model", source_.path, t,
               original(static_cast<std::size_t>(t)).name);
        }
      }
      forms_.push_back(form_of(op, k));
    }
  }

  Form form_of(const Op& op, std::size_t k) {
    const Form asked = options_.forms.empty() ? Form::kInt8 : options_.forms.at(k);
    const bool touches_reals = std::ranges::any_of(op.inputs, [&](int t) { return is_float(t); }) ||
                               std::ranges::any_of(op.outputs, [&](int t) { return is_float(t); });
    if (asked == Form::kFloat || !touches_reals) return touches_reals ? Form::kFloat : asked;
    if (asked == Form::kInt16 && !has_int16_form(op.code)) {
      fail("{}: operator {} has no form with int16 activations; a recipe can leave it float",
           source_.path, op_label(source_.main(), k));
    }
    if (asked == Form::kInt16 || has_int8_form(op)) return asked;
    const bool holds_state = std::ranges::any_of(op.inputs, [&](int t) {
      return t >= 0 && original(static_cast<std::size_t>(t)).is_variable;
    });
    if (holds_state || holds_graph(op.code)) {
      fail("{}: operator {} has no int8 form in this version; a recipe can leave it float",
           source_.path, op_label(source_.main(), k));
    }
    result_.in_float.push_back(op_label(source_.main(), k));
    return Form::kFloat;
  }

  // A tensor is stored as its producer makes it.  Where float operators follow each other nothing
  // is converted; a float result that an integer operator or an integer output wants keeps its
  // number for the codes, as the converter's files do, and gets a float twin.
  void choose_homes() {
    const Graph& g = source_.main();
    home_.assign(g.tensors.size(), Form::kFloat);
    const auto wanted = [&](int t) {  // the first integer form that somebody wants t in
      for (std::size_t k = 0; k < g.ops.size(); ++k) {
        if (forms_[k] == Form::kFloat) continue;
        for (std::size_t i = 0; i < g.ops[k].inputs.size(); ++i) {
          if (g.ops[k].inputs[i] == t && is_value_input(g.ops[k], i)) return forms_[k];
        }
      }
      const bool out = std::ranges::find(g.outputs, t) != g.outputs.end();
      if (!out || options_.io == InputOutput::kFloat) return Form::kFloat;
      return has(Form::kInt8) ? Form::kInt8 : Form::kInt16;
    };
    for (const int t : g.inputs) {
      if (is_float(t)) home_[static_cast<std::size_t>(t)] = wanted(t);
    }
    for (std::size_t k = 0; k < g.ops.size(); ++k) {
      for (const int t : g.ops[k].outputs) {
        if (!is_float(t)) continue;
        home_[static_cast<std::size_t>(t)] = forms_[k] == Form::kFloat ? wanted(t) : forms_[k];
      }
    }
    for (std::size_t t = 0; t < home_.size(); ++t) {
      if (home_[t] == Form::kInt16 && wide_.tensor[t].empty()) {
        wide_.tensor[t] = own_quant(static_cast<int>(t), Form::kInt16);
      }
    }
  }

  Quant own_quant(int t, Form form) const {
    const auto i = static_cast<std::size_t>(t);
    return activation_quant(ranges_.min[i], ranges_.max[i], stored(form));
  }

  static bool same(const Quant& a, const Quant& b) {
    return a.scale == b.scale && a.zero_point == b.zero_point;
  }
  void set(int t, const Quant& q, Form form) { set(t, q, stored(form)); }
  void set(int t, const Quant& q, DType dtype) {
    at(t).dtype = dtype;
    at(t).quant = q;
  }
  int copy_of(int t, const std::string& suffix) {
    Tensor copy = at(t);
    copy.name += suffix;
    graph().tensors.push_back(std::move(copy));
    return static_cast<int>(graph().tensors.size()) - 1;
  }

  // ---- constants ------------------------------------------------------------------------------
  // A constant stored as codes of `q`.  One that several operators read with different scales gets
  // a copy for each scale.
  int constant(int t, const Array& codes, const Quant& q) {
    auto& made = constants_[t];
    for (const int m : made) {
      if (same(at(m).quant, q) && at(m).dtype == codes.dtype() &&
          std::ranges::equal(at(m).constant->bytes(), codes.bytes())) {
        return m;
      }
    }
    const bool free = made.empty() && !read_in_float(t);
    const int to = free ? t : copy_of(t, fmt::format("_{}", made.size()));
    at(to).constant = codes;
    set(to, q, codes.dtype());
    made.push_back(to);
    return to;
  }
  bool read_in_float(int t) const {
    for (std::size_t k = 0; k < forms_.size(); ++k) {
      const auto& in = source_.main().ops[k].inputs;
      if (forms_[k] == Form::kFloat && std::ranges::find(in, t) != in.end()) return true;
    }
    return false;
  }

  // An operand that is constant counts as an activation: its own range (or the scale that it has to
  // follow), all codes.
  int constant_value(int t, Quant q, DType dtype) {
    const Array& values = *original(static_cast<std::size_t>(t)).constant;
    if (q.empty()) {
      float low = 0, high = 0;
      for (const float v : values.span<float>()) {
        low = std::min(low, v);
        high = std::max(high, v);
      }
      q = activation_quant(low, high, dtype);
    }
    return constant(t, quantize_activation(values, q, dtype), q);
  }

  // A weight without channels (slopes of PRELU, a constant right side of BATCH_MATMUL, an LSTM's
  // matrices).
  int constant_weight(int t) {
    const Array& values = *original(static_cast<std::size_t>(t)).constant;
    const Quant q = weight_quant(values, -1);
    return constant(t, quantize_weights(values, q), q);
  }

  // ---- conversions ----------------------------------------------------------------------------
  int rescaled(int t, const Quant& q, DType dtype, bool shared = true) {
    for (const int m : rescaled_[t]) {
      if (shared && same(at(m).quant, q) && at(m).dtype == dtype) return m;
    }
    const int to = copy_of(t, "_requantized");
    set(to, q, dtype);
    ops_.push_back(conversion(OpCode::kQuantize, 1, t, to));
    rescaled_[t].push_back(to);
    ++result_.rescales;
    return to;
  }

  // Right behind the producer, as the converter places them.
  void add_rescales(int t) {
    if (t < 0 || at(t).dtype != DType::kInt8) return;
    for (const auto& [place, q] : scales_.input) {
      const Op& reader = source_op(place.first);
      if (reader.inputs[place.second] == t) rescaled(t, q, DType::kInt8);
    }
  }

  void add(int k) {
    Op op = source_op(k);
    switch (forms_[static_cast<std::size_t>(k)]) {
      case Form::kFloat:
        return add_in_float(k, std::move(op));
      case Form::kInt8:
        return add_in_int8(k, std::move(op));
      case Form::kInt16:
        return add_in_int16(k, std::move(op));
    }
  }

  // The real-valued operands that the operator reads as integers; weights are done elsewhere.
  void add_in_int8(int k, Op op) {
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      int& t = op.inputs[i];
      if (!is_float(t)) continue;
      if (is_value_input(op, i)) {
        t = value_input(k, op, i);
      } else if (op.code == OpCode::kPrelu && original(static_cast<std::size_t>(t)).constant) {
        t = constant_weight(t);
      }
    }
    if (weight_axis(op.code) >= 0) quantize_layer(k, op, DType::kInt32);
    if (op.code == OpCode::kUnidirectionalSequenceLstm) quantize_lstm(op);
    op.version = std::max(op.version, int8_version(op, graph()));
    const std::vector<int> outputs = op.outputs;
    std::vector<Op> after;
    for (std::size_t j = 0; j < outputs.size(); ++j) {
      const auto own = scales_.output.find({k, j});
      if (own == scales_.output.end()) continue;
      op.outputs[j] = copy_of(outputs[j], "_own");
      set(op.outputs[j], own->second, DType::kInt8);
      after.push_back(conversion(OpCode::kQuantize, 1, op.outputs[j], outputs[j]));
      ++result_.rescales;
    }
    ops_.push_back(std::move(op));
    for (Op& o : after) ops_.push_back(std::move(o));
  }

  int value_input(int k, const Op& op, std::size_t i) {
    const int t = op.inputs[i];
    const auto wanted = scales_.input.find({k, i});
    Quant q = wanted != scales_.input.end() ? wanted->second : Quant{};
    if (original(static_cast<std::size_t>(t)).constant) {
      if (op.code == OpCode::kBatchMatmul) return constant_weight(t);
      if (q.empty() && same_scale(op.code)) q = scales_.tensor[static_cast<std::size_t>(t)];
      return constant_value(t, q, DType::kInt8);
    }
    if (at(t).dtype == DType::kInt8) return q.empty() ? t : rescaled(t, q, DType::kInt8);
    if (q.empty()) q = scales_.tensor[static_cast<std::size_t>(t)];
    return rescaled(t, q, DType::kInt8);
  }

  void add_in_int16(int k, Op op) {
    for (std::size_t i = op.inputs.size(); i-- > 0;) {  // the last input's conversion comes first
      int& t = op.inputs[i];
      if (!is_float(t) || !is_value_input(op, i)) continue;
      const auto wanted = wide_.input.find({k, i});
      Quant q = wanted != wide_.input.end() ? wanted->second : Quant{};
      if (original(static_cast<std::size_t>(t)).constant) {
        t = constant_value(t, q, DType::kInt16);
        continue;
      }
      if (q.empty() && at(t).dtype == DType::kInt16) continue;
      if (q.empty()) q = wide_.tensor[static_cast<std::size_t>(t)];
      t = rescaled(t, q, DType::kInt16, false);
    }
    if (weight_axis(op.code) >= 0) quantize_layer(k, op, DType::kInt64);
    if (auto* conv = std::get_if<ConvAttrs>(&op.attrs)) conv->quantized_bias_type = DType::kInt64;
    if (auto* fc = std::get_if<FullyConnectedAttrs>(&op.attrs)) {
      fc->quantized_bias_type = DType::kInt64;
    }
    op.version = std::max(op.version, int16_version(op));
    ops_.push_back(std::move(op));
  }

  // ---- weights --------------------------------------------------------------------------------
  void quantize_layer(int k, Op& op, DType bias_type) {
    const int x = op.input(static_cast<std::size_t>(data_input(op.code)));
    const int w = source_op(k).input(static_cast<std::size_t>(weight_input(op.code)));
    const auto bias_at = static_cast<std::size_t>(bias_input(op.code));
    const int b = op.input(bias_at);
    if (!is_float(w) || !original(static_cast<std::size_t>(w)).constant ||
        (b >= 0 && !original(static_cast<std::size_t>(b)).constant)) {
      fail("{}: {} computes its weights at run time, which has no integer form in this version",
           source_.path, op_label(source_.main(), static_cast<std::size_t>(k)));
    }
    const Array& values = *original(static_cast<std::size_t>(w)).constant;
    const auto ready = options_.weights.find(k);
    Quant q = ready != options_.weights.end() ? ready->second.quant
                                              : weight_quant(values, channel_axis(k, op));
    const Array* bias = b >= 0 ? &*original(static_cast<std::size_t>(b)).constant : nullptr;
    Quant q_bias = bias_quant(at(x).quant, q);
    // A 64-bit bias has room for everything.
    const bool raised = bias != nullptr && bias_type == DType::kInt32 &&
                        make_room_for_bias(*bias, at(x).quant, q, q_bias);
    if (raised) result_.raised.push_back(op_label(source_.main(), static_cast<std::size_t>(k)));
    op.inputs[static_cast<std::size_t>(weight_input(op.code))] =
        constant(w,
                 ready != options_.weights.end() && !raised ? ready->second.codes
                                                            : quantize_weights(values, q),
                 q);
    if (bias != nullptr) {
      op.inputs[bias_at] = constant(b, quantize_bias(*bias, q_bias, bias_type), q_bias);
    } else if (op.code == OpCode::kConv2d || op.code == OpCode::kDepthwiseConv2d) {
      add_zero_bias(op, w, q_bias, bias_type);
    }
  }

  int channel_axis(int k, const Op& op) const {
    const Granularity g = options_.granularities.empty()
                              ? options_.granularity
                              : options_.granularities.at(static_cast<std::size_t>(k));
    return g == Granularity::kPerChannel ? weight_axis(op.code) : -1;
  }

  // The runtime wants a bias in every quantized convolution.
  void add_zero_bias(Op& op, int w, const Quant& q, DType type) {
    const Shape& shape = at(w).shape;
    Tensor bias;
    bias.name = at(w).name + "_bias";
    bias.dtype = type;
    bias.shape = {shape[static_cast<std::size_t>(weight_axis(op.code))]};
    bias.quant = q;
    bias.constant = Array::zeros(type, bias.shape);
    graph().tensors.push_back(std::move(bias));
    op.inputs.resize(3, -1);
    op.inputs[2] = static_cast<int>(graph().tensors.size()) - 1;
  }

  // Matrices int8 per tensor, biases int32 of s_x * s_w, the hidden state like the output, the cell
  // state int16 with the power of two that covers its range.
  void quantize_lstm(Op& op) {
    const Quant x = at(op.inputs[0]).quant, h = at(op.outputs[0]).quant;
    for (std::size_t i = 1; i <= 8; ++i) op.inputs[i] = constant_weight(op.inputs[i]);
    for (std::size_t gate = 0; gate < 4; ++gate) {
      int& b = op.inputs[12 + gate];
      const Quant q = bias_quant(x, at(op.inputs[1 + gate]).quant);
      b = constant(
          b, quantize_bias(*original(static_cast<std::size_t>(b)).constant, q, DType::kInt32), q);
    }
    const auto cell = static_cast<std::size_t>(op.inputs[19]);
    const float peak = std::max(std::fabs(ranges_.min[cell]), std::fabs(ranges_.max[cell]));
    if (!std::isfinite(peak)) {
      fail("{}: calibration saw no finite value of the cell state, tensor {} ({})", source_.path,
           cell, original(cell).name);
    }
    Quant c;
    c.scale = {
        std::ldexp(1.0f, peak > 0 ? static_cast<int>(std::ceil(std::log2(peak))) - 15 : -15)};
    c.zero_point = {0};
    set(op.inputs[18], h, DType::kInt8);
    set(op.inputs[19], c, DType::kInt16);
    op.intermediates.clear();
    for (const char* name : {"input_to_input_intermediate", "input_to_forget_intermediate",
                             "input_to_cell_intermediate", "input_to_output_intermediate",
                             "effective_hidden_scale_intermediate"}) {
      Tensor t;
      t.name = name;
      t.shape = {0};
      if (op.intermediates.size() == 4) {
        t.dtype = DType::kInt8;
        t.quant = h;
      }
      op.intermediates.push_back(static_cast<int>(graph().tensors.size()));
      graph().tensors.push_back(std::move(t));
    }
  }

  // ---- float operators and borders ------------------------------------------------------------
  void add_in_float(int k, Op op) {
    for (int& t : op.inputs) {
      if (!is_float(t) || original(static_cast<std::size_t>(t)).constant ||
          original(static_cast<std::size_t>(t)).is_variable || at(t).dtype == DType::kFloat32) {
        continue;
      }
      auto [it, fresh] = dequantized_.try_emplace(t, -1);
      if (fresh) {
        it->second = float_twin(t, "_dequantized");
        ops_.push_back(conversion(OpCode::kDequantize, 2, t, it->second));
      }
      t = it->second;
    }
    const std::vector<int> outputs = op.outputs;
    for (int& t : op.outputs) {
      if (!is_float(t) || at(t).dtype == DType::kFloat32) continue;
      const int twin = float_twin(t, "_float");
      dequantized_[t] = twin;  // float readers take the float result itself
      t = twin;
    }
    const std::vector<int> made = op.outputs;
    if (!made.empty()) result_.float_output[k] = made[0];
    ops_.push_back(std::move(op));
    for (std::size_t j = 0; j < outputs.size(); ++j) {
      if (made[j] != outputs[j])
        ops_.push_back(conversion(OpCode::kQuantize, 1, made[j], outputs[j]));
    }
  }

  int float_twin(int t, const std::string& suffix) {
    const int to = copy_of(t, suffix);
    at(to).dtype = DType::kFloat32;
    at(to).quant = {};
    return to;
  }

  bool is_code(int t) { return at(t).dtype == DType::kInt8 || at(t).dtype == DType::kInt16; }

  // Float or uint8 callers get conversions: int8 outputs right behind their producers and int16
  // outputs at the end, as the converter places them, inputs in front of everything.
  void add_output_border(int t) {
    const auto& outputs = graph().outputs;
    if (options_.io == InputOutput::kInteger || t < 0 || at(t).dtype != DType::kInt8 ||
        !is_float(t) || outer_.contains(t) ||
        std::find(outputs.begin(), outputs.end(), t) == outputs.end()) {
      return;
    }
    make_output_border(t, ops_);
  }
  void make_output_border(int t, std::vector<Op>& ops) {
    const bool to_real = options_.io == InputOutput::kFloat;
    if (const auto twin = dequantized_.find(t); to_real && twin != dequantized_.end()) {
      outer_[t] = twin->second;
      return;
    }
    outer_[t] = border(t);
    ops.push_back(conversion(to_real ? OpCode::kDequantize : OpCode::kQuantize, to_real ? 2 : 1, t,
                             outer_[t]));
    if (to_real) dequantized_[t] = outer_[t];
  }

  void finish_borders() {
    if (options_.io == InputOutput::kInteger) return;
    const std::vector<int> outputs = graph().outputs;
    for (const int t : outputs) {
      if (is_float(t) && at(t).dtype == DType::kInt16 && !outer_.contains(t)) {
        make_output_border(t, graph().ops);
      }
    }
    for (int& t : graph().outputs) replace(t, outer_);
    for (Signature& s : result_.model.signatures) {
      for (auto& [name, t] : s.outputs) replace(t, outer_);
    }
    std::map<int, int> outer_input;
    std::vector<Op> first;
    for (int& t : graph().inputs) {
      if (!is_float(t) || !is_code(t)) continue;
      outer_input[t] = border(t);
      first.push_back(conversion(OpCode::kQuantize, 1, outer_input[t], t));
      t = outer_input[t];
    }
    graph().ops.insert(graph().ops.begin(), first.begin(), first.end());
    for (Signature& s : result_.model.signatures) {
      for (auto& [name, t] : s.inputs) replace(t, outer_input);
    }
  }

  // The file has one version an operator kind where int16 is rescaled, as the converter writes it.
  void finish_versions() {
    bool wide = false;
    for (const Op& op : graph().ops) {
      wide =
          wide ||
          (op.code == OpCode::kQuantize && at(op.inputs[0]).dtype != DType::kFloat32 &&
           (at(op.inputs[0]).dtype == DType::kInt16 || at(op.outputs[0]).dtype == DType::kInt16));
    }
    for (Op& op : graph().ops) {
      if (wide && op.code == OpCode::kQuantize) op.version = 2;
    }
  }

  static void replace(int& t, const std::map<int, int>& to) {
    if (const auto found = to.find(t); found != to.end()) t = found->second;
  }

  int border(int t) {
    const bool to_real = options_.io == InputOutput::kFloat;
    const int outer = copy_of(t, to_real ? "_float" : "_uint8");
    if (to_real) {
      at(outer).dtype = DType::kFloat32;
      at(outer).quant = {};
    } else if (at(t).dtype == DType::kInt16) {
      fail("{}: uint8 inputs and outputs do not fit int16 activations; --io integer or float",
           source_.path);
    } else {
      at(outer).dtype = DType::kUint8;
      at(outer).quant.zero_point[0] += 128;
    }
    return outer;
  }

  const Model& source_;
  const Ranges& ranges_;
  StaticOptions options_;
  std::vector<Form> forms_, home_;  // by operator; by tensor
  Scales scales_, wide_;
  StaticResult result_;
  std::vector<Op> ops_;
  std::map<int, std::vector<int>> constants_, rescaled_;
  std::map<int, int> dequantized_, outer_;
};

}  // namespace

StaticResult quantize_static(const Model& float_model, const Ranges& ranges,
                             const StaticOptions& options) {
  return StaticQuantizer(float_model, ranges, options).make();
}

}  // namespace litegap
