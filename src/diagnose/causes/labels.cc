// A11: labels shifted, rotated or permuted.
//
// Both models then agree with each other and are wrong against the labels.  The renaming is read
// off one half of the samples (most frequent answer for each label, made one to one) and judged on
// all.
#include <algorithm>
#include <map>
#include <set>

#include "diagnose/cause.h"

namespace litegap {
namespace {

std::vector<std::int64_t> label_values(const Array& labels) {
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < labels.elements(); ++i) {
    if (labels.dtype() == DType::kInt64)
      out.push_back(labels.span<std::int64_t>()[i]);
    else if (labels.dtype() == DType::kInt32)
      out.push_back(labels.span<std::int32_t>()[i]);
    else if (labels.dtype() == DType::kFloat32)
      out.push_back(static_cast<std::int64_t>(labels.span<float>()[i]));
    else
      return {};
  }
  return out;
}

std::vector<int> arg_max_rows(const Array& outputs, std::size_t n) {
  const auto v = outputs.span<float>();
  const std::size_t width = v.size() / std::max<std::size_t>(1, n);
  std::vector<int> out;
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = v.subspan(i * width, width);
    out.push_back(static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin()));
  }
  return out;
}

// Greedy one-to-one renaming by counts (largest first): counts[label][answer].
std::vector<int> rename(const std::vector<std::vector<int>>& counts) {
  const std::size_t n = counts.size();
  std::vector<std::tuple<int, int, int>> pairs;
  for (std::size_t l = 0; l < n; ++l) {
    for (std::size_t a = 0; a < n; ++a) {
      if (counts[l][a] > 0)
        pairs.emplace_back(-counts[l][a], static_cast<int>(l), static_cast<int>(a));
    }
  }
  std::sort(pairs.begin(), pairs.end());
  std::vector<int> to(n, -1);
  std::vector<bool> used(n, false);
  for (const auto& [c, l, a] : pairs) {
    if (to[static_cast<std::size_t>(l)] < 0 && !used[static_cast<std::size_t>(a)]) {
      to[static_cast<std::size_t>(l)] = a;
      used[static_cast<std::size_t>(a)] = true;
    }
  }
  for (std::size_t l = 0; l < n; ++l) {
    for (std::size_t a = 0; a < n && to[l] < 0; ++a) {
      if (!used[a]) {
        to[l] = static_cast<int>(a);
        used[a] = true;
      }
    }
  }
  return to;
}

// The one shift that explains most of the renaming, if one does.
std::optional<int> common_shift(const std::vector<int>& to, const std::set<std::int64_t>& present) {
  const int n = static_cast<int>(to.size());
  std::map<int, std::size_t> votes;
  for (const std::int64_t l : present)
    ++votes[((to[static_cast<std::size_t>(l)] - static_cast<int>(l)) % n + n) % n];
  for (const auto& [shift, count] : votes) {
    if (shift != 0 && static_cast<double>(count) >= 0.75 * static_cast<double>(present.size()))
      return shift > n / 2 ? shift - n : shift;
  }
  return std::nullopt;
}

}  // namespace

std::vector<Suspect> nominate_labels(Bench& bench) {
  const Metric metric = bench.lab.metric();
  if (metric.name != "top1" || !bench.now.data.labels) return {};
  const auto labels = label_values(*bench.now.data.labels);
  const std::size_t n = bench.now.data.count;
  if (labels.size() != n || n < 20) return {};
  const Array& out = bench.measured.fl_predictions.outputs[0];
  const std::size_t classes = out.elements() / n;
  if (classes < 2 || classes > 4096) return {};
  const auto answers = arg_max_rows(out, n);
  std::vector<std::vector<int>> counts(classes, std::vector<int>(classes));
  std::set<std::int64_t> present;
  for (std::size_t i = 0; i < n; ++i) {
    if (labels[i] < 0 || labels[i] >= static_cast<std::int64_t>(classes)) continue;
    present.insert(labels[i]);
    if (i % 2 == 0)
      ++counts[static_cast<std::size_t>(labels[i])][static_cast<std::size_t>(answers[i])];
  }
  std::vector<int> to = rename(counts);
  const auto shift = common_shift(to, present);
  if (shift) {
    for (std::size_t l = 0; l < classes; ++l)
      to[l] = static_cast<int>((static_cast<long>(l) + *shift + static_cast<long>(classes)) %
                               static_cast<long>(classes));
  }
  std::size_t right = 0, right_now = 0, half = 0;
  for (std::size_t i = 1; i < n; i += 2) {
    if (labels[i] < 0 || labels[i] >= static_cast<std::int64_t>(classes)) continue;
    ++half;
    right += to[static_cast<std::size_t>(labels[i])] == answers[i];
    right_now += labels[i] == answers[i];
  }
  // Renaming must explain nearly everything on samples it was not read from, and be a real change.
  if (half == 0 || static_cast<double>(right) < 0.7 * static_cast<double>(half) ||
      static_cast<double>(right - std::min(right, right_now)) < 0.2 * static_cast<double>(half))
    return {};
  Suspect s;
  s.harness = true;
  s.cause = "A11";
  s.slug = shift ? "labels-shifted" : "labels-permuted";
  s.title = shift ? fmt::format("Labels are off by {}", *shift) : "Labels are permuted";
  s.heal = EditLabels{to};
  const Array original = *bench.now.data.labels;
  s.inject = [original](const World& healed) {
    World w = healed;
    w.data.labels = original;
    return w;
  };
  s.says = [=](double before, double after) {
    return fmt::format(
        "Accuracy is wrong because the labels are: the models agree with each other, and top-1 "
        "goes from {} to {} once label l is read as class {}.",
        metric_text(metric, before), metric_text(metric, after),
        shift ? fmt::format("l {} {}", *shift < 0 ? "-" : "+", std::abs(*shift))
              : "given by the table in the fix");
  };
  std::string table;
  for (const std::int64_t l : present) {
    if (to[static_cast<std::size_t>(l)] != l && table.size() < 400)
      table +=
          fmt::format("{}{} -> {}", table.empty() ? "" : ", ", l, to[static_cast<std::size_t>(l)]);
  }
  s.fix = {"advice", shift ? fmt::format("class = label {} {} (of {} classes)",
                                         *shift < 0 ? "-" : "+", std::abs(*shift), classes)
                           : "read labels as: " + table};
  return {s};
}

}  // namespace litegap
