#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace litestream::sim {

// A call that can stand still in the middle, on a stack of its own. It must have ended before it is
// destroyed: nothing unwinds it. One thread only.
class Fiber {
 public:
  // SQLite's parser and the engine's buffers need far less.
  static constexpr std::size_t kStackBytes = std::size_t{512} << 10U;

  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // From outside: runs it until it stands still or ends.
  void Resume();
  bool done() const;
  // From inside: stands still until the next Resume.
  static void Suspend();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace litestream::sim
