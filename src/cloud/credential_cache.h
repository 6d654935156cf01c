#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "base/sync.h"
#include "litestream/clock.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::cloud {

// New ones are asked for so long before the old ones end.
inline constexpr std::chrono::minutes kRefreshBefore{5};
// After a look ahead of time that failed, or brought nothing new: some services keep what they give
// out until shortly before its end.
inline constexpr std::chrono::seconds kLookPause{30};

// Keys, or a token, that a service gave us for some time.
template <typename Secret>
struct Expiring {
  Secret secret;
  std::optional<WallTime> expires_at;  // Unset: never.
};

// Keeps what a look found, and looks again before it expires. Who waits for somebody's look gets
// what that one gets, an error too. Secrets are compared with ==. Safe for concurrent calls.
template <typename Secret>
class CredentialCache {
 public:
  using Find = std::function<Result<Expiring<Secret>>(const Context&)>;
  CredentialCache(Find find, const Clock& clock) : find_(std::move(find)), clock_(clock) {}

  Result<Secret> Get(const Context& ctx) {
    {
      MutexLock lock(mu_);
      for (;;) {
        // While one looks, the others go on with what is there, or wait for him.
        if (IsFresh() || (IsValid() && looking_)) return known_->secret;
        if (!looking_) break;
        const std::uint64_t before = looks_;
        ++waiting_;
        changed_.WaitFor(mu_, ctx.stop(), std::chrono::seconds(1),
                         [&]() LS_REQUIRES(mu_) { return looks_ != before; });
        --waiting_;
        if (auto live = ctx.Check(); !live.ok()) return std::move(live).error();
        // Thousands of databases that look one after the other would wait for ever.
        if (looks_ != before && failure_) return *failure_;
      }
      looking_ = true;
    }
    return Note(ctx, find_(ctx));
  }

  // A server refused this one: the next Get looks again, unless that has happened since.
  void Refused(const Secret& secret) {
    MutexLock lock(mu_);
    if (known_ && known_->secret == secret) known_.reset();
  }

  // For somebody's look.
  int waiting() const {
    MutexLock lock(mu_);
    return waiting_;
  }

 private:
  bool IsValid() const LS_REQUIRES(mu_) {
    return known_ && (!known_->expires_at || *known_->expires_at > clock_.Now());
  }
  bool IsFresh() const LS_REQUIRES(mu_) {
    if (!IsValid()) return false;
    const WallTime now = clock_.Now();
    return !known_->expires_at || *known_->expires_at - kRefreshBefore > now || now < not_before_;
  }
  Result<Secret> Note(const Context& ctx, Result<Expiring<Secret>> found) {
    MutexLock lock(mu_);
    looking_ = false;
    ++looks_;
    failure_.reset();
    changed_.NotifyAll();
    if (found.ok()) {
      const bool old = known_ && known_->secret == found.value().secret;
      not_before_ = old ? clock_.Now() + kLookPause : WallTime();
      known_ = std::move(found).value();
      return known_->secret;
    }
    not_before_ = clock_.Now() + kLookPause;
    if (IsValid() && known_->expires_at) return known_->secret;
    // Unless it is ours alone: a stop, a deadline.
    if (ctx.Check().ok()) failure_ = found.error();
    return std::move(found).error();
  }

  const Find find_;
  const Clock& clock_;
  mutable Mutex mu_{LockRank::kStorage};
  CondVar changed_;
  std::optional<Expiring<Secret>> known_ LS_GUARDED_BY(mu_);
  bool looking_ LS_GUARDED_BY(mu_) = false;
  std::uint64_t looks_ LS_GUARDED_BY(mu_) = 0;       // That have ended.
  std::optional<Error> failure_ LS_GUARDED_BY(mu_);  // Of the last one.
  int waiting_ LS_GUARDED_BY(mu_) = 0;
  WallTime not_before_ LS_GUARDED_BY(mu_);  // The next look ahead of time.
};

}  // namespace litestream::cloud
