#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "db/attachment.h"
#include "db/change_watcher.h"
#include "db/database_image.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// One captured state of the database, read page after page from the first while the database goes
// on. So a snapshot is sent without a copy of the database on the local disk, and no read
// transaction of its own keeps the WAL from being restarted (design 8).
//
// Invariants:
// 1. A page that is not read yet is what it was, or was kept here before it changed: every change
//    is announced (Keep) while the holder still sees the state before it, so that nobody can have
//    written over what that page is read from.
// 2. Unchanged pages that lay in the WAL are read there as long as the holder stands above mark 0
//    in the same generation: then nobody can restart it. Otherwise all of that generation is in the
//    database file, and nobody writes to an unchanged page there.
// 3. What goes wrong ends this reading, and nothing else.
// 4. What this takes on the local disk are the pages that changed before they were read.
//
// Every call under the database's permit (db/permit.h).
class OldState {
 public:
  // What the holder sees, which is captured. `kept` names the file for changed pages; it is removed
  // at once, and lives as long as it is open.
  OldState(Env& env, Attachment& attachment, DatabaseImage image, std::filesystem::path kept,
           FileOwner owner);

  std::uint32_t page_size() const { return page_size_; }
  std::uint32_t page_count() const { return image_.page_count; }
  // The page that is read next; page_count() + 1 at the end.
  Pgno next() const { return Pgno{next_}; }
  // Pages that had to be kept.
  std::uint64_t kept_pages() const { return kept_count_; }

  // These pages, ascending, are about to change, and those above `commit_pages` to go.
  void Keep(std::span<const WalPageEntry> pages, std::uint32_t commit_pages);
  // It cannot be read to its end.
  void Break(Error reason);

  // The next pages, as many as fit; none at the end. Zeros for the lock page.
  Result<std::uint32_t> Read(std::span<std::byte> out);

 private:
  bool MayLieInWal() const;
  bool IsKept(std::uint32_t pgno) const;
  Result<void> KeepPage(std::uint32_t pgno);
  Result<void> KeepPages(std::span<const WalPageEntry> pages, std::uint32_t commit_pages);
  Result<bool> ReadFromWal(std::uint32_t pgno, std::span<std::byte> out);

  Env& env_;
  Attachment& attachment_;
  const DatabaseImage image_;
  WalPageReader wal_;
  const std::filesystem::path kept_path_;
  const FileOwner owner_;
  const std::uint32_t page_size_;
  std::uint32_t next_ = 1;
  std::vector<bool> is_kept_;   // By page number; empty: none.
  std::unique_ptr<File> kept_;  // Page n at (n - 1) * page_size: the rest are holes.
  std::uint64_t kept_count_ = 0;
  std::vector<std::byte> page_;
  std::optional<Error> broken_;
};

// Those of one database that are being read.
class OldStates final : public ChangeWatcher {
 public:
  void Add(const std::shared_ptr<OldState>& state) { states_.push_back(state); }
  bool active() const override;
  void BeforeChange(std::span<const WalPageEntry> pages, std::uint32_t commit_pages) override;
  void BeforeAnyChange() override;
  // The database is let go of.
  void BreakAll(const Error& reason);

 private:
  // Shared with whoever reads it.
  std::vector<std::weak_ptr<OldState>> states_;
};

}  // namespace litestream
