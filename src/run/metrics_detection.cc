// Mean average precision at an overlap of 0.5: score threshold 0.05, per-class suppression at 0.5,
// all-point interpolation, mean over the classes that occur.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "run/metrics_prepare.h"

namespace litegap {
namespace {

constexpr double kScoreThreshold = 0.05, kSuppression = 0.5, kMatch = 0.5;

struct Box {
  double cx = 0, cy = 0, w = 0, h = 0;
};

double overlap(const Box& a, const Box& b) {
  const double iw =
      std::min(a.cx + a.w / 2, b.cx + b.w / 2) - std::max(a.cx - a.w / 2, b.cx - b.w / 2);
  const double ih =
      std::min(a.cy + a.h / 2, b.cy + b.h / 2) - std::max(a.cy - a.h / 2, b.cy - b.h / 2);
  if (!(iw > 0) || !(ih > 0)) return 0;
  const double unite = a.w * a.h + b.w * b.h - iw * ih;
  return unite > 0 ? iw * ih / unite : 0;
}

struct Detection {
  double score = 0;
  bool right = false;
  std::size_t sample = 0;
};

struct ClassBoxes {
  std::vector<Detection> detections;  // best score first
  std::vector<double> truths;         // true boxes of each sample
};

Box box_at(std::span<const float> row, std::size_t at) {
  return {row[at], row[at + 1], row[at + 2], row[at + 3]};
}

// The candidates of one sample and class that survive suppression, best first.
std::vector<std::size_t> survivors(std::span<const float> sample, std::size_t width,
                                   std::size_t c) {
  std::vector<std::size_t> order, keep;
  const auto score = [&](std::size_t k) { return sample[k * width + 4 + c]; };
  for (std::size_t k = 0; k < sample.size() / width; ++k) {
    if (score(k) > kScoreThreshold) order.push_back(k);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return score(a) > score(b); });
  for (const std::size_t k : order) {
    const Box box = box_at(sample, k * width);
    const bool apart = std::all_of(keep.begin(), keep.end(), [&](std::size_t m) {
      return overlap(box, box_at(sample, m * width)) < kSuppression;
    });
    if (apart) keep.push_back(k);
  }
  return keep;
}

void match_sample(std::span<const float> sample, std::size_t width, std::size_t c,
                  const std::vector<Box>& truths, std::size_t index, ClassBoxes& out) {
  std::vector<bool> used(truths.size(), false);
  for (const std::size_t k : survivors(sample, width, c)) {
    double best = kMatch;
    std::size_t found = truths.size();
    for (std::size_t m = 0; m < truths.size(); ++m) {
      const double v = overlap(box_at(sample, k * width), truths[m]);
      if (used[m] || !(v >= best)) continue;
      best = v;
      found = m;
    }
    if (found < truths.size()) used[found] = true;
    out.detections.push_back({sample[k * width + 4 + c], found < truths.size(), index});
  }
}

// NaN when the class does not occur.
double average_precision(const ClassBoxes& boxes, std::span<const double> weights) {
  double truths = 0;
  for (std::size_t i = 0; i < boxes.truths.size(); ++i) truths += weights[i] * boxes.truths[i];
  if (truths == 0) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> recall, precision;
  double right = 0, all = 0;
  for (const Detection& d : boxes.detections) {
    const double w = weights[d.sample];
    if (w == 0) continue;
    right += d.right ? w : 0;
    all += w;
    recall.push_back(right / truths);
    precision.push_back(right / all);
  }
  double area = 0, largest = 0;
  for (std::size_t k = precision.size(); k-- > 0;) {
    largest = std::max(largest, precision[k]);
    area += (recall[k] - (k == 0 ? 0 : recall[k - 1])) * largest;
  }
  return area;
}

}  // namespace

Prepared prepare_map50(const ScoreInput& in) {
  if (in.data == nullptr || !in.data->labels) fail("metric map50 needs labels");
  const ScoreRows rows = output_rows(*in.predictions);
  const auto width = static_cast<std::size_t>(in.predictions->outputs[0].shape().back());
  const Targets t = targets_of(*in.data);
  if (t.rows != rows.count || t.columns % 5 != 0 || width < 5 || rows.width % width != 0) {
    fail("metric map50: labels are {} rows of {}, outputs {} rows of {}", t.rows, t.columns,
         rows.count, rows.width);
  }
  std::vector<ClassBoxes> classes(width - 4);
  for (std::size_t c = 0; c < classes.size(); ++c) {
    for (std::size_t i = 0; i < rows.count; ++i) {
      std::vector<Box> truths;
      for (std::size_t g = 0; g < t.columns; g += 5) {
        const auto box = t.row(i).subspan(g, 5);
        if (static_cast<long>(box[0]) == static_cast<long>(c)) {
          truths.push_back({box[1], box[2], box[3], box[4]});
        }
      }
      classes[c].truths.push_back(static_cast<double>(truths.size()));
      match_sample(rows.row(i), width, c, truths, i, classes[c]);
    }
    std::stable_sort(classes[c].detections.begin(), classes[c].detections.end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
  }
  Prepared p;
  p.units = rows.count;
  p.value = [classes = std::move(classes)](std::span<const double> weights) {
    double sum = 0, present = 0;
    for (const ClassBoxes& boxes : classes) {
      const double ap = average_precision(boxes, weights);
      if (std::isnan(ap)) continue;
      sum += ap;
      present += 1;
    }
    return present > 0 ? sum / present : std::numeric_limits<double>::quiet_NaN();
  };
  return p;
}

}  // namespace litegap
