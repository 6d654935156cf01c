#include "replica/compactor.h"

#include <array>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx.h"
#include "replica/compaction_sources.h"
#include "replica/planned_file.h"

namespace litestream {
namespace {

using Action = CompactionChoice::Action;
using Outcome = CompactionStep::Outcome;

constexpr std::size_t kDrainBytes = std::size_t{256} << 10;

// Gives a merge, and remembers whether it failed: then nobody stored it.
class Body final : public ByteSource {
 public:
  explicit Body(LtxMerge& merge) : merge_(merge) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    auto got = merge_.Read(ctx, out);
    if (!got.ok()) error_ = got.error();
    return got;
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  LtxMerge& merge_;
  std::optional<Error> error_;
};

// Whether an error speaks of a file, and not of the way to it.
bool IsOfTheFile(const Error& error) {
  return error.Is(ErrorCode::kNotFound) || error.Is(ErrorCode::kCorruption);
}

// After an error of the sources: what is wrong with which, or the client's error.
Result<CompactionStep> Failed(const Context& ctx, const CompactionSources& sources, Error error) {
  if (!IsOfTheFile(error)) return error;
  CompactionStep step{.outcome = Outcome::kBadSource};
  step.bad = LS_TRY(sources.Diagnose(ctx, error));
  return step;
}

// Whether the object ends with this checksum, and there.
Result<bool> IsSameObject(const Context& ctx, ReplicaClient& client, const FileId& id,
                          const LtxMerge& merge) {
  const auto source =
      LS_TRY(client.Open(ctx, id, {.offset_bytes = merge.size_bytes() - kLtxTrailerSize}));
  std::array<std::byte, kLtxTrailerSize + 1> end = {};
  const std::size_t got = LS_TRY(ReadFull(ctx, *source, end));
  return got == kLtxTrailerSize && LoadBe64(&end[8]) == merge.trailer().file_checksum;
}

Error OtherContent(const CompactionTarget& target, const FileId& id) {
  return {ErrorCode::kAlreadyExists,
          fmt::format("{}: {} is there with other content: another process or database writes to "
                      "this place",
                      target.client.Describe(), FileLabel(id))};
}

// There is an object of that name already.
Result<CompactionStep> Recognise(const Context& ctx, const CompactionTarget& target,
                                 const FileId& id, CompactionSources& sources) {
  LtxMerge& merge = sources.merge();
  std::vector<std::byte> piece(kDrainBytes);
  for (;;) {
    const auto got = merge.Read(ctx, piece);
    if (!got.ok()) return Failed(ctx, sources, got.error());
    if (got.value() == 0) break;
  }
  const bool same = LS_TRY(IsSameObject(ctx, target.client, id, merge), "{}", FileLabel(id));
  if (!same) return OtherContent(target, id);
  CompactionStep step{.outcome = Outcome::kWritten};
  step.written = {
      .id = id, .size_bytes = merge.size_bytes(), .created_at = merge.header().Timestamp()};
  return step;
}

// Writes the merge of the opened sources.
Result<CompactionStep> WriteObject(const Context& ctx, const CompactionTarget& target,
                                   const FileId& id, CompactionSources& sources) {
  if (target.before_write) LS_TRY(target.before_write(ctx));
  Body body(sources.merge());
  const WriteOptions options{
      .created_at = sources.merge().header().Timestamp(), .size_bytes = {}, .if_absent = true};
  GuardedSource guarded(body, target.guard);
  auto written = target.client.Write(ctx, id, guarded, options);
  if (written.ok()) {
    CompactionStep step{.outcome = Outcome::kWritten};
    step.written = written.value();
    return step;
  }
  if (body.error()) return Failed(ctx, sources, *body.error());
  if (written.error().Is(ErrorCode::kAlreadyExists)) return Recognise(ctx, target, id, sources);
  target.catalogue.Doubt(id);
  return std::move(written).error().Wrap("write " + FileLabel(id));
}

Result<CompactionStep> Write(const Context& ctx, const CompactionTarget& target, const FileId& id,
                             CompactionSources& sources, const CompactionChoice& choice) {
  CompactionStep step = LS_TRY(WriteObject(ctx, target, id, sources));
  if (step.written) target.catalogue.Add(*step.written);
  step.hole = choice.hole;
  step.more = step.written && choice.more;
  return step;
}

FileId SnapshotId(Txid txid) {
  return {kSnapshotLevel, {Txid{1}, txid}};
}

Result<CompactionStep> WriteSnapshot(const Context& ctx, const CompactionTarget& target,
                                     const CompactionChoice& choice) {
  auto files = choice.sources;
  const FileId id = SnapshotId(files.back().id.txids.max);
  for (;;) {
    CompactionSources sources(target, files);
    auto opened = sources.Open(ctx, /*as_snapshot=*/true);
    if (const std::size_t first = sources.LastBeginning()) {
      files.erase(files.begin(), files.begin() + static_cast<std::ptrdiff_t>(first));
      continue;
    }
    if (!opened.ok()) return Failed(ctx, sources, std::move(opened).error());
    return Write(ctx, target, id, sources, choice);
  }
}

// What a level has before a file: its own newest one, or the last snapshot that leads to it.
std::optional<FileId> FileBefore(const Catalogue& catalogue, Level level, const TxidRange& file) {
  std::optional<FileId> before;
  for (const Level n : {level, kSnapshotLevel}) {
    for (std::size_t i = catalogue.count(n); i > 0 && !before; --i) {
      const FileId id = catalogue.at(n, i - 1).id;
      if (id.txids.max.Next() >= file.min && id.txids.max <= file.max) before = id;
    }
  }
  return before;
}

Result<std::uint32_t> ReadPageSize(const Context& ctx, ByteSource& source) {
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(ReadFull(ctx, source, bytes));
  return LS_TRY(ParseLtxHeader(std::span(bytes).first(got))).page_size;
}

}  // namespace

// The page size of the database before the file that comes next; unset if it is not known.
Result<std::optional<std::uint32_t>> Compactor::PageSizeBefore(const Context& ctx, Level to,
                                                               const TxidRange& next) {
  const auto id = FileBefore(target_.catalogue, to, next);
  if (!id) return std::optional<std::uint32_t>();
  KnownPageSize& known = page_sizes_[to.value];
  if (known.file != *id) {
    const auto read = [&]() -> Result<std::uint32_t> {
      const ByteRange range{.offset_bytes = 0, .length_bytes = kLtxHeaderSize};
      const auto local = target_.local ? target_.local(id->txids.max) : std::nullopt;
      const auto source =
          LS_TRY(local ? local->open(ctx, range) : target_.client.Open(ctx, *id, range));
      return ReadPageSize(ctx, *source);
    }();
    // Nothing is made of that file here, so it is not here that it is missed.
    if (!read.ok() && IsOfTheFile(read.error())) return std::optional<std::uint32_t>();
    known = {.file = *id, .page_size = LS_TRY(read, "read {}", FileLabel(*id))};
  }
  return std::optional(known.page_size);
}

Result<CompactionStep> Compactor::CompactLevel(const Context& ctx, Level to) {
  // Grows with every round, by some of the files of the level below.
  std::set<FileId> images;
  for (;;) {
    const CompactionChoice choice =
        ChooseSources(target_.catalogue, to, target_.bounds, images,
                      target_.damaged ? std::span<const TxidRange>(*target_.damaged)
                                      : std::span<const TxidRange>());
    if (choice.action == Action::kPromote) return WriteSnapshot(ctx, target_, choice);
    if (choice.action != Action::kMerge) {
      CompactionStep step;
      step.outcome = choice.action == Action::kGap ? Outcome::kGap : Outcome::kNothing;
      step.hole = choice.hole;
      return step;
    }
    CompactionSources sources(target_, choice.sources);
    auto opened = sources.Open(ctx, /*as_snapshot=*/false);
    if (!opened.ok() && !IsOfTheFile(opened.error())) return std::move(opened).error();
    // First of all: files of two page sizes cannot be opened together.
    const TxidRange& first = choice.sources.front().id.txids;
    auto found = LS_TRY(sources.FindImages(ctx, LS_TRY(PageSizeBefore(ctx, to, first))));
    if (!found.empty()) {
      images.merge(found);
      continue;
    }
    if (!opened.ok()) return Failed(ctx, sources, std::move(opened).error());
    const LtxHeader header = sources.merge().header();
    CompactionStep step = LS_TRY(Write(ctx, target_, {to, header.txids}, sources, choice));
    if (step.written) page_sizes_[to.value] = {step.written->id, header.page_size};
    return step;
  }
}

Result<CompactionStep> Compactor::CompactSnapshot(const Context& ctx,
                                                  std::uint64_t database_bytes) {
  const CompactionChoice choice = ChooseForSnapshot(target_.catalogue);
  CompactionStep step;
  step.hole = choice.hole;
  if (choice.action == Action::kGap) step.outcome = Outcome::kGap;
  if (choice.action != Action::kMerge) return step;
  std::uint64_t bytes = 0;
  for (const FileInfo& file : choice.sources) bytes += file.size_bytes;
  if (choice.sources.size() > target_.bounds.max_files || !MergeIsCheaper(bytes, database_bytes)) {
    step.outcome = Outcome::kReadDatabase;
    return step;
  }
  return WriteSnapshot(ctx, target_, choice);
}

Result<CompactionStep> Compactor::Promote(const Context& ctx, const FileInfo& file) {
  if (const auto there = target_.catalogue.Find(SnapshotId(file.id.txids.max))) {
    CompactionStep step;
    step.outcome = Outcome::kWritten;
    step.written = there;
    return step;
  }
  return WriteSnapshot(ctx, target_,
                       {.action = Action::kPromote, .sources = {file}, .hole = {}, .more = false});
}

}  // namespace litestream
