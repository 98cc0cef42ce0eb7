// NON_MAX_SUPPRESSION_V4 and V5, and TFLite_Detection_PostProcess.
//
// All keep the best of the boxes that overlap.  Two boxes overlap by their intersection over their
// union.  V5 may lower the score of an overlapping box by exp(-iou^2 / (2 sigma)) instead of
// dropping it; such a box goes back into the queue with its new score.
//
//   boxes a and b overlap by 0.8, scores 0.9 and 0.7, threshold 0.5 -> only a
//   with sigma 0.5: b stays with 0.7 * exp(-0.64) = 0.37
#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

#include "kernels/arithmetic_ops.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

struct Box {
  float y0, x0, y1, x1;
};

float area(const Box& b) { return (b.y1 - b.y0) * (b.x1 - b.x0); }

float overlap(const Box& a, const Box& b) {
  const float area_a = area(a), area_b = area(b);
  if (area_a <= 0 || area_b <= 0) return 0.0f;
  const float h = std::max(std::min(a.y1, b.y1) - std::max(a.y0, b.y0), 0.0f);
  const float w = std::max(std::min(a.x1, b.x1) - std::max(a.x0, b.x0), 0.0f);
  return h * w / (area_a + area_b - h * w);
}

// ---- NON_MAX_SUPPRESSION: corners in any order
Box corners(const float* b) {
  return {std::min(b[0], b[2]), std::min(b[1], b[3]), std::max(b[0], b[2]), std::max(b[1], b[3])};
}

struct Candidate {
  std::int32_t index = 0;
  float score = 0;
  std::int32_t seen = 0;  // selected boxes that it has been compared with
};

struct Suppression {
  std::int32_t boxes = 0, most = 0;
  bool soft = false;  // V5: has a sigma and gives scores

  void operator()(const Io& io) const noexcept {
    const auto* box = static_cast<const float*>(io.inputs[0]);
    const auto* scores = static_cast<const float*>(io.inputs[1]);
    const auto number = [&](std::size_t i) { return *static_cast<const float*>(io.inputs[i]); };
    const float iou = number(3), least = number(4), sigma = soft ? number(5) : 0.0f;
    auto* queue = reinterpret_cast<Candidate*>(io.scratch);
    auto* chosen = static_cast<std::int32_t*>(io.outputs[0]);
    auto* kept = soft ? static_cast<float*>(io.outputs[1]) : nullptr;
    const auto lower = [](const Candidate& a, const Candidate& b) { return a.score < b.score; };
    std::int32_t waiting = 0, count = 0;
    for (std::int32_t i = 0; i < boxes; ++i) {
      if (!(scores[i] > least)) continue;
      queue[waiting++] = {i, scores[i], 0};
      std::push_heap(queue, queue + waiting, lower);
    }
    const std::int32_t wanted = std::min(waiting, most);
    while (count < wanted && waiting > 0) {
      std::pop_heap(queue, queue + waiting, lower);
      Candidate next = queue[--waiting];
      const float before = next.score;
      bool dropped = false;
      for (std::int32_t j = count - 1; j >= next.seen; --j) {
        const float o = overlap(corners(box + 4 * next.index), corners(box + 4 * chosen[j]));
        if (o >= iou) {
          dropped = true;
          break;
        }
        if (sigma > 0) next.score *= std::exp(-0.5f / sigma * o * o);
        if (next.score <= least) break;
      }
      next.seen = count;
      if (dropped) continue;
      if (next.score == before) {
        chosen[count] = next.index;
        if (kept != nullptr) kept[count] = next.score;
        ++count;
        continue;
      }
      if (next.score > least) {
        queue[waiting++] = next;
        std::push_heap(queue, queue + waiting, lower);
      }
    }
    for (std::int32_t i = count; i < most; ++i) {
      chosen[i] = 0;
      if (kept != nullptr) kept[i] = 0;
    }
    *static_cast<std::int32_t*>(io.outputs[soft ? 2 : 1]) = count;
  }
};

std::unique_ptr<Kernel> prepare_suppression(OpSpec& spec) {
  Suppression s;
  s.soft = spec.op->code == OpCode::kNonMaxSuppressionV5;
  expect_inputs(spec, s.soft ? 6 : 5, s.soft ? 6 : 5);
  expect_outputs(spec, s.soft ? 3 : 2);
  const Shape& boxes = spec.inputs[0].shape;
  if (boxes.size() != 2 || boxes[1] != 4 || spec.inputs[1].shape != Shape{boxes[0]})
    refuse(spec, "boxes of shape {} and scores of shape {}", shape_text(boxes),
           shape_text(spec.inputs[1].shape));
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const DType want = i == 2 ? DType::kInt32 : DType::kFloat32;
    if (spec.inputs[i].dtype != want)
      refuse(spec, "input {} is {}, expected {}", i, dtype_name(spec.inputs[i].dtype),
             dtype_name(want));
    if (i >= 2 && !spec.inputs[i].shape.empty()) refuse(spec, "input {} is not a scalar", i);
  }
  const auto most = plan_integers(spec, 2, "number of boxes");
  if (most[0] < 0) refuse(spec, "{} boxes to select", most[0]);
  s.boxes = boxes[0];
  s.most = checked_dim(spec, most[0]);
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    const bool count = i + 1 == spec.outputs.size();
    const DType want = s.soft && i == 1 ? DType::kFloat32 : DType::kInt32;
    if (spec.outputs[i].dtype != want)
      refuse(spec, "output {} is {}, expected {}", i, dtype_name(spec.outputs[i].dtype),
             dtype_name(want));
    spec.outputs[i].shape = count ? Shape{} : Shape{s.most};
  }
  return make_kernel(s, sizeof(Candidate) * (static_cast<std::size_t>(s.boxes) + 1));
}

// ---- TFLite_Detection_PostProcess
// Boxes come as offsets from anchors (center and size), scores one a class; with one class more
// than the options say, the first is the background.
//
// Boxes are taken from a heap, best first, and compared with the few that stayed before them: where
// ten are wanted of thousands, neither their order nor their places are computed.

// Eight floats at any address.
typedef float Lanes __attribute__((vector_size(32), aligned(4), may_alias));

// What std::max_element finds: a NaN counts only where it is the first.
float largest(const float* v, std::int32_t n) {
  Lanes most = Lanes{} + v[0];
  std::int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Lanes next = *reinterpret_cast<const Lanes*>(v + i);
    most = most < next ? next : most;
  }
  float best = most[0];
  for (int k = 1; k < 8; ++k) best = best < most[k] ? most[k] : best;
  for (; i < n; ++i) best = best < v[i] ? v[i] : best;
  return best;
}

struct Found {
  std::int32_t box = 0, label = 0, serial = 0;
  float score = 0;
};

struct Detection {
  std::int32_t boxes = 0, columns = 0, classes = 0;  // columns: classes and perhaps background
  std::int32_t most = 0, per_box = 1, per_class = 100;
  std::int32_t rows_out = 0;
  bool regular = false;
  float least = 0, iou = 0;
  double y_scale = 1, x_scale = 1, h_scale = 1, w_scale = 1;
  bool codes = false;  // uint8 operands
  ScaleZero box_scale, score_scale, anchor_scale;

  std::int32_t background() const { return columns - classes; }
  std::int32_t best() const { return std::min(per_box, classes); }  // classes of a box
  std::int32_t limit() const { return std::min(most, boxes); }      // boxes that can stay at once
  std::int32_t class_limit() const { return std::min(per_class, limit()); }

  // Room for one run.
  struct Work {
    float *score, *row;           // of each box; of one box's classes
    std::int32_t *heap, *labels;  // boxes; classes
    Box* kept;                    // places of the boxes that stayed
    std::int32_t* stayed;         // and which they are
    Found* found;
  };
  // Sizes of the parts, and the parts themselves where there is memory.
  std::size_t lay_out(std::byte* memory, Work* work) const {
    std::size_t at = 0;
    const auto part = [&](auto** where, std::size_t count) {
      if (work != nullptr)
        *where = reinterpret_cast<std::remove_reference_t<decltype(*where)>>(memory + at);
      at += (count * sizeof(**where) + 63) / 64 * 64;
    };
    Work none{};
    Work& w = work == nullptr ? none : *work;
    const auto n = static_cast<std::size_t>(boxes), wide = static_cast<std::size_t>(columns),
               few = static_cast<std::size_t>(limit());
    part(&w.score, n);
    part(&w.row, wide);
    part(&w.heap, n);
    part(&w.labels, wide);
    part(&w.kept, few);
    part(&w.stayed, few);
    part(&w.found, regular
                       ? static_cast<std::size_t>(most) + static_cast<std::size_t>(class_limit())
                       : few * static_cast<std::size_t>(best()));
    return at;
  }

  static float real(const void* data, std::size_t i, bool code, ScaleZero s) {
    if (!code) return static_cast<const float*>(data)[i];
    const std::int32_t q = static_cast<const std::uint8_t*>(data)[i];
    return static_cast<float>(s.scale * static_cast<float>(q - s.zero));
  }

  // The scores of a box, without the background.
  const float* scores_of(const Io& io, std::int32_t box, float* row) const {
    const std::size_t first = static_cast<std::size_t>(box) * static_cast<std::size_t>(columns) +
                              static_cast<std::size_t>(background());
    if (!codes) return static_cast<const float*>(io.inputs[1]) + first;
    for (std::size_t k = 0; k < static_cast<std::size_t>(classes); ++k)
      row[k] = real(io.inputs[1], first + k, true, score_scale);
    return row;
  }

  Box decode(const Io& io, std::int32_t box) const {
    float b[4], a[4];
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t at = 4 * static_cast<std::size_t>(box) + k;
      b[k] = real(io.inputs[0], at, codes, box_scale);
      a[k] = real(io.inputs[2], at, codes, anchor_scale);
    }
    const double ay = a[0], ax = a[1], ah = a[2], aw = a[3];
    const auto y = static_cast<float>(b[0] / y_scale * ah + ay);
    const auto x = static_cast<float>(b[1] / x_scale * aw + ax);
    const auto h = static_cast<float>(0.5 * std::exp(b[2] / h_scale) * ah);
    const auto w = static_cast<float>(0.5 * std::exp(b[3] / w_scale) * aw);
    return {y - h, x - w, y + h, x + w};
  }

  // The boxes that stay go to w.stayed and w.kept, best first; how many they are.
  std::int32_t suppress(const Io& io, const Work& w, std::int32_t most_kept) const {
    const float* score = w.score;
    const auto after = [score](std::int32_t a, std::int32_t b) {
      return score[a] < score[b] || (score[a] == score[b] && a > b);
    };
    std::int32_t waiting = 0, count = 0;
    for (std::int32_t i = 0; i < boxes; ++i) {
      if (score[i] >= least) w.heap[waiting++] = i;
    }
    std::make_heap(w.heap, w.heap + waiting, after);
    while (waiting > 0 && count < most_kept) {
      std::pop_heap(w.heap, w.heap + waiting, after);
      const std::int32_t next = w.heap[--waiting];
      const Box place = decode(io, next);
      const bool dropped = std::any_of(w.kept, w.kept + count,
                                       [&](const Box& k) { return overlap(k, place) > iou; });
      if (dropped) continue;
      w.kept[count] = place;
      w.stayed[count++] = next;
    }
    return count;
  }

  // Each box once, with its best classes.
  std::int32_t fast(const Io& io, const Work& w) const {
    with_vectors([&] {
      for (std::int32_t i = 0; i < boxes; ++i)
        w.score[i] = largest(scores_of(io, i, w.row), classes);
    });
    std::int32_t count = 0;
    const std::int32_t stayed = suppress(io, w, limit());
    for (std::int32_t i = 0; i < stayed; ++i) {
      const float* s = scores_of(io, w.stayed[i], w.row);
      if (best() == 1) {
        w.labels[0] = static_cast<std::int32_t>(std::max_element(s, s + classes) - s);
      } else {
        std::iota(w.labels, w.labels + classes, 0);
        std::partial_sort(
            w.labels, w.labels + best(), w.labels + classes,
            [s](std::int32_t a, std::int32_t b) { return s[a] > s[b] || (s[a] == s[b] && a < b); });
      }
      for (std::int32_t k = 0; k < best(); ++k, ++count)
        w.found[count] = {w.stayed[i], w.labels[k], count, s[w.labels[k]]};
    }
    return count;
  }

  // Class by class, the best of all classes.
  std::int32_t by_class(const Io& io, const Work& w) const {
    std::int32_t count = 0, serial = 0;
    for (std::int32_t label = 0; label < classes; ++label) {
      for (std::int32_t i = 0; i < boxes; ++i) {
        const std::size_t at = static_cast<std::size_t>(i) * static_cast<std::size_t>(columns) +
                               static_cast<std::size_t>(background() + label);
        w.score[i] = real(io.inputs[1], at, codes, score_scale);
      }
      const std::int32_t stayed = suppress(io, w, class_limit());
      for (std::int32_t i = 0; i < stayed; ++i)
        w.found[count++] = {w.stayed[i], label, serial++, w.score[w.stayed[i]]};
      std::sort(w.found, w.found + count, [](const Found& a, const Found& b) {
        return a.score > b.score || (a.score == b.score && a.serial < b.serial);
      });
      count = std::min(count, most);
    }
    return count;
  }

  void operator()(const Io& io) const noexcept {
    Work w{};
    lay_out(io.scratch, &w);
    const std::int32_t count = regular ? by_class(io, w) : fast(io, w);
    auto* out_box = static_cast<float*>(io.outputs[0]);
    auto* out_class = static_cast<float*>(io.outputs[1]);
    auto* out_score = static_cast<float*>(io.outputs[2]);
    std::fill_n(out_box, 4 * rows_out, 0.0f);
    std::fill_n(out_class, rows_out, 0.0f);
    std::fill_n(out_score, rows_out, 0.0f);
    // A box with fewer classes than places leaves the rest of its places empty.
    const std::int32_t classes_each = regular ? 1 : best(), places = regular ? 1 : per_box;
    for (std::int32_t i = 0; i < count; ++i) {
      const std::int32_t at = i / classes_each * places + i % classes_each;
      if (at >= rows_out) break;
      const Box b = decode(io, w.found[i].box);
      const float values[] = {b.y0, b.x0, b.y1, b.x1};
      std::copy_n(values, 4, out_box + 4 * at);
      out_class[at] = static_cast<float>(w.found[i].label);
      out_score[at] = w.found[i].score;
    }
    *static_cast<float*>(io.outputs[3]) = static_cast<float>(count / classes_each);
  }
};

double number_of(const OpSpec& spec, const char* name) {
  const auto& numbers = attrs_of<CustomAttrs>(spec).numbers;
  const auto found = numbers.find(name);
  if (found == numbers.end()) refuse(spec, "its options have no '{}'", name);
  return found->second;
}
double number_or(const OpSpec& spec, const char* name, double other) {
  const auto& numbers = attrs_of<CustomAttrs>(spec).numbers;
  const auto found = numbers.find(name);
  return found == numbers.end() ? other : found->second;
}

std::int32_t count_of(const OpSpec& spec, const char* name, double value) {
  if (!(value >= 1 && value <= 1 << 20) || value != std::floor(value))
    refuse(spec, "its option '{}' is {}", name, value);
  return static_cast<std::int32_t>(value);
}

Detection read_detection(const OpSpec& spec) {
  Detection d;
  d.most = count_of(spec, "max_detections", number_of(spec, "max_detections"));
  d.per_box =
      count_of(spec, "max_classes_per_detection", number_of(spec, "max_classes_per_detection"));
  d.per_class =
      count_of(spec, "detections_per_class", number_or(spec, "detections_per_class", 100));
  d.classes = count_of(spec, "num_classes", number_of(spec, "num_classes"));
  d.regular = number_or(spec, "use_regular_nms", 0) != 0;
  d.least = static_cast<float>(number_of(spec, "nms_score_threshold"));
  d.iou = static_cast<float>(number_of(spec, "nms_iou_threshold"));
  d.y_scale = number_of(spec, "y_scale");
  d.x_scale = number_of(spec, "x_scale");
  d.h_scale = number_of(spec, "h_scale");
  d.w_scale = number_of(spec, "w_scale");
  if (!(d.iou > 0 && d.iou <= 1)) refuse(spec, "its option 'nms_iou_threshold' is {}", d.iou);
  return d;
}

std::unique_ptr<Kernel> prepare_detection(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 4);
  Detection d = read_detection(spec);
  const Shape &boxes = spec.inputs[0].shape, &scores = spec.inputs[1].shape,
              &anchors = spec.inputs[2].shape;
  const bool fits = boxes.size() == 3 && boxes[0] == 1 && boxes[2] == 4 && scores.size() == 3 &&
                    scores[0] == 1 && scores[1] == boxes[1] && anchors == Shape{boxes[1], 4};
  if (!fits)
    refuse(spec, "boxes {}, scores {} and anchors {} do not fit each other", shape_text(boxes),
           shape_text(scores), shape_text(anchors));
  d.boxes = boxes[1];
  d.columns = scores[2];
  if (d.columns != d.classes && d.columns != d.classes + 1)
    refuse(spec, "{} scores a box for {} classes", d.columns, d.classes);
  const DType t = spec.inputs[0].dtype;
  if ((t != DType::kFloat32 && t != DType::kUint8) || spec.inputs[1].dtype != t ||
      spec.inputs[2].dtype != t)
    refuse(spec, "operands of types {}, {} and {}", dtype_name(t), dtype_name(spec.inputs[1].dtype),
           dtype_name(spec.inputs[2].dtype));
  d.codes = t == DType::kUint8;
  if (d.codes) {
    d.box_scale = scale_zero(spec, spec.inputs[0]);
    d.score_scale = scale_zero(spec, spec.inputs[1]);
    d.anchor_scale = scale_zero(spec, spec.inputs[2]);
  }
  const std::int64_t rows = std::int64_t{d.most} * d.per_box;
  d.rows_out = checked_dim(spec, rows);
  for (const Operand& o : spec.outputs) {
    if (o.dtype != DType::kFloat32) refuse(spec, "output {} is {}", o.name, dtype_name(o.dtype));
  }
  spec.outputs[0].shape = {1, d.rows_out, 4};
  spec.outputs[1].shape = spec.outputs[2].shape = {1, d.rows_out};
  spec.outputs[3].shape = {1};
  return make_kernel(d, d.lay_out(nullptr, nullptr));
}

constexpr KernelRow kRows[] = {
    {OpCode::kNonMaxSuppressionV4, prepare_suppression, "float32"},
    {OpCode::kNonMaxSuppressionV5, prepare_suppression, "float32"},
    {OpCode::kCustom, prepare_detection, "float32 uint8", "TFLite_Detection_PostProcess"},
};

}  // namespace

std::span<const KernelRow> detection_kernel_rows() { return kRows; }

}  // namespace litegap
