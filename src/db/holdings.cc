#include "db/holdings.h"

#include <chrono>
#include <span>

#include "base/try.h"
#include "format/crc64.h"

namespace litestream {
namespace {

constexpr std::chrono::milliseconds kFilePoll{1};

std::uint64_t HashOf(const LeaseMark& lease) {
  return Crc64(0, std::as_bytes(std::span(lease.tag)));
}

}  // namespace

void Holdings::KeepIn(std::shared_ptr<CatalogueFile> file, std::string place, bool is_new) {
  MutexLock lock(mu_);
  file_ = std::move(file);
  place_ = std::move(place);
  // What the last one held was dropped from memory.
  saved_ = false;
  removed_ = is_new;
  stale_ = stale_ || catalogue_.has_value();
}

Result<void> Holdings::BeginFile(const Context& ctx) {
  for (;;) {
    {
      MutexLock lock(mu_);
      if (!std::exchange(file_busy_, true)) return {};
    }
    LS_TRY(ctx.Wait(kFilePoll));
  }
}

void Holdings::EndFile() {
  MutexLock lock(mu_);
  file_busy_ = false;
}

// Between BeginFile and EndFile, as the next one.
std::optional<SavedCatalogue> Holdings::Load() {
  std::shared_ptr<CatalogueFile> file;
  CatalogueOwner owner;
  bool again = false;
  {
    MutexLock lock(mu_);
    file = file_;
    owner = {.chain = saved_checksum_, .place = place_};
    again = saved_;
  }
  if (!file) return std::nullopt;
  return again ? file->LoadAgain(owner) : file->Load(owner);
}

Result<void> Holdings::Discard() {
  std::shared_ptr<CatalogueFile> file;
  bool only_there = false;
  {
    MutexLock lock(mu_);
    if (removed_ || !file_) return {};
    file = file_;
    only_there = saved_ && !catalogue_;
  }
  auto loaded = only_there ? Load() : std::nullopt;
  LS_TRY(file->Discard(), "catalogue");
  MutexLock lock(mu_);
  // Unless it was forgotten meanwhile.
  if (saved_ && !catalogue_ && loaded) catalogue_ = std::move(loaded->catalogue);
  saved_ = false;
  stale_ = false;
  removed_ = file == file_;
  return {};
}

Result<std::optional<Catalogue>> Holdings::Look(const Context& ctx) {
  {
    MutexLock lock(mu_);
    if (catalogue_ || !saved_) return catalogue_;
  }
  LS_TRY(BeginFile(ctx));
  auto loaded = Load();
  EndFile();
  MutexLock lock(mu_);
  if (catalogue_ || !saved_) return catalogue_;
  if (loaded) return std::optional(std::move(loaded->catalogue));
  // Somebody has removed or damaged it.
  saved_ = false;
  return std::optional<Catalogue>();
}

bool Holdings::known() const {
  MutexLock lock(mu_);
  return catalogue_ || saved_;
}

bool Holdings::may_recall() const {
  MutexLock lock(mu_);
  return file_ && !removed_ && !stale_;
}

bool Holdings::unsaved() const {
  MutexLock lock(mu_);
  return catalogue_ && file_;
}

bool Holdings::has_old_mark(const LeaseMark& lease) const {
  MutexLock lock(mu_);
  return file_ && saved_ && !catalogue_ && saved_mark_ != HashOf(lease);
}

std::uint64_t Holdings::changes() const {
  MutexLock lock(mu_);
  return changes_;
}

bool Holdings::Learn(Catalogue listed, std::uint64_t changes) {
  MutexLock lock(mu_);
  if (changes != changes_) return false;
  catalogue_ = std::move(listed);
  saved_ = false;
  stale_ = !removed_;
  return true;
}

void Holdings::Forget() {
  MutexLock lock(mu_);
  ++changes_;
  catalogue_.reset();
  saved_ = false;
}

void Holdings::Void() {
  Forget();
  MutexLock lock(mu_);
  stale_ = !removed_;
}

Result<void> Holdings::SaveIfQuiet(const Context& ctx, Txid end, std::uint64_t checksum,
                                   const LeaseMark& lease) {
  if (!unsaved()) return {};
  {
    MutexLock lock(mu_);
    if (std::exchange(changes_when_asked_, changes_) != changes_) return {};
  }
  return Save(ctx, end, checksum, lease);
}

Result<void> Holdings::Save(const Context& ctx, Txid end, std::uint64_t checksum,
                            const LeaseMark& lease) {
  const bool old_mark = has_old_mark(lease);
  if (!unsaved() && !old_mark) return {};
  LS_TRY(BeginFile(ctx));
  auto loaded = old_mark ? Load() : std::nullopt;
  std::shared_ptr<CatalogueFile> file;
  Catalogue catalogue;
  CatalogueOwner owner;
  {
    MutexLock lock(mu_);
    if (saved_ && !catalogue_ && loaded) catalogue_ = std::move(loaded->catalogue);
    // Another process has saved its own there, and its mark goes with that.
    if (old_mark && !loaded) saved_ = false;
    const bool can = catalogue_ && file_ && under_way_ == 0 && catalogue_->doubtful().empty() &&
                     catalogue_->newest() == end && catalogue_->ContiguousEnd() == end;
    if (can) {
      file = file_;
      catalogue = *catalogue_;
      owner = {.chain = checksum, .place = place_};
      removed_ = false;
    }
  }
  auto saved = file ? file->Save(catalogue, owner, lease) : Result<void>();
  MutexLock lock(mu_);
  file_busy_ = false;
  // No change has begun since: it would have waited for the file. But it may be unknown now.
  if (!file || !saved.ok() || file != file_) return saved;
  stale_ = !catalogue_;
  saved_ = catalogue_.has_value();
  saved_checksum_ = checksum;
  saved_mark_ = HashOf(lease);
  catalogue_.reset();
  return saved;
}

Result<std::optional<SavedCatalogue>> Holdings::Recall(const Context& ctx, Txid end,
                                                       std::uint64_t checksum) {
  LS_TRY(BeginFile(ctx));
  bool may = false;
  {
    MutexLock lock(mu_);
    may = !stale_ && !catalogue_ && under_way_ == 0;
    if (may) saved_checksum_ = checksum;
  }
  auto saved = may ? Load() : std::nullopt;
  if (saved && (saved->catalogue.newest() != end || saved->catalogue.ContiguousEnd() != end)) {
    saved.reset();
  }
  MutexLock lock(mu_);
  file_busy_ = false;
  if (!saved || stale_ || catalogue_) return std::optional<SavedCatalogue>();
  saved_ = true;
  saved_mark_ = HashOf(saved->lease);
  return saved;
}

Result<Holdings::Change> Holdings::Begin(const Context& ctx) {
  LS_TRY(BeginFile(ctx));
  auto discarded = Discard();
  MutexLock lock(mu_);
  file_busy_ = false;
  LS_TRY(std::move(discarded));
  ++under_way_;
  ++changes_;
  return Change(*this);
}

void Holdings::End() {
  MutexLock lock(mu_);
  --under_way_;
}

void Holdings::Add(const FileInfo& file) {
  MutexLock lock(mu_);
  ++changes_;
  if (catalogue_) catalogue_->Add(file);
}

void Holdings::Doubt(const FileId& id) {
  MutexLock lock(mu_);
  ++changes_;
  if (catalogue_) catalogue_->Doubt(id);
}

void Holdings::Remove(const FileId& id) {
  MutexLock lock(mu_);
  ++changes_;
  if (catalogue_) catalogue_->Remove(id);
}

}  // namespace litestream
