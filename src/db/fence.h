#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/env.h"
#include "base/log.h"
#include "base/sync.h"
#include "db/holdings.h"
#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "storage/guarded_source.h"
#include "storage/lease.h"

namespace litestream {

enum class LeaseMode : unsigned char {
  kAuto,      // Where the place has conditional writes.
  kRequired,  // Without them nothing is written.
  kOff,
};

// Keeps two writers of one place apart, by the lease of the replica (storage/lease.h). One for each
// replica of a database, shared by its uploader and its keeper.
//
// Invariants:
// 1. Nothing is written to the replica, or removed, but under a lease that is valid by the
//    monotonic clock: asked for before each object (Hold), and while it goes up (GuardFor).
// 2. What is known of the replica counts for one term. A term goes on as long as each write of the
//    lease finds the tag of the one before, over pauses, and over restarts that remember the tag:
//    then nobody else had the lease. Taken in any other way it begins another term, and the
//    holdings are forgotten before anybody can see that it is held.
// 3. Nothing happens by itself: a lease that nobody uses runs out. In use it costs one request in
//    kRenewAfter at most, and one when it has run out.
// 4. While another has it, nobody asks before it may be free (blocked_until), kLongestLook at most.
// 5. A lease that ends later than any that is written now, by our clock, is of a clock that is or
//    was wrong. If it stands unchanged for kStaleAfter, by the monotonic clock, its holder is gone.
// 6. One caller at a time talks to the replica; no lock is held meanwhile.
//
// What this cannot do: the place does not look at the lease. A process that is kept from running
// between the last look at the clock and the end of the request may write after its time; then
// put-if-absent and the checks of what is there already (db/uploader.h) still hold.
//
// Safe for concurrent calls.
class Fence {
 public:
  using Term = std::uint64_t;
  static constexpr std::chrono::seconds kRenewAfter = kLeaseTimeToLive / 3;
  // With less of its life left, nothing begins before it is renewed.
  static constexpr std::chrono::seconds kLeastLeft{5};
  static constexpr std::chrono::seconds kLongestLook = kLeaseTimeToLive;
  static constexpr std::chrono::minutes kStaleAfter{5};

  // Borrows everything but `env`.
  Fence(Env& env, ReplicaClient& client, Holdings& holdings, LeaseMode mode, const Logger& log);

  // A lease that bears this name is our own (db/state_instance.h).
  void SetInstance(std::uint64_t instance);
  // What was saved with the holdings. Nothing if more is known.
  void Remember(const LeaseMark& mark);
  // To be saved with the holdings, asked before them.
  LeaseMark mark() const;
  // The same for whoever comes next: unknown while the lease is valid, because with its mark he
  // could take it from a process that lives.
  LeaseMark MarkForHeirs(MonoTime now) const;

  // Before each change of the replica. Takes the lease if need be. kUnavailable: another has it
  // (blocked_until), or the client's error; kUnsupported: required, and cannot be had.
  Result<Term> Hold(const Context& ctx);
  // For what goes up from now on, in this term.
  UploadGuard GuardFor(const Context& ctx, Term term);
  // After an upload in a row of them, so that the next one need not wait for it. Errors wait for
  // the next Hold.
  void KeepUp(const Context& ctx);
  // Gives it up if it is valid, so that nobody has to wait. The mark stays.
  Result<void> Release(const Context& ctx);

  Term term() const;
  // There is no telling whether somebody else had it: a listing should wait until it is held.
  bool MustBeTaken() const;
  // The next Hold says whether somebody else had it.
  bool Proves() const;
  // It ran out: the next change waits for a request.
  bool HasRunOut(MonoTime now) const;
  // Until when a change may begin without a request. Unset: it needs one, or there are no leases.
  std::optional<MonoTime> good_until(MonoTime now) const;
  // Set while another has it.
  std::optional<MonoTime> blocked_until(MonoTime now) const;

 private:
  // Nobody talks to the replica but the caller, until End. False: not necessary.
  Result<bool> Begin(const Context& ctx);
  void End();
  Result<void> GoOn(const Context& ctx, Term term, MonoTime since);
  Result<bool> Renew(const Context& ctx);
  Result<void> Acquire(const Context& ctx);
  Error Blocked(const Context& ctx, const LeaseRecord& holder);
  bool IsStale(const Context& ctx, const LeaseRecord& record);
  Result<void> CannotBeHad(const Error& error);
  LeaseOptions OptionsNow() const;

  ReplicaClient& client_;
  Holdings& holdings_;
  const Logger& log_;
  const LeaseMode mode_;
  // Tells the processes apart that follow each other in a state directory.
  const std::uint32_t nonce_;

  mutable Mutex mu_{LockRank::kReplica};
  bool busy_ LS_GUARDED_BY(mu_) = false;
  bool off_ LS_GUARDED_BY(mu_);               // Not used here.
  bool was_lost_ LS_GUARDED_BY(mu_) = false;  // To somebody else, and not taken again since.
  bool said_ LS_GUARDED_BY(mu_) = false;      // That another has it.
  std::uint64_t instance_ LS_GUARDED_BY(mu_);
  Term term_ LS_GUARDED_BY(mu_) = 0;
  LeaseMark mark_ LS_GUARDED_BY(mu_);
  MonoTime renewed_at_ LS_GUARDED_BY(mu_);
  MonoTime valid_until_ LS_GUARDED_BY(mu_);
  MonoTime not_before_ LS_GUARDED_BY(mu_);  // After a renewal that failed.
  MonoTime blocked_until_ LS_GUARDED_BY(mu_);
  std::string blocked_by_ LS_GUARDED_BY(mu_);
  // Another's lease that ends too late: its hash, and when it was first seen.
  std::uint64_t strange_ LS_GUARDED_BY(mu_) = 0;
  MonoTime strange_since_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
