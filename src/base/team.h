// Threads for pieces of work that last microseconds: they look out for the next ones for a while
// before they go to sleep, and nobody waits for one that has not come in time.
//
//   Team team(2);
//   team.share(4, [&](std::size_t piece, int worker) { quarter[piece] = sum(piece); });
//   // all four are done, each once
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace litegap {

class Team {
 public:
  // The caller's thread and `threads` - 1 more.
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return static_cast<int>(others_.size()) + 1; }
  // Calls body(piece, worker) once for every piece in [0, pieces), worker in [0, threads()) saying
  // in which thread; returns when all are done.  It must not throw.  Not to be called by two
  // threads at once.
  template <class F>
  void share(std::size_t pieces, F&& body) {
    share_each(pieces, &call<std::remove_reference_t<F>>, &body);
  }

 private:
  using Body = void (*)(void*, std::size_t, int);
  template <class F>
  static void call(void* body, std::size_t piece, int worker) {
    (*static_cast<F*>(body))(piece, worker);
  }
  void share_each(std::size_t pieces, Body body, void* argument);
  void take_pieces(int worker);
  void serve(int worker);

  Body body_ = nullptr;  // null: the end
  void* argument_ = nullptr;
  std::size_t pieces_ = 0;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::uint32_t> state_{0};  // the turn, whether it is open, how many are inside
  std::vector<std::thread> others_;
};

}  // namespace litegap
