#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "base/sync.h"
#include "db/fence.h"
#include "db/holdings.h"
#include "db/snapshot_stream.h"
#include "db/upload_group.h"
#include "litestream/replica_client.h"
#include "litestream/types.h"
#include "replica/plan.h"
#include "storage/limiter.h"

namespace litestream {

struct ReplicaOptions {
  std::shared_ptr<ReplicaClient> client;  // Shared with whoever else lists or restores from it.
  std::string name;                       // For people; the client's type if empty.
  // Names the place, so that a store can refuse a second database there. Empty: nobody asks.
  std::string place;
  std::chrono::nanoseconds sync_interval = std::chrono::seconds(1);
  int max_files_per_pass = 256;  // 0: no limit.
  LeaseMode lease = LeaseMode::kAuto;
  // Of the process; null: none. The client has to know it too (storage/limited_client.h). What is
  // uploaded then goes one object a turn.
  std::shared_ptr<Limiter> limiter;
};

enum class ReplicaState : unsigned char {
  kUnknown,  // Not listed yet.
  kSyncing,  // Behind, working on it.
  kInSync,
  kFailing,  // The last attempt failed; tries again by itself.
};

// Of the keeper (db/keeper.h).
struct UpkeepStatus {
  Txid merged;  // Level 1 holds everything up to here.
  std::optional<WallTime> newest_snapshot;
  std::uint64_t written_files = 0;
  std::uint64_t removed_files = 0;
  std::uint64_t bad_sources = 0;  // Merges that found a file damaged, or not fitting.
  // Files of level 0 when retention last looked.
  struct Level0 {
    bool known = false;
    std::uint32_t removed = 0;
    std::uint32_t not_merged = 0;
    std::uint32_t kept = 0;  // For another reason: most are too young.
  } level0;
  std::string error;  // Of the last step, if it failed.
};

struct ReplicaStatus {
  std::string name;
  std::string type;
  std::string where;
  ReplicaState state = ReplicaState::kUnknown;
  Txid txid;  // End of the contiguous run on the replica.
  // The newest transaction there whose proof is known to continue what is there before it.
  Txid proven;
  std::optional<WallTime> last_success;  // When it was last level with the database.
  std::optional<MonoTime> behind_since;  // What is not there was captured then, at the earliest.
  std::string error;                     // Of the last attempt, if it failed.
  std::uint64_t uploaded_files = 0;
  std::uint64_t uploaded_bytes = 0;
  UpkeepStatus upkeep;
};

// What an uploader and a keeper ask of the database's owner. Called without locks, from their
// threads.
class ReplicaHost {
 public:
  virtual ~ReplicaHost() = default;
  virtual std::filesystem::path LocalPath(Txid txid) const = 0;
  // The replica goes on to `txid`, and what it holds there is not ours: capture has to go on above
  // it, with a full file.
  virtual void RequestRebase(Txid txid) = 0;
  // The replica lacks files that are not here any more: capture has to make a full file. Or, of a
  // large database, a file above which a snapshot can be sent.
  virtual void RequestFull() = 0;
  // It is so large that its snapshots are read from it while they are sent; no full files are made.
  virtual bool StreamsSnapshots() const { return false; }
  // A snapshot of everything captured, which ends with `from` or behind it: with the newest
  // transaction if that is `there`, the newest of the replica; else with one that a local file
  // follows. Null: not now, nor within `patience`; the uploader is woken, or offered files, when it
  // is worth asking again.
  virtual Result<std::unique_ptr<SnapshotStream>> OpenSnapshot(
      const Context& /*ctx*/, Txid /*from*/, Txid /*there*/,
      std::chrono::nanoseconds /*patience*/) {
    return std::unique_ptr<SnapshotStream>();
  }
  // Of the database, about.
  virtual std::uint64_t DatabaseBytes() const = 0;
  // The keeper has come to rest for the first time, and the holdings are not saved.
  virtual void OnRest() {}
  // The database is not there (any more). A local file that is missing then went with it, and
  // nobody can make it anew.
  virtual bool IsGone() const { return false; }
};

// Brings one replica level with the local files. Each replica of a database has its own: its own
// position, pace and health; a slow one holds nobody else up.
//
// Invariants:
// 1. Files are uploaded in the order of their TXIDs, each only when the one before is confirmed. So
//    what a reader of the replica sees is always a prefix.
// 2. The position is the end of the contiguous run over all levels (D11). It is learnt by listing,
//    once, or recalled from what was saved then (db/holdings.h), and after that known from our own
//    confirmed writes; any surprise makes it unknown again.
// 3. Nothing is overwritten with other content: writes are put-if-absent, and an object that is
//    there counts as ours only if its file checksum is. (Merging the same files again gives the
//    same file.)
// 4. Objects of level 0 do not overlap: what waits goes up from behind the position, merged into
//    few files (db/upload_group.h), and after a lost answer the position is learnt anew.
// 5. What goes up continues what is there: its proof begins where that of the position ends, or it
//    holds every page. So a local file of another history stays here, whoever put it there.
// 6. No lock is held while the replica is talked to (D21).
// 7. Under a limit of the process nothing begins before it is its turn.
// 8. Nothing goes up but under the lease (db/fence.h), and what it builds on was learnt in the same
//    term of the lease. So who has nothing to upload needs none, and asks for none.
class Uploader {
 public:
  Uploader(Env& env, Scheduler& scheduler, ReplicaHost& host, Fence& fence, Holdings& holdings,
           const ReplicaOptions& options, Logger log);
  ~Uploader();

  // Called from the uploader's thread when the holdings have changed. Before Start.
  void SetOnChange(std::function<void()> on_change) { on_change_ = std::move(on_change); }
  // Starts the task that uploads what Offer brings. Without it only Drain uploads.
  void Start();
  // There will be something to upload in a moment: a lease that has run out is renewed meanwhile.
  void Expect();
  void Offer(const LocalFiles& files);
  void Wake();
  // The task runs no more.
  void Stop();
  LocalFiles Files() const;  // What was offered last.
  // What is known of the replica is wrong: it is to be listed again.
  void Relist();
  // It is to be compared with the replica.
  void Validate();
  // A snapshot that ends with `from` or behind it is to be sent, of a database that streams them.
  void WantSnapshot(Txid from);
  // One attempt to upload everything that is offered, in the caller's thread; the `attempt`-th of
  // the caller, from 1, for the log. Stops the task for good.
  Result<void> Drain(const Context& ctx, int attempt);
  // The last attempt ended because the replica needs a snapshot, and the database cannot be read.
  bool awaits_image() const { return image_awaited_; }
  // Writes a snapshot of what is offered and uploaded (db/force_snapshot.h). No task runs.
  Result<void> ForceSnapshot(const Context& ctx);
  // Sends a snapshot that ends with `from` or behind it, read from the database. False: not now.
  Result<bool> StreamSnapshot(const Context& ctx, Txid from);
  ReplicaStatus Status() const;

 private:
  NextRun Run(const Context& ctx);
  // When to look again, if there is nothing to do now.
  std::optional<NextRun> NotNow(const LocalFiles& files, MonoTime now) const;
  TurnSize NextTurn(const LocalFiles& files) const;
  void Prepare(const Context& ctx);
  Result<bool> PassInTurn(const Context& ctx);
  // One pass. True: nothing is left to upload.
  Result<bool> Pass(const Context& ctx);
  void Report(std::vector<CatalogueDifference> differences);
  Result<bool> KnowPosition(const Context& ctx, const LocalFiles& files);
  Result<void> TakeLease(const Context& ctx);
  Result<void> HoldLease(const Context& ctx);
  Result<bool> FindPosition(const Context& ctx, const LocalFiles& files);
  Result<void> RecallPosition(const Context& ctx, const LocalFiles& files);
  Result<bool> RecallAt(const Context& ctx, Txid end);
  void NotePosition(Txid end);
  Result<bool> IsOurs(const Context& ctx, const LocalFiles& files, const ReplicaListing& listing);
  Result<bool> IsNewestState(const Context& ctx, const LocalFiles& files,
                             const ReplicaListing& listing);
  std::optional<LtxProof> LocalProof(Txid txid);
  void NoteDamage(const Error& error);
  Result<void> LearnState(const Context& ctx, const ReplicaListing& listing, Txid txid);
  Result<UploadGroup> NextGroup(Txid last);
  Result<void> UploadNext(const Context& ctx, const LocalFiles& files);
  Result<void> UploadLocal(const Context& ctx, const UploadGroup& group);
  Result<std::unique_ptr<File>> OpenLocal(Txid txid);
  Result<void> UploadSnapshot(const Context& ctx, Txid txid);
  Result<void> Store(const Context& ctx, const FileId& id, const TxidRange& local);
  struct Body;
  Result<Body> OpenBody(const Context& ctx, const FileId& id, const TxidRange& local);
  Result<std::optional<std::uint64_t>> SizeIfOurs(const Context& ctx, const FileId& id,
                                                  const TxidRange& local);
  void RequestFull();
  Result<bool> SendImage(const Context& ctx, Txid from);
  void NoteStreamed(const FileInfo& info, const LtxHeader& header);
  Result<void> CheckIsThere(const Context& ctx, const FileId& id, const LtxHeader& header);
  void NoteProgress(const FileInfo& info);
  void NoteUploaded(const FileInfo& info);
  void NoteProven();
  std::string SomebodyElse(Txid txid) const;
  void Forget();
  void NoteFailure(const Error& error);
  // Files, and what it takes when they are of another chain.
  LocalFiles TakeWanted();

  Env& env_;
  Scheduler& scheduler_;
  ReplicaHost& host_;
  Fence& fence_;
  Holdings& holdings_;
  ReplicaOptions options_;
  Logger log_;
  std::function<void()> on_change_ = [] {};

  // Only the pass touches these.
  std::optional<Txid> position_;
  std::uint32_t page_size_ = 0;            // At position_; 0: unknown.
  std::optional<std::uint64_t> checksum_;  // Of the database at position_, if it is known.
  std::uint64_t chain_ = 0;                // That position_ belongs to.
  Fence::Term term_ = 0;                   // In which it was learnt.
  // Level-0 objects behind a gap after position_, ascending.
  std::vector<TxidRange> behind_gap_;
  MonoTime last_pass_;
  MonoTime last_upload_;
  std::optional<MonoTime> last_listing_;
  bool may_recall_ = false;                // Of this chain nothing was asked yet.
  bool has_written_ = false;               // Of this chain: the replica holds files of ours.
  bool image_awaited_ = false;             // The last pass ended for want of one.
  bool base_damaged_ = false;              // The file at position_ is damaged.
  bool has_uploaded_ = false;              // In this pass.
  bool more_ = false;                      // The last pass was limited.
  bool draining_ = false;                  // No task runs any more.
  std::optional<Txid> rebase_requested_;   // Above which we asked capture to go on.
  std::optional<Txid> full_wanted_above_;  // What failed waits for a full file above this.
  int failures_ = 0;
  bool failure_logged_ = false;
  std::chrono::nanoseconds backoff_{0};
  MonoTime last_logged_failure_;

  std::atomic<bool> list_wanted_{false};
  // From which on a snapshot is wanted; kNoSnapshot: none is.
  static constexpr std::uint64_t kNoSnapshot = ~std::uint64_t{0};
  std::atomic<std::uint64_t> snapshot_wanted_{kNoSnapshot};
  std::atomic<bool> expected_{false};

  mutable Mutex mu_{LockRank::kReplica};
  LocalFiles wanted_ LS_GUARDED_BY(mu_);
  ReplicaStatus status_ LS_GUARDED_BY(mu_);

  LimiterSeat seat_;            // Only the pass takes it.
  std::unique_ptr<Task> task_;  // Last: ends before what it uses.
};

}  // namespace litestream
