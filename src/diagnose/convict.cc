#include "diagnose/convict.h"

#include <algorithm>
#include <cmath>

namespace litegap {
namespace {

struct Trial {
  World world;
  Outcome outcome;
  double gain = 0;  // of the judged answers
  double float_gain = 0;
  Paired paired;  // of what the decision is taken on
};

Trial try_heal(Bench& bench, const Suspect& s) {
  Trial t;
  t.world = apply(bench.now, s.heal);
  t.outcome = bench.lab.measure(t.world);
  t.gain = bench.lab.loss(t.outcome.qt, bench.measured.qt);
  t.float_gain = bench.lab.loss(t.outcome.fl, bench.measured.fl);
  const bool by_float = s.harness && std::fabs(t.float_gain) > std::fabs(t.gain);
  const auto& before = by_float ? bench.measured.fl_predictions : bench.measured.qt_predictions;
  const auto& after = by_float ? t.outcome.fl_predictions : t.outcome.qt_predictions;
  t.paired =
      bench.lab.paired(after, t.world.data, before, bench.now.data, t.outcome.fl_predictions);
  return t;
}

// Smallest gain worth a finding.
double least_gain(const Bench& bench, const Suspect& s) {
  const Metric& m = bench.lab.metric();
  const double floor = m.fraction ? 0.01 : 0.05 * std::fabs(bench.measured.fl);
  if (s.harness) return m.fraction ? 0.03 : 0.2 * std::fabs(bench.measured.fl);
  return std::max(floor, 0.2 * bench.remaining());
}

bool convicts(const Bench& bench, const Suspect& s, const Trial& t) {
  const double gain = s.harness ? std::max(t.gain, t.float_gain) : t.gain;
  return std::isfinite(gain) && gain >= least_gain(bench, s) && t.paired.p_value < 0.01;
}

}  // namespace

double normal_loss(const Metric& metric, double reference) {
  return metric.fraction ? 0.02 : 0.25 * std::fabs(reference);
}

std::vector<std::pair<Suspect, Finding>> convict_all(Bench& bench,
                                                     const std::vector<CauseRow>& rows) {
  std::vector<std::pair<Suspect, Finding>> convicted;
  for (int round = 0; round < 6; ++round) {
    std::optional<std::pair<Suspect, Trial>> best;
    for (const CauseRow& row : rows) {
      for (Suspect& s : row.nominate(bench)) {
        const bool known = std::any_of(convicted.begin(), convicted.end(),
                                       [&](const auto& c) { return c.first.cause == s.cause; });
        if (known) continue;
        Trial t = try_heal(bench, s);
        if (!convicts(bench, s, t)) {
          bench.decisions->push_back(
              {"suspect " + s.cause,
               "acquitted",
               fmt::format("{}: removing it moves {} by {:.4g}, p = {:.3g}", s.title,
                           bench.lab.metric().name, t.gain, t.paired.p_value),
               {}});
          continue;
        }
        const double strength = std::max(t.gain, s.harness ? t.float_gain : t.gain);
        if (!best ||
            strength > std::max(best->second.gain,
                                best->first.harness ? best->second.float_gain : best->second.gain))
          best.emplace(std::move(s), std::move(t));
      }
    }
    if (!best) break;
    auto& [s, t] = *best;
    Finding f;
    f.cause = s.cause;
    f.slug = s.slug;
    f.title = s.title;
    f.where = s.where;
    f.fix = s.fix;
    f.edits = {s.heal};
    f.recovers = t.gain;
    f.interval = bench.lab
                     .paired(t.outcome.qt_predictions, t.world.data, bench.measured.qt_predictions,
                             bench.now.data, t.outcome.fl_predictions)
                     .interval;
    f.says = s.says(bench.measured.qt, t.outcome.qt);
    bench.now = t.world;
    bench.measured = t.outcome;
    convicted.emplace_back(s, std::move(f));
    const bool harness = convicted.back().first.harness;
    if (!harness && bench.remaining() <= normal_loss(bench.lab.metric(), bench.measured.fl)) break;
  }
  return convicted;
}

void inject_all(Bench& bench, std::vector<std::pair<Suspect, Finding>>& convicted) {
  for (auto& [s, f] : convicted) {
    const Outcome sick = bench.lab.measure(s.inject(bench.now));
    const double injected = bench.lab.loss(bench.measured.qt, sick.qt);
    const double injected_float = s.harness ? bench.lab.loss(bench.measured.fl, sick.fl) : injected;
    f.injects = injected;
    const double wanted = 0.25 * std::max(0.0, f.recovers);
    f.proved =
        std::isfinite(injected) && std::max(injected, injected_float) >= std::max(wanted, 1e-9);
  }
}

}  // namespace litegap
