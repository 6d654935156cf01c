#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "db/attachment.h"
#include "format/wal.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// A validated stretch of WAL: the newest committed version of each page in it.
struct WalSegment {
  WalHeader header;
  WalPoint start;
  WalPoint end;                     // At a commit. Equal to start if there is none.
  std::uint32_t commit_pages = 0;   // Database size at `end`; 0 if there is no commit.
  bool limited = false;             // Stopped early because of the byte limit.
  std::vector<WalPageEntry> pages;  // Ascending.
  // The segment's bytes, if they are few: pages are then taken from here and not read twice.
  // Else unset. Not a vector, because that would fill it before it is read into.
  std::unique_ptr<std::byte[]> bytes;
};

// Reads and validates the WAL from `start` (the checksum of a start at the front is taken from the
// header) up to what `view` says is published. The chain must end in the view's checksum.
//
// The caller holds a transaction that sees `view`, so nothing before its end can be overwritten;
// that the header is still the same at the end is checked all the same.
//
// Errors: kCorruption: the WAL does not hold what SQLite has published.
Result<WalSegment> ReadWalSegment(const Context& ctx, Attachment& attachment, const WalView& view,
                                  const WalPoint& start, std::uint64_t limit_bytes);

// Gives the pages of a segment, page by page in ascending order.
class WalPageReader {
 public:
  WalPageReader(Attachment& attachment, const WalSegment& segment);
  // The page of segment.pages[index]. Good until the next call.
  Result<std::span<const std::byte>> Read(std::size_t index);

 private:
  Attachment& attachment_;
  const WalSegment& segment_;
  std::uint32_t page_size_;
  std::vector<std::byte> buffer_;
  std::size_t first_ = 0;  // buffer_ holds the frames of pages [first_, last_).
  std::size_t last_ = 0;
};

}  // namespace litestream
