#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "base/sync.h"
#include "litestream/clock.h"

namespace litestream {

// How many databases of a process are open at a time. An open one costs descriptors and memory, a
// parked one (db/database.h) does not. Beyond the limit those that are idle longest are asked to
// park, and who wants in waits for that. Where nobody can park soon, nobody has to wait: the limit
// is exceeded then.
//
// Safe for concurrent calls.
class OpenDatabases {
 public:
  // limit < 0: as many as there are.
  explicit OpenDatabases(int limit) : limit_(limit) {}

  // One database. `wake` is called from any thread, with a lock held: it only wakes a task.
  class Member {
   public:
    Member(OpenDatabases& all, std::function<void()> wake) : all_(all), wake_(std::move(wake)) {}
    ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    // True: it may be opened, or is. False: ask again when woken, or after kAskAgain.
    bool Enter(MonoTime now);
    // It is not open any more.
    void Leave();
    // From then on it can park, if asked.
    void SetParkable(MonoTime at);
    // When it should park, if it can: it was asked, others wait, or too many are open. Unset: not
    // yet.
    std::optional<MonoTime> ParkAt() const;

   private:
    friend class OpenDatabases;
    OpenDatabases& all_;
    const std::function<void()> wake_;
    // Guarded by the mutex of all.
    bool inside_ = false;
    bool asked_ = false;
    bool waiting_ = false;
    MonoTime parkable_at_;
  };

  static constexpr std::chrono::seconds kAskAgain{5};
  // One that cannot be closed because others are at work is asked again after so long.
  static constexpr std::chrono::seconds kBusyRetry{30};

 private:
  // Whoever waits longest may ask again.
  void WakeNext() LS_REQUIRES(mu_);
  void Remove(Member& member) LS_REQUIRES(mu_);

  const int limit_;
  mutable Mutex mu_{LockRank::kDatabase};
  std::size_t inside_ LS_GUARDED_BY(mu_) = 0;
  std::uint64_t left_ LS_GUARDED_BY(mu_) = 0;
  MonoTime last_now_ LS_GUARDED_BY(mu_);
  MonoTime last_progress_ LS_GUARDED_BY(mu_);  // When somebody was asked, or left.
  // Those inside that were not asked, by when they can park.
  std::set<std::pair<MonoTime, Member*>> by_time_ LS_GUARDED_BY(mu_);
  std::deque<Member*> waiting_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
