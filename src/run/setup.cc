#include "run/setup.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>

#include "base/file.h"
#include "base/parallel.h"
#include "model/aligned.h"
#include "model/quantize.h"
#include "model/unset.h"

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

// The real values of codes, or of whole numbers, in float32.
Array real_values(const Array& value, const Quant& quant) {
  return quant.empty() ? cast_to<float>(value) : dequantize(value, quant);
}

std::size_t rows_asked(const Dataset& data, const PredictOptions& options) {
  return options.rows.empty() ? data.count : options.rows.size();
}

int threads_of(const PredictOptions& options) {
  return options.threads > 0 ? options.threads : hardware_threads();
}

void account(const Dataset& data, const PredictOptions& options, double start) {
  if (options.stats == nullptr) return;
  options.stats->seconds += seconds_now() - start;
  options.stats->passes += static_cast<double>(rows_asked(data, options)) /
                           static_cast<double>(std::max<std::size_t>(1, data.count));
}

// A block of asked rows at a time.
class BlockRows {
 public:
  BlockRows(const PredictOptions& options, std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p)
      rows_[p - begin] = options.rows.empty() ? p : options.rows[p];
    count_ = end - begin;
  }
  std::span<const std::size_t> all() const { return {rows_.data(), count_}; }

 private:
  std::array<std::size_t, kBlock> rows_;
  std::size_t count_ = 0;
};

// What a run takes its samples from.
struct Sweep {
  const Setup& setup;
  const Dataset& data;
  const Plan& plan;

  std::vector<Array> inputs(std::span<const std::size_t> rows) const {
    std::vector<Array> in;
    for (std::size_t i = 0; i < plan.input_count(); ++i)
      in.push_back(feed_rows(setup, plan, data, i, rows));
    return in;
  }
  // body(number of rows before, its rows): as many at once as the plan takes.
  template <class Body>
  void each_run(std::span<const std::size_t> rows, const Body& body) const {
    for (std::size_t p = 0; p < rows.size(); p += plan.samples())
      body(p, rows.subspan(p, std::min(plan.samples(), rows.size() - p)));
  }
};

// The outputs' shapes: the plan's, or, where the data decide them, those of the row `first`.
std::vector<Shape> output_shapes(const Sweep& sweep, std::size_t first) {
  std::vector<Shape> shapes;
  for (std::size_t j = 0; j < sweep.plan.output_count(); ++j) {
    shapes.push_back(sweep.plan.output_shape(j));
  }
  if (!sweep.plan.walked() || first >= sweep.data.count) return shapes;
  Workspace space(sweep.plan);
  run(sweep.plan, space, sweep.inputs({&first, 1}));
  for (std::size_t j = 0; j < shapes.size(); ++j) shapes[j] = space.output(j).shape();
  return shapes;
}

// How many rows from `k` on follow one another.
std::size_t run_length(std::span<const std::size_t> rows, std::size_t k) {
  std::size_t n = 1;
  while (k + n < rows.size() && rows[k + n] == rows[k] + n) ++n;
  return n;
}

void copy_rows(const Array& all, std::span<const std::size_t> rows, std::byte* to) {
  const std::size_t bytes = all.byte_size() / static_cast<std::size_t>(all.shape()[0]);
  for (std::size_t k = 0, n = 0; k < rows.size(); k += n) {
    n = run_length(rows, k);
    std::memcpy(to + k * bytes, all.data() + rows[k] * bytes, n * bytes);
  }
}

// Rows of axis 0 as one array: as they lie where they follow one another, else copied together.
Array rows_of(const Array& all, std::span<const std::size_t> rows) {
  if (run_length(rows, 0) == rows.size())
    return aligned(all.slice0(rows[0], rows[0] + rows.size()));
  Shape shape = all.shape();
  shape[0] = static_cast<std::int32_t>(rows.size());
  Array out = unset_array(all.dtype(), shape);
  copy_rows(all, rows, out.mutable_data());
  return out;
}

// Plan for `rows` samples at once, or as many as one run takes.
Plan plan_for(const Setup& setup, const Dataset& data, std::size_t rows) {
  PlanOptions options = options_for(setup, data);
  options.samples = std::min(kMostStacked, std::bit_floor(std::max<std::size_t>(1, rows)));
  return make_plan(setup.model, setup.numerics, options);
}

// Whether the stored values are what the model's input holds, bit for bit.
bool fed_as_stored(const Setup& setup, const Plan& plan, const Array& stored, std::size_t input) {
  if (stored.dtype() != plan.input_type(input)) return false;
  if (setup.feed == Feed::kAsGiven) return true;
  return stored.dtype() == DType::kFloat32 ? setup.input_map.identity()
                                           : plan.input_quant(input).empty();
}

// Whether the stored values are floats that become short codes, and nothing happens to them before.
bool fed_as_codes(const Setup& setup, const Plan& plan, const Array& stored, std::size_t input) {
  return stored.dtype() == DType::kFloat32 && setup.feed != Feed::kAsGiven &&
         setup.numerics.arith == Arith::kInteger && setup.input_map.identity() &&
         has_short_codes(plan.input_quant(input), plan.input_type(input));
}

// Drawn rows lie anywhere in the file: the next comes from memory while one is worked on.
void send_for(const std::byte* row, std::size_t bytes) {
  constexpr std::size_t kLine = 64, kMost = 4096;
  for (std::size_t at = 0; at < std::min(bytes, kMost); at += kLine) __builtin_prefetch(row + at);
}

// Codes of rows of floats: of long rows from where they lie, short ones are put together first.
void fill_codes(const Plan& plan, const Array& stored, std::size_t input,
                std::span<const std::size_t> rows, std::span<std::byte> room) {
  constexpr std::size_t kLong = 1024;  // bytes
  const std::size_t floats = shape_elements(plan.input_shape(input)), bytes = 4 * floats;
  const std::size_t codes = floats * dtype_bits(plan.input_type(input)) / 8;
  const auto fill = [&](const std::byte* from, std::span<std::byte> to) {
    short_codes(from, plan.input_quant(input), plan.input_type(input), to);
  };
  if (bytes < kLong) return fill(rows_of(stored, rows).data(), room.first(rows.size() * codes));
  for (std::size_t k = 0; k < rows.size(); ++k) {
    if (k + 1 < rows.size()) send_for(stored.data() + rows[k + 1] * bytes, bytes);
    fill(stored.data() + rows[k] * bytes, room.subspan(k * codes, codes));
  }
}

// Puts samples where a run reads them.  False, with nothing of use done, where run() has to.
bool fill_inputs(const Sweep& sweep, std::span<const std::size_t> rows, Workspace& space) {
  for (std::size_t i = 0; i < sweep.plan.input_count(); ++i) {
    const auto room = space.input_room(i);
    if (room.empty()) return false;
    const Array& stored = fed_arrays(sweep.setup, sweep.data)[i];
    if (fed_as_stored(sweep.setup, sweep.plan, stored, i)) {
      copy_rows(stored, rows, room.data());
    } else if (fed_as_codes(sweep.setup, sweep.plan, stored, i)) {
      fill_codes(sweep.plan, stored, i, rows, room);
    } else {
      const Array fed = feed_rows(sweep.setup, sweep.plan, sweep.data, i, rows);
      if (fed.dtype() != sweep.plan.input_type(i)) return false;  // real values of codes
      std::memcpy(room.data(), fed.data(), fed.byte_size());
    }
  }
  return sweep.plan.input_count() > 0;
}

void run_rows_of(const Sweep& sweep, std::span<const std::size_t> rows, Workspace& space,
                 Observer* observer = nullptr) {
  space.reset();
  if (fill_inputs(sweep, rows, space))
    run_filled(sweep.plan, space, rows.size(), observer);
  else
    run(sweep.plan, space, sweep.inputs(rows), observer);
}

// Stores output `output` of the samples `rows`, each of the shape expected, from row `begin` on.
void store_outputs(const Sweep& sweep, const Array& value, std::size_t output,
                   const Shape& expected, std::span<const std::size_t> rows, std::size_t begin,
                   Array& to) {
  const std::size_t size = shape_elements(expected);
  if (value.elements() != size * sweep.plan.samples()) {
    fail("{}: output {} of sample {} has shape {}, that of the first sample {}",
         sweep.setup.model->path, output, rows[0], shape_text(value.shape()), shape_text(expected));
  }
  // Floats are copied from where they are; codes of missing samples are none to be looked at.
  const bool real = value.dtype() == DType::kFloat32;
  const Array made =
      real ? Array{}
           : real_values(sweep.plan.samples() > 1 ? value.slice0(0, rows.size()) : value,
                         sweep.plan.output_quant(output));
  float* out = reinterpret_cast<float*>(to.mutable_data()) + begin * size;
  const std::size_t n = rows.size() * size;
  std::memcpy(out, real ? value.data() : made.data(), n * sizeof(float));
  const OutputMap& map = sweep.setup.output_map;
  if (map.scale == 1 && map.offset == 0) return;
  for (std::size_t c = 0; c < n; ++c) out[c] = static_cast<float>(map.scale * out[c] + map.offset);
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

Predictor::Predictor(const Setup& setup, const Dataset& data, std::size_t most, std::size_t first)
    : setup_(setup), data_(data), plan_(plan_for(setup, data, most)) {
  shapes_ = output_shapes({setup_, data_, plan_}, most == 0 ? data.count : first);
  const auto& asked = setup.output_map.order;
  for (std::size_t j = 0; j < shapes_.size(); ++j)
    order_.push_back(asked.empty() ? j : static_cast<std::size_t>(asked.at(j)));
}

Predictions Predictor::room(std::size_t count) const {
  Predictions all;
  all.count = count;
  for (const std::size_t j : order_) {
    Shape shape = shapes_[j];
    if (!shape.empty() && shape[0] == 1)
      shape[0] = static_cast<std::int32_t>(count);
    else
      shape.insert(shape.begin(), static_cast<std::int32_t>(count));
    all.outputs.push_back(unset_array(DType::kFloat32, shape));
  }
  return all;
}

void Predictor::workers(int count) {
  spaces_.resize(std::max(spaces_.size(), static_cast<std::size_t>(std::max(1, count))));
}

void Predictor::run_part(int worker, std::span<const std::size_t> rows, Predictions& to,
                         std::size_t begin) {
  auto& space = spaces_.at(static_cast<std::size_t>(worker));
  if (!space) space = std::make_unique<Workspace>(plan_);
  const Sweep sweep{setup_, data_, plan_};
  sweep.each_run(rows, [&](std::size_t before, std::span<const std::size_t> some) {
    run_rows_of(sweep, some, *space);
    for (std::size_t k = 0; k < order_.size(); ++k) {
      const std::size_t j = order_[k];
      store_outputs(sweep, space->output(j), j, shapes_[j], some, begin + before, to.outputs[k]);
    }
  });
}

Predictions predict(const Setup& setup, const Dataset& data, const PredictOptions& options) {
  const double start = seconds_now();
  const std::size_t n = rows_asked(data, options);
  Predictor predictor(setup, data, std::min(n, kBlock), options.rows.empty() ? 0 : options.rows[0]);
  Predictions all = predictor.room(n);
  const int threads = threads_of(options);
  predictor.workers(threads);
  for_each_block(n, kBlock, threads,
                 [&](std::size_t, std::size_t begin, std::size_t end, int worker) {
                   predictor.run_part(worker, BlockRows(options, begin, end).all(), all, begin);
                   if (worker == 0)
                     report_progress(options.progress, "running",
                                     static_cast<double>(end) / static_cast<double>(n));
                 });
  account(data, options, start);
  return all;
}

void observe(const Setup& setup, const Dataset& data, const PredictOptions& options,
             const std::function<std::unique_ptr<BlockObserver>(std::size_t)>& make,
             const std::function<void(BlockObserver&)>& merge) {
  const double start = seconds_now();
  const std::size_t n = rows_asked(data, options);
  const Plan plan = plan_for(setup, data, std::min(n, kBlock));
  const Sweep sweep{setup, data, plan};
  const int threads = threads_of(options);
  std::vector<std::unique_ptr<Workspace>> spaces(static_cast<std::size_t>(threads));
  // Blocks finish in any order; merging in block order keeps floating-point sums independent of it.
  std::map<std::size_t, std::unique_ptr<BlockObserver>> done;
  std::size_t next = 0;
  std::mutex guard;
  for_each_block(n, kBlock, threads,
                 [&](std::size_t block, std::size_t begin, std::size_t end, int worker) {
                   auto& space = spaces[static_cast<std::size_t>(worker)];
                   if (!space) space = std::make_unique<Workspace>(plan);
                   auto observer = make(block);
                   const BlockRows asked(options, begin, end);
                   sweep.each_run(asked.all(), [&](std::size_t, std::span<const std::size_t> rows) {
                     observer->rows = rows;
                     run_rows_of(sweep, rows, *space, observer.get());
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
  account(data, options, start);
}

}  // namespace litegap
