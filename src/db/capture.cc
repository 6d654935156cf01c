#include "db/capture.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/names.h"

namespace litestream {
namespace {

// Entries are handed to the table in pieces of this many.
constexpr std::size_t kSumsPiece = 8192;
// At a stop, so many local files may be left for the next start to replay.
constexpr std::uint64_t kMaxFilesToReplay = 64;
// A batch with more changed pages than this replays its own file instead of remembering all sums.
constexpr std::size_t kMaxRememberedSums = 1U << 20;
// A file is left open for the next one only up to this size: that one holds it in memory, and
// writes it again, perhaps under the write lock.
constexpr std::uint64_t kMaxOpenBytes = 1U << 20;

// A page of the file that another one takes in.
struct TakenPage {
  Pgno pgno;
  std::uint64_t sum = 0;
  std::vector<std::byte> block;
};

}  // namespace

// A level-0 file being written.
struct Capture::Output {
  LtxHeader header;
  std::unique_ptr<LocalLtx::Staged> staged;
  std::unique_ptr<LtxEncoder> encoder;
  DatabaseChecksum checksum;
  std::vector<PageSumEntry> entries;
  std::uint32_t old_pages = 0;  // Pages with an entry in the table.
  bool too_many_entries = false;
  bool build_table = false;  // The table is being built anew: no old entries.
  // The newest file, whose place this one takes: its pages, up to the next that is not added yet.
  bool takes_in_newest = false;
  std::vector<TakenPage> taken;
  std::size_t next_taken = 0;
};

Capture::Capture(Env& env, LocalLtx& local, PageSums& sums, std::filesystem::path note_path,
                 FileOwner owner, Logger log)
    : env_(env),
      local_(local),
      sums_(sums),
      note_path_(std::move(note_path)),
      owner_(owner),
      log_(std::move(log)) {}

Result<void> Capture::Load(const Context& ctx) {
  position_ = {};
  newest_is_open_ = false;
  sums_valid_ = false;
  note_ = LS_TRY(ReadPositionNote(env_, note_path_));
  const auto range = local_.range();
  if (!range) return {};
  auto newest = local_.ReadHeader(range->max);
  if (!newest.ok()) {
    if (!newest.error().Is(ErrorCode::kCorruption)) return std::move(newest).error();
    // A damaged local file: nothing that it says can be trusted, but its number is taken.
    log_.Error("local LTX file is damaged, comparing with the database",
               {{"error", newest.error().message()}});
    position_.txid = range->max;
    return {};
  }
  position_ = PositionFromHeader(newest.value());
  time_ms_ = newest.value().timestamp_ms;
  if (note_ && note_->txid == position_.txid && note_->end.offset_bytes != 0) {
    position_.salts = note_->salts;
    position_.end = note_->end;
  }
  return ReplayLocal(ctx);
}

// The table is right up to its header; the local files behind it bring the rest.
Result<void> Capture::ReplayLocal(const Context& ctx) {
  const auto& table = sums_.header();
  if (!table || table->page_size != position_.page_size || table->txid > position_.txid ||
      !position_.after) {
    return {};
  }
  Txid next = table->txid.Next();
  const auto range = local_.range();
  if (next <= position_.txid && (!range || next < range->min)) return {};
  for (; next <= position_.txid; next = next.Next()) {
    auto replayed = Replay(ctx, next);
    if (!replayed.ok()) {
      if (!replayed.error().Is(ErrorCode::kCorruption)) return replayed;
      log_.Error("local LTX file is damaged, page sums cannot be replayed",
                 {{"error", replayed.error().message()}});
      return {};
    }
  }
  if (table->txid == position_.txid && table->checksum != *position_.after) return {};
  sums_valid_ = true;
  return {};
}

Result<void> Capture::Replay(const Context& ctx, Txid txid) {
  const auto source = LS_TRY(local_.OpenFile(txid));
  LtxDecoder decoder(*source);
  LS_TRY(decoder.ReadHeader(ctx), "{}", local_.Path(txid).string());
  std::vector<PageSumEntry> entries;
  for (;;) {
    const auto page = LS_TRY(decoder.ReadPage(ctx), "{}", local_.Path(txid).string());
    if (!page) break;
    entries.push_back({page->pgno, page->page_sum});
    if (entries.size() == kSumsPiece) {
      LS_TRY(sums_.Set(entries));
      entries.clear();
    }
  }
  LS_TRY(decoder.Finish(ctx), "{}", local_.Path(txid).string());
  return sums_.Set(entries);
}

PositionNote Capture::NewNote(const Attachment& attachment) const {
  PositionNote note;
  note.txid = position_.txid;
  note.database = attachment.database_identity();
  note.wal = attachment.wal_identity();
  note.boot = HashOfBoot(env_);
  note.salts = position_.salts;
  note.end = position_.end;
  return note;
}

Result<void> Capture::NoteFiles(const Attachment& attachment) {
  CloseNewest();
  database_ = attachment.database_identity();
  PositionNote note = NewNote(attachment);
  // It was parked, and nothing was captured since: as long as the database file stays as it was,
  // everything is in the WAL.
  const bool same = note_ && !position_moved_ && note_->txid == note.txid &&
                    note_->database == note.database && note_->boot == note.boot;
  if (same) note.parked = note_->parked;
  // As long as the newest file's header tells the position, only the files' identities matter.
  const bool known = note_ && note_->database == note.database && note_->wal == note.wal &&
                     note_->boot == note.boot && !position_moved_;
  if (known || note_ == note) return {};
  LS_TRY(WritePositionNote(env_, note_path_, note, owner_), "note the position");
  note_ = note;
  return {};
}

bool Capture::NoteProvesNothing() const {
  return !note_ && !position_moved_ && position_.end.offset_bytes == kWalHeaderSize;
}

Result<PositionNote> Capture::NoteParked(Attachment& attachment) {
  LS_TRY(FlushSums());
  PositionNote note = NewNote(attachment);
  note.parked = StampOf(LS_TRY(attachment.DatabaseStat()));
  if (note_ != note) LS_TRY(WritePositionNote(env_, note_path_, note, owner_), "note the position");
  note_ = note;
  return note;
}

// --- Writing one file. ---

LtxHeader Capture::NewHeader(std::uint32_t commit_pages) const {
  LtxHeader header;
  header.commit_pages = commit_pages;
  header.txids = {position_.txid.Next(), position_.txid.Next()};
  header.timestamp_ms = env_.clock().Now().time_since_epoch().count();
  return header;
}

Result<void> Capture::Begin(Output& out, LtxHeader header) {
  if (out.takes_in_newest) header.txids = {position_.txid, position_.txid};
  // Room for the proof; Finish puts the right one in.
  header.SetProof(LtxProof{});
  out.header = header;
  out.staged = LS_TRY(local_.Stage(header.txids.max));
  out.encoder = std::make_unique<LtxEncoder>(*out.staged);
  return out.encoder->Begin(header);
}

void Capture::LeaveOpen(const Batch& batch) {
  newest_is_open_ = batch.txid != Txid{} && batch.txid == position_.txid && batch.txid != Txid{1} &&
                    batch.file_bytes <= kMaxOpenBytes && batch.page_count < position_.commit_pages;
}

Result<void> Capture::TakeInNewest(const Context& ctx, Output& out) {
  const std::string name = local_.Path(position_.txid).string();
  const auto source = LS_TRY(local_.OpenFile(position_.txid));
  LtxDecoder decoder(*source);
  LS_TRY(decoder.ReadHeader(ctx), "{}", name);
  while (const auto page = LS_TRY(decoder.ReadPage(ctx), "{}", name)) {
    out.taken.push_back({page->pgno, page->page_sum, {page->block.begin(), page->block.end()}});
  }
  LS_TRY(decoder.Finish(ctx), "{}", name);
  out.takes_in_newest = true;
  return {};
}

// The table knows these pages. One that comes again is newer.
Result<void> Capture::AddTakenIn(Output& out, Pgno before) {
  for (; out.next_taken < out.taken.size(); ++out.next_taken) {
    const TakenPage& page = out.taken[out.next_taken];
    if (page.pgno >= before) break;
    LS_TRY(out.encoder->AddEncoded({page.pgno, page.sum, page.block}));
  }
  if (out.next_taken < out.taken.size() && out.taken[out.next_taken].pgno == before) {
    ++out.next_taken;
  }
  return {};
}

Result<void> Capture::Add(Output& out, Pgno pgno, std::span<const std::byte> page) {
  LS_TRY(AddTakenIn(out, pgno));
  const std::uint64_t sum = LS_TRY(out.encoder->AddPage(pgno, page));
  if (!out.build_table && pgno.value <= out.old_pages) {
    out.checksum.Toggle(LS_TRY(sums_.Get(pgno)));
  }
  out.checksum.Toggle(sum);
  out.entries.push_back({pgno, sum});
  if (out.build_table && out.entries.size() == kSumsPiece) {
    LS_TRY(sums_.Set(out.entries));
    out.entries.clear();
  } else if (out.entries.size() > kMaxRememberedSums) {
    out.too_many_entries = true;
    out.entries.clear();
  }
  return {};
}

Result<void> Capture::DropPages(Output& out, std::uint32_t from_pages, std::uint32_t to_pages) {
  std::vector<std::uint64_t> piece;
  for (std::uint64_t first = std::uint64_t{to_pages} + 1; first <= from_pages;
       first += piece.size()) {
    piece.resize(std::min<std::uint64_t>(kSumsPiece, from_pages - first + 1));
    LS_TRY(sums_.GetRange(Pgno{static_cast<std::uint32_t>(first)}, piece));
    for (const std::uint64_t sum : piece) out.checksum.Toggle(sum);
  }
  return {};
}

Result<Batch> Capture::Finish(const Context& ctx, const Attachment& attachment, Output& out) {
  LS_TRY(AddTakenIn(out, Pgno{out.header.commit_pages + 1}));
  LtxProof proof;
  proof.before = out.header.IsSnapshot() ? 0 : position_.after.value_or(0);
  if (out.takes_in_newest) proof.before = newest_before_;
  proof.after = out.checksum.value();
  LS_TRY(out.encoder->Finish(proof));
  LS_TRY(out.staged->Patch(kLtxProofOffset, ProofBytes(proof)));
  Batch batch;
  batch.txid = out.header.txids.max;
  batch.wal_bytes = static_cast<std::uint64_t>(out.header.wal_size);
  batch.file_bytes = out.encoder->size_bytes();
  batch.page_count = out.encoder->page_count();
  out.header.SetProof(proof);
  // What was read is one state only if our locks held all the while (D6, D16).
  LS_TRY(attachment.CheckSameFiles());
  LS_TRY(out.staged->Commit());
  // From here on the file counts, whatever happens to the table.
  position_ = PositionFromHeader(out.header);
  time_ms_ = out.header.timestamp_ms;
  newest_is_open_ = false;
  newest_before_ = proof.before;
  position_moved_ = false;
  // What was wrong before is not right because this file's pages are.
  const bool were_valid = std::exchange(sums_valid_, false) || out.build_table;
  auto set = out.too_many_entries ? Replay(ctx, batch.txid) : sums_.Set(out.entries);
  sums_valid_ = set.ok() && were_valid;
  if (!set.ok()) {
    // Not an error of this capture: whoever hears of one would not upload the file. The next
    // capture, or the next start, replays the local files into the table.
    log_.Warn("cannot write page sums, the next capture mends them",
              {{"txid", FormatTxid(batch.txid)}, {"error", set.error().message()}});
  }
  return batch;
}

// --- What goes into it. ---

Result<Batch> Capture::Continue(const Context& ctx, Attachment& attachment, const WalView& view,
                                bool restart_allowed, std::uint64_t limit_bytes) {
  const auto broken = [&](std::string_view what) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("the hold on the WAL was broken: {} (at TXID {})", what,
                             FormatTxid(position_.txid)));
  };
  const bool same_generation = view.salts == position_.salts;
  if (!same_generation && !restart_allowed) {
    return broken("the WAL was restarted under our read transaction");
  }
  if (same_generation && view.end_offset() < position_.end.offset_bytes) {
    return broken("the WAL is shorter than what was captured");
  }
  return Incremental(ctx, attachment, view, !same_generation, limit_bytes);
}

bool Capture::IsCaptured(const WalView& view) const {
  if (view.salts != position_.salts) return view.frames == 0;
  return view.end_offset() == position_.end.offset_bytes;
}

bool Capture::HoldsGrowth(const WalSegment& segment) const {
  const std::uint32_t grown = segment.commit_pages > position_.commit_pages
                                  ? segment.commit_pages - position_.commit_pages
                                  : 0;
  const Pgno lock_page = LockPage(position_.page_size);
  const bool lock_page_counts =
      lock_page.value > position_.commit_pages && lock_page.value <= segment.commit_pages;
  const auto held = std::ranges::count_if(segment.pages, [&](const WalPageEntry& page) {
    return page.pgno.value > position_.commit_pages && page.pgno != lock_page;
  });
  return static_cast<std::uint64_t>(held) + (lock_page_counts ? 1 : 0) >= grown;
}

Result<Batch> Capture::Incremental(const Context& ctx, Attachment& attachment, const WalView& view,
                                   bool from_front, std::uint64_t limit_bytes) {
  if (!sums_valid_) {
    // A table write failed after its file was durable: the local files above the header mend it.
    // The position stands, whatever becomes of that.
    LS_TRY(ReplayLocal(ctx));
    if (!sums_valid_) return Difference(ctx, attachment, view);
  }
  const WalPoint start = from_front ? WalPoint{} : position_.end;
  if (view.end_offset() <= start.offset_bytes) return Batch{};
  WalSegment segment = LS_TRY(ReadWalSegment(ctx, attachment, view, start, limit_bytes));
  // A page that it grew by and does not hold is read from the file, and that may have it from a
  // frame behind this stretch.
  if (segment.end.offset_bytes < view.end_offset() && !HoldsGrowth(segment)) {
    segment = LS_TRY(ReadWalSegment(ctx, attachment, view, start, 0));
  }
  if (segment.commit_pages == 0) return Batch{};
  if (watcher_ != nullptr) watcher_->BeforeChange(segment.pages, segment.commit_pages);
  Output out;
  LtxHeader header = NewHeader(segment.commit_pages);
  header.page_size = segment.header.page_size;
  SetPosition(header, segment.start.offset_bytes, view.salts, segment.end);
  out.old_pages = position_.commit_pages;
  out.checksum = DatabaseChecksum(position_.after.value_or(0));
  if (newest_is_open_) {
    auto taken = TakeInNewest(ctx, out);
    // Somebody removed it: this is the next file, and the replicas get a snapshot.
    if (!taken.ok() && taken.error().Is(ErrorCode::kNotFound)) {
      CloseNewest();
    } else {
      LS_TRY(std::move(taken));
    }
  }
  LS_TRY(Begin(out, header));
  LS_TRY(AddSegmentPages(ctx, out, attachment, view, segment));
  LS_TRY(DropPages(out, position_.commit_pages, segment.commit_pages));
  Batch batch = LS_TRY(Finish(ctx, attachment, out));
  batch.more = segment.end.offset_bytes < view.end_offset();
  return batch;
}

Result<void> Capture::AddSegmentPages(const Context& ctx, Output& out, Attachment& attachment,
                                      const WalView& view, const WalSegment& segment) {
  const Pgno lock_page = LockPage(attachment.page_size());
  WalPageReader reader(attachment, segment);
  // Pages that the database grew by and that this stretch does not hold: SQLite may leave free
  // pages unwritten. A reader would find them earlier in this WAL, or in the file (R5).
  std::optional<WalSegment> earlier;
  std::vector<std::byte> filler;
  const auto fill = [&](Pgno pgno) -> Result<void> {
    if (pgno == lock_page) return {};
    if (!earlier) {
      WalView upto = view;
      upto.frames = static_cast<std::uint32_t>((segment.end.offset_bytes - kWalHeaderSize) /
                                               WalFrameSize(attachment.page_size()));
      upto.checksum = segment.end.checksum;
      earlier = LS_TRY(ReadWalSegment(ctx, attachment, upto, WalPoint{}, 0));
    }
    const auto found = std::ranges::lower_bound(earlier->pages, pgno, {}, &WalPageEntry::pgno);
    if (found != earlier->pages.end() && found->pgno == pgno) {
      WalPageReader from_earlier(attachment, *earlier);
      const auto page =
          LS_TRY(from_earlier.Read(static_cast<std::size_t>(found - earlier->pages.begin())));
      return Add(out, pgno, page);
    }
    filler.resize(attachment.page_size());
    LS_TRY(attachment.ReadPages(pgno, filler));
    return Add(out, pgno, filler);
  };
  std::uint32_t next_growth = std::min(position_.commit_pages, segment.commit_pages) + 1;
  for (std::size_t i = 0; i < segment.pages.size(); ++i) {
    const Pgno pgno = segment.pages[i].pgno;
    for (; next_growth < pgno.value; ++next_growth) LS_TRY(fill(Pgno{next_growth}));
    if (pgno.value >= next_growth) next_growth = pgno.value + 1;
    if (pgno == lock_page) continue;
    LS_TRY(Add(out, pgno, LS_TRY(reader.Read(i))));
  }
  for (; next_growth <= segment.commit_pages; ++next_growth) LS_TRY(fill(Pgno{next_growth}));
  return {};
}

Result<Batch> Capture::Full(const Context& ctx, Attachment& attachment, const WalView& view) {
  TellOfAnything();
  const DatabaseImage image = LS_TRY(MapDatabase(ctx, attachment, view));
  Output out;
  LtxHeader header = NewHeader(image.page_count);
  header.page_size = attachment.page_size();
  SetPosition(header, kWalHeaderSize, view.salts, image.wal.end);
  out.build_table = true;
  sums_valid_ = false;
  LS_TRY(sums_.Reset());
  LS_TRY(Begin(out, header));
  LS_TRY(ForEachPage(ctx, attachment, image, [&](Pgno pgno, std::span<const std::byte> page) {
    return Add(out, pgno, page);
  }));
  database_ = attachment.database_identity();
  return Finish(ctx, attachment, out);
}

Result<Batch> Capture::Baseline(const Context& ctx, Attachment& attachment, const WalView& view) {
  TellOfAnything();
  const DatabaseImage image = LS_TRY(MapDatabase(ctx, attachment, view));
  const Position before = position_;
  sums_valid_ = false;
  LS_TRY(sums_.Reset());
  DatabaseChecksum checksum;
  std::vector<PageSumEntry> entries;
  std::vector<std::byte> page_one;
  LS_TRY(ForEachPage(ctx, attachment, image,
                     [&](Pgno pgno, std::span<const std::byte> page) -> Result<void> {
                       if (pgno == Pgno{1}) page_one.assign(page.begin(), page.end());
                       entries.push_back({pgno, PageSum(pgno, page)});
                       checksum.Toggle(entries.back().sum);
                       if (entries.size() < kSumsPiece) return {};
                       LS_TRY(sums_.Set(entries));
                       entries.clear();
                       return {};
                     }));
  LS_TRY(sums_.Set(entries));
  LS_TRY(attachment.CheckSameFiles());
  position_ = {.txid = before.txid.Next(),
               .page_size = attachment.page_size(),
               .commit_pages = image.page_count,
               .salts = view.salts,
               .end = image.wal.end,
               .after = checksum.value()};
  time_ms_ = 0;
  sums_valid_ = true;
  database_ = attachment.database_identity();
  auto marked = Mark(ctx, attachment, page_one);
  if (marked.ok()) return marked;
  // Without a file the position is nowhere.
  position_ = before;
  sums_valid_ = false;
  return marked;
}

Result<Batch> Capture::Mark(const Context& ctx, const Attachment& attachment,
                            std::span<const std::byte> page_one) {
  CloseNewest();
  if (!sums_valid_) LS_TRY(ReplayLocal(ctx));
  if (!sums_valid_) {
    return Error(ErrorCode::kUnavailable, "the page sums have to be built first");
  }
  Output out;
  LtxHeader header = NewHeader(position_.commit_pages);
  const std::int64_t time_before_ms = time_ms_ == 0 ? header.timestamp_ms : time_ms_;
  header.page_size = position_.page_size;
  SetPosition(header, position_.end.offset_bytes, position_.salts, position_.end);
  out.old_pages = position_.commit_pages;
  out.checksum = DatabaseChecksum(*position_.after);
  LS_TRY(Begin(out, header));
  LS_TRY(Add(out, Pgno{1}, page_one));
  if (out.checksum.value() != *position_.after) {
    return Error(ErrorCode::kCorruption, fmt::format("page 1 is not what was captured (at TXID {})",
                                                     FormatTxid(position_.txid)));
  }
  Batch batch = LS_TRY(Finish(ctx, attachment, out));
  mark_ = batch.txid;
  time_before_mark_ms_ = time_before_ms;
  return batch;
}

void Capture::TellOfAnything() {
  if (watcher_ != nullptr) watcher_->BeforeAnyChange();
}

// Frames are taken as they stand, published or not: those that are not, were left by a writer that
// died, and to keep a page too many does no harm.
Result<bool> Capture::AnnounceTail(Attachment& attachment, std::uint32_t most_frames) {
  const auto header = LS_TRY(attachment.ReadWalHeader());
  if (!header) return true;
  const bool same = header->salts == position_.salts;
  std::uint64_t at = same ? position_.end.offset_bytes : kWalHeaderSize;
  std::uint32_t commit_pages = position_.commit_pages;
  std::vector<WalPageEntry> pages;
  for (std::uint32_t count = 0;; ++count) {
    std::array<std::byte, kWalFrameHeaderSize> bytes = {};
    const std::size_t got = LS_TRY(attachment.ReadWal(bytes, at), "read WAL");
    const WalFrameHeader frame = ParseWalFrameHeader(bytes);
    if (got < bytes.size() || frame.salts != header->salts) break;
    if (count == most_frames) return false;
    pages.push_back({.pgno = frame.pgno, .frame_offset = at});
    if (frame.commit_pages != 0) commit_pages = std::min(commit_pages, frame.commit_pages);
    at += WalFrameSize(attachment.page_size());
  }
  std::ranges::sort(pages, {}, &WalPageEntry::pgno);
  watcher_->BeforeChange(pages, commit_pages);
  return true;
}

Result<Batch> Capture::Difference(const Context& ctx, Attachment& attachment, const WalView& view) {
  if (position_.txid == Txid{} || position_.page_size != attachment.page_size() ||
      !position_.after) {
    return Full(ctx, attachment, view);
  }
  TellOfAnything();
  const DatabaseImage image = LS_TRY(MapDatabase(ctx, attachment, view));
  if (!sums_valid_) {
    if (!LS_TRY(RebuildSums(ctx, attachment, image))) return Full(ctx, attachment, view);
    return MovePosition(view, image);
  }
  // Checked on the way: the table must add up to what the last file says.
  DatabaseChecksum table_checksum;
  Output out;
  LtxHeader header = NewHeader(image.page_count);
  header.page_size = attachment.page_size();
  SetPosition(header, kWalHeaderSize, view.salts, image.wal.end);
  out.old_pages = position_.commit_pages;
  out.checksum = DatabaseChecksum(*position_.after);
  LS_TRY(Begin(out, header));
  LS_TRY(ForEachPage(ctx, attachment, image,
                     [&](Pgno pgno, std::span<const std::byte> page) -> Result<void> {
                       if (pgno.value > out.old_pages) return Add(out, pgno, page);
                       const std::uint64_t old_sum = LS_TRY(sums_.Get(pgno));
                       table_checksum.Toggle(old_sum);
                       if (PageSum(pgno, page) == old_sum) return {};
                       return Add(out, pgno, page);
                     }));
  const DatabaseChecksum kept = out.checksum;
  LS_TRY(DropPages(out, position_.commit_pages, image.page_count));
  table_checksum = DatabaseChecksum(table_checksum.value() ^ kept.value() ^ out.checksum.value());
  if (table_checksum.value() != *position_.after) {
    log_.Error("page sums do not add up to the last file's checksum, capturing the whole database");
    out = Output();
    return Full(ctx, attachment, view);
  }
  if (out.encoder->page_count() == 0 && image.page_count == position_.commit_pages) {
    return MovePosition(view, image);
  }
  return Finish(ctx, attachment, out);
}

Result<bool> Capture::RebuildSums(const Context& ctx, Attachment& attachment,
                                  const DatabaseImage& image) {
  if (image.page_count != position_.commit_pages) return false;
  LS_TRY(sums_.Reset());
  DatabaseChecksum checksum;
  std::vector<PageSumEntry> entries;
  LS_TRY(ForEachPage(ctx, attachment, image,
                     [&](Pgno pgno, std::span<const std::byte> page) -> Result<void> {
                       const std::uint64_t sum = PageSum(pgno, page);
                       checksum.Toggle(sum);
                       entries.push_back({pgno, sum});
                       if (entries.size() < kSumsPiece) return {};
                       LS_TRY(sums_.Set(entries));
                       entries.clear();
                       return {};
                     }));
  LS_TRY(sums_.Set(entries));
  if (checksum.value() != *position_.after) return false;
  sums_valid_ = true;
  database_ = attachment.database_identity();
  LS_TRY(FlushSums());
  return true;
}

// The database is what the last file says; only the WAL stands elsewhere. No file for that (an idle
// database makes none): the note carries the new position.
Result<Batch> Capture::MovePosition(const WalView& view, const DatabaseImage& image) {
  position_moved_ = true;
  position_.salts = view.salts;
  position_.end = image.wal.end;
  if (view.frames == 0) position_.end = WalPoint{};
  return Batch{};
}

Result<void> Capture::Rebase(Txid txid) {
  LS_TRY(local_.Clear());
  LS_TRY(sums_.Reset());
  sums_valid_ = false;
  newest_is_open_ = false;
  position_ = {};
  time_ms_ = 0;
  position_.txid = txid;
  return {};
}

bool Capture::SumsAreBehind() const {
  if (!sums_valid_) return false;
  const auto& header = sums_.header();
  return !header || header->txid.value + kMaxFilesToReplay < position_.txid.value;
}

Result<void> Capture::MendSums(const Context& ctx) {
  // Once for each position: a damaged file stays damaged.
  if (sums_valid_ || position_.txid == Txid{} || mended_at_ == position_.txid) return {};
  mended_at_ = position_.txid;
  auto replayed = ReplayLocal(ctx);
  if (!replayed.ok()) mended_at_ = Txid{};
  return replayed;
}

Result<void> Capture::FlushSums() {
  CloseNewest();
  if (!sums_valid_ || !position_.after) return {};
  PageSumsHeader header;
  header.page_size = position_.page_size;
  header.page_count = position_.commit_pages;
  header.txid = position_.txid;
  header.checksum = *position_.after;
  header.database = database_;
  auto flushed = sums_.Flush(header);
  // What a sync that failed was to write may be lost, and the next one succeeds all the same. So
  // the entries are set again, by the local files, before the header may say that they are there.
  if (!flushed.ok()) {
    sums_valid_ = false;
    mended_at_ = Txid{};
  }
  return flushed;
}

Txid Capture::sums_durable_txid() const {
  return sums_valid_ && sums_.header() ? sums_.header()->txid : Txid{};
}

}  // namespace litestream
