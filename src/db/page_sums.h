#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/env.h"
#include "litestream/types.h"

namespace litestream {

struct PageSumEntry {
  Pgno pgno;
  std::uint64_t sum = 0;
};

// What the table's header says of the entries that are known to be on disk.
struct PageSumsHeader {
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  Txid txid;                   // The entries are at least as new as this transaction.
  std::uint64_t checksum = 0;  // Database checksum at txid.
  FileIdentity database;       // Of which file.
  friend bool operator==(const PageSumsHeader&, const PageSumsHeader&) = default;
};

// <meta>/pages.sum: the sum of every page of the database as of the last captured transaction
// (format/page_sum.h), 8 bytes a page, 0 for the lock page. A cache: what it says can be computed
// again from the database or replayed from the local level-0 files. docs/formats/page_sums.md.
//
// Invariants (design 5.2):
// 1. Entries are set only after the level-0 file that brings them is durable. So an entry is that
// of
//    the last durable file, or older by files that are still local.
// 2. The header is written only after the entries were synced, and local files up to its TXID may
// go
//    only after the header was synced. So replaying the local files above the header's TXID makes
//    the table right, whatever a crash lost or tore.
// 3. Setting an entry twice to the same value is harmless.
class PageSums {
 public:
  // Opens the table, or starts without one. A table that cannot be understood, or is shorter than
  // its header says, counts as none.
  static Result<std::unique_ptr<PageSums>> Open(Env& env, const std::filesystem::path& path,
                                                const FileOwner& owner);

  // Unset: there is no table.
  const std::optional<PageSumsHeader>& header() const { return header_; }

  // Sum of one page; 0 beyond the end. Reads blocks of 4 KiB and remembers the last one.
  Result<std::uint64_t> Get(Pgno pgno);
  // Sums of the pages from `first` on; zeros beyond the end.
  Result<void> GetRange(Pgno first, std::span<std::uint64_t> out);
  // Entries in ascending order.
  Result<void> Set(std::span<const PageSumEntry> entries);

  // Makes all entries durable, then the header. After an error nobody knows which entries since
  // header() are, and no later Flush can tell: they have to be set again before it.
  Result<void> Flush(const PageSumsHeader& header);

  // Throws the table away and starts an empty one without a header.
  Result<void> Reset();

 private:
  PageSums(Env& env, std::filesystem::path path, FileOwner owner);
  Result<void> LoadBlock(std::uint64_t index);

  Env& env_;
  std::filesystem::path path_;
  FileOwner owner_;
  std::unique_ptr<File> file_;
  bool is_new_ = false;  // Made by Open, nothing written since: there is nothing to cut off.
  std::optional<PageSumsHeader> header_;
  std::vector<std::byte> block_;
  std::optional<std::uint64_t> block_index_;
};

}  // namespace litestream
