#include "base/team.h"

namespace litegap {
namespace {

// What is written for a turn may change again when it is closed and nobody is inside.
constexpr std::uint32_t kInside = 0xffff, kOpen = 1u << 16, kTurn = 1u << 17;
constexpr int kLooks = 4000;  // some twenty microseconds

std::uint32_t turn_of(std::uint32_t state) { return state / kTurn; }

void breathe() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

// The first state that is wanted.
template <class Wanted>
std::uint32_t await(const std::atomic<std::uint32_t>& state, const Wanted& wanted) {
  for (int i = 0;; ++i) {
    const std::uint32_t now = state.load(std::memory_order_acquire);
    if (wanted(now)) return now;
    if (i < kLooks)
      breathe();
    else
      state.wait(now, std::memory_order_acquire);
  }
}

}  // namespace

Team::Team(int threads) {
  for (int w = 1; w < threads; ++w) others_.emplace_back([this, w] { serve(w); });
}

Team::~Team() {
  body_ = nullptr;
  state_.store((turn_of(state_) + 1) * kTurn | kOpen, std::memory_order_release);
  state_.notify_all();
  for (std::thread& t : others_) t.join();
}

void Team::take_pieces(int worker) {
  for (std::size_t p = next_++; p < pieces_; p = next_++) body_(argument_, p, worker);
}

void Team::serve(int worker) {
  for (std::uint32_t last = 0;;) {
    std::uint32_t state =
        await(state_, [&](std::uint32_t s) { return (s & kOpen) != 0 && turn_of(s) != last; });
    if (!state_.compare_exchange_strong(state, state + 1, std::memory_order_acq_rel)) continue;
    last = turn_of(state);
    if (body_ == nullptr) return;
    take_pieces(worker);
    if (((state_.fetch_sub(1, std::memory_order_acq_rel) - 1) & kInside) == 0) state_.notify_all();
  }
}

void Team::share_each(std::size_t pieces, Body body, void* argument) {
  body_ = body;
  argument_ = argument;
  pieces_ = pieces;
  next_ = 0;
  if (others_.empty()) return take_pieces(0);
  state_.store((turn_of(state_) + 1) * kTurn | kOpen, std::memory_order_release);
  state_.notify_all();
  take_pieces(0);
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  await(state_, [](std::uint32_t s) { return (s & kInside) == 0; });
}

}  // namespace litegap
