#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

inline constexpr std::string_view kLeaseName = "lock.json";
inline constexpr std::chrono::seconds kLeaseTimeToLive{30};

// What lock.json says: a JSON object with the keys "generation" (from 1, one more each time that
// the lease changes hands), "expires_at" (RFC 3339) and "owner" (may be missing). We add
// "instance", a name for one holder's time from acquiring to losing it, so that a write whose
// answer was lost is known as ours; other readers ignore it, and other writers leave it out.
struct LeaseRecord {
  std::int64_t generation = 0;
  WallTime expires_at;
  std::string owner;
  std::string instance;
  friend bool operator==(const LeaseRecord&, const LeaseRecord&) = default;
};
std::string FormatLease(const LeaseRecord& record);
Result<LeaseRecord> ParseLease(std::string_view json);  // kCorruption

// A lease that we hold, or held. May be kept on disk and renewed by the next process.
struct Lease {
  LeaseRecord record;
  std::string tag;  // Of the object; what conditional writes compare.
  // Until then nobody else can have taken it. By the monotonic clock of the process that wrote it,
  // counted from before the request, so a jump of the wall clock or a slow answer does not stretch
  // it.
  MonoTime valid_until;
  bool ValidAt(MonoTime now) const { return now < valid_until; }
};

// What is left of a lease that has run out, or was given up. Whoever finds the object's tag to be
// still this knows that nobody else had it since (Renew). The instance is the name that a renewal
// writes, and by which it is known again if its answer is lost: a process that got the mark from
// another one (a file) must put a name of its own there.
struct LeaseMark {
  std::int64_t generation = 0;
  std::string tag;
  std::string instance;
  bool known() const { return !tag.empty(); }
  friend bool operator==(const LeaseMark&, const LeaseMark&) = default;
};
inline LeaseMark MarkOf(const Lease& lease) {
  return {
      .generation = lease.record.generation, .tag = lease.tag, .instance = lease.record.instance};
}

struct LeaseOptions {
  std::string owner;  // For people: see DefaultLeaseOwner.
  // Random text. Owners can be equal: two containers may have the same host name and process id.
  std::string instance;
  // If several holders follow each other under one instance, and each takes up the lease of the one
  // before: random text that tells them apart. What they write is "<instance>-<nonce>".
  std::string nonce = {};
  std::chrono::milliseconds time_to_live = kLeaseTimeToLive;
};

// "<host name>:<process id>", or "pid-<process id>".
std::string DefaultLeaseOwner();

// Keeps two writers of one replica apart, with one small object that is only ever written
// conditionally. Time comes from the context. kUnsupported where the backend has no conditional
// writes. Borrows the client. Safe for concurrent calls.
class Leaser {
 public:
  Leaser(ReplicaClient& client, LeaseOptions options)
      : client_(client), options_(std::move(options)) {}

  // Takes the lease if there is none or it has run out. kAlreadyExists "lease already held by ..."
  // if another holder has it, who is then in `holder`; of several that try at the same time exactly
  // one gets it. A lease that an earlier call took and could not report is taken again. `is_stale`
  // may say of another's that it counts no more, whatever its time.
  Result<Lease> Acquire(const Context& ctx, std::optional<LeaseRecord>* holder = nullptr,
                        const std::function<bool(const LeaseRecord&)>& is_stale = nullptr);

  // Prolongs a lease. Also works after it has run out, as long as nobody came between: then nothing
  // was written to the replica by others either. kAlreadyExists "lease not held" otherwise.
  Result<Lease> Renew(const Context& ctx, const Lease& lease);
  Result<Lease> Renew(const Context& ctx, const LeaseMark& mark);

  // Ends it as Release does, but leaves the object there, with a time long past: whoever wants the
  // lease gets it at once, and the mark says later whether somebody did. kAlreadyExists "lease not
  // held".
  Result<LeaseMark> GiveUp(const Context& ctx, const LeaseMark& mark);

  // kNotFound "lease already released", kAlreadyExists "lease not held".
  Result<void> Release(const Context& ctx, const Lease& lease);

  // What the object says now; unset if there is none. valid_until is not known.
  Result<std::optional<Lease>> Look(const Context& ctx);

 private:
  // Writes `record` with this expiry if the object's tag is still `tag`; kAlreadyExists if not.
  Result<Lease> Put(const Context& ctx, LeaseRecord record, std::string_view tag,
                    WallTime expires_at);
  bool IsOurs(const LeaseRecord& record) const;

  ReplicaClient& client_;
  const LeaseOptions options_;
  std::atomic<std::uint64_t> acquisitions_ = 0;
};

}  // namespace litestream
