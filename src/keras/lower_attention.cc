// Attention layers and the general product EinsumDense.
//
//   MultiHeadAttention   q, k, v by FULLY_CONNECTED; scores = q k' / sqrt(key_dim); SOFTMAX; times
//   v Attention            the same without projections; AdditiveAttention: sum of tanh(q + k)
//
// A mask that is false adds a large negative number to the score, as Keras does.
#include <algorithm>
#include <cmath>

#include "keras/lower.h"

namespace litegap {
namespace {

int activate(LayerCall& c, int y) {
  return lower_activation(c, y, config_value(c.layer, "activation"));
}

// ---- EinsumDense --------------------------------------------------------------------------------
struct Equation {
  std::string x, w, y;
};

// "abc,cde->abde"; "...x,xy->...y" gets letters for the dimensions that the dots stand for.
Equation parse_equation(LayerCall& c, int rank) {
  std::string text = config_text(c.layer, "equation", "");
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const auto comma = text.find(','), arrow = text.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || comma > arrow) {
    refuse(c.layer, "equation {}", text);
  }
  Equation e{text.substr(0, comma), text.substr(comma + 1, arrow - comma - 1),
             text.substr(arrow + 2)};
  const auto letters = [&](std::string& s) {
    const auto at = s.find("...");
    if (at == std::string::npos) return;
    const int missing =
        rank -
        (static_cast<int>(e.x.find("...") == std::string::npos ? e.x.size() : e.x.size() - 3));
    std::string filled;
    for (int i = 0; i < missing; ++i) filled += static_cast<char>('A' + i);
    s.replace(at, 3, filled);
  };
  Equation full = e;
  letters(full.x);
  letters(full.y);
  letters(full.w);
  if (static_cast<int>(full.x.size()) != rank) {
    refuse(c.layer, "equation {} for an input of {} dimensions", text, rank);
  }
  return full;
}

std::vector<LayerValue> lower_einsum(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x();
  const Equation e = parse_equation(c, b.rank(x));
  const Shape s = b.shape(x);
  const auto has = [](const std::string& t, char l) { return t.find(l) != std::string::npos; };
  std::map<char, int> size;
  for (std::size_t d = 0; d < e.x.size(); ++d) size[e.x[d]] = s[d];
  // Sizes of the letters that only the weights have: from output_shape, which leaves out the batch.
  const std::vector<Json> given = [&] {
    std::vector<Json> all;
    const Json* v = config_value(c.layer, "output_shape");
    if (v != nullptr && v->is_array()) all.assign(v->begin(), v->end());
    if (v != nullptr && v->is_number()) all.push_back(*v);
    return all;
  }();
  for (std::size_t k = 0; k < std::min(given.size(), e.y.size()); ++k) {
    const char l = e.y[e.y.size() - 1 - k];
    const Json& n = given[given.size() - 1 - k];
    if (n.is_number_integer() && !size.contains(l)) {
      const auto v = n.get<std::int64_t>();
      if (v < 1 || v > (1 << 24)) refuse(c.layer, "output_shape holds {}", v);
      size[l] = static_cast<int>(v);
    }
  }
  std::string free, sum, out;  // of x alone; of x and w; of w alone
  for (const char l : e.x) {
    const bool in_w = has(e.w, l), in_y = has(e.y, l);
    if ((in_w && in_y) || (!in_w && !in_y))
      refuse(c.layer, "equation {},{}->{} is not supported", e.x, e.w, e.y);
    (in_w ? sum : free) += l;
  }
  for (const char l : e.y) {
    if (has(e.w, l)) out += l;
    if (!size.contains(l)) refuse(c.layer, "output_shape does not give the size of {}", l);
  }
  if (free.empty() || free[0] != e.x[0])
    refuse(c.layer, "equation {},{}->{} sums over the batch", e.x, e.w, e.y);
  if (sum.size() + out.size() != e.w.size())
    refuse(c.layer, "equation {},{}->{} is not supported", e.x, e.w, e.y);
  Shape kernel;
  for (const char l : e.w) kernel.push_back(size[l]);
  if (shape_elements(kernel) > 0x7fffffff)
    refuse(c.layer, "a kernel of shape {}", shape_text(kernel));
  std::vector<int> perm, turn;
  std::int32_t rows = 1, columns = 1;
  for (const char l : out) perm.push_back(static_cast<int>(e.w.find(l))), rows *= size[l];
  for (const char l : sum) perm.push_back(static_cast<int>(e.w.find(l))), columns *= size[l];
  const int w = c.weight(
      {.name = "kernel", .shape = kernel, .perm = perm, .as = {rows, columns}, .role = "kernel"});
  Shape flat, spread;
  for (const char l : free) turn.push_back(static_cast<int>(e.x.find(l))), flat.push_back(size[l]);
  for (const char l : sum) turn.push_back(static_cast<int>(e.x.find(l)));
  spread = flat;
  flat.push_back(columns);
  for (const char l : out) spread.push_back(size[l]);
  int y = b.fully_connected(b.reshape(b.transpose(x, turn), flat), w, -1);
  y = b.reshape(y, spread);
  const std::string made = free + out;
  std::vector<int> order;
  for (const char l : e.y) order.push_back(static_cast<int>(made.find(l)));
  y = b.transpose(y, order);
  const std::string axes = config_text(c.layer, "bias_axes", "");
  if (!axes.empty()) {
    Shape bias, as;
    for (const char l : e.y) {
      if (has(axes, l)) bias.push_back(size[l]);
      if (has(axes, l) || !as.empty()) as.push_back(has(axes, l) ? size[l] : 1);
    }
    y = b.add(y, c.weight({.name = "bias", .shape = bias, .as = as, .role = "bias"}));
  }
  return c.one(activate(c, y));
}

// ---- masks --------------------------------------------------------------------------------------
// Sum of all masks in float (1 = seen), laid out to broadcast over scores; -1 = everything is seen.
struct Seen {
  GraphBuilder& b;
  int all = -1;
  void also(int mask, Shape as) {
    const int f = b.reshape(b.cast(mask, DType::kFloat32), std::move(as));
    all = all < 0 ? f : b.mul(all, f);
  }
  void causal(int queries, int keys) {
    if (product(queries, keys) > (1 << 26)) fail("a causal mask of {} by {}", queries, keys);
    std::vector<float> v;
    for (int q = 0; q < queries; ++q) {
      for (int k = 0; k < keys; ++k) v.push_back(k <= q ? 1 : 0);
    }
    const int f = b.floats(v, {1, queries, keys});
    all = all < 0 ? f : b.mul(all, f);
  }
  int apply(int scores) const {
    if (all < 0) return scores;
    return b.add(scores, b.mul(b.sub(b.scalar(1), all), b.scalar(-1e9f)));
  }
};

int mask_of(LayerCall& c, std::size_t value, const char* key) {
  if (const auto given = c.tensor(key)) return given->tensor;
  return value < c.values.size() ? c.values[value].mask : -1;
}

// ---- MultiHeadAttention -------------------------------------------------------------------------
struct Heads {
  int heads = 0, key_dim = 0, value_dim = 0;
  bool bias = true;
};

// [.., features] -> [rows, time, heads, size]
int projected(LayerCall& c, int x, const std::string& name, int heads, int size, bool bias) {
  GraphBuilder& b = c.b;
  const int in = b.shape(x)[2];
  const std::string sub = name + "_dense";
  product(heads, size);
  const int kernel = c.weight({.name = name + "/kernel",
                               .shape = {in, heads, size},
                               .perm = {1, 2, 0},
                               .as = {heads * size, in},
                               .role = "kernel",
                               .sub = sub,
                               .initializer = "glorot_uniform"});
  const int shift = bias ? c.weight({.name = name + "/bias",
                                     .shape = {heads, size},
                                     .as = {heads * size},
                                     .role = "bias",
                                     .sub = sub})
                         : -1;
  const Shape s = b.shape(x);
  return b.reshape(b.fully_connected(x, kernel, shift), {s[0], s[1], heads, size});
}

struct Attended {
  int result = -1, scores = -1;
};

// x: [rows, time, features] of query, value, key.
Attended multi_head(LayerCall& c, int query, int value, int key, const Seen& seen, int out_dim) {
  GraphBuilder& b = c.b;
  const int heads = config_int(c.layer, "num_heads"), key_dim = config_int(c.layer, "key_dim");
  const int value_dim = config_int(c.layer, "value_dim", key_dim);
  if (heads < 1 || key_dim < 1 || value_dim < 1)
    refuse(c.layer, "{} heads of {} and {}", heads, key_dim, value_dim);
  const bool bias = config_bool(c.layer, "use_bias", true);
  int q = projected(c, query, "query", heads, key_dim, bias);
  const int k = projected(c, key, "key", heads, key_dim, bias);
  const int v = projected(c, value, "value", heads, value_dim, bias);
  q = b.mul(q, b.scalar(static_cast<float>(1 / std::sqrt(static_cast<double>(key_dim)))));
  const auto turned = [&](int t) { return b.transpose(t, {0, 2, 1, 3}); };
  const int scores = seen.apply(b.matmul(turned(q), turned(k), false, true));
  const int weights = b.softmax(scores, -1);
  int y = turned(b.matmul(weights, turned(v), false, false));
  const Shape s = b.shape(y);
  y = b.reshape(y, {s[0], s[1], heads * value_dim});
  const int kernel = c.weight({.name = "attention_output/kernel",
                               .shape = {heads, value_dim, out_dim},
                               .perm = {2, 0, 1},
                               .as = {out_dim, heads * value_dim},
                               .role = "kernel",
                               .sub = "output_dense",
                               .initializer = "glorot_uniform"});
  const int shift = bias ? c.weight({.name = "attention_output/bias",
                                     .shape = {out_dim},
                                     .role = "bias",
                                     .sub = "output_dense"})
                         : -1;
  return {b.fully_connected(y, kernel, shift), weights};
}

void refuse_training_dropout(LayerCall& c) {
  if (c.training() && !c.lower.declaring && config_number(c.layer, "dropout", 0) != 0) {
    refuse(c.layer, "dropout of attention scores is not supported in training");
  }
}

std::vector<LayerValue> lower_multi_head(LayerCall& c) {
  GraphBuilder& b = c.b;
  if (config_bool(c.layer, "use_gate", false)) refuse(c.layer, "use_gate is not supported");
  refuse_training_dropout(c);
  // query, value and key: by place or by keyword; the key is the value where it is not given.
  const auto named = [&](std::size_t i, const char* key) -> int {
    const Json* v = c.argument(i, key);
    return v != nullptr && v->is_object() && v->contains("$") ? (*v)["$"].get<int>() : -1;
  };
  const int qi = named(0, "query"), vi = named(1, "value");
  const int ki = named(2, "key") >= 0 ? named(2, "key") : vi;
  if (qi < 0 || vi < 0) refuse(c.layer, "is called without query or value");
  int q = c.x(static_cast<std::size_t>(qi)), v = c.x(static_cast<std::size_t>(vi)),
      k = c.x(static_cast<std::size_t>(ki));
  const int rank = b.rank(q);
  if (rank < 3 || b.rank(v) != rank)
    refuse(c.layer, "inputs of shape {} and {}", shape_text(b.shape(q)), shape_text(b.shape(v)));
  const std::vector<int> shape = config_list(c.layer, "output_shape");
  if (shape.size() > 1) refuse(c.layer, "an output_shape of several dimensions");
  const int out_dim = shape.empty() ? b.shape(q).back() : shape[0];
  std::vector<int> axes = config_list(c.layer, "attention_axes");
  for (int& a : axes) a = positive_axis(a, rank);
  if (axes.empty()) {
    for (int d = 1; d < rank - 1; ++d) axes.push_back(d);
  }
  // [batch, other axes, attention axes, features] -> [rows, time, features].
  std::vector<int> perm = {0};
  for (int d = 1; d < rank - 1; ++d) {
    if (std::find(axes.begin(), axes.end(), d) == axes.end()) perm.push_back(d);
  }
  const std::size_t kept = perm.size();
  perm.insert(perm.end(), axes.begin(), axes.end());
  perm.push_back(rank - 1);
  const auto flat = [&](int t) {
    const int turned = b.transpose(t, perm);
    const Shape s = b.shape(turned);
    std::int32_t rows = 1, time = 1;
    for (std::size_t d = 0; d < s.size() - 1; ++d) (d < kept ? rows : time) *= s[d];
    return b.reshape(turned, {rows, time, s.back()});
  };
  Shape back = b.shape(b.transpose(q, perm));
  back.back() = out_dim;
  q = flat(q);
  v = flat(v);
  k = flat(k);
  const int tq = b.shape(q)[1], tk = b.shape(k)[1];
  Seen seen{b};
  if (const int m = mask_of(c, static_cast<std::size_t>(qi), "query_mask"); m >= 0) {
    seen.also(m, {b.shape(m)[0], 1, tq, 1});
  }
  if (const int m = mask_of(c, static_cast<std::size_t>(vi), "value_mask"); m >= 0) {
    seen.also(m, {b.shape(m)[0], 1, 1, tk});
  }
  if (const auto m = c.tensor("key_mask")) seen.also(m->tensor, {b.shape(m->tensor)[0], 1, 1, tk});
  if (const auto m = c.tensor("attention_mask")) {
    const Shape s = b.shape(m->tensor);
    if (s.size() == 4) {
      seen.also(m->tensor, s);
    } else {
      seen.also(m->tensor, {s[0], 1, tq, tk});
    }
  }
  if (c.flag("use_causal_mask", false)) seen.causal(tq, tk);
  const Attended a = multi_head(c, q, v, k, seen, out_dim);
  int y = b.reshape(a.result, back);
  std::vector<int> inverse(perm.size());
  for (std::size_t d = 0; d < perm.size(); ++d)
    inverse[static_cast<std::size_t>(perm[d])] = static_cast<int>(d);
  y = b.transpose(y, inverse);
  std::vector<LayerValue> out = c.one(y, c.values[static_cast<std::size_t>(qi)].mask);
  if (c.flag("return_attention_scores", false)) out.push_back({a.scores, -1});
  return out;
}

// ---- Attention, AdditiveAttention ---------------------------------------------------------------
// sum over features of tanh(scale (q + k)): [batch, queries, keys]
int additive(GraphBuilder& b, int q, int k, int inside, int outside) {
  const Shape sq = b.shape(q), sk = b.shape(k);
  int t = b.add(b.reshape(q, {sq[0], sq[1], 1, sq[2]}), b.reshape(k, {sk[0], 1, sk[1], sk[2]}));
  if (inside >= 0) t = b.mul(t, inside);
  t = b.unary(OpCode::kTanh, t);
  if (outside >= 0) t = b.mul(t, outside);
  return b.reduce(OpCode::kSum, t, {3}, false);
}

std::vector<LayerValue> lower_attention(LayerCall& c) {
  GraphBuilder& b = c.b;
  refuse_training_dropout(c);
  // The list [query, value] or [query, value, key]; masks may follow as tensors of the keyword.
  std::size_t n = 0;
  const auto count = [&](const auto& self, const Json& v) -> void {
    if (v.is_object() && v.contains("$")) ++n;
    if (v.is_array()) {
      for (const Json& item : v) self(self, item);
    }
  };
  count(count, c.args);
  if (n < 2) refuse(c.layer, "has {} inputs, expected query and value", n);
  const int q = c.x(0), v = c.x(1), k = n > 2 ? c.x(2) : v;
  if (b.rank(q) != 3 || b.rank(v) != 3)
    refuse(c.layer, "inputs of shape {} and {}", shape_text(b.shape(q)), shape_text(b.shape(v)));
  const bool sums = c.layer.class_name == "AdditiveAttention";
  const bool scaled = config_bool(c.layer, "use_scale", sums);
  const std::string mode = config_text(c.layer, "score_mode", "dot");
  int scores = -1;
  if (sums) {
    const int scale =
        scaled
            ? c.weight({.name = "scale", .shape = {b.shape(q)[2]}, .initializer = "glorot_uniform"})
            : -1;
    scores = additive(b, q, k, -1, scale);
  } else {
    const int scale = scaled ? c.weight({.name = "scale", .shape = {}, .initializer = "ones"}) : -1;
    if (mode == "concat") {
      const int weight =
          c.weight({.name = "concat_score_weight", .shape = {}, .initializer = "ones"});
      scores = b.mul(additive(b, q, k, scale, -1), weight);
    } else if (mode == "dot") {
      scores = b.matmul(q, k, false, true);
      if (scale >= 0) scores = b.mul(scores, scale);
    } else {
      refuse(c.layer, "score_mode {}", mode);
    }
  }
  const int tq = b.shape(q)[1], tk = b.shape(k)[1];
  Seen seen{b};
  int query_mask = c.values[0].mask, value_mask = c.values[1].mask;
  if (c.kwargs.is_object() && c.kwargs.contains("mask") && c.kwargs["mask"].is_array()) {
    const auto at = [&](std::size_t i, int absent) {
      const Json& m = c.kwargs["mask"];
      if (i >= m.size() || !m[i].is_object() || !m[i].contains("$")) return absent;
      return c.values[m[i]["$"].get<std::size_t>()].tensor;
    };
    query_mask = at(0, query_mask);
    value_mask = at(1, value_mask);
  }
  if (value_mask >= 0) seen.also(value_mask, {b.shape(value_mask)[0], 1, tk});
  if (c.flag("use_causal_mask", config_bool(c.layer, "causal", false))) seen.causal(tq, tk);
  const int weights = b.softmax(seen.apply(scores), -1);
  int y = b.matmul(weights, v, false, false);
  if (query_mask >= 0) {
    y = b.mul(y, b.reshape(b.cast(query_mask, DType::kFloat32), {b.shape(y)[0], tq, 1}));
  }
  std::vector<LayerValue> out = c.one(y, query_mask);
  if (c.flag("return_attention_scores", false)) out.push_back({weights, -1});
  return out;
}

}  // namespace

std::span<const LayerRow> attention_layers() {
  static constexpr LayerRow rows[] = {{"EinsumDense", lower_einsum},
                                      {"MultiHeadAttention", lower_multi_head},
                                      {"Attention", lower_attention},
                                      {"AdditiveAttention", lower_attention}};
  return rows;
}

}  // namespace litegap
