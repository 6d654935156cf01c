#include "db/open_databases.h"

#include <algorithm>

#include "base/free_memory.h"

namespace litestream {
namespace {

// Who can park so soon is waited for.
constexpr std::chrono::seconds kPatience{2};
// When for so long nobody who was asked has gone, nobody waits for them any more.
constexpr std::chrono::seconds kLongestWait{10};
// What SQLite took for so many databases lies between what stays, and is not given back by itself.
constexpr std::uint64_t kReturnMemoryAfter = 200;

}  // namespace

OpenDatabases::Member::~Member() {
  MutexLock lock(all_.mu_);
  all_.Remove(*this);
}

void OpenDatabases::Remove(Member& member) {
  if (std::exchange(member.waiting_, false)) std::erase(waiting_, &member);
  if (!std::exchange(member.inside_, false)) return;
  by_time_.erase({member.parkable_at_, &member});
  member.asked_ = false;
  --inside_;
  last_progress_ = last_now_;
  WakeNext();
}

void OpenDatabases::WakeNext() {
  if (waiting_.empty()) return;
  Member& member = *waiting_.front();
  waiting_.pop_front();
  member.waiting_ = false;
  member.wake_();
}

bool OpenDatabases::Member::Enter(MonoTime now) {
  MutexLock lock(all_.mu_);
  if (inside_) return true;
  const bool room = all_.limit_ < 0 || all_.inside_ < static_cast<std::size_t>(all_.limit_);
  // Those that were asked are on their way: as many may wait.
  const std::size_t asked = all_.inside_ - all_.by_time_.size();
  const std::size_t others = all_.waiting_.size() - (waiting_ ? 1 : 0);
  const bool can_ask = !all_.by_time_.empty() && all_.by_time_.begin()->first <= now + kPatience;
  // They may be unable to answer, for a full disk, say.
  const bool they_go = asked > 0 && now - all_.last_progress_ < kLongestWait;
  all_.last_now_ = now;
  if (!room && (they_go || can_ask)) {
    if (asked <= others && can_ask) {
      Member& first = *all_.by_time_.begin()->second;
      all_.by_time_.erase(all_.by_time_.begin());
      first.asked_ = true;
      all_.last_progress_ = now;
      first.wake_();
    }
    if (!std::exchange(waiting_, true)) all_.waiting_.push_back(this);
    return false;
  }
  if (std::exchange(waiting_, false)) std::erase(all_.waiting_, this);
  inside_ = true;
  ++all_.inside_;
  // Until it says otherwise.
  parkable_at_ = now + kPatience;
  all_.by_time_.emplace(parkable_at_, this);
  return true;
}

void OpenDatabases::Member::Leave() {
  bool many = false;
  {
    MutexLock lock(all_.mu_);
    if (!inside_ && !waiting_) return;
    all_.Remove(*this);
    many = ++all_.left_ % kReturnMemoryAfter == 0;
  }
  if (many) ReturnFreeMemory();
}

void OpenDatabases::Member::SetParkable(MonoTime at) {
  MutexLock lock(all_.mu_);
  if (!inside_ || (!asked_ && at == parkable_at_)) return;
  all_.by_time_.erase({parkable_at_, this});
  const bool refused = std::exchange(asked_, false);
  parkable_at_ = at;
  all_.by_time_.emplace(at, this);
  // Somebody else may be asked.
  if (refused) all_.WakeNext();
}

std::optional<MonoTime> OpenDatabases::Member::ParkAt() const {
  MutexLock lock(all_.mu_);
  if (!inside_) return std::nullopt;
  if (asked_) return MonoTime{};
  const bool crowded = all_.limit_ >= 0 && all_.inside_ > static_cast<std::size_t>(all_.limit_);
  if (!crowded && all_.waiting_.empty()) return std::nullopt;
  return parkable_at_;
}

}  // namespace litestream
