// The ranges of activations while a model is trained for an integer file, as moving averages of the
// batches' extremes; after every step each slot gets the scale that the quantizer would choose now.
//
//   RangeObserver o(file, slots, {.momentum = 0.99});
//   trainer.look(…);  o.follow();     // the first batch: its extremes are the ranges
//   trainer.step(…);  o.follow();     // range <- m range + (1 - m) batch's range
//
// m grows from 1/10 to the momentum: at first, while weights move fast, about the last ninth of the
// batches so far counts; after a restart all of them do.
//
// An average of extremes cuts the outermost values.  What is cut of the model's input or output is
// an error of the answer itself, so the range of an output, or of what LOGISTIC or TANH makes
// one of, never lies inside that of the last batch, and an input's, whose values do not change
// while a model is trained, holds all batches.
//
// Tensors that share one scale in the file (x -> MAX_POOL_2D -> CONCATENATION: all three) share the
// union of their ranges: the quantizer's rule takes the last one's alone, and cuts the others.
#pragma once
#include <string>
#include <vector>

#include "data/npy.h"
#include "quant/ranges.h"
#include "train/fake.h"

namespace litegap {

struct RangeOptions {
  double momentum = 0.99;
  double step_rate = 0.01;  // of learned steps
};

class RangeObserver {
 public:
  // `file`: the float model whose tensors the slots name.  The slots are referred to.
  RangeObserver(Model file, std::vector<FakeSlot>& slots, const RangeOptions& options);

  void follow();
  void restart();  // inner values are others from now on: the next batch sets their ranges
  void mark();     // settle() compares with the ranges of now
  void learn_from_now_on();  // step sizes follow their gradient
  // Ends an epoch: ranges that moved over 2 % of their width since the last call do not cut yet;
  // the others do.  Names of the former.
  std::vector<std::string> settle();

  // By tensor of the file; what quantize_static needs to choose the same scales.
  const Ranges& shared_ranges() const { return shared_; }
  const Ranges& ranges() const { return ranges_; }
  // Of activations, and constants as `file` has them.
  void set_ranges(const Ranges& ranges, const Model& file);

  // All there is to go on from.
  NamedArrays save() const;
  void load(const NamedArrays& saved);  // Error when it is of another model
  std::vector<std::string> unsettled() const;

 private:
  static constexpr double kStart = 9, kRestart = 1;
  enum class End : std::uint8_t { kNone, kInput, kOutput };  // whose scale a tensor has
  void find_ends();
  void average(const FakeSlot& s, bool first, float m, float& low, float& high) const;
  void learn(FakeSlot& s, float& low, float& high) const;
  void place();

  void see_constant(std::size_t tensor, float low, float high);

  Model file_;  // constants that are rounded like activations hold just their two ends here
  std::vector<FakeSlot>& slots_;
  RangeOptions options_;
  Ranges ranges_, before_, shared_;
  std::vector<End> ends_;            // by tensor
  std::vector<std::size_t> groups_;  // by tensor: one of those that share its scale
  double steps_ = 0;
  double haste_ = kStart;          // m = 1 - haste / (1 + haste + steps)
  std::vector<std::size_t> full_;  // values of a whole batch, by slot
};

}  // namespace litegap
