#include "diagnose/world.h"

#include "base/hash.h"
#include "base/json.h"

namespace litegap {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

Array relabel(const Array& labels, const std::vector<int>& to) {
  Array out = Array::zeros(DType::kInt64, labels.shape());
  const auto mapped = out.mutable_span<std::int64_t>();
  for (std::size_t i = 0; i < labels.elements(); ++i) {
    std::int64_t label = 0;
    if (labels.dtype() == DType::kInt64)
      label = labels.span<std::int64_t>()[i];
    else if (labels.dtype() == DType::kInt32)
      label = labels.span<std::int32_t>()[i];
    else if (labels.dtype() == DType::kFloat32)
      label = static_cast<std::int64_t>(labels.span<float>()[i]);
    else
      fail("labels of type {} cannot be renamed", dtype_name(labels.dtype()));
    mapped[i] = label >= 0 && static_cast<std::size_t>(label) < to.size()
                    ? to[static_cast<std::size_t>(label)]
                    : label;
  }
  return out;
}

std::string numerics_key(const Numerics& n) {
  std::string key = fmt::format("{}/{}", arith_name(n.arith), dialect_name(n.dialect));
  for (const auto& [op, a] : n.overrides) key += fmt::format(" o{}={}", op, arith_name(a));
  for (const auto& [op, d] : n.kernels) key += fmt::format(" k{}={}", op, dialect_name(d));
  for (const int t : n.unquantized) key += fmt::format(" u{}", t);
  for (const auto& [t, a] : n.constants)
    key += fmt::format(" c{}@{}", t, static_cast<const void*>(a.data()));
  return key;
}

}  // namespace

World apply(World world, const Edit& edit) {
  std::visit(Overloaded{
                 [&](const EditInput& e) { world.fl.input_map = world.qt.input_map = e.map; },
                 [&](const EditFeed& e) {
                   if (e.feed == Feed::kAsGiven && world.data.quant_inputs.empty())
                     fail("{}: the data hold no x_quant", world.data.path);
                   world.qt.feed = e.feed;
                 },
                 [&](const EditAnswers& e) { world.answers = e.answers; },
                 [&](const EditLabels& e) {
                   if (!world.data.labels) fail("{}: the data hold no labels", world.data.path);
                   world.data.labels = relabel(*world.data.labels, e.to);
                 },
                 [&](const EditModel& e) { world.qt.model = e.model; },
             },
             edit);
  return world;
}

Json to_json(const Edit& edit) {
  return std::visit(
      Overloaded{
          [](const EditInput& e) {
            return Json{{"edit", "input-map"}, {"map", to_text(e.map)}};
          },
          [](const EditFeed& e) {
            return Json{
                {"edit", "input-codes"},
                {"feed", e.feed == Feed::kQuantize ? "round(x / scale) + zero_point" : "as given"}};
          },
          [](const EditAnswers& e) {
            return Json{{"edit", "answers"},
                        {"from", e.answers == Answers::kModel  ? "dequantized outputs of the file"
                                 : e.answers == Answers::kDump ? "device dump"
                                                               : "user outputs"}};
          },
          [](const EditLabels& e) {
            return Json{{"edit", "labels"}, {"to", e.to}};
          },
          [](const EditModel& e) {
            return Json{{"edit", "file"}, {"what", e.what}};
          },
      },
      edit);
}

PredictOptions Lab::options(const std::vector<std::size_t>& rows) {
  PredictOptions o;
  o.threads = threads_;
  o.rows = rows;
  o.stats = &stats_;
  return o;
}

Predictions Lab::cached(const std::string& key, const Setup& setup, const Dataset& data,
                        const std::vector<std::size_t>& rows) {
  const auto found = cache_.find(key);
  if (found != cache_.end()) return found->second;
  keep_.push_back(setup.model);
  return cache_[key] = predict(setup, data, options(rows));
}

Predictions Lab::predict_float(const World& world, const std::vector<std::size_t>& rows) {
  const std::string key =
      fmt::format("{} {} {} {} rows{:x}", static_cast<const void*>(world.fl.model.get()),
                  numerics_key(world.fl.numerics), to_text(world.fl.input_map),
                  static_cast<int>(world.fl.feed), hash_bytes(std::as_bytes(std::span(rows))));
  return cached(key, world.fl, world.data, rows);
}

Predictions Lab::predict_quant(const World& world, const std::vector<std::size_t>& rows) {
  if (world.answers != Answers::kModel && rows.empty()) return world.recorded;
  const std::string key =
      fmt::format("{} {} {} {} rows{:x}", static_cast<const void*>(world.qt.model.get()),
                  numerics_key(world.qt.numerics), to_text(world.qt.input_map),
                  static_cast<int>(world.qt.feed), hash_bytes(std::as_bytes(std::span(rows))));
  return cached(key, world.qt, world.data, rows);
}

Outcome Lab::measure(const World& world) {
  Outcome o;
  o.fl_predictions = predict_float(world);
  o.qt_predictions = predict_quant(world);
  o.fl = value(o.fl_predictions, world.data, &o.fl_predictions);
  o.qt = value(o.qt_predictions, world.data, &o.fl_predictions);
  return o;
}

double Lab::value(const Predictions& p, const Dataset& data, const Predictions* reference) const {
  return score(metric_, {&p, &data, reference});
}

Paired Lab::paired(const Predictions& a, const Dataset& a_data, const Predictions& b,
                   const Dataset& b_data, const Predictions& reference) const {
  return compare(metric_, {&a, &a_data, &reference}, {&b, &b_data, &reference}, seed_);
}

}  // namespace litegap
