#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/env.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "base/sync.h"
#include "db/fence.h"
#include "db/holdings.h"
#include "db/uploader.h"
#include "litestream/replica_client.h"
#include "litestream/types.h"
#include "replica/compactor.h"
#include "replica/levels.h"
#include "replica/retention.h"

namespace litestream {

struct UpkeepOptions {
  // How often levels 1, 2, ... are merged. Empty: never, and nothing else of this happens.
  std::vector<std::chrono::milliseconds> levels;
  std::chrono::milliseconds snapshot_interval = std::chrono::hours(24);
  RetentionPolicy retention;
  // How often what the replica holds is compared with what is known of it; 0: only by the way,
  // while there is something to upload.
  std::chrono::nanoseconds validation_interval{0};
  CompactionBounds bounds;
};

// Keeps one replica in shape: merges level by level, makes snapshots, removes what nothing that is
// promised needs, and heals what it meets: a file that is missing or damaged is gone around, by a
// snapshot behind it.
//
// Invariants:
// 1. It never delays an upload: it runs in threads of its own, one step (one object) at a time.
//    Under a limit of the process each step waits for its turn, as a large one.
// 2. It changes nothing but what the holdings say is there; what it does not know, it leaves alone.
// 3. When there is nothing to do it does not run, and asks the replica for nothing. What cannot be
//    done now is not tried again before something has changed, or (after an error of the client) a
//    growing while has passed.
// 4. Files are removed by retention only (replica/retention.h), which keeps what is promised.
// 5. Each change is made under the lease (db/fence.h), in the term in which the step began.
class Keeper {
 public:
  // Borrows everything. `client` may be shared. `limiter` may be null.
  Keeper(Env& env, Scheduler& scheduler, ReplicaHost& host, Uploader& uploader,
         ReplicaClient& client, Fence& fence, Holdings& holdings, Limiter* limiter,
         const UpkeepOptions& options, Logger log);
  ~Keeper();

  void Start();
  // Stops it for good; a step under way is broken off.
  void Stop();
  // The holdings have changed.
  void OnChange();
  UpkeepStatus Status() const;
  // Without Start, after the uploader's Drain: removes what retention does not keep now, and looks
  // whether it is really gone. What may not be removed is logged, and no error.
  Result<void> RetainOnce(const Context& ctx);

 private:
  // A level to be merged, or the snapshots.
  struct Turns {
    Level level;
    LevelTurns turns;
    std::optional<Moment> done;
    bool pending = false;  // There is something to do, at the next turn.
    Txid idle_at;          // Up to here there is nothing (more) to do.
  };
  using Next = std::optional<MonoTime>;  // Unset: when something changes.

  NextRun Run(const Context& ctx);
  NextRun RunStep(const Context& ctx);
  Result<void> HoldLease(const Context& ctx);
  Result<void> BeforeWrite(const Context& ctx);
  bool HasTurn(const Moment& now, TurnSize size);
  Result<Next> Step(const Context& ctx);
  Txid NewestBelow(const Turns& level) const;
  bool HasWork(const Turns& level) const;
  bool LacksNothing(const Turns& level) const;
  std::chrono::milliseconds UntilTurn(Turns& level, const Moment& now);
  std::chrono::milliseconds WithinLease(const Turns& level, std::chrono::milliseconds until,
                                        const Moment& now) const;
  Result<bool> StepSnapshot(const Context& ctx, const Moment& now, Next& next);
  Result<void> Compact(const Context& ctx, Turns& level, const Moment& now);
  Result<bool> PromoteIfReady(const Context& ctx, const Moment& now);
  bool IsStreamed(const Moment& now);
  std::optional<FileInfo> SnapshotFrom(Txid txid) const;
  std::optional<FileInfo> FileWith(Txid txid) const;
  Result<CompactionStep> Take(Result<CompactionStep> step);
  Result<void> Finish(const CompactionStep& step, Turns& level, Txid work_end, const Moment& now);
  void OnWritten(const FileInfo& file, const Moment& now);
  Result<void> OnBadSource(const BadSource& bad, const Turns& level);
  void GoAround(const FileInfo& file, const Error& error);
  void WantFull(Txid above);
  std::optional<MergeInput> Local(Txid txid);

  Result<void> Retain(const Context& ctx, WallTime now);
  void NoteLevel0(const RetentionPlan& plan);
  Result<void> Remove(const Context& ctx, std::span<const FileId> ids);
  Result<void> CheckRemoved(const Context& ctx);
  ReplicaListing Removable() const;
  bool WouldRemove(const ReplicaListing& listing, WallTime at) const;
  Next NextRetention(const Moment& now) const;
  void NoteFailure(const Error& error);

  Env& env_;
  Scheduler& scheduler_;
  ReplicaHost& host_;
  Uploader& uploader_;
  ReplicaClient& client_;
  Fence& fence_;
  Holdings& holdings_;
  const UpkeepOptions options_;
  Logger log_;

  // Only the step touches these.
  Catalogue work_;  // The holdings when the step began, without what is bad.
  Compactor compactor_;
  std::vector<Turns> levels_;
  Turns snapshots_;
  std::map<FileId, FileInfo> bad_;  // Nothing can be made of these.
  std::vector<TxidRange> damaged_;  // Those of level 1.
  std::set<FileId> bad_local_;      // The same of the local files that stand for them.
  std::set<FileId> suspects_;       // Failed once since something was written.
  std::optional<Txid> full_above_;  // A full file above this is waited for.
  MonoTime full_wanted_at_;
  std::optional<MonoTime> next_validation_;
  bool retention_due_ = true;
  MonoTime settled_at_;
  std::set<FileId> undeletable_;
  std::optional<FileId> removed_;  // To be looked at, whether it is really gone.
  bool removed_checked_ = false;
  bool deletes_work_ = true;
  std::uint64_t chain_ = 0;  // Of the local files when the step began.
  Fence::Term term_ = 0;     // When the step began.
  UploadGuard guard_;        // Of the object that is being written.
  std::optional<Holdings::Change> change_;
  std::optional<NextRun> turn_;  // The step wants to go on when it is its turn.
  int failures_ = 0;
  Backoff backoff_;
  MonoTime not_before_;
  MonoTime last_logged_failure_;

  bool rested_ = false;            // Its host knows that it had nothing more to do.
  std::atomic<bool> idle_{false};  // Wants to know of the next change.

  mutable Mutex mu_{LockRank::kReplica};
  UpkeepStatus status_ LS_GUARDED_BY(mu_);

  LimiterSeat seat_;            // Only the step takes it.
  std::unique_ptr<Task> task_;  // Last: ends before what it uses.
};

}  // namespace litestream
