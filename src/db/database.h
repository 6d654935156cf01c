#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "base/sync.h"
#include "db/attachment.h"
#include "db/capture.h"
#include "db/checkpointer.h"
#include "db/commit_pace.h"
#include "db/fence.h"
#include "db/holdings.h"
#include "db/keeper.h"
#include "db/local_ltx.h"
#include "db/old_state.h"
#include "db/open_databases.h"
#include "db/page_sums.h"
#include "db/permit.h"
#include "db/scrubber.h"
#include "db/snapshot_stream.h"
#include "db/uploader.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

struct DatabaseOptions {
  std::filesystem::path path;
  std::filesystem::path meta_path;  // Empty: DefaultMetaPath(path).
  std::chrono::nanoseconds monitor_interval = std::chrono::seconds(1);  // <= 0: only on demand.
  CheckpointOptions checkpoint;
  std::uint64_t max_sync_wal_bytes = 64U << 20;                      // 0: no limit.
  std::chrono::nanoseconds scrub_interval = std::chrono::hours(24);  // <= 0: at attach only.
  // A local file stays at least so long; and until every replica has it, in level 1 if that is
  // made.
  std::chrono::nanoseconds local_retention = std::chrono::minutes(5);
  // So much they may be while a replica does not take them; then it gets a new snapshot instead. 0:
  // as much as the database, and 1 GiB at least.
  std::uint64_t local_retention_bytes = 0;
  std::string sqlite_vfs;  // Empty: the default.
  // Of all databases of the process, which must outlive them; none: it is never parked while it
  // runs.
  OpenDatabases* open_databases = nullptr;
  // Snapshots of a larger one are sent as they are read, without a copy on the local disk.
  std::uint64_t stream_above_bytes = 16U << 20;
  std::size_t stream_slice_bytes = 1U << 20;  // Read at once, while the database waits.
  std::uint64_t park_max_bytes = 256U << 20;  // A larger one is not parked.
  // After a commit it is likely that there is another: so long it is not parked.
  std::chrono::nanoseconds stay_open = std::chrono::minutes(5);
  UpkeepOptions upkeep;  // Of every replica.
  std::vector<ReplicaOptions> replicas;
};

// <dir>/.<file>-litestream
std::filesystem::path DefaultMetaPath(const std::filesystem::path& database);

enum class DatabaseState : unsigned char {
  kWaiting,    // No file yet, or zero bytes.
  kAttaching,  // Opening, or reading it to find out what changed.
  kReplicating,
  kParked,   // Nothing happens to it, and it is not open.
  kFailing,  // The last step failed; tries again by itself.
  kClosed,
};

struct DatabaseStatus {
  std::filesystem::path path;
  DatabaseState state = DatabaseState::kWaiting;
  Txid txid;                             // Last captured.
  std::optional<WallTime> last_capture;  // When the database was last found captured.
  std::uint64_t wal_bytes = 0;           // Logical end of the captured WAL.
  std::uint64_t captured_wal_bytes = 0;
  std::uint64_t captures = 0;
  std::uint64_t errors = 0;
  std::uint64_t syncs = 0;  // Captures, attachments, and what failed.
  std::chrono::nanoseconds sync_time{0};
  std::uint64_t database_bytes = 0;  // As captured.
  std::uint64_t checkpoints = 0;
  struct Checkpoints {
    std::uint32_t count = 0;
    std::uint32_t errors = 0;
    std::chrono::nanoseconds time{0};
  };
  std::array<Checkpoints, 3> checkpoints_by_mode;  // By CheckpointMode.
  bool checkpoint_blocked = false;
  bool disk_full = false;
  std::string error;  // Of the last step, if it failed.
  ScrubStatus scrub;
  std::vector<ReplicaStatus> replicas;
};

// One live database: follows its WAL into level-0 files and hands them to its uploaders.
//
// A task of the capture pool runs Step; nothing here blocks on a replica. States: waiting for the
// file -> attached (Attachment held, position known) -> detached again when the files are no longer
// the ones that were opened, or the hold broke. Every way back in goes through Capture::Examine.
//
// An idle database can be parked (db/database_park.cc): detached with an empty WAL and everything
// in the file, whose size and times are noted. As long as they are what was noted and the WAL is
// empty, nothing has happened; while it is parked, that is all that is looked at. A clean stop
// parks what it can without effort, so that the next start opens nothing.
//
// Invariants of parking:
// 1. The note is made while a read transaction on mark 0 is held: nobody can backfill, so the file
//    is exactly the captured state.
// 2. Whoever writes to the file after that changes its times; whoever commits makes the WAL grow.
// 3. Whatever is found changed, or not provable, goes through Capture::Examine as after a restart.
//
// A large database is never copied to the local disk: its chain begins with the page sums alone,
// and a snapshot is read from it while it is sent (db/database_snapshot.cc), in the thread of the
// uploader, which takes the permit for each slice that it reads. Steps hold the permit, too.
//
// Threads: Start, Sync, Drain, Release by the owner; Status by anybody.
class Database : private ReplicaHost {
 public:
  Database(Env& env, Scheduler& scheduler, const DatabaseOptions& options, const Logger& log);
  ~Database() override;

  // Begins to replicate in the background.
  void Start();
  // One capture of everything committed so far and one upload to all replicas, in the caller's
  // thread; for use without Start (`-once`). kNotFound if there is no database.
  Result<void> SyncOnce(const Context& ctx);
  // After SyncOnce: writes a snapshot of what was synced to every replica, from the files that
  // there are; from the database if they will not do.
  Result<void> SnapshotOnce(const Context& ctx);
  // After SyncOnce: removes from every replica what retention does not keep.
  Result<void> RetainOnce(const Context& ctx);

  // The end has two steps, for CloseDatabases (db/close.h).
  // Before them, if the database was removed from those that are replicated: what is at its path by
  // then may be another one. Drain captures what is attached, and attaches to nothing.
  void StopAttaching() { may_attach_ = false; }
  // Stops what runs, captures what is committed, makes one attempt to bring each replica level;
  // those that were well go first. The first error of a replica. May be called again, for the next
  // `attempt`, from 1 on.
  Result<void> Drain(const Context& ctx, int attempt);
  // Lets go of the database. An error if the last commits could not be captured.
  Result<void> Release();
  // A replica is failing.
  bool IsFailing() const;

  DatabaseStatus Status() const;
  const std::filesystem::path& path() const { return options_.path; }
  const std::filesystem::path& meta_path() const { return options_.meta_path; }

 private:
  NextRun Step(const Context& ctx);
  NextRun StepWithPermit(const Context& ctx);
  Result<NextRun> StepAttached(const Context& ctx, bool just_attached);
  Result<bool> TryAttach(const Context& ctx);
  Result<bool> MakeMeta(const FileOwner& owner);
  Result<void> LockMeta();
  void KeepInstance();
  Result<void> DropInstance();
  Result<bool> LockIsInPlace();
  Result<bool> KeepMeta();
  Result<void> PrepareMeta(const Context& ctx, const FileStat& database);
  Result<void> OfferLeftovers();
  Result<void> FindParked(const Context& ctx);
  Result<NextRun> StepParked(const Context& ctx);
  Result<bool> IsStillParked();
  Result<bool> WentOnElsewhere();
  Result<bool> ParkIfWanted(const Context& ctx);
  Result<bool> MayPark();
  Result<void> NoteAtRest();
  Result<bool> Park(const Context& ctx, bool with_effort);
  Result<bool> EmptyWal(const Context& ctx, bool with_effort);
  Result<std::chrono::nanoseconds> UntilOldEnough();
  Result<bool> IsOldEnough();
  bool LetGoOfParked(const Context& ctx);
  bool WatchParked();
  bool HasRoom();
  void StayOpen(std::chrono::nanoseconds duration);
  void CloseAll();
  Result<void> FirstCapture(const Context& ctx);
  Result<void> CaptureAll(const Context& ctx, Continuation how);
  Result<void> CaptureNew(const Context& ctx);
  Result<bool> HandleRequests(const Context& ctx);
  void WantRebase(Txid above);
  Result<void> Rebase(const Context& ctx, Txid above);
  Result<void> MakeFull(const Context& ctx);
  Result<void> CaptureFull(const Context& ctx);
  Result<void> MakeMark(const Context& ctx);
  void TellUploaders();
  Result<Txid> ChooseEnd(const Context& ctx, Txid from, Txid there);
  std::uint64_t SizeNow();
  Result<bool> CheckHold(const Context& ctx);
  Result<void> CheckpointIfDue(const Context& ctx);
  Result<void> ScrubIfDue(const Context& ctx);
  Result<void> PruneLocal(const Context& ctx);
  Result<Txid> DropForTheDead(Txid keep, Txid limit);
  void Detach();
  void LoseMeta();
  void KeepHoldings(bool meta_is_new);
  bool KeepsMarks();
  void SaveHoldings(const Context& ctx, bool at_once);
  void BeginChain();
  void StopTask();
  void ReleaseLeases(const Context& ctx);
  void StopReplicas();
  void Wake();
  void OnBatch(const Batch& batch);
  void OfferFiles();
  void OfferWhatWasOpen(bool fresh);
  Result<bool> CommitUnderWay(const WalView& view);
  NextRun WaitForCommit(MonoTime now, std::chrono::nanoseconds wait);
  NextRun Sleep();
  std::optional<MonoTime> Postponed(const WalView& view, MonoTime now) const;
  Result<void> CaptureLast(const Context& ctx);
  Result<void> DrainOne(const Context& ctx, Uploader& uploader, int attempt);
  void ArmWatches();
  NextRun NoteFailure(const Error& error);
  void NoteSuccess();
  void NoteSync();
  void NoteCheckpoint(const Result<CheckpointOutcome>& outcome, std::chrono::nanoseconds time);
  void SetState(DatabaseState state);
  MonoTime Now() const { return scheduler_.clock().Monotonic(); }

  // ReplicaHost, called from upload and upkeep threads.
  std::filesystem::path LocalPath(Txid txid) const override;
  void RequestRebase(Txid txid) override;
  void RequestFull() override;
  std::uint64_t DatabaseBytes() const override { return database_bytes_; }
  void OnRest() override;
  bool StreamsSnapshots() const override { return database_bytes_ > options_.stream_above_bytes; }
  Result<std::unique_ptr<SnapshotStream>> OpenSnapshot(const Context& ctx, Txid from, Txid there,
                                                       std::chrono::nanoseconds patience) override;
  bool IsGone() const override;

  Env& env_;
  Scheduler& scheduler_;
  DatabaseOptions options_;
  Logger log_;

  // For what follows, up to the line.
  Permit permit_{[this] { TellUploaders(); }};
  OldStates old_states_;
  std::atomic<bool> scrub_wanted_{false};
  std::atomic<bool> snapshot_awaited_{false};  // Somebody wanted one while it was not open.

  // Only the step touches these, and Drain, Release and SyncOnce, when no task runs; with the
  // permit.
  std::unique_ptr<FileLock> meta_lock_;
  FileIdentity meta_lock_identity_;
  std::uint64_t instance_;     // db/state_instance.h
  bool has_instance_ = false;  // It may be noted in the state directory.
  // It was parked, and an uploader asked for something: so long it stays open. A full file, which
  // it makes as soon as it is open.
  bool open_for_request_ = false;
  bool full_awaited_ = false;
  std::unique_ptr<LocalLtx> local_;
  std::unique_ptr<PageSums> sums_;
  std::unique_ptr<Capture> capture_;
  std::unique_ptr<Attachment> attachment_;
  FileOwner file_owner_;
  Checkpointer checkpointer_;
  Scrubber scrubber_;
  Txid last_full_;
  Txid rebased_above_;  // Since it was attached, the local files begin above this.
  std::uint64_t attach_count_ = 0;
  Txid offered_;  // Up to here the uploaders may have the local files.
  MonoTime step_began_;
  MonoTime last_capture_;
  MonoTime next_prune_;
  MonoTime next_save_;
  MonoTime slow_tick_;
  CommitPace pace_;
  int failures_ = 0;
  std::chrono::nanoseconds backoff_{0};
  MonoTime failing_since_;
  bool failure_logged_ = false;
  MonoTime last_logged_failure_;
  // Set while it is parked, with the checksum of the database, if it is known.
  struct Parked {
    PositionNote note;
    std::optional<std::uint64_t> checksum;
  };
  std::optional<Parked> parked_;
  bool may_be_parked_ = true;                  // Not looked at yet.
  std::optional<Result<void>> last_captured_;  // Set by the first Drain.
  bool may_attach_ = true;                     // In Drain.

  std::atomic<std::uint64_t> rebase_above_{0};
  std::atomic<bool> full_wanted_{false};
  std::atomic<bool> rest_{false};                 // A keeper had nothing more to do.
  std::atomic<std::uint64_t> database_bytes_{0};  // Last captured.
  std::atomic<bool> event_{false};                // A file event came since the last step.
  std::atomic<Task*> waker_{nullptr};

  mutable Mutex mu_{LockRank::kDatabase};
  DatabaseStatus status_ LS_GUARDED_BY(mu_);  // Without what Status puts in.

  // Before what wakes it, so that it outlives them: a stopped task may be woken.
  std::unique_ptr<Task> task_;
  std::optional<OpenDatabases::Member> member_;
  // Of each replica. Until the end they stay as they are; then they go under mu_, because of
  // Status.
  std::vector<std::unique_ptr<Holdings>> holdings_;
  std::vector<std::unique_ptr<Fence>> fences_;
  std::vector<std::unique_ptr<Uploader>> uploaders_;
  std::vector<std::unique_ptr<Keeper>> keepers_;
  std::unique_ptr<FileWatch> directory_watch_;
  std::unique_ptr<FileWatch> wal_watch_;
  std::unique_ptr<FileWatch> file_watch_;  // While it is parked.
};

}  // namespace litestream
