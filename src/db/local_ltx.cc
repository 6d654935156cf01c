#include "db/local_ltx.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"

namespace litestream {
namespace {

constexpr std::string_view kStagingSuffix = ".tmp";
// A start looks at no more files than these to tell how large all are.
constexpr std::uint64_t kMostSampled = 64;

}  // namespace

LocalLtx::LocalLtx(Env& env, std::filesystem::path meta, FileOwner directories, FileOwner files)
    : env_(env),
      meta_(std::move(meta)),
      directory_(meta_ / "ltx" / "0"),
      directory_owner_(directories),
      file_owner_(files) {}

// Never what the state directory is in: whoever removes or renames a tree would find it there
// again.
Result<void> LocalLtx::MakeDirectory() {
  return CreateDirectoriesBelow(env_, meta_.parent_path(), directory_, directory_owner_);
}

Result<void> LocalLtx::Open() {
  auto listed = env_.List(directory_);
  // What is made now is empty: who else would write there waits for the lock on the state
  // directory.
  if (!listed.ok() && listed.error().Is(ErrorCode::kNotFound)) {
    range_.reset();
    strays_.clear();
    return MakeDirectory();
  }
  std::vector<Txid> found;
  for (const DirectoryEntry& entry : LS_TRY(std::move(listed))) {
    if (entry.name.ends_with(kStagingSuffix)) {
      LS_TRY(env_.Remove(directory_ / entry.name), "remove unfinished file");
      continue;
    }
    const auto range = ParseLtxFilename(entry.name);
    if (range && range->min == range->max) found.push_back(range->min);
  }
  std::ranges::sort(found);
  range_.reset();
  strays_.clear();
  total_bytes_.reset();
  if (found.empty()) return {};
  // Only the run that ends with the newest counts; what lies before a hole is of no use.
  Txid first = found.back();
  for (auto it = found.rbegin(); it != found.rend() && it->value + 1 >= first.value; ++it) {
    first = *it;
  }
  range_ = TxidRange{first, found.back()};
  strays_.assign(found.begin(), std::ranges::lower_bound(found, first));
  return {};
}

std::optional<TxidRange> LocalLtx::range() const {
  return range_;
}

std::filesystem::path LocalLtx::Path(Txid txid) const {
  return directory_ / FormatLtxFilename({txid, txid});
}

Result<LtxHeader> LocalLtx::ReadHeader(Txid txid) {
  const auto path = Path(txid);
  const auto file = LS_TRY(env_.Open(path, {}));
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(file->ReadAt(bytes, 0));
  LtxHeader header = LS_TRY(ParseLtxHeader(std::span(bytes).first(got)), "{}", path.string());
  if (header.txids != TxidRange{txid, txid}) {
    return Error(
        ErrorCode::kCorruption,
        fmt::format("{}: the header names other transactions than the file's name", path.string()));
  }
  return header;
}

Result<std::unique_ptr<ByteSource>> LocalLtx::OpenFile(Txid txid) {
  return MakeFileSource(LS_TRY(env_.Open(Path(txid), {})));
}

Result<FileStat> LocalLtx::Stat(Txid txid) {
  return env_.Stat(Path(txid));
}

Result<std::uint64_t> LocalLtx::TotalBytes() {
  if (total_bytes_) return *total_bytes_;
  std::uint64_t sampled = 0;
  std::uint64_t samples = 0;
  const std::uint64_t count = range_ ? range_->max.value - range_->min.value + 1 : 0;
  for (std::uint64_t i = 0; i < count; i += 1 + count / kMostSampled) {
    sampled += LS_TRY(Stat(Txid{range_->min.value + i})).size_bytes;
    ++samples;
  }
  total_bytes_ = samples == 0 ? 0 : sampled / samples * count;
  return *total_bytes_;
}

// A file comes, or takes the place of one; or it goes.
void LocalLtx::Count(Txid txid, std::uint64_t new_bytes) {
  if (!total_bytes_) return;
  const bool is_there = range_ && range_->min <= txid && txid <= range_->max;
  const auto old = is_there ? Stat(txid) : Result<FileStat>(FileStat());
  const std::uint64_t old_bytes = old.ok() ? old.value().size_bytes : 0;
  total_bytes_ = *total_bytes_ + new_bytes - std::min(old_bytes, *total_bytes_);
}

Result<std::unique_ptr<LocalLtx::Staged>> LocalLtx::Stage(Txid txid) {
  if (range_ && txid != range_->max && txid != range_->max.Next()) {
    return Error(ErrorCode::kInternal,
                 fmt::format("stage TXID {} behind {}", FormatTxid(txid), FormatTxid(range_->max)));
  }
  auto path = Path(txid);
  path += kStagingSuffix;
  OpenOptions options{.write = true, .create = true, .truncate = true};
  options.owner = file_owner_;
  auto opened = env_.Open(path, options);
  if (!opened.ok() && opened.error().Is(ErrorCode::kNotFound)) {
    // Somebody removed the directory under us.
    LS_TRY(MakeDirectory());
    opened = env_.Open(path, options);
  }
  auto file = LS_TRY(std::move(opened));
  return std::make_unique<Staged>(*this, txid, std::move(file), std::move(path));
}

LocalLtx::Staged::Staged(LocalLtx& owner, Txid txid, std::unique_ptr<File> file,
                         std::filesystem::path path)
    : owner_(owner), txid_(txid), file_(std::move(file)), path_(std::move(path)), sink_(*file_) {}

LocalLtx::Staged::~Staged() {
  if (!committed_) (void)owner_.env_.Remove(path_).ok();
}

Result<void> LocalLtx::Staged::Patch(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  LS_TRY(sink_.Flush());
  return file_->WriteAt(bytes, offset_bytes);
}

Result<void> LocalLtx::Staged::Commit() {
  LS_TRY(sink_.Flush());
  LS_TRY(file_->Sync());
  owner_.Count(txid_, sink_.size_bytes());
  LS_TRY(owner_.env_.Rename(path_, owner_.Path(txid_)));
  committed_ = true;
  LS_TRY(owner_.env_.SyncDirectory(owner_.directory_));
  owner_.range_ = TxidRange{owner_.range_ ? owner_.range_->min : txid_, txid_};
  return {};
}

Result<void> LocalLtx::RemoveBefore(Txid keep_from) {
  if (!range_) return {};
  for (; !strays_.empty(); strays_.pop_back()) {
    auto removed = env_.Remove(Path(strays_.back()));
    if (!removed.ok() && !removed.error().Is(ErrorCode::kNotFound)) return removed;
  }
  while (range_->min < keep_from && range_->min < range_->max) {
    Count(range_->min, 0);
    auto removed = env_.Remove(Path(range_->min));
    if (!removed.ok() && !removed.error().Is(ErrorCode::kNotFound)) return removed;
    range_->min = range_->min.Next();
  }
  return {};
}

Result<void> LocalLtx::Clear() {
  range_.reset();
  strays_.clear();
  total_bytes_.reset();
  LS_TRY(env_.RemoveTree(directory_));
  return MakeDirectory();
}

}  // namespace litestream
