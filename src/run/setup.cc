#include "run/setup.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>

#include "base/file.h"
#include "base/parallel.h"

namespace litegap {
namespace {

// Shape of one sample of the dataset (without the sample axis).
Shape row_shape(const Array& rows) { return Shape(rows.shape().begin() + 1, rows.shape().end()); }

const std::vector<Array>& fed_arrays(const Setup& setup, const Dataset& data) {
  return setup.feed == Feed::kAsGiven ? data.quant_inputs : data.inputs;
}

// A model whose file says batch > 1 is resized to one sample when the data say so.
PlanOptions options_for(const Setup& setup, const Dataset& data) {
  PlanOptions options;
  const Graph& graph = setup.model->main();
  const auto& arrays = fed_arrays(setup, data);
  if (arrays.size() != graph.inputs.size()) {
    fail("{}: {} input arrays in the data, {} has {} inputs", data.path, arrays.size(),
         setup.model->path, graph.inputs.size());
  }
  bool resize = false;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Tensor& t = graph.tensors[static_cast<std::size_t>(graph.inputs[i])];
    Shape shape = t.shape;
    const std::size_t given = shape_elements(row_shape(arrays[i]));
    if (given != shape_elements(shape)) {
      if (!shape.empty() && shape[0] > 1 &&
          given * static_cast<std::size_t>(shape[0]) == shape_elements(shape)) {
        shape[0] = 1;
        resize = true;
      } else {
        fail("{}: input {} ({}): a sample has shape {}, the model expects {}", data.path, i,
             input_name(*setup.model, i), shape_text(row_shape(arrays[i])), shape_text(shape));
      }
    }
    options.input_shapes.push_back(shape);
  }
  if (!resize) options.input_shapes.clear();
  return options;
}

template <class To, class From>
void cast_all(const Array& from, Array& to) {
  const auto in = from.span<From>();
  const auto out = to.mutable_span<To>();
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = static_cast<To>(in[i]);
}

template <class To>
Array cast_to(const Array& from) {
  Array to = Array::zeros(dtype_of<To>, from.shape());
  switch (from.dtype()) {
    case DType::kFloat32:
      cast_all<To, float>(from, to);
      break;
    case DType::kFloat64:
      cast_all<To, double>(from, to);
      break;
    case DType::kInt8:
      cast_all<To, std::int8_t>(from, to);
      break;
    case DType::kUint8:
      cast_all<To, std::uint8_t>(from, to);
      break;
    case DType::kInt16:
      cast_all<To, std::int16_t>(from, to);
      break;
    case DType::kInt32:
      cast_all<To, std::int32_t>(from, to);
      break;
    case DType::kInt64:
      cast_all<To, std::int64_t>(from, to);
      break;
    case DType::kBool:
      cast_all<To, bool>(from, to);
      break;
    default:
      fail("data of type {} cannot be fed", dtype_name(from.dtype()));
  }
  return to;
}

// Codes as they stand, in the model's type; a float array of codes is cast the way C does.
Array as_given(const Array& sample, DType type) {
  if (sample.dtype() == type) return sample;
  switch (type) {
    case DType::kInt8:
      return cast_to<std::int8_t>(cast_to<std::int64_t>(sample));
    case DType::kUint8:
      return cast_to<std::uint8_t>(cast_to<std::int64_t>(sample));
    case DType::kInt16:
      return cast_to<std::int16_t>(cast_to<std::int64_t>(sample));
    case DType::kInt32:
      return cast_to<std::int32_t>(sample);
    case DType::kInt64:
      return cast_to<std::int64_t>(sample);
    case DType::kFloat32:
      return cast_to<float>(sample);
    case DType::kBool:
      return cast_to<bool>(sample);
    default:
      fail("an input of type {} cannot be fed from data", dtype_name(type));
  }
}

// The real values of output j in float32.
void store_output(const Array& value, const Quant& quant, float* out) {
  if (value.dtype() == DType::kFloat32) {
    std::memcpy(out, value.data(), value.byte_size());
    return;
  }
  const Array real = quant.empty() ? cast_to<float>(value) : dequantize(value, quant);
  std::memcpy(out, real.data(), real.byte_size());
}

std::size_t rows_asked(const Dataset& data, const PredictOptions& options) {
  return options.rows.empty() ? data.count : options.rows.size();
}

// Runs body(worker workspace, position, row) over all asked rows in blocks.
struct Sweep {
  const Setup& setup;
  const Dataset& data;
  const PredictOptions& options;
  Plan plan;

  std::vector<Array> inputs(std::span<const std::size_t> rows) const {
    std::vector<Array> in;
    for (std::size_t i = 0; i < plan.input_count(); ++i)
      in.push_back(feed_rows(setup, plan, data, i, rows));
    return in;
  }
  std::size_t row(std::size_t position) const {
    return options.rows.empty() ? position : options.rows[position];
  }
  // body(first position, its rows): as many at once as the plan takes.
  void each_run(std::size_t begin, std::size_t end,
                const std::function<void(std::size_t, std::span<const std::size_t>)>& body) const {
    std::array<std::size_t, kBlock> rows;
    for (std::size_t p = begin; p < end; p += plan.samples()) {
      const std::size_t n = std::min(plan.samples(), end - p);
      for (std::size_t k = 0; k < n; ++k) rows[k] = row(p + k);
      body(p, std::span(rows.data(), n));
    }
  }
  int threads() const { return options.threads > 0 ? options.threads : hardware_threads(); }

  void account(double start) const {
    if (options.stats == nullptr) return;
    options.stats->seconds += seconds_now() - start;
    options.stats->passes += static_cast<double>(rows_asked(data, options)) /
                             static_cast<double>(std::max<std::size_t>(1, data.count));
  }
};

// The outputs' shapes: the plan's, or, where the data decide them, those of the first row.
std::vector<Shape> output_shapes(const Sweep& sweep) {
  std::vector<Shape> shapes;
  for (std::size_t j = 0; j < sweep.plan.output_count(); ++j) {
    shapes.push_back(sweep.plan.output_shape(j));
  }
  if (!sweep.plan.walked() || rows_asked(sweep.data, sweep.options) == 0) return shapes;
  Workspace space(sweep.plan);
  const std::size_t first = sweep.row(0);
  run(sweep.plan, space, sweep.inputs({&first, 1}));
  for (std::size_t j = 0; j < shapes.size(); ++j) shapes[j] = space.output(j).shape();
  return shapes;
}

// Rows of axis 0 as one array: as they lie where they follow one another, else copied together.
Array rows_of(const Array& all, std::span<const std::size_t> rows) {
  bool follow = true;
  for (std::size_t k = 1; k < rows.size(); ++k) follow = follow && rows[k] == rows[0] + k;
  if (follow) return all.slice0(rows[0], rows[0] + rows.size());
  Shape shape = all.shape();
  shape[0] = static_cast<std::int32_t>(rows.size());
  Array out = Array::zeros(all.dtype(), shape);
  const std::size_t bytes = out.byte_size() / rows.size();
  for (std::size_t k = 0; k < rows.size(); ++k) {
    const Array row = all.slice0(rows[k], rows[k] + 1);
    std::memcpy(out.mutable_data() + k * bytes, row.data(), bytes);
  }
  return out;
}

// Plan for as many samples at once as fit into a block.
Plan plan_for(const Setup& setup, const Dataset& data, std::size_t rows) {
  PlanOptions options = options_for(setup, data);
  options.samples = std::min(kBlock, std::bit_floor(std::max<std::size_t>(1, rows)));
  return make_plan(setup.model, setup.numerics, options);
}

void store_outputs(const Sweep& sweep, const Array& value, std::size_t output,
                   const Shape& expected, std::size_t place, std::size_t count, Array& to) {
  const std::size_t size = shape_elements(expected);
  if (value.elements() != size * sweep.plan.samples()) {
    fail("{}: output {} of sample {} has shape {}, that of the first sample {}",
         sweep.setup.model->path, output, sweep.row(place), shape_text(value.shape()),
         shape_text(expected));
  }
  const Array used = sweep.plan.samples() > 1 ? value.slice0(0, count) : value;
  store_output(used, sweep.plan.output_quant(output),
               reinterpret_cast<float*>(to.mutable_data()) + place * size);
}

}  // namespace

Array feed_rows(const Setup& setup, const Plan& plan, const Dataset& data, std::size_t input,
                std::span<const std::size_t> rows) {
  const Array given = rows_of(fed_arrays(setup, data).at(input), rows);
  const DType type = plan.input_type(input);
  Shape shape = plan.input_shape(input);
  shape.insert(shape.begin(), static_cast<std::int32_t>(rows.size()));
  const Array samples = given.reshaped(shape);
  if (setup.feed == Feed::kAsGiven) return as_given(samples, type);
  Quant quant = plan.input_quant(input);
  if (type == DType::kFloat32) return apply_input_map(setup.input_map, samples, shape);
  if (quant.empty()) return as_given(samples, type);
  const Array real = apply_input_map(setup.input_map, samples, shape);
  if (setup.numerics.arith != Arith::kInteger) return real;
  ++quant.axis;  // the axis in front
  return quantize(real, quant, type);
}

Array feed_input(const Setup& setup, const Plan& plan, const Dataset& data, std::size_t input,
                 std::size_t row) {
  return feed_rows(setup, plan, data, input, {&row, 1}).reshaped(plan.input_shape(input));
}

Predictions predict(const Setup& setup, const Dataset& data, const PredictOptions& options) {
  const double start = seconds_now();
  const Sweep sweep{setup, data, options, plan_for(setup, data, rows_asked(data, options))};
  const std::size_t n = rows_asked(data, options);
  Predictions result;
  result.count = n;
  const std::size_t outputs = sweep.plan.output_count();
  std::vector<std::size_t> order(outputs);
  for (std::size_t j = 0; j < outputs; ++j)
    order[j] =
        setup.output_map.order.empty() ? j : static_cast<std::size_t>(setup.output_map.order.at(j));
  const std::vector<Shape> shapes = output_shapes(sweep);
  for (const std::size_t j : order) {
    Shape shape = shapes[j];
    if (!shape.empty() && shape[0] == 1)
      shape[0] = static_cast<std::int32_t>(n);
    else
      shape.insert(shape.begin(), static_cast<std::int32_t>(n));
    result.outputs.push_back(Array::zeros(DType::kFloat32, shape));
  }
  std::vector<std::unique_ptr<Workspace>> spaces(static_cast<std::size_t>(sweep.threads()));
  for_each_block(
      n, kBlock, sweep.threads(), [&](std::size_t, std::size_t begin, std::size_t end, int worker) {
        auto& space = spaces[static_cast<std::size_t>(worker)];
        if (!space) space = std::make_unique<Workspace>(sweep.plan);
        sweep.each_run(begin, end, [&](std::size_t p, std::span<const std::size_t> rows) {
          space->reset();
          run(sweep.plan, *space, sweep.inputs(rows));
          for (std::size_t k = 0; k < order.size(); ++k) {
            store_outputs(sweep, space->output(order[k]), order[k], shapes[order[k]], p,
                          rows.size(), result.outputs[k]);
          }
        });
        if (worker == 0)
          report_progress(options.progress, "running",
                          static_cast<double>(end) / static_cast<double>(n));
      });
  if (setup.output_map.scale != 1 || setup.output_map.offset != 0) {
    for (Array& out : result.outputs) {
      for (float& v : out.mutable_span<float>())
        v = static_cast<float>(setup.output_map.scale * v + setup.output_map.offset);
    }
  }
  sweep.account(start);
  return result;
}

void observe(const Setup& setup, const Dataset& data, const PredictOptions& options,
             const std::function<std::unique_ptr<BlockObserver>(std::size_t)>& make,
             const std::function<void(BlockObserver&)>& merge) {
  const double start = seconds_now();
  const Sweep sweep{setup, data, options, plan_for(setup, data, rows_asked(data, options))};
  const std::size_t n = rows_asked(data, options);
  std::vector<std::unique_ptr<Workspace>> spaces(static_cast<std::size_t>(sweep.threads()));
  // Blocks finish in any order; merging in block order keeps floating-point sums independent of it.
  std::map<std::size_t, std::unique_ptr<BlockObserver>> done;
  std::size_t next = 0;
  std::mutex guard;
  for_each_block(n, kBlock, sweep.threads(),
                 [&](std::size_t block, std::size_t begin, std::size_t end, int worker) {
                   auto& space = spaces[static_cast<std::size_t>(worker)];
                   if (!space) space = std::make_unique<Workspace>(sweep.plan);
                   auto observer = make(block);
                   sweep.each_run(begin, end, [&](std::size_t, std::span<const std::size_t> rows) {
                     space->reset();
                     observer->rows = rows;
                     run(sweep.plan, *space, sweep.inputs(rows), observer.get());
                   });
                   const std::lock_guard<std::mutex> lock(guard);
                   done[block] = std::move(observer);
                   for (auto it = done.find(next); it != done.end(); it = done.find(++next)) {
                     merge(*it->second);
                     done.erase(it);
                   }
                   report_progress(options.progress, "observing",
                                   static_cast<double>(end) / static_cast<double>(n));
                 });
  sweep.account(start);
}

}  // namespace litegap
