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
  struct Truths {
    std::size_t sample = 0;
    double count = 0;
  };
  std::vector<Detection> detections;  // best score first
  std::vector<Truths> truths;         // true boxes of each sample that has some
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
                  const std::vector<Box>& truths, std::vector<FoundBox>& out) {
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
    out.push_back({sample[k * width + 4 + c], static_cast<int>(c), found < truths.size()});
  }
}

// Calls body(class, box) for every true box of a sample whose class is below `classes`.
template <class Body>
void each_truth(const Targets& labels, std::size_t sample, std::size_t classes, const Body& body) {
  for (std::size_t g = 0; g < labels.columns; g += 5) {
    const double label = labels.at(sample, g);
    if (!(label > -1 && label < static_cast<double>(classes))) continue;
    const auto at = [&](std::size_t k) { return labels.at(sample, g + k); };
    body(static_cast<std::size_t>(label), Box{at(1), at(2), at(3), at(4)});
  }
}

// NaN when the class does not occur.
double average_precision(const ClassBoxes& boxes, std::span<const double> weights) {
  double truths = 0;
  for (const ClassBoxes::Truths& t : boxes.truths) truths += weights[t.sample] * t.count;
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

std::vector<FoundBox> found_boxes(std::span<const float> candidates, std::size_t width,
                                  const Targets& truths, std::size_t sample) {
  std::vector<std::vector<Box>> boxes(width - 4);
  each_truth(truths, sample, boxes.size(),
             [&](std::size_t c, const Box& box) { boxes[c].push_back(box); });
  std::vector<FoundBox> found;
  for (std::size_t c = 0; c < boxes.size(); ++c)
    match_sample(candidates, width, c, boxes[c], found);
  return found;
}

Prepared prepare_map50(const Judged& judged, const Targets& labels) {
  std::vector<ClassBoxes> classes(judged.sizes.last - 4);
  for (std::size_t i = 0; i < judged.boxes.size(); ++i) {
    each_truth(labels, i, classes.size(), [&](std::size_t c, const Box&) {
      auto& truths = classes[c].truths;
      if (truths.empty() || truths.back().sample != i) truths.push_back({i, 0});
      truths.back().count += 1;
    });
    for (const FoundBox& box : judged.boxes[i])
      classes[static_cast<std::size_t>(box.label)].detections.push_back({box.score, box.right, i});
  }
  for (ClassBoxes& boxes : classes) {
    std::stable_sort(boxes.detections.begin(), boxes.detections.end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
  }
  Prepared p;
  p.units = judged.boxes.size();
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
