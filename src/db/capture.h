#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "db/attachment.h"
#include "db/change_watcher.h"
#include "db/database_image.h"
#include "db/local_ltx.h"
#include "db/page_sums.h"
#include "db/position.h"
#include "db/wal_segment.h"
#include "format/ltx.h"
#include "format/page_sum.h"
#include "litestream/clock.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// How capture goes on with a database that it meets (again).
enum class Continuation : unsigned char {
  kFirst,      // Nothing was ever captured: a full file.
  kSame,       // The WAL still holds everything behind the position: go on from there.
  kRestarted,  // The WAL was restarted once, with nothing lost in between: go on at its front.
  kDoubt,      // Frames may have been lost: compare with the page sums, ship what differs.
};

struct Decision {
  Continuation continuation = Continuation::kDoubt;
  std::string reason;  // For the log; empty for kFirst and kSame.
};

// What one call captured.
struct Batch {
  Txid txid;  // 0: nothing was written.
  std::uint64_t wal_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::uint32_t page_count = 0;
  bool more = false;  // The byte limit ended it; call again.
};

// Turns what the WAL holds into level-0 files, and keeps the page sums in step.
//
// Invariants (spec engine 21):
// 1. A file ends at a commit and holds TXID last + 1. State(n) is state(n-1) overlaid with file n,
//    cut or extended to its commit; every page above the previous size is in it.
// 2. The position moves only when the file is durable.
// 3. proof.before of file n is proof.after of file n-1; `after` is the checksum of exactly the
// state
//    that the file leads to.
//    A file that was left open (LeaveOpen) is replaced by one that holds its pages and later ones;
//    what it led to was never a state that anybody else could see.
// 4. The watcher is told of what changes before anybody lets go of the state before.
// 5. An incremental file is written only where the WAL is known to hold everything since the
//    position (Examine, or an unbroken hold). Otherwise the difference to the page sums, or all.
//
// Every call needs a transaction open that sees `view`; none ends one.
class Capture {
 public:
  Capture(Env& env, LocalLtx& local, PageSums& sums, std::filesystem::path note_path,
          FileOwner owner, Logger log);

  // Borrows it.
  void SetWatcher(ChangeWatcher& watcher) { watcher_ = &watcher; }
  bool is_watched() const { return watcher_ != nullptr && watcher_->active(); }

  // Reads the position from the newest local file and brings the page sums up to it.
  Result<void> Load(const Context& ctx);

  const Position& position() const { return position_; }
  // The page sums are those of position().
  bool sums_valid() const { return sums_valid_; }

  // Is `view`, met without an unbroken hold since the last capture, a continuation?
  Result<Decision> Examine(Attachment& attachment, const WalView& view);
  // Notes which files the position belongs to. After the first capture of an attachment.
  Result<void> NoteFiles(const Attachment& attachment);
  // There is no note, and none is needed before the next capture: of a position at the front of an
  // empty WAL it would prove nothing (Examine).
  bool NoteProvesNothing() const;
  bool OwesNote() const { return !note_ && !NoteProvesNothing(); }
  // Everything is captured and in the database file, the WAL is empty, the file was written a while
  // ago (GrainOf), and the transaction that saw that is still held.
  Result<PositionNote> NoteParked(Attachment& attachment);

  // From the position to the view's end, or to the first commit at or behind `limit_bytes` (0: no
  // limit). `from_front`: the WAL was restarted, its front continues the position.
  Result<Batch> Incremental(const Context& ctx, Attachment& attachment, const WalView& view,
                            bool from_front, std::uint64_t limit_bytes);
  // Incremental from where the position says, for a view met under an unbroken hold.
  // `restart_allowed`: as Attachment says of the transaction held since the last capture.
  // kCorruption if the view cannot follow the position: the hold was broken, nothing is proven.
  Result<Batch> Continue(const Context& ctx, Attachment& attachment, const WalView& view,
                         bool restart_allowed, std::uint64_t limit_bytes);
  // The file just made is small, and the next incremental capture may take it in instead of making
  // another: so a checkpoint with its seal costs each replica no upload of its own. Until then, or
  // CloseNewest, no replica may have it. Notes and flushed page sums speak of it and close it.
  void LeaveOpen(const Batch& batch);
  void CloseNewest() { newest_is_open_ = false; }
  bool newest_is_open() const { return newest_is_open_; }
  // The view shows nothing new.
  bool IsCaptured(const WalView& view) const;
  // All pages. The page sums are built anew.
  Result<Batch> Full(const Context& ctx, Attachment& attachment, const WalView& view);
  // The chain begins at the next transaction but without a file for it: only the page sums are
  // made. Whoever needs that state reads it from the database, as long as it is there (OldState).
  // The file that this makes is a mark behind it. No local files are there.
  Result<Batch> Baseline(const Context& ctx, Attachment& attachment, const WalView& view);
  // A transaction that changes nothing: a file with page 1 as it is. So a snapshot that holds
  // everything before it has a file behind it. Needs everything captured, and valid page sums.
  Result<Batch> Mark(const Context& ctx, const Attachment& attachment,
                     std::span<const std::byte> page_one);
  // The newest file is a mark: the transaction before it is the same state.
  bool newest_is_mark() const { return mark_ != Txid{} && mark_ == position_.txid; }
  // Timestamps of the position and of that transaction, in milliseconds since 1970.
  std::int64_t time_ms() const { return time_ms_; }
  std::int64_t time_before_mark_ms() const { return time_before_mark_ms_; }
  // Under the write lock, before the holder is renewed: tells the watcher of what was committed
  // since it began. False: that are more frames than `most_frames`, and nothing was told.
  Result<bool> AnnounceTail(Attachment& attachment, std::uint32_t most_frames);
  // The pages that differ from the sums; all, if the sums are not valid and the database is not
  // what the last file says. No file if nothing differs.
  Result<Batch> Difference(const Context& ctx, Attachment& attachment, const WalView& view);

  // The chain goes on elsewhere: forget the local files; the next file is a full one after `txid`.
  Result<void> Rebase(Txid txid);

  // Page sums that could not be written, or synced, are made right by the local files, if they can
  // be. (A capture does so itself.)
  Result<void> MendSums(const Context& ctx);
  // Makes the page sums durable up to the position, so that local files may go.
  Result<void> FlushSums();
  Txid sums_durable_txid() const;
  // The table's header is so far behind that the next start would have much to replay.
  bool SumsAreBehind() const;

  // Sum of a page as of the position; the scrubber compares with it.
  Result<void> ExpectedSums(Pgno first, std::span<std::uint64_t> out) {
    return sums_.GetRange(first, out);
  }

 private:
  struct Output;
  LtxHeader NewHeader(std::uint32_t commit_pages) const;
  Result<void> Begin(Output& out, LtxHeader header);
  Result<void> Add(Output& out, Pgno pgno, std::span<const std::byte> page);
  Result<Batch> Finish(const Context& ctx, const Attachment& attachment, Output& out);
  // It has every page that the database grows by in it.
  bool HoldsGrowth(const WalSegment& segment) const;
  Result<void> AddSegmentPages(const Context& ctx, Output& out, Attachment& attachment,
                               const WalView& view, const WalSegment& segment);
  Result<void> TakeInNewest(const Context& ctx, Output& out);
  Result<void> AddTakenIn(Output& out, Pgno before);
  Result<void> DropPages(Output& out, std::uint32_t from_pages, std::uint32_t to_pages);
  Result<bool> RebuildSums(const Context& ctx, Attachment& attachment, const DatabaseImage& image);
  Result<void> ReplayLocal(const Context& ctx);
  Result<void> Replay(const Context& ctx, Txid txid);
  void TellOfAnything();
  Result<Batch> MovePosition(const WalView& view, const DatabaseImage& image);
  Result<Decision> ExamineRestart(Attachment& attachment, const WalView& view);
  PositionNote NewNote(const Attachment& attachment) const;
  Result<bool> SealedEndIntact(Attachment& attachment) const;
  Result<bool> IsAsParked(Attachment& attachment) const;

  Env& env_;
  LocalLtx& local_;
  PageSums& sums_;
  std::filesystem::path note_path_;
  FileOwner owner_;
  Logger log_;
  Position position_;
  std::optional<PositionNote> note_;
  FileIdentity database_;  // Of the attachment last captured from.
  Txid mended_at_;         // The position when MendSums last tried.
  bool sums_valid_ = false;
  bool newest_is_open_ = false;
  std::uint64_t newest_before_ = 0;  // The proof's `before` of the newest file.
  std::int64_t time_ms_ = 0;         // Of the position; 0: not known.
  Txid mark_;                        // The newest mark that was made.
  std::int64_t time_before_mark_ms_ = 0;
  ChangeWatcher* watcher_ = nullptr;
  bool position_moved_ = false;  // The position is not the one in the newest file's header.
};

}  // namespace litestream
