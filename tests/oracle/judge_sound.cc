// The judge of frequencies and of boxes.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <numbers>

#include "oracle/op_case.h"
#include "oracle/sketch.h"

namespace litegap::oracle {
namespace {

constexpr double kRounded = 1e-6;

double option(const Node& n, const char* name, double other = 0) {
  const auto& numbers = n.attrs<CustomAttrs>().numbers;
  const auto found = numbers.find(name);
  return found == numbers.end() ? other : found->second;
}

// ---- frequencies
Verdict fourier(const Node& n) {
  const auto size = integers_of(n.array(1));
  const Grid y = rfft2d(grid_of(n.array(0)), static_cast<std::int32_t>(size[0]),
                        static_cast<std::int32_t>(size[1]));
  Shape out(y.shape.begin(), y.shape.end() - 1);
  Array a = Array::zeros(DType::kComplex64, out);
  for (std::size_t i = 0; i < y.at.size(); ++i) {
    const auto v = static_cast<float>(y.at[i]);
    std::memcpy(a.mutable_data() + 4 * i, &v, 4);
  }
  return {{a}, kRounded};
}
void make_fourier(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 2, 3, 6);
  s.add(op, NoAttrs{}, {x, s.numbers({1 << s.draw.in(0, 3), 1 << s.draw.in(0, 3)})},
        {{DType::kComplex64}});
}

Verdict spectrogram(const Node& n) {
  const auto window = static_cast<std::int32_t>(option(n, "window_size")),
             hop = static_cast<std::int32_t>(option(n, "stride"));
  std::int32_t size = 1;
  while (size < window) size *= 2;
  const Grid x = grid_of(n.array(0));
  const std::int32_t frames = x.shape[0] < window ? 0 : 1 + (x.shape[0] - window) / hop;
  const Grid y = make_grid({x.shape[1], frames, size / 2 + 1}, [&](const Shape& at) {
    std::complex<double> sum = 0;
    for (std::int32_t i = 0; i < window; ++i) {
      const double weight = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * i / window);
      sum += weight * x({at[1] * hop + i, at[0]}) *
             std::polar(1.0, -2 * std::numbers::pi * i * at[2] / size);
    }
    return option(n, "magnitude_squared") != 0 ? std::norm(sum) : std::abs(sum);
  });
  return {{array_of(y, DType::kFloat32)}, kRounded};
}
void make_spectrogram(Sketch& s, OpCode op, const Ask& ask) {
  CustomAttrs a;
  a.numbers = {{"window_size", s.draw.in(2, 9)},
               {"stride", s.draw.in(1, 4)},
               {"magnitude_squared", s.draw.in(0, 1)}};
  const int x = s.shaped(ask.type, {s.draw.in(9, 24), s.draw.in(1, 2)});
  s.add(op, a, {x}, {{ask.type}}, {}, "AudioSpectrogram");
}

// Bands are triangles on the mel scale: band b rises from the centre before it to its own, and
// falls to the next.
Verdict cepstrum(const Node& n) {
  const Grid x = grid_of(n.array(0));
  const double rate = number(n.array(1), 0);
  const auto bands = static_cast<std::int32_t>(option(n, "filterbank_channel_count"));
  const auto mel = [](double hertz) { return 1127 * std::log(1 + hertz / 700); };
  const double low = option(n, "lower_frequency_limit"), high = option(n, "upper_frequency_limit");
  const std::int32_t bins = x.shape[2];
  const double hertz = rate / 2 / (bins - 1), spacing = (mel(high) - mel(low)) / (bands + 1);
  const auto share = [&](std::int32_t bin, std::int32_t band) {
    if (bin < static_cast<std::int32_t>(1.5 + low / hertz) ||
        bin > static_cast<std::int32_t>(high / hertz))
      return 0.0;
    const double far = (mel(bin * hertz) - (mel(low) + spacing * (band + 1))) / spacing;
    return std::max(0.0, 1 - std::abs(far));
  };
  const auto coefficients = static_cast<std::int32_t>(option(n, "dct_coefficient_count"));
  const Grid y = make_grid({x.shape[0], x.shape[1], coefficients}, [&](const Shape& at) {
    double sum = 0;
    for (std::int32_t b = 0; b < bands; ++b) {
      double energy = 0;
      for (std::int32_t i = 0; i < bins; ++i)
        energy += share(i, b) * std::sqrt(x({at[0], at[1], i}));
      sum += std::log(std::max(energy, 1e-12)) * std::sqrt(2.0 / bands) *
             std::cos(at[2] * std::numbers::pi / bands * (b + 0.5));
    }
    return sum;
  });
  return {{array_of(y, DType::kFloat32)}, 1e-5};
}
void make_cepstrum(Sketch& s, OpCode op, const Ask& ask) {
  CustomAttrs a;
  const std::int32_t bands = s.draw.in(2, 8);
  a.numbers = {{"upper_frequency_limit", 4000},
               {"lower_frequency_limit", 20},
               {"filterbank_channel_count", bands},
               {"dct_coefficient_count", s.draw.in(1, bands)}};
  Array x = s.random(ask.type, {s.draw.in(1, 2), s.draw.in(1, 3), 65});
  for (std::size_t i = 0; i < x.elements(); ++i) put(x, i, std::abs(number(x, i)) + 0.1);
  s.add(op, a, {s.input(x), s.numbers({16000})}, {{ask.type}}, {}, "Mfcc");
}

// ---- boxes
struct Box {
  double y0, x0, y1, x1;
};
double area(const Box& b) { return (b.y1 - b.y0) * (b.x1 - b.x0); }
double overlap(const Box& a, const Box& b) {
  if (area(a) <= 0 || area(b) <= 0) return 0;
  const double both = std::max(0.0, std::min(a.y1, b.y1) - std::max(a.y0, b.y0)) *
                      std::max(0.0, std::min(a.x1, b.x1) - std::max(a.x0, b.x0));
  return both / (area(a) + area(b) - both);
}
Box corners(const Grid& g, std::int32_t i) {
  return {std::min(g({i, 0}), g({i, 2})), std::min(g({i, 1}), g({i, 3})),
          std::max(g({i, 0}), g({i, 2})), std::max(g({i, 1}), g({i, 3}))};
}

// Every box has a score that falls with each selected one it overlaps; the best is taken next.
Verdict suppressed(const Node& n) {
  const bool soft = n.op.code == OpCode::kNonMaxSuppressionV5;
  const Grid boxes = grid_of(n.array(0));
  std::vector<double> score = grid_of(n.array(1)).at;
  const auto most = static_cast<std::size_t>(integer(n.array(2), 0));
  const double iou = number(n.array(3), 0), least = number(n.array(4), 0),
               sigma = soft ? number(n.array(5), 0) : 0;
  std::vector<bool> gone(score.size(), false);
  std::vector<std::size_t> chosen;
  std::vector<double> kept;
  while (chosen.size() < most) {
    std::size_t best = score.size();
    for (std::size_t i = 0; i < score.size(); ++i) {
      if (!gone[i] && score[i] > least && (best == score.size() || score[i] > score[best]))
        best = i;
    }
    if (best == score.size()) break;
    chosen.push_back(best);
    kept.push_back(score[best]);
    gone[best] = true;
    for (std::size_t i = 0; i < score.size(); ++i) {
      const double o = overlap(corners(boxes, static_cast<std::int32_t>(best)),
                               corners(boxes, static_cast<std::int32_t>(i)));
      if (o >= iou) gone[i] = true;
      if (sigma > 0) score[i] *= std::exp(-0.5 / sigma * o * o);
    }
  }
  Array index = Array::zeros(DType::kInt32, {static_cast<std::int32_t>(most)}),
        scores = Array::zeros(DType::kFloat32, {static_cast<std::int32_t>(most)});
  Array count = Array::zeros(DType::kInt32, {});
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    put_integer(index, i, static_cast<std::int64_t>(chosen[i]));
    put(scores, i, kept[i]);
  }
  put_integer(count, 0, static_cast<std::int64_t>(chosen.size()));
  if (soft) return {{index, scores, count}, kRounded};
  return {{index, count}};
}
Array one(double v) { return array_like(DType::kFloat32, {}, {v}); }
void make_suppressed(Sketch& s, OpCode op, const Ask& ask) {
  const std::int32_t n = s.draw.in(1, 9);
  Array boxes = s.random(ask.type, {n, 4}), scores = s.random(ask.type, {n});
  // Overlaps lower the size of a score: of a negative one that would be a higher score.
  for (std::size_t i = 0; i < scores.elements(); ++i) put(scores, i, std::abs(number(scores, i)));
  std::vector<int> in = {s.input(boxes), s.input(scores), s.scalar(s.draw.in(0, n)),
                         s.constant(one(static_cast<double>(s.draw.real(0.1f, 0.9f)))),
                         s.constant(one(s.draw.one_in(2) ? 0.5 : 0))};
  const bool soft = op == OpCode::kNonMaxSuppressionV5;
  if (soft) in.push_back(s.constant(one(s.draw.one_in(2) ? 0 : 0.5)));
  if (soft)
    s.add(op, NoAttrs{}, in, {{DType::kInt32}, {DType::kFloat32}, {DType::kInt32}});
  else
    s.add(op, NoAttrs{}, in, {{DType::kInt32}, {DType::kInt32}});
}

// ---- TFLite_Detection_PostProcess
Grid real_grid(const Node& n, std::size_t i) {
  Grid g = grid_of(n.array(i));
  if (n.type(i) == DType::kFloat32) return g;
  for (double& v : g.at)
    v = static_cast<double>(
        static_cast<float>(static_cast<double>(n.in[i].quant.scale[0]) *
                           (v - static_cast<double>(n.in[i].quant.zero_point[0]))));
  return g;
}
struct Found {
  std::int32_t box, label;
  double score;
};
std::vector<std::int32_t> best_of(const std::vector<Box>& box, const std::vector<double>& score,
                                  double least, double iou, std::int32_t limit) {
  std::vector<std::int32_t> order, kept;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(box.size()); ++i) {
    if (score[static_cast<std::size_t>(i)] >= least) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
  });
  for (const std::int32_t i : order) {
    bool free = static_cast<std::int32_t>(kept.size()) < limit;
    for (const std::int32_t k : kept)
      free = free &&
             !(overlap(box[static_cast<std::size_t>(k)], box[static_cast<std::size_t>(i)]) > iou);
    if (free) kept.push_back(i);
  }
  return kept;
}
Verdict detection(const Node& n) {
  const Grid offsets = real_grid(n, 0), scores = real_grid(n, 1), anchors = real_grid(n, 2);
  const std::int32_t boxes = offsets.shape[1], columns = scores.shape[2],
                     classes = static_cast<std::int32_t>(option(n, "num_classes")),
                     shift = columns - classes;
  const auto most = static_cast<std::int32_t>(option(n, "max_detections")),
             per_box = static_cast<std::int32_t>(option(n, "max_classes_per_detection"));
  const double least = static_cast<double>(static_cast<float>(option(n, "nms_score_threshold"))),
               iou = static_cast<double>(static_cast<float>(option(n, "nms_iou_threshold")));
  std::vector<Box> box;
  for (std::int32_t i = 0; i < boxes; ++i) {
    const auto o = [&](std::int32_t k) { return offsets({0, i, k}); };
    const auto a = [&](std::int32_t k) { return anchors({i, k}); };
    const double y = o(0) / option(n, "y_scale") * a(2) + a(0),
                 x = o(1) / option(n, "x_scale") * a(3) + a(1);
    const double h = 0.5 * std::exp(o(2) / option(n, "h_scale")) * a(2),
                 w = 0.5 * std::exp(o(3) / option(n, "w_scale")) * a(3);
    box.push_back({y - h, x - w, y + h, x + w});
  }
  const auto score = [&](std::int32_t i, std::int32_t label) {
    return scores({0, i, shift + label});
  };
  std::vector<Found> found;
  const bool regular = option(n, "use_regular_nms") != 0;
  const std::int32_t each_box = std::min(per_box, classes);
  if (regular) {
    for (std::int32_t label = 0; label < classes; ++label) {
      std::vector<double> of;
      for (std::int32_t i = 0; i < boxes; ++i) of.push_back(score(i, label));
      for (const std::int32_t i : best_of(
               box, of, least, iou,
               std::min(static_cast<std::int32_t>(option(n, "detections_per_class", 100)), most)))
        found.push_back({i, label, of[static_cast<std::size_t>(i)]});
      std::stable_sort(found.begin(), found.end(),
                       [](const Found& a, const Found& b) { return a.score > b.score; });
      if (static_cast<std::int32_t>(found.size()) > most)
        found.resize(static_cast<std::size_t>(most));
    }
  } else {
    std::vector<double> top;
    for (std::int32_t i = 0; i < boxes; ++i) {
      double peak = score(i, 0);
      for (std::int32_t c = 1; c < classes; ++c) peak = std::max(peak, score(i, c));
      top.push_back(peak);
    }
    for (const std::int32_t i : best_of(box, top, least, iou, most)) {
      std::vector<std::int32_t> labels;
      for (std::int32_t c = 0; c < classes; ++c) labels.push_back(c);
      std::stable_sort(labels.begin(), labels.end(),
                       [&](std::int32_t a, std::int32_t b) { return score(i, a) > score(i, b); });
      for (std::int32_t k = 0; k < each_box; ++k)
        found.push_back({i, labels[static_cast<std::size_t>(k)],
                         score(i, labels[static_cast<std::size_t>(k)])});
    }
  }
  const std::int32_t rows = most * per_box, in_row = regular ? 1 : each_box,
                     places = regular ? 1 : per_box;
  Array y = Array::zeros(DType::kFloat32, {1, rows, 4}),
        label = Array::zeros(DType::kFloat32, {1, rows}),
        value = Array::zeros(DType::kFloat32, {1, rows});
  for (std::size_t k = 0; k < found.size(); ++k) {
    const auto i = static_cast<std::int32_t>(k);
    const auto at = static_cast<std::size_t>(i / in_row * places + i % in_row);
    const Box& b = box[static_cast<std::size_t>(found[k].box)];
    put(y, 4 * at, b.y0), put(y, 4 * at + 1, b.x0), put(y, 4 * at + 2, b.y1),
        put(y, 4 * at + 3, b.x1);
    put(label, at, found[k].label);
    put(value, at, found[k].score);
  }
  const double count =
      regular ? static_cast<double>(found.size()) : static_cast<double>(found.size()) / each_box;
  return {{y, label, value, array_like(DType::kFloat32, {1}, {count})}, kRounded};
}
void make_detection(Sketch& s, OpCode op, const Ask& ask) {
  CustomAttrs a;
  const std::int32_t boxes = s.draw.in(1, 8), classes = s.draw.in(1, 3);
  a.numbers = {{"max_detections", s.draw.in(1, 5)},
               {"max_classes_per_detection", s.draw.in(1, 2)},
               {"num_classes", classes},
               {"use_regular_nms", s.draw.in(0, 1)},
               {"nms_score_threshold", 0.1},
               {"nms_iou_threshold", 0.5},
               {"y_scale", 10},
               {"x_scale", 10},
               {"h_scale", 5},
               {"w_scale", 5},
               {"detections_per_class", 4}};
  Array anchors = s.random(ask.type, {boxes, 4});
  if (ask.type == DType::kFloat32) {  // sizes are positive
    for (std::size_t i = 0; i < anchors.elements(); ++i)
      put(anchors, i, i % 4 < 2 ? number(anchors, i) : std::abs(number(anchors, i)) + 0.5);
  }
  const Quant q = ask.type == DType::kUint8 ? quant_of(1.0f / 64, 0) : Quant{};
  const int x = s.input(s.random(ask.type, {1, boxes, 4}), q);
  const int scores = s.input(s.random(ask.type, {1, boxes, classes + s.draw.in(0, 1)}), q);
  s.add(op, a, {x, scores, s.constant(anchors, q)},
        {{DType::kFloat32}, {DType::kFloat32}, {DType::kFloat32}, {DType::kFloat32}}, {},
        "TFLite_Detection_PostProcess");
}

constexpr Judge kJudges[] = {
    {OpCode::kRfft2d, fourier, make_fourier},
    {OpCode::kCustom, spectrogram, make_spectrogram, false, "AudioSpectrogram"},
    {OpCode::kCustom, cepstrum, make_cepstrum, false, "Mfcc"},
    {OpCode::kNonMaxSuppressionV4, suppressed, make_suppressed},
    {OpCode::kNonMaxSuppressionV5, suppressed, make_suppressed},
    {OpCode::kCustom, detection, make_detection, false, "TFLite_Detection_PostProcess"},
};

}  // namespace

std::span<const Judge> sound_judges() { return kJudges; }

}  // namespace litegap::oracle
