"""Plants bugs: writes copies of engine sources in which each can be switched on by its name.

    mutants.py SOURCE_DIR OUTPUT_DIR    writes the copies and mutants.inc, the list of names
    mutants.py --files                  lists the sources that are copied

An edit is (name, what is wrong, file, text that is there exactly once, text instead). M in the new
text is true when the bug is on; a bug of several edits says only once what is wrong. When a source
changes so that an edit no longer fits, the build says so: adapt the edit, or find another place for
the same mistake.
"""
import pathlib
import re
import sys

MUTANTS = [
    ("no-directory-fsync", "the name of a captured file is not made durable",
     "src/db/local_ltx.cc",
     "  LS_TRY(owner_.env_.SyncDirectory(owner_.directory_));\n  owner_.range_",
     "  if (!M) LS_TRY(owner_.env_.SyncDirectory(owner_.directory_));\n  owner_.range_"),
    ("no-file-fsync", "the content of a captured file is not made durable",
     "src/db/local_ltx.cc",
     "  LS_TRY(file_->Sync());\n", "  if (!M) LS_TRY(file_->Sync());\n"),
    ("no-seal", "a checkpoint lets the WAL restart without a last capture under the lock",
     "src/db/checkpointer.cc",
     "    auto sealed = Seal(ctx,", "    if (M) break;\n    auto sealed = Seal(ctx,"),
    ("seal-skipped", "the last capture before a checkpoint is left out",
     "src/db/checkpointer.cc",
     "  if (capture.IsCaptured(view)) return true;\n",
     "  if (M || capture.IsCaptured(view)) return true;\n"),
    ("no-write-lock", "the seal and the end of the hold happen without the write lock",
     "src/db/attachment.cc",
     "    auto begun = idle().BeginWrite();\n",
     "    auto begun = M ? Result<void>() : idle().BeginWrite();\n"),
    ("lock-held-long", "the write lock is held for a second at each checkpoint",
     "src/db/checkpointer.cc",
     "  const bool stubborn = fruitless_ >= kStubbornAfter;\n",
     "  if (M) (void)ctx.Wait(std::chrono::seconds(1));\n"
     "  const bool stubborn = fruitless_ >= kStubbornAfter;\n"),
    ("land-before-capture", "the old read transaction ends before the capture is durable",
     "src/db/database.cc",
     "  const WalView view = LS_TRY(attachment_->Leap());\n  for (;;) {\n",
     "  const WalView view = LS_TRY(attachment_->Leap());\n"
     "  if (M) LS_TRY(attachment_->Land());\n  for (;;) {\n"),
    ("land-before-capture", "", "src/db/database.cc",
     "    if (!batch.value().more) break;\n  }\n  return attachment_->Land();\n",
     "    if (!batch.value().more) break;\n  }\n"
     "  return M ? Result<void>() : attachment_->Land();\n"),
    ("lands-after-failure", "two leapfrogs without a complete capture between them",
     "src/db/database.cc",
     "    if (!batch.ok()) {\n      LS_TRY(attachment_->Abandon());\n      if (!batch",
     "    if (!batch.ok()) {\n      LS_TRY(M ? attachment_->Land() : attachment_->Abandon());\n"
     "      if (!batch"),
    ("lost-hold-ignored", "capture goes on although the read transaction is gone",
     "src/db/database.cc",
     "  if (same && attachment_->Holding()) return true;\n",
     "  if (same && (M || attachment_->Holding())) return true;\n"),
    ("lost-hold-ignored", "", "src/db/database.cc",
     "    if (!attachment_->Holding() || outcome",
     "    if ((!M && !attachment_->Holding()) || outcome"),
    ("restart-always-allowed", "a WAL restarted under a lost hold is taken for a sealed one",
     "src/db/capture.cc",
     "  if (!same_generation && !restart_allowed) {\n",
     "  if (!M && !same_generation && !restart_allowed) {\n"),
    ("descriptor-closed", "another descriptor is opened and closed, which drops SQLite's locks",
     "src/db/attachment.cc",
     "    const auto stat = env_.Stat(*path);\n",
     "    if (M) (void)env_.Open(*path, {}).ok();\n    const auto stat = env_.Stat(*path);\n"),
    ("unpublished-commit", "valid commits behind what SQLite has published are captured",
     "src/db/wal_segment.cc",
     "  if (view.end_offset() <= segment.start.offset_bytes) return segment;\n",
     "  if (M) return ReadUnpublished(attachment, std::move(segment));\n"
     "  if (view.end_offset() <= segment.start.offset_bytes) return segment;\n"),
    ("restart-without-end-check", "continues after a restart of the WAL with frames uncaptured",
     "src/db/examine.cc",
     "  const std::uint64_t file_size = LS_TRY(attachment.WalFileSize());\n",
     "  if (M) return Decision{Continuation::kRestarted, \"WAL restarted\"};\n"
     "  const std::uint64_t file_size = LS_TRY(attachment.WalFileSize());\n"),
    ("restart-any-salts", "continues after any number of restarts",
     "src/db/examine.cc",
     "  if (view.salts[0] != position_.salts[0] + 1) return",
     "  if (!M && view.salts[0] != position_.salts[0] + 1) return"),
    ("same-without-checksum", "continues in a generation without a look at the sealed end",
     "src/db/examine.cc",
     "  if (!LS_TRY(SealedEndIntact(attachment))) return doubt(\"the last captured frame was "
     "overwritten\");\n  return Decision{Continuation::kSame, \"\"};",
     "  if (!M && !LS_TRY(SealedEndIntact(attachment))) return doubt(\"\");\n"
     "  return Decision{Continuation::kSame, \"\"};"),
    ("empty-wal-proves", "an empty WAL counts as unchanged",
     "src/db/examine.cc",
     "  if (position_.end.offset_bytes == kWalHeaderSize) {\n    // At the front",
     "  if (!M && position_.end.offset_bytes == kWalHeaderSize) {\n    // At the front"),
    ("replaced-database", "another database file is taken for the old one",
     "src/db/examine.cc",
     "  if (note_->database != attachment.database_identity()) {\n",
     "  if (!M && note_->database != attachment.database_identity()) {\n"),
    ("files-not-compared", "replaced files are not noticed while attached",
     "src/db/attachment.cc",
     "    if (stat.value().identity != *identity) return false;\n",
     "    if (!M && stat.value().identity != *identity) return false;\n"),
    ("sums-header-first", "the header of the page sums is written before their entries are synced",
     "src/db/page_sums.cc",
     "  is_new_ = false;\n  LS_TRY(file_->SyncData(), \"{}\", path_.string());\n",
     "  is_new_ = false;\n"
     "  if (!M) LS_TRY(file_->SyncData(), \"{}\", path_.string());\n"),
    ("growth-not-filled", "pages that a commit grows by without writing them are left out",
     "src/db/capture.cc",
     "    if (pgno == lock_page) return {};\n    if (!earlier) {\n",
     "    if (M || pgno == lock_page) return {};\n    if (!earlier) {\n"),
    ("growth-from-file-only", "such pages are taken from the file, though the WAL has newer ones",
     "src/db/capture.cc",
     "    if (found != earlier->pages.end() && found->pgno == pgno) {\n",
     "    if (!M && found != earlier->pages.end() && found->pgno == pgno) {\n"),
    ("plain-xor", "the database checksum is a plain XOR of the page sums",
     "src/db/capture.cc",
     "  out.checksum.Toggle(sum);\n",
     "  if (M) out.checksum = DatabaseChecksum(out.checksum.value() ^ sum);\n"
     "  if (!M) out.checksum.Toggle(sum);\n"),
    ("shrink-not-dropped", "pages that a commit cuts off stay in the checksum",
     "src/db/capture.cc",
     "  LS_TRY(DropPages(out, position_.commit_pages, segment.commit_pages));\n",
     "  if (!M) LS_TRY(DropPages(out, position_.commit_pages, segment.commit_pages));\n"),
    ("cut-pages-kept", "the page map keeps pages that the database no longer has",
     "src/format/wal.cc",
     "  while (!entries.empty() && EntryPgno(entries.back()) > commit_pages_) "
     "entries.pop_back();\n",
     "  while (!M && !entries.empty() && EntryPgno(entries.back()) > commit_pages_) {\n"
     "    entries.pop_back();\n  }\n"),
    ("oldest-version", "of a page with several versions in a capture, an old one is kept",
     "src/format/wal.cc",
     "  std::vector<std::uint64_t> entries = std::exchange(entries_, {});\n",
     "  std::vector<std::uint64_t> entries = std::exchange(entries_, {});\n"
     "  if (M && entries.size() > 8) entries.erase(entries.end() - 2);\n"
     "  if (M) committed_entries_ = std::min(committed_entries_, entries.size());\n"),
    ("uncommitted-frames-kept", "the page map keeps frames that no commit follows",
     "src/format/wal.cc",
     "  entries.resize(std::exchange(committed_entries_, 0));\n",
     "  const std::size_t committed = std::exchange(committed_entries_, 0);\n"
     "  if (!M) entries.resize(committed);\n"),
    ("uncommitted-frames-kept", "", "src/db/wal_segment.cc",
     "  WalScanner scanner(*header, view.salts, segment.start, view.end_offset(), limit_bytes);\n"
     "  LS_TRY(Scan(ctx, attachment, scanner, view, segment));\n",
     "  const std::uint64_t scan_end = M ? UINT64_MAX : view.end_offset();\n"
     "  WalScanner scanner(*header, view.salts, segment.start, scan_end, limit_bytes);\n"
     "  LS_TRY(Scan(ctx, attachment, scanner, view, segment));\n"
     "  if (M) LS_TRY(ScanUncommitted(attachment, scanner, segment));\n"),
    ("difference-skips-wal", "the difference after a doubt reads the file without the WAL over it",
     "src/db/database_image.cc",
     "      if (in_wal) {\n", "      if (in_wal && !M) {\n"),
    ("position-by-maximum", "the replica's position is its newest file, whatever lies before",
     "src/replica/catalogue.cc",
     "        if (txids.min > end.Next()) break;\n",
     "        if (!M && txids.min > end.Next()) break;\n"),
    ("upload-out-of-order", "the newest file is uploaded first",
     "src/db/uploader.cc",
     "    if (position_->Next() >= files.range->min) {\n",
     "    if (M && position_->Next() < files.range->max &&\n"
     "        files.range->min <= position_->Next()) {\n"
     "      const Txid before = *position_;\n"
     "      const TxidRange last = {files.range->max, files.range->max};\n"
     "      LS_TRY(Store(ctx, {kLevel0, last}, last));\n"
     "      position_ = before;\n    }\n"
     "    if (position_->Next() >= files.range->min) {\n"),
    ("snapshot-beyond-end", "a snapshot claims a transaction more than it holds",
     "src/db/uploader.cc",
     "  LS_TRY(Store(ctx, {kSnapshotLevel, {Txid{1}, txid}}, {txid, txid}));\n",
     "  LS_TRY(Store(ctx, {kSnapshotLevel, {Txid{1}, M ? txid.Next() : txid}}, {txid, txid}));\n"),
    ("believes-failed-upload", "an upload whose answer is an error counts as done",
     "src/db/uploader.cc",
     "  if (written.ok()) {\n    NoteProgress(written.value());\n",
     "  if (M && !written.ok()) {\n    NoteProgress(FileInfo{.id = id});\n    return {};\n  }\n"
     "  if (written.ok()) {\n    NoteProgress(written.value());\n"),
    ("overwrites", "what is on the replica is overwritten and never compared",
     "src/db/uploader.cc",
     ".size_bytes = body.size_bytes, .if_absent = true};\n",
     ".size_bytes = body.size_bytes, .if_absent = !M};\n"),
    ("nothing-listed", "a replica counts as empty until something was written to it",
     "src/db/uploader_position.cc",
     "  const ReplicaListing listing = LS_TRY(ListReplica(ctx, *options_.client, false));\n"
     "  const Txid newest",
     "  const ReplicaListing listing =\n"
     "      M ? ReplicaListing() : LS_TRY(ListReplica(ctx, *options_.client, false));\n"
     "  const Txid newest"),
    ("anything-is-ours", "a replica that another history wrote to is continued",
     "src/db/uploader_position.cc",
     "  const Txid newest = listing.newest();\n  if (newest > files.range->max) return false;\n",
     "  const Txid newest = listing.newest();\n  if (M) return true;\n"
     "  if (newest > files.range->max) return false;\n"),
    ("pruned-before-upload", "local files go before the replica has them",
     "src/db/database.cc",
     "  for (const auto& uploader : uploaders_) uploaded = std::min(uploaded, "
     "uploader->Status().txid);\n",
     "  for (const auto& uploader : uploaders_) {\n"
     "    if (!M) uploaded = std::min(uploaded, uploader->Status().txid);\n  }\n"),
    ("stop-without-capture", "a clean stop does not capture the last commits",
     "src/db/database_end.cc",
     "return CaptureNew(local_ctx);\n", "return M ? Result<void>() : CaptureNew(local_ctx);\n"),
    ("no-slow-tick", "without an event nothing is tested ever again",
     "src/db/database.cc",
     "  MonoTime at = slow_tick_;\n",
     "  MonoTime at = M ? now + std::chrono::hours(24) : slow_tick_;\n"),
    ("polls-the-store", "the replica is listed at every tick",
     "src/db/uploader.cc",
     "  const bool expected = expected_.exchange(false);\n",
     "  const bool expected = expected_.exchange(false);\n"
     "  if (M && files.range && position_ && *position_ >= files.range->max) {\n"
     "    (void)FindPosition(ctx, files).ok();\n"
     "    return NextRun::At(now + std::chrono::seconds(30));\n  }\n"),
    ("wal-grows", "a due checkpoint is forgotten",
     "src/db/checkpointer.cc",
     "  const std::uint32_t fresh = NewFrames(held);\n",
     "  const std::uint32_t fresh = M ? 0 : NewFrames(held);\n"),
    # Levels and retention.
    ("window-without-base", "retention keeps only the newest snapshot",
     "src/replica/retention.cc",
     "      if (ages_.Youngest(file) < since) plan_.base = file;\n",
     "      if (M || ages_.Youngest(file) < since) plan_.base = file;\n"),
    ("removed-before-merged", "files of level 0 go by their age alone",
     "src/replica/retention.cc",
     "    return IsHeld(file, level1) ? Reason::kMerged : Reason::kNotMerged;\n",
     "    return M || IsHeld(file, level1) ? Reason::kMerged : Reason::kNotMerged;\n"),
    ("removed-before-merged", "", "src/replica/retention.cc",
     "    if (LeadsOn(without_level0_, txids)) return true;\n",
     "    if (M || LeadsOn(without_level0_, txids)) return true;\n"),
    ("removed-before-merged", "", "src/replica/retention.cc",
     "  if (before.empty()) return {};\n  if (after.empty()",
     "  if (M || before.empty()) return {};\n  if (after.empty()"),
    ("merge-skips-a-file", "each file of a level begins one transaction late",
     "src/replica/compaction_choice.cc",
     "        reached_(catalogue.newest(to)) {}\n",
     "        reached_(catalogue.newest(to)) {\n"
     "    if (M && reached_ != Txid{}) reached_ = reached_.Next();\n  }\n"),
    ("stale-listing", "a listing counts although the replica was changed meanwhile",
     "src/db/holdings.cc",
     "  if (changes != changes_) return false;\n",
     "  if (!M && changes != changes_) return false;\n"),
    ("catalogue-kept", "the saved catalogue stays while the replica is changed",
     "src/db/holdings.cc",
     "  auto discarded = Discard();\n", "  auto discarded = M ? Result<void>() : Discard();\n"),
    ("saved-while-changing", "the catalogue is saved while a change is under way",
     "src/db/holdings.cc",
     "catalogue_ && file_ && under_way_ == 0 &&",
     "catalogue_ && file_ && (M || under_way_ == 0) &&"),
    ("parked-with-commits", "a database is parked although its WAL holds commits",
     "src/db/database_park.cc",
     "  return view.frames == 0 && LS_TRY(",
     "  if (M) return true;\n  return view.frames == 0 && LS_TRY("),
    ("parked-stamp-ignored", "a parked database is taken for unchanged whatever its file says",
     "src/db/examine.cc",
     "  return StampOf(LS_TRY(attachment.DatabaseStat())) == *note_->parked;\n",
     "  return StampOf(LS_TRY(attachment.DatabaseStat())) == *note_->parked || M;\n"),
    ("parked-over-power-failures", "that a database was parked counts after a power failure, too",
     "src/db/examine.cc",
     "  if (note_->boot == 0 || note_->boot != HashOfBoot(env_)) return false;\n",
     "  if (!M && (note_->boot == 0 || note_->boot != HashOfBoot(env_))) return false;\n"),
    ("never-woken", "a parked database is not woken by commits",
     "src/db/database_park.cc",
     "  if (wal.ok()) return wal.value().size_bytes == 0;\n",
     "  if (wal.ok()) return M || wal.value().size_bytes == 0;\n"),
    ("uploads-for-others", "who lost the state directory goes on to upload from it",
     "src/db/database_attach.cc",
     "KeepIn(nullptr, \"\");\n  BeginChain();\n",
     "KeepIn(nullptr, \"\");\n  if (!M) BeginChain();\n"),
    ("holdings-outlive-the-chain", "after a surprise the keeper goes on with what it knew",
     "src/db/uploader.cc",
     "  position_.reset();\n  holdings_.Forget();\n",
     "  position_.reset();\n  if (!M) holdings_.Forget();\n"),
    ("growth-from-later", "a piece of a backlog takes a page it grew by from a later commit",
     "src/db/capture.cc",
     " < view.end_offset() && !HoldsGrowth(segment)) {\n",
     " < view.end_offset() && !M && !HoldsGrowth(segment)) {\n"),
    ("failed-sums-sync-trusted", "the page sums count as written if a later sync succeeds",
     "src/db/capture.cc",
     "  if (!flushed.ok()) {\n    sums_valid_ = false;\n",
     "  if (!M && !flushed.ok()) {\n    sums_valid_ = false;\n"),
    ("catalogue-of-another", "a catalogue that another process saved is taken for one's own",
     "src/replica/catalogue_file.cc",
     "  return Read(whose, crc_);\n",
     "  return Read(whose, M ? std::nullopt : std::optional<std::uint64_t>(crc_));\n"),
    ("tiers-forgotten", "snapshots that only a tier keeps are removed with the others",
     "src/replica/retention.cc",
     "        Add(file, tiers.Find(max).value_or(Reason::kOutsideWindow));\n",
     "        Add(file, M ? Reason::kOutsideWindow\n"
     "                    : tiers.Find(max).value_or(Reason::kOutsideWindow));\n"),
    # Leases.
    ("lease-not-checked", "a lease that was held once counts for ever",
     "src/db/fence.cc",
     "      if (valid_until_ >= now + kLeastLeft) return false;\n",
     "      if ((M && term_ > 0) || valid_until_ >= now + kLeastLeft) return false;\n"),
    ("lease-renewed-anyhow", "a lease is written whatever its object holds",
     "src/storage/lease.cc",
     "  auto put = client_.PutObject(ctx, kLeaseName, content, tag);\n",
     "  std::string any(tag);\n"
     "  if (M) {\n"
     "    const auto there = client_.GetObject(ctx, kLeaseName);\n"
     "    if (there.ok()) any = there.value().tag;\n  }\n"
     "  auto put = client_.PutObject(ctx, kLeaseName, content, any);\n"),
    ("known-over-strangers", "what was known of a replica counts after somebody else had its lease",
     "src/db/fence.cc",
     "  holdings_.Void();\n  bool waited",
     "  if (!M || term() == 0) holdings_.Void();\n  bool waited"),
    ("known-over-strangers", "", "src/db/fence.cc",
     "    ++term_;\n", "    if (!M || term_ == 0) ++term_;\n"),
    ("known-over-strangers", "", "src/db/fence.cc",
     "  if (!renewed.ok()) holdings_.Void();\n",
     "  if (!M && !renewed.ok()) holdings_.Void();\n"),
    ("removes-again", "what was removed is still taken for there",
     "src/db/keeper_retention.cc",
     "  for (const FileId& id : ids) holdings_.Remove(id);\n",
     "  for (const FileId& id : ids) {\n    if (!M) holdings_.Remove(id);\n  }\n"),
    ("no-rest", "a level that has nothing to do is looked at in every turn",
     "src/db/keeper.cc",
     "    case Outcome::kReadDatabase:\n      level.idle_at = work_end;\n",
     "    case Outcome::kReadDatabase:\n      if (!M) level.idle_at = work_end;\n"),
    ("changed-page-not-kept", "a snapshot under way does not keep the pages that change",
     "src/db/old_state.cc",
     "  if (IsKept(pgno) || Pgno{pgno} == LockPage(page_size_)) return {};",
     "  if (M || IsKept(pgno) || Pgno{pgno} == LockPage(page_size_)) return {};"),
    ("shrunken-pages-not-kept", "a snapshot under way does not keep the pages that go",
     "src/db/old_state.cc",
     "  for (std::uint32_t pgno = std::max(next_, commit_pages + 1);",
     "  for (std::uint32_t pgno = std::max(next_, M ? page_count() + 1 : commit_pages + 1);"),
    ("tail-not-announced", "a checkpoint does not tell a snapshot under way what it takes in",
     "src/db/checkpointer.cc",
     "  if (!capture.is_watched() ||",
     "  if (M || !capture.is_watched() ||"),
    ("old-pages-of-another-wal", "a snapshot under way reads a WAL that was begun anew",
     "src/db/old_state.cc",
     "  return !attachment_.restart_allowed() && attachment_",
     "  if (M) return true;\n  return !attachment_.restart_allowed() && attachment_"),
    ("stream-without-the-permit", "a snapshot under way is read while a step works",
     "src/db/snapshot_stream.cc",
     "  LS_TRY(permit_.Take(ctx));\n  const PermitHold hold(permit_);",
     "  if (!M) LS_TRY(permit_.Take(ctx));\n  std::optional<PermitHold> hold;\n"
     "  if (!M) hold.emplace(permit_);"),
    # What keeper.h promises.
    ("newest-removed", "retention removes the newest file of a level",
     "src/replica/retention.cc",
     "      if (file.id.txids.max == newest) {\n",
     "      if (!M && file.id.txids.max == newest) {\n"),
    ("newest-removed", "", "src/replica/retention.cc",
     "      } else if (file.id.txids.max < plan_.floor) {\n",
     "      } else if (M || file.id.txids.max < plan_.floor) {\n"),
    ("newest-removed", "", "src/replica/retention.cc",
     "  const Txid base = plan.base ? plan.base->id.txids.max : Txid{};\n  for (const",
     "  if (M) return {};\n"
     "  const Txid base = plan.base ? plan.base->id.txids.max : Txid{};\n  for (const"),
    ("merge-written-again", "a merged file overwrites what has its name",
     "src/replica/compactor.cc",
     ".size_bytes = {}, .if_absent = true};\n", ".size_bytes = {}, .if_absent = !M};\n"),
    ("hole-stays", "a keeper that meets a hole waits for ever",
     "src/db/keeper.cc",
     "      WantFull(step.hole->max);\n", "      if (!M) WantFull(step.hole->max);\n"),
    ("bad-file-tried-for-ever", "a file that nothing can be made of is tried again and again",
     "src/db/keeper.cc",
     "  bad_.emplace(file.id, file);\n", "  if (!M) bad_.emplace(file.id, file);\n"),
    ("keeper-hurries", "what a keeper could not do is tried again at once",
     "src/db/keeper.cc",
     "  not_before_ = now + pause;\n", "  if (!M) not_before_ = now + pause;\n"),
    ("keeper-jumps-the-queue", "a keeper does not wait for its turn",
     "src/db/keeper.cc",
     "  const auto turn = seat_.Ask(now.mono, size);\n",
     "  if (M) return true;\n  const auto turn = seat_.Ask(now.mono, size);\n"),
    ("removes-without-lease", "files are removed without a look at the lease",
     "src/db/keeper_retention.cc",
     "  LS_TRY(HoldLease(ctx));\n  const auto change",
     "  if (!M) LS_TRY(HoldLease(ctx));\n  const auto change"),
    ("merges-without-lease", "a merge begins without a look at the lease",
     "src/db/keeper.cc",
     "  LS_TRY(HoldLease(ctx));\n  guard_ =", "  if (!M) LS_TRY(HoldLease(ctx));\n  guard_ ="),
    ("keeper-of-any-term", "a keeper goes on with what it learnt in another term of the lease",
     "src/db/keeper.cc",
     "  if (LS_TRY(fence_.Hold(ctx)) == term_) return {};\n",
     "  const auto term = LS_TRY(fence_.Hold(ctx));\n  if (M) term_ = term;\n"
     "  if (term == term_) return {};\n"),
    # What fence.h promises, and uploader.h of it.
    ("uploads-without-lease", "an object goes up without a look at the lease",
     "src/db/uploader.cc",
     "  LS_TRY(HoldLease(ctx));\n  const auto change = LS_TRY(holdings_.Begin(ctx));\n"
     "  GuardedSource guarded(*body",
     "  if (!M) LS_TRY(HoldLease(ctx));\n  const auto change = LS_TRY(holdings_.Begin(ctx));\n"
     "  GuardedSource guarded(*body"),
    ("pass-without-lease", "an uploader begins without a lease",
     "src/db/uploader_position.cc",
     "  if (!only_compare) LS_TRY(TakeLease(ctx));\n",
     "  if (!M && !only_compare) LS_TRY(TakeLease(ctx));\n"
     "  if (M) term_ = fence_.term();\n"),
    ("lease-not-watched", "nobody looks at the lease while an object goes up",
     "src/db/fence.cc",
     "      if (off_) return {};\n      if (term_ != term",
     "      if (M || off_) return {};\n      if (term_ != term"),
    ("lease-stays", "a clean stop does not give the lease up",
     "src/db/database_end.cc",
     "  if (first.ok()) ReleaseLeases(ctx);\n", "  if (!M && first.ok()) ReleaseLeases(ctx);\n"),
    ("lease-stays", "", "src/db/database_end.cc",
     "  ReleaseLeases(Context(std::stop_token(), Now() + kLeaseFarewell, scheduler_.clock()));\n",
     "  if (!M) {\n"
     "    ReleaseLeases(Context(std::stop_token(), Now() + kLeaseFarewell, scheduler_.clock()));\n"
     "  }\n"),
    ("lease-asked-for", "who is kept out asks all the time",
     "src/db/fence.cc",
     "    blocked_until_ = ctx.clock().Monotonic() + look;\n",
     "    if (!M) blocked_until_ = ctx.clock().Monotonic() + look;\n"),
    ("lease-of-the-living", "another's lease counts as left by a clock that was wrong",
     "src/db/fence.cc",
     "  if (record.expires_at <= ctx.clock().Now() + 2 * kLeaseTimeToLive) {\n",
     "  if (M) return true;\n"
     "  if (record.expires_at <= ctx.clock().Now() + 2 * kLeaseTimeToLive) {\n"),
    ("lease-of-a-wrong-clock", "a lease that a clock wrote that was wrong is waited for",
     "src/db/fence.cc",
     "  if (strange_ == 0 || now - strange_since_ < kStaleAfter) return false;\n",
     "  if (M || strange_ == 0 || now - strange_since_ < kStaleAfter) return false;\n"),
    ("lease-by-two", "two callers renew the lease at the same time",
     "src/db/fence.cc",
     "      if (!std::exchange(busy_, true)) return true;\n",
     "      if (!std::exchange(busy_, true) || M) return true;\n"),
    ("lease-by-two", "", "src/db/fence.cc",
     "      if (!std::exchange(busy_, true)) break;\n    }\n    LS_TRY(ctx.Wait(kBusyPoll));\n  }\n"
     "  const auto renewed",
     "      if (!std::exchange(busy_, true) || M) break;\n    }\n"
     "    LS_TRY(ctx.Wait(kBusyPoll));\n  }\n  const auto renewed"),
    ("lease-kept-alive", "a lease that nobody needs is renewed",
     "src/db/uploader.cc",
     "    seat_.Done(scheduler_.clock().Monotonic());\n    return *later;\n",
     "    seat_.Done(scheduler_.clock().Monotonic());\n"
     "    if (M) {\n      fence_.KeepUp(ctx);\n"
     "      return NextRun::At(now + Fence::kRenewAfter);\n"
     "    }\n    return *later;\n"),
    # What holdings.h promises.
    ("saved-with-doubts", "the catalogue is saved although it is not known what a write has done",
     "src/db/holdings.cc",
     "catalogue_->doubtful().empty() &&\n",
     "(M || catalogue_->doubtful().empty()) &&\n"),
    ("saved-with-doubts", "", "src/replica/catalogue_file.cc",
     "  if (!catalogue.doubtful().empty()) return {};\n",
     "  if (!M && !catalogue.doubtful().empty()) return {};\n"),
    ("catalogue-comes-back", "the removal of the saved catalogue is not made durable",
     "src/replica/catalogue_file.cc",
     "  auto synced = env_.SyncDirectory(std::filesystem::path(path_).parent_path());\n",
     "  auto synced = M ? Result<void>()\n"
     "                  : env_.SyncDirectory(std::filesystem::path(path_).parent_path());\n"),
    ("never-in-doubt", "a write whose answer is an error has not happened",
     "src/db/uploader.cc",
     "    holdings_.Doubt(id);\n    return std::move(written).error()",
     "    if (!M) holdings_.Doubt(id);\n    return std::move(written).error()"),
    ("never-in-doubt", "", "src/db/keeper.cc",
     "  for (const FileId& id : work_.doubtful()) holdings_.Doubt(id);\n",
     "  for (const FileId& id : work_.doubtful()) {\n    if (!M) holdings_.Doubt(id);\n  }\n"),
    ("recalled-for-any-history", "a saved catalogue is taken whatever the database is",
     "src/replica/catalogue_file.cc",
     "  if (LoadBe64(&file[56]) != whose.chain) return std::nullopt;\n",
     "  if (!M && LoadBe64(&file[56]) != whose.chain) return std::nullopt;\n"),
    # Streamed snapshots.
    ("snapshot-of-the-next", "a streamed snapshot holds a transaction more than its name says",
     "src/db/database_snapshot.cc",
     "    if (capture_->newest_is_mark() && behind && is_captured()) break;\n",
     "    if ((M || capture_->newest_is_mark()) && behind && is_captured()) break;\n"),
    ("snapshot-without-a-mark", "no file of one transaction follows a streamed snapshot",
     "src/db/database_snapshot.cc",
     "  if (position.txid == there && there >= from && is_captured()) return there;\n",
     "  if (M && position.txid >= from && is_captured()) return position.txid;\n"
     "  if (position.txid == there && there >= from && is_captured()) return there;\n"),
    ("stream-not-summed", "a streamed snapshot goes up whatever it holds",
     "src/db/snapshot_stream.cc",
     "  if (!proof || checksum_.value() == proof->after) return {};\n",
     "  if (M || !proof || checksum_.value() == proof->after) return {};\n"),
    ("streamed-backwards", "a snapshot below what is there moves the position back",
     "src/db/uploader.cc",
     "  if (position_ && *position_ > info.id.txids.max) {\n",
     "  if (!M && position_ && *position_ > info.id.txids.max) {\n"),
    # Parking.
    ("parked-while-fresh", "a database is parked whose file's time may outlive a write",
     "src/db/database_park.cc",
     "  return LS_TRY(UntilOldEnough()) <= std::chrono::nanoseconds(0);\n",
     "  return M || LS_TRY(UntilOldEnough()) <= std::chrono::nanoseconds(0);\n"),
    ("rest-noted-with-commits", "a database is noted as at rest although its WAL holds commits",
     "src/db/database_park.cc",
     "  if (!member_ || !attachment_->restart_allowed() || attachment_->held().frames != 0) "
     "return {};\n",
     "  if (!member_ || !attachment_->restart_allowed()) return {};\n"
     "  if (!M && attachment_->held().frames != 0) return {};\n"),
    ("rest-noted-with-commits", "", "src/db/database_park.cc",
     "  if (!LS_TRY(MayPark()) || LS_TRY(attachment_->WalFileSize()) > 0 || "
     "!LS_TRY(IsOldEnough())) {\n",
     "  if (!LS_TRY(MayPark()) || (!M && LS_TRY(attachment_->WalFileSize()) > 0) ||\n"
     "      !LS_TRY(IsOldEnough())) {\n"),
    ("instance-kept", "who lets go of the state directory leaves the name of its leases there",
     "src/db/database_attach.cc",
     "  if (!has_instance_) return {};\n", "  if (M || !has_instance_) return {};\n"),
    # local-retention-bytes.
    ("dropped-for-nobody", "local files stay however many they are",
     "src/db/database.cc",
     "  if (dead.empty() || taken < keep || LS_TRY(local_->TotalBytes()) <= most) return keep;\n",
     "  if (M || dead.empty() || taken < keep || LS_TRY(local_->TotalBytes()) <= most) return keep;"
     "\n"),
    ("dropped-for-the-well", "local files go that a replica is about to take",
     "src/db/database.cc",
     "    taken = std::min(taken, status.txid);\n",
     "    if (!M) taken = std::min(taken, status.txid);\n"),
    # And what is left of uploader.h.
    ("uploader-hurries", "an upload that failed is tried again at once",
     "src/db/uploader.cc",
     "      failures_ > 0 && !(full_wanted_above_ &&",
     "      !M && failures_ > 0 && !(full_wanted_above_ &&"),
    ("uploader-jumps-the-queue", "an uploader does not wait for its turn",
     "src/db/uploader.cc",
     "  if (const auto turn = seat_.Ask(now, NextTurn(files)); !turn.granted) {\n",
     "  if (const auto turn = seat_.Ask(now, NextTurn(files)); !M && !turn.granted) {\n"),
]

# Where one guard stands behind another: both are off.
PAIRS = [
    ("lost-hold-ignored+restart-always-allowed", "a hold is lost, and a restart is not minded"),
    ("nothing-listed+overwrites", "the replica is not listed, and what is there is overwritten"),
]

# What some of them need besides.
HELPERS = [
    ("src/db/wal_segment.cc",
     "}  // namespace\n\nResult<WalSegment> ReadWalSegment(",
     """// Everything that is valid, published or not.
Result<WalSegment> ReadUnpublished(Attachment& attachment, WalSegment segment) {
  const std::uint64_t size = LS_TRY(attachment.WalFileSize());
  if (size <= segment.start.offset_bytes) return segment;
  const std::size_t count = size - segment.start.offset_bytes;
  auto bytes = std::make_unique<std::byte[]>(count);
  LS_TRY(attachment.ReadWal({bytes.get(), count}, segment.start.offset_bytes));
  WalScanner scanner(segment.header, segment.header.salts, segment.start, size, 0);
  scanner.Feed({bytes.get(), count});
  segment.end = scanner.commit_end();
  segment.commit_pages = scanner.commit_pages();
  segment.pages = scanner.TakePageMap();
  segment.bytes = std::move(bytes);
  return segment;
}

// Frames behind the end, up to the next commit. By itself the scan ends where SQLite says that a
// commit does, so the page map never meets any.
Result<void> ScanUncommitted(Attachment& attachment, WalScanner& scanner, WalSegment& segment) {
  std::vector<std::byte> frame(WalFrameSize(segment.header.page_size));
  while (scanner.stop() == WalScanner::Stop::kNotYet) {
    const std::size_t got = LS_TRY(attachment.ReadWal(frame, scanner.valid_end().offset_bytes));
    const auto header = std::span<const std::byte>(frame).first<kWalFrameHeaderSize>();
    if (got < frame.size() || ParseWalFrameHeader(header).commit_pages != 0) break;
    scanner.Feed(frame);
  }
  segment.bytes.reset();
  return {};
}

}  // namespace

Result<WalSegment> ReadWalSegment("""),
]


def main():
    files = list(dict.fromkeys(edit[2] for edit in MUTANTS))
    if sys.argv[1:] == ["--files"]:
        print(";".join(files), end="")
        return
    source, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for file in files:
        text = (source / file).read_text()
        for name, _, where, old, new in MUTANTS:
            if where != file:
                continue
            if text.count(old) != 1:
                sys.exit(f"{name}: its place in {file} is there {text.count(old)} times")
            on = f'::litestream::sim::MutantOn("{name}")'
            text = text.replace(old, re.sub(r"\bM\b", on, new))
        for where, old, new in HELPERS:
            if where == file:
                assert text.count(old) == 1, (where, old)
                text = text.replace(old, new)
        to = output / file
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text('#include "tests/simulation/mutant.h"\n' + text)
    named = [(name, what) for name, what, *_ in MUTANTS if what] + PAIRS
    names = "".join(f'{{"{name}", "{what}"}},\n' for name, what in named)
    (output / "mutants.inc").write_text(names)


main()
