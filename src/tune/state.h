// What a search has measured, as it lies on disk: tune-state.json beside the candidates.
//
// It is believed only as far as it can be checked.  A key says which question was asked (model,
// samples, metric, seed): the answers to another one are of no use.  A sum over the list shows that
// nobody edited it, and every candidate's file must still have the bytes that were measured.  What
// does not pass is measured again; damage is never an error.
//
//   truncated file, edited number, other seed   nothing is known
//   one candidate's file changed or gone        that one is not known, the others are
#pragma once
#include <string>
#include <vector>

#include "tune/tune.h"

namespace litegap {

// Of everything that the measured values depend on; limits and budget only choose among them.
std::uint64_t search_key(const Model& model, const Dataset& measure, const Dataset& calibration,
                         const TuneRequest& request);

std::uint64_t file_hash(const std::string& path);  // throws Error

void write_search(const std::string& path, std::uint64_t key,
                  const std::vector<Candidate>& candidates);  // throws Error
std::vector<Candidate> read_search(const std::string& path, std::uint64_t key);

}  // namespace litegap
