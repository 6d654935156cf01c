#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "litestream/types.h"

namespace litestream {

// When to look again for a commit whose frames are in the WAL and that is not published yet.
//
// The event of a write comes before the commit is published, and publishing makes none. So the test
// is repeated by a timer: after a time that is half as long as the commit has been under way, so
// that it is found at most half as late again as it took, with few tests however long it takes. A
// large transaction also causes events without end. After one that found nothing new the watch is
// left unarmed until the next test, so they cost a few wake-ups a second and not thousands.
class CommitPace {
 public:
  struct Retest {
    std::chrono::nanoseconds wait{0};
    bool armed = true;  // Events are wanted while waiting.
  };

  // Nothing is under way.
  void Settle() { began_.reset(); }
  // Something is. `event`: a write to the WAL caused the test.
  Retest Next(MonoTime now, bool event) {
    // Writing that begins after a pause is another commit than what was left behind.
    if (!began_ || (event && now - last_write_ > kPause)) began_ = now;
    if (event) last_write_ = now;
    const std::chrono::nanoseconds wait =
        std::max<std::chrono::nanoseconds>((now - *began_) / 2, kShortest);
    if (!event) return {.wait = wait, .armed = true};
    return {.wait = std::min<std::chrono::nanoseconds>(wait, kLongestUnarmed), .armed = false};
  }

  static constexpr std::chrono::milliseconds kShortest{1};
  static constexpr std::chrono::milliseconds kLongestUnarmed{100};
  static constexpr std::chrono::seconds kPause{1};

 private:
  std::optional<MonoTime> began_;
  MonoTime last_write_;
};

}  // namespace litestream
