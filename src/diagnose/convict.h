// The experiments that convict a suspect.
#pragma once
#include <vector>

#include "diagnose/cause.h"

namespace litegap {

// Loss that is usual for a good quantized file: 0.02 for fractions, a quarter of the float error
// else.
double normal_loss(const Metric& metric, double reference);

// Nominates the causes of `rows` against bench.now, convicts the strongest, applies its edits, and
// goes on with what remains until nothing convicts.  Convicted findings have `recovers` and `says`
// set; bench.now and bench.measured are moved on.
std::vector<std::pair<Suspect, Finding>> convict_all(Bench& bench,
                                                     const std::vector<CauseRow>& rows);

// The second half of the proof, once the healed world is known: puts each cause back alone.
void inject_all(Bench& bench, std::vector<std::pair<Suspect, Finding>>& convicted);

}  // namespace litegap
