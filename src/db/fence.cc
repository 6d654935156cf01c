#include "db/fence.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "db/state_instance.h"
#include "format/crc64.h"
#include "format/names.h"

namespace litestream {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kBusyPoll{20};
// After a renewal that failed while the lease is still good.
constexpr seconds kRetry{1};
// The other's lease may end at any moment, or be renewed at the last.
constexpr seconds kShortestLook{1};
// Of our clock and the other's: a lease ends behind its last millisecond.
constexpr milliseconds kBehind{10};

Error OtherHands() {
  return {ErrorCode::kUnavailable,
          "the lease of the replica was not ours all the time, looking at the replica again"};
}

}  // namespace

Fence::Fence(Env& env, ReplicaClient& client, Holdings& holdings, LeaseMode mode, const Logger& log)
    : client_(client),
      holdings_(holdings),
      log_(log),
      mode_(mode),
      nonce_(static_cast<std::uint32_t>(RandomNumber(env))),
      off_(mode == LeaseMode::kOff),
      instance_(RandomNumber(env)) {}

void Fence::SetInstance(std::uint64_t instance) {
  MutexLock lock(mu_);
  instance_ = instance;
}

void Fence::Remember(const LeaseMark& mark) {
  MutexLock lock(mu_);
  if (!mark_.known() && term_ == 0 && !was_lost_) mark_ = mark;
}

LeaseMark Fence::mark() const {
  MutexLock lock(mu_);
  return mark_;
}

LeaseMark Fence::MarkForHeirs(MonoTime now) const {
  MutexLock lock(mu_);
  return now < valid_until_ ? LeaseMark() : mark_;
}

Fence::Term Fence::term() const {
  MutexLock lock(mu_);
  return term_;
}

bool Fence::MustBeTaken() const {
  MutexLock lock(mu_);
  return !off_ && !mark_.known();
}

bool Fence::Proves() const {
  MutexLock lock(mu_);
  return !off_ && mark_.known();
}

bool Fence::HasRunOut(MonoTime now) const {
  MutexLock lock(mu_);
  return !off_ && mark_.known() && valid_until_ < now + kLeastLeft;
}

std::optional<MonoTime> Fence::good_until(MonoTime now) const {
  MutexLock lock(mu_);
  const bool good = !off_ && now + kLeastLeft <= valid_until_;
  return good ? std::optional(valid_until_ - kLeastLeft) : std::nullopt;
}

std::optional<MonoTime> Fence::blocked_until(MonoTime now) const {
  MutexLock lock(mu_);
  return now < blocked_until_ ? std::optional(blocked_until_) : std::nullopt;
}

LeaseOptions Fence::OptionsNow() const {
  MutexLock lock(mu_);
  return {.owner = DefaultLeaseOwner(),
          .instance = FormatHex64(instance_),
          .nonce = fmt::format("{:08x}", nonce_)};
}

Result<bool> Fence::Begin(const Context& ctx) {
  for (;;) {
    {
      MutexLock lock(mu_);
      if (off_) return false;
      const MonoTime now = ctx.clock().Monotonic();
      if (valid_until_ >= now + kLeastLeft) return false;
      if (now < blocked_until_) return Error(ErrorCode::kUnavailable, blocked_by_);
      if (!std::exchange(busy_, true)) return true;
    }
    LS_TRY(ctx.Wait(kBusyPoll));
  }
}

void Fence::End() {
  MutexLock lock(mu_);
  busy_ = false;
}

Result<Fence::Term> Fence::Hold(const Context& ctx) {
  if (!LS_TRY(Begin(ctx))) return term();
  const auto renewed = Renew(ctx);
  auto held = Result<void>();
  if (!renewed.ok()) {
    held = renewed.error();
  } else if (!renewed.value()) {
    held = Acquire(ctx);
  }
  End();
  LS_TRY(std::move(held));
  return term();
}

UploadGuard Fence::GuardFor(const Context& ctx, Term term) {
  return [this, term, since = ctx.clock().Monotonic()](const Context& now) {
    return GoOn(now, term, since);
  };
}

// What takes long renews it on its way, as an upload in a row does.
Result<void> Fence::GoOn(const Context& ctx, Term term, MonoTime since) {
  for (;;) {
    {
      MutexLock lock(mu_);
      if (off_) return {};
      if (term_ != term || was_lost_) return OtherHands();
      const MonoTime now = ctx.clock().Monotonic();
      const bool valid = now < valid_until_;
      const bool due = now - renewed_at_ >= kRenewAfter && now - since >= kRenewAfter;
      if (valid && !due && now + kLeastLeft <= valid_until_) return {};
      if (valid && (busy_ || now < not_before_)) return {};
      if (!std::exchange(busy_, true)) break;
    }
    LS_TRY(ctx.Wait(kBusyPoll));
  }
  const auto renewed = Renew(ctx);
  End();
  if (renewed.ok()) return renewed.value() ? Result<void>() : Result<void>(OtherHands());
  MutexLock lock(mu_);
  const MonoTime now = ctx.clock().Monotonic();
  not_before_ = now + kRetry;
  return now < valid_until_ ? Result<void>() : Result<void>(renewed.error());
}

void Fence::KeepUp(const Context& ctx) {
  {
    MutexLock lock(mu_);
    const MonoTime now = ctx.clock().Monotonic();
    const bool due = now < valid_until_ && now - renewed_at_ >= kRenewAfter;
    if (off_ || !due || now < not_before_ || std::exchange(busy_, true)) return;
  }
  const auto renewed = Renew(ctx);
  End();
  if (renewed.ok()) return;
  MutexLock lock(mu_);
  not_before_ = ctx.clock().Monotonic() + kRetry;
}

// By the mark. False: it is somebody else's, or was.
Result<bool> Fence::Renew(const Context& ctx) {
  LeaseMark before = mark();
  if (!before.known()) return false;
  const MonoTime begun = ctx.clock().Monotonic();
  const LeaseOptions options = OptionsNow();
  // Of an earlier process it only has the tag.
  before.instance = fmt::format("{}-{}", options.instance, options.nonce);
  auto renewed = Leaser(client_, options).Renew(ctx, before);
  if (!renewed.ok() && !renewed.error().Is(ErrorCode::kAlreadyExists)) {
    return std::move(renewed).error().Wrap("renew the lease of the replica");
  }
  if (!renewed.ok()) holdings_.Void();
  MutexLock lock(mu_);
  if (!renewed.ok()) {
    mark_ = LeaseMark();
    valid_until_ = {};
    was_lost_ = true;
    return false;
  }
  mark_ = MarkOf(renewed.value());
  valid_until_ = renewed.value().valid_until;
  renewed_at_ = begun;
  return true;
}

Result<void> Fence::Acquire(const Context& ctx) {
  std::optional<LeaseRecord> holder;
  const MonoTime begun = ctx.clock().Monotonic();
  auto taken = Leaser(client_, OptionsNow()).Acquire(ctx, &holder, [&](const LeaseRecord& record) {
    return IsStale(ctx, record);
  });
  if (!taken.ok()) {
    if (holder) return Blocked(ctx, *holder);
    return CannotBeHad(taken.error());
  }
  // Nobody sees that it is held before that.
  holdings_.Void();
  bool waited = false;
  bool was_lost = false;
  {
    MutexLock lock(mu_);
    ++term_;
    mark_ = MarkOf(taken.value());
    valid_until_ = taken.value().valid_until;
    renewed_at_ = begun;
    blocked_until_ = {};
    waited = std::exchange(said_, false);
    was_lost = std::exchange(was_lost_, false);
  }
  const LogFields where = {{"path", client_.Describe()}};
  if (waited) log_.Info("took the lease of the replica, which another process had", where);
  if (was_lost && !waited) {
    log_.Warn("another process wrote the lease of the replica, or removed it; looking at it anew",
              where);
  }
  return {};
}

bool Fence::IsStale(const Context& ctx, const LeaseRecord& record) {
  const std::string text = FormatLease(record);
  const std::uint64_t hash = Crc64(0, std::as_bytes(std::span(text)));
  const MonoTime now = ctx.clock().Monotonic();
  MutexLock lock(mu_);
  if (record.expires_at <= ctx.clock().Now() + 2 * kLeaseTimeToLive) {
    strange_ = 0;
  } else if (strange_ != hash) {
    strange_ = hash;
    strange_since_ = now;
  }
  if (strange_ == 0 || now - strange_since_ < kStaleAfter) return false;
  log_.Warn(
      "a lease of the replica ends too late for a clock that is right, and nobody renews it; "
      "taking it",
      {{"path", client_.Describe()}, {"until", FormatTimestamp(record.expires_at)}});
  return true;
}

Error Fence::Blocked(const Context& ctx, const LeaseRecord& holder) {
  const auto left = std::chrono::duration_cast<milliseconds>(holder.expires_at - ctx.clock().Now());
  const auto look = std::clamp<milliseconds>(left + kBehind, kShortestLook, kLongestLook);
  const std::string who = holder.owner.empty() ? "another process" : holder.owner;
  const std::string until = FormatTimestamp(holder.expires_at);
  const std::string place = client_.Describe();
  const std::string why = fmt::format(
      "{}: {} replicates to this place and holds its lease ({}) until {}; nothing is "
      "written before that has run out or is given up",
      place, who, kLeaseName, until);
  bool said = false;
  bool was_lost = false;
  {
    MutexLock lock(mu_);
    blocked_until_ = ctx.clock().Monotonic() + look;
    blocked_by_ = why;
    said = std::exchange(said_, true);
    was_lost = was_lost_;
  }
  if (!said) {
    log_.Error(was_lost ? "lost the lease of the replica to another process, not writing to it"
                        : "another process has the lease of the replica, not writing to it",
               {{"path", place},
                {"holder", who},
                {"until", until},
                {"hint",
                 "stop one of the two, or give each a place of its own; goes on by itself when the "
                 "other has ended"}});
  }
  return {ErrorCode::kUnavailable, why};
}

Result<void> Fence::CannotBeHad(const Error& error) {
  const std::string place = client_.Describe();
  if (error.Is(ErrorCode::kUnsupported) && mode_ == LeaseMode::kRequired) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("{}: lease: required, but this place has no conditional writes; with "
                             "lease: auto it is replicated to without ({})",
                             place, error.message()));
  }
  if (error.Is(ErrorCode::kUnsupported)) {
    log_.Info("no conditional writes here, so nothing keeps a second writer away",
              {{"path", place}});
    MutexLock lock(mu_);
    off_ = true;
    return {};
  }
  if (error.Is(ErrorCode::kCorruption)) {
    return Error(ErrorCode::kIo,
                 fmt::format("{}; if nobody else replicates to this place, remove {}",
                             error.message(), kLeaseName));
  }
  if (error.Is(ErrorCode::kDenied)) {
    return Error(error.code(),
                 fmt::format("take the lease of the replica: {} (it needs to read and write {}; or "
                             "set lease: off)",
                             error.message(), kLeaseName));
  }
  Error wrapped = error;
  return std::move(wrapped).Wrap("take the lease of the replica");
}

Result<void> Fence::Release(const Context& ctx) {
  LeaseMark before;
  for (;;) {
    {
      MutexLock lock(mu_);
      if (off_ || !mark_.known() || valid_until_ <= ctx.clock().Monotonic()) return {};
      before = mark_;
      if (!std::exchange(busy_, true)) break;
    }
    LS_TRY(ctx.Wait(kBusyPoll));
  }
  Leaser leaser(client_, OptionsNow());
  auto left = leaser.GiveUp(ctx, before);
  // Where there is no room to write it, it can still go.
  if (!left.ok() && left.error().Is(ErrorCode::kNoSpace)) {
    Lease lease;
    lease.record.generation = before.generation;
    lease.record.instance = before.instance;
    lease.tag = before.tag;
    if (leaser.Release(ctx, lease).ok()) left = LeaseMark();
  }
  MutexLock lock(mu_);
  busy_ = false;
  // Of a write whose answer was lost the mark before is as good: the instance stays.
  if (left.ok()) mark_ = left.value();
  if (left.ok()) valid_until_ = {};
  return left.ok() ? Result<void>() : Result<void>(left.error());
}

}  // namespace litestream
