#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/log.h"
#include "db/attachment.h"
#include "db/capture.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

struct CheckpointOptions {
  std::uint32_t min_pages = 1000;        // WAL frames from which a checkpoint is due.
  std::int64_t truncate_pages = 121359;  // WAL frames from which the file is cut; negative: never.
  std::chrono::nanoseconds interval = std::chrono::minutes(1);  // 0: by size only.
};

struct CheckpointOutcome {
  bool lock_busy = false;  // A writer had the lock: nothing was tried.
  bool complete = false;   // Everything is in the database file; the next writer restarts the WAL.
  CheckpointMode mode = CheckpointMode::kPassive;
};

// Decides when the WAL goes into the database, and does it so that nothing is lost and nobody waits
// long (design 4.5):
//
//   1. PASSIVE without a lock, then fdatasync: almost all the work, while writers go on.
//   2. Write lock. The holder begins again, and what it sees beyond the captured end (the short
//   tail)
//      is captured: the seal. PASSIVE again. The holder begins once more, on mark 0 if everything
//      was backfilled. Lock released.
//
// Invariants:
// 1. Under the write lock nothing is committed, so after the seal every commit is in a durable
//    level-0 file before the WAL may be restarted (R6).
// 2. The lock is held for the tail only: beyond kMaxTailFrames it is released first and step 1 done
//    again.
// 3. RESTART and TRUNCATE run only with the holder on mark 0 and without the write lock: a commit
//    that slips in makes them fail, it is not lost, because nobody can backfill it.
class Checkpointer {
 public:
  // Called for each capture made on the way.
  using OnBatch = std::function<void(const Batch&)>;
  Checkpointer(const CheckpointOptions& options, Logger log);

  // Everything the holder sees is captured. Is a checkpoint due, or when will it be?
  bool Due(const WalView& held, MonoTime now) const;
  std::optional<MonoTime> NextDue(const WalView& held) const;

  Result<CheckpointOutcome> Run(const Context& ctx, Attachment& attachment, Capture& capture,
                                const OnBatch& on_batch);

  // Since when readers keep checkpoints from completing; unset: they do not.
  std::optional<MonoTime> blocked_since() const { return blocked_since_; }
  void Reset(MonoTime now);

  static constexpr std::uint32_t kMaxTailFrames = 256;
  static constexpr int kMaxTailRounds = 3;
  static constexpr int kStubbornAfter = 3;
  static constexpr std::chrono::microseconds kLockLimit{10'000};
  static constexpr std::chrono::milliseconds kStubbornLimit{50};
  static constexpr std::chrono::milliseconds kFirstBackoff{1'000};
  static constexpr std::chrono::milliseconds kMaxBackoff{60'000};

 private:
  Result<std::optional<bool>> AnnounceTail(const Context& ctx, Attachment& attachment,
                                           Capture& capture, const OnBatch& on_batch);
  Result<bool> Seal(const Context& ctx, Attachment& attachment, Capture& capture,
                    const OnBatch& on_batch);
  void NoteResult(const WalView& held, const CheckpointOutcome& outcome, MonoTime now);
  std::uint32_t NewFrames(const WalView& held) const;

  CheckpointOptions options_;
  Logger log_;
  MonoTime last_run_;    // Of a checkpoint that did its work.
  MonoTime not_before_;  // Back-off.
  std::chrono::milliseconds backoff_{0};
  int fruitless_ = 0;  // Attempts since the WAL was last restarted.
  std::optional<MonoTime> blocked_since_;
  WalSalts done_salts_ = {};
  std::uint32_t done_frames_ = 0;  // Backfilled in generation done_salts_.
};

}  // namespace litestream
