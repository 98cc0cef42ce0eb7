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
#include <vector>

#include "kernels/arithmetic_ops.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"

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
struct Detection {
  std::int32_t boxes = 0, columns = 0, classes = 0;  // columns: classes and perhaps background
  std::int32_t most = 0, per_box = 1, per_class = 100;
  std::int32_t rows_out = 0;
  bool regular = false;
  float least = 0, iou = 0;
  double y_scale = 1, x_scale = 1, h_scale = 1, w_scale = 1;
  bool codes = false;  // uint8 operands
  ScaleZero box_scale, score_scale, anchor_scale;

  std::vector<float> real(const void* data, std::size_t n, ScaleZero s) const {
    if (!codes) {
      const auto* v = static_cast<const float*>(data);
      return {v, v + n};
    }
    const auto* q = static_cast<const std::uint8_t*>(data);
    std::vector<float> out(n);
    for (std::size_t i = 0; i < n; ++i)
      out[i] = static_cast<float>(s.scale * static_cast<float>(q[i] - s.zero));
    return out;
  }

  std::vector<Box> decode(const Io& io) const {
    const std::size_t n = static_cast<std::size_t>(boxes);
    const auto offsets = real(io.inputs[0], 4 * n, box_scale);
    const auto anchors = real(io.inputs[2], 4 * n, anchor_scale);
    std::vector<Box> out(n);
    for (std::size_t i = 0; i < n; ++i) {
      const float *b = &offsets[4 * i], *a = &anchors[4 * i];
      const double ay = a[0], ax = a[1], ah = a[2], aw = a[3];
      const auto y = static_cast<float>(b[0] / y_scale * ah + ay);
      const auto x = static_cast<float>(b[1] / x_scale * aw + ax);
      const auto h = static_cast<float>(0.5 * std::exp(b[2] / h_scale) * ah);
      const auto w = static_cast<float>(0.5 * std::exp(b[3] / w_scale) * aw);
      out[i] = {y - h, x - w, y + h, x + w};
    }
    return out;
  }

  // Boxes that stay, best first.
  std::vector<std::int32_t> suppress(const std::vector<Box>& box, const std::vector<float>& score,
                                     std::int32_t limit) const {
    std::vector<std::int32_t> order, kept;
    for (std::int32_t i = 0; i < boxes; ++i) {
      if (score[static_cast<std::size_t>(i)] >= least) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
    });
    std::vector<bool> dropped(order.size(), false);
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (static_cast<std::int32_t>(kept.size()) >= limit) break;
      if (dropped[i]) continue;
      kept.push_back(order[i]);
      for (std::size_t j = i + 1; j < order.size(); ++j) {
        if (overlap(box[static_cast<std::size_t>(order[i])],
                    box[static_cast<std::size_t>(order[j])]) > iou)
          dropped[j] = true;
      }
    }
    return kept;
  }

  struct Found {
    std::int32_t box, label;
    float score;
  };

  // Each box once, with its best classes.
  std::vector<Found> fast(const std::vector<Box>& box, const std::vector<float>& scores) const {
    const std::int32_t shift = columns - classes, best = std::min(per_box, classes);
    std::vector<std::int32_t> ranks, order(static_cast<std::size_t>(classes));  // ranks: best a box
    ranks.reserve(static_cast<std::size_t>(boxes) * static_cast<std::size_t>(best));
    std::vector<float> top;
    top.reserve(static_cast<std::size_t>(boxes));
    for (std::int32_t i = 0; i < boxes; ++i) {
      const float* s = &scores[static_cast<std::size_t>(i * columns + shift)];
      if (best == 1) {  // the first of the largest
        ranks.push_back(static_cast<std::int32_t>(std::max_element(s, s + classes) - s));
      } else {
        std::iota(order.begin(), order.end(), 0);
        std::partial_sort(
            order.begin(), order.begin() + best, order.end(),
            [s](std::int32_t a, std::int32_t b) { return s[a] > s[b] || (s[a] == s[b] && a < b); });
        ranks.insert(ranks.end(), order.begin(), order.begin() + best);
      }
      top.push_back(s[*(ranks.end() - best)]);
    }
    std::vector<Found> found;
    for (const std::int32_t i : suppress(box, top, most)) {
      for (std::int32_t k = 0; k < best; ++k) {
        const std::int32_t label = ranks[static_cast<std::size_t>(i * best + k)];
        found.push_back({i, label, scores[static_cast<std::size_t>(i * columns + shift + label)]});
      }
    }
    return found;
  }

  // Class by class, the best of all classes.
  std::vector<Found> by_class(const std::vector<Box>& box, const std::vector<float>& scores) const {
    const std::int32_t shift = columns - classes;
    std::vector<Found> found;
    std::vector<float> score(static_cast<std::size_t>(boxes));
    for (std::int32_t label = 0; label < classes; ++label) {
      for (std::int32_t i = 0; i < boxes; ++i)
        score[static_cast<std::size_t>(i)] =
            scores[static_cast<std::size_t>(i * columns + shift + label)];
      for (const std::int32_t i : suppress(box, score, std::min(per_class, most)))
        found.push_back({i, label, score[static_cast<std::size_t>(i)]});
      std::stable_sort(found.begin(), found.end(),
                       [](const Found& a, const Found& b) { return a.score > b.score; });
      if (found.size() > static_cast<std::size_t>(most))
        found.resize(static_cast<std::size_t>(most));
    }
    return found;
  }

  void operator()(const Io& io) const noexcept {
    const std::vector<Box> box = decode(io);
    const auto scores =
        real(io.inputs[1], static_cast<std::size_t>(boxes) * static_cast<std::size_t>(columns),
             score_scale);
    const std::vector<Found> found = regular ? by_class(box, scores) : fast(box, scores);
    auto* out_box = static_cast<float*>(io.outputs[0]);
    auto* out_class = static_cast<float*>(io.outputs[1]);
    auto* out_score = static_cast<float*>(io.outputs[2]);
    std::fill_n(out_box, 4 * rows_out, 0.0f);
    std::fill_n(out_class, rows_out, 0.0f);
    std::fill_n(out_score, rows_out, 0.0f);
    // A box with fewer classes than places leaves the rest of its places empty.
    const std::int32_t best = regular ? 1 : std::min(per_box, classes),
                       places = regular ? 1 : per_box;
    for (std::size_t k = 0; k < found.size(); ++k) {
      const auto i = static_cast<std::int32_t>(k);
      const std::int32_t at = i / best * places + i % best;
      if (at >= rows_out) break;
      const Box& b = box[static_cast<std::size_t>(found[k].box)];
      const float values[] = {b.y0, b.x0, b.y1, b.x1};
      std::copy_n(values, 4, out_box + 4 * at);
      out_class[at] = static_cast<float>(found[k].label);
      out_score[at] = found[k].score;
    }
    const std::size_t count =
        regular ? found.size() : found.size() / static_cast<std::size_t>(best);
    *static_cast<float*>(io.outputs[3]) = static_cast<float>(count);
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
  return make_kernel(d);
}

constexpr KernelRow kRows[] = {
    {OpCode::kNonMaxSuppressionV4, prepare_suppression, "float32"},
    {OpCode::kNonMaxSuppressionV5, prepare_suppression, "float32"},
    {OpCode::kCustom, prepare_detection, "float32 uint8", "TFLite_Detection_PostProcess"},
};

}  // namespace

std::span<const KernelRow> detection_kernel_rows() { return kRows; }

}  // namespace litegap
