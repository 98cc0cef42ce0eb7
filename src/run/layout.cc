#include <algorithm>

#include "run/plan_state.h"

namespace litegap {
namespace {

// The first and the last step that touches each slot; -1: none.
struct Lives {
  std::vector<int> first, last;
};

Lives lives_of(const Plan::State& state) {
  Lives lives{std::vector<int>(state.slots.size(), -1), std::vector<int>(state.slots.size(), -1)};
  for (std::size_t i = 0; i < state.steps.size(); ++i) {
    for (const auto* list : {&state.steps[i].inputs, &state.steps[i].outputs}) {
      for (const int s : *list) {
        if (s < 0) continue;
        auto& first = lives.first[static_cast<std::size_t>(s)];
        if (first < 0) first = static_cast<int>(i);
        lives.last[static_cast<std::size_t>(s)] = static_cast<int>(i);
      }
    }
  }
  return lives;
}

std::size_t room_of(const Plan::State& state, const Plan::State::Slot& slot) {
  return (slot.bytes * state.samples + 127) / 64 * 64;  // with slack for vector loads
}

// First fit in the order in which slots come to life; returns the end of what is used.
std::size_t share_arena(Plan::State& state, const Lives& lives) {
  struct Live {
    std::size_t at, bytes;
    int last;
  };
  std::vector<std::size_t> order;
  for (std::size_t s = 0; s < state.slots.size(); ++s) {
    if (!state.slots[s].constant && !state.slots[s].persistent) order.push_back(s);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lives.first[a] < lives.first[b]; });
  std::vector<Live> live;  // sorted by place
  std::size_t end = 0;
  for (const std::size_t s : order) {
    std::erase_if(live, [&](const Live& l) { return l.last < lives.first[s]; });
    const std::size_t need = room_of(state, state.slots[s]);
    std::size_t at = 0;
    auto place = live.begin();
    for (; place != live.end(); ++place) {
      if (place->at - at >= need) break;
      at = place->at + place->bytes;
    }
    live.insert(place, {at, need, lives.last[s]});
    state.slots[s].offset = at;
    end = std::max(end, at + need);
  }
  return end;
}

}  // namespace

void lay_out(Plan::State& state) {
  const Lives lives = lives_of(state);
  state.scratch_bytes = 0;
  for (const auto& step : state.steps)
    state.scratch_bytes = std::max(state.scratch_bytes, step.kernel->scratch_bytes());
  for (std::size_t s = 0; s < state.slots.size(); ++s) {
    auto& slot = state.slots[s];
    if (!slot.constant && !slot.persistent && lives.first[s] < 0) slot.persistent = true;
  }
  std::size_t end = share_arena(state, lives);
  for (auto& slot : state.slots) {
    if (slot.constant || !slot.persistent) continue;
    slot.offset = end;
    end += room_of(state, slot);
  }
  state.arena_bytes = end;
}

}  // namespace litegap
