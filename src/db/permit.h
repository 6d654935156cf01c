#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// Who has it works with a database's files, alone: a step of the database, or somebody who reads a
// slice of an old state (db/old_state.h). Not a mutex: it is held across the disk, so nobody waits
// for it in a lock. A step that does not get it comes again; a reader polls for a while, and then
// is told.
class Permit {
 public:
  // Called when it is free, if somebody wanted to be told.
  explicit Permit(std::function<void()> on_free) : on_free_(std::move(on_free)) {}

  bool TryTake() { return !taken_.exchange(true); }
  void Return() {
    taken_ = false;
    if (asked_.exchange(false)) on_free_();
  }
  // True: it is ours. False: on_free will be called.
  bool TakeOrAsk() {
    asked_ = true;
    // Who has it now sees that, and calls, after it has given it back.
    return TryTake();
  }

  // Polls until it is ours; an error when the context says so.
  Result<void> Take(const Context& ctx) {
    while (!TryTake()) {
      auto waited = ctx.Wait(kPoll);
      if (!waited.ok()) return waited;
    }
    return {};
  }

  // How long to stay away when somebody else has it.
  static constexpr std::chrono::microseconds kPoll{500};

 private:
  const std::function<void()> on_free_;
  std::atomic<bool> taken_{false};
  std::atomic<bool> asked_{false};
};

// Gives it back.
class PermitHold {
 public:
  explicit PermitHold(Permit& taken) : permit_(taken) {}
  ~PermitHold() { permit_.Return(); }
  PermitHold(const PermitHold&) = delete;
  PermitHold& operator=(const PermitHold&) = delete;

 private:
  Permit& permit_;
};

}  // namespace litestream
