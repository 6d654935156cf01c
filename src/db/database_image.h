#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "db/attachment.h"
#include "db/wal_segment.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// The whole database as a read transaction sees it: the WAL's pages over the file's. The caller
// holds a transaction that sees `view`, so no page that is taken from the file is being written.
struct DatabaseImage {
  WalView view;
  WalSegment wal;  // From the WAL's front to the view's end; empty if view.frames == 0.
  std::uint32_t page_count = 0;
};

// Maps the WAL. The page count is the last commit's, or the one in the database's header.
Result<DatabaseImage> MapDatabase(const Context& ctx, Attachment& attachment, const WalView& view);

// The same of what the holder sees, if everything that it sees is captured, of a database of
// `page_count` pages. (Its WAL may have been restarted since: then all of it is in the file.)
Result<DatabaseImage> MapHeld(const Context& ctx, Attachment& attachment, std::uint32_t page_count);

// Calls `take` for every page but the lock page, ascending. Reads the file in blocks of 1 MiB.
using PageFunction = std::function<Result<void>(Pgno, std::span<const std::byte>)>;
Result<void> ForEachPage(const Context& ctx, Attachment& attachment, const DatabaseImage& image,
                         const PageFunction& take);

// Pages in a database file of `file_size` bytes whose first page is given: the header's count if it
// is valid, else what the size says. Source: sqlite.org/fileformat2.html section 1.3.9.
std::uint32_t PageCountOf(std::span<const std::byte> first_page, std::uint64_t file_size,
                          std::uint32_t page_size);

}  // namespace litestream
