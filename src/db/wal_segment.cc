#include "db/wal_segment.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream {
namespace {

// Small enough to stay in a core's cache between reading and checking. A segment that fits is kept.
// Of a longer one the pages are read a second time, which is cheap: in a busy WAL most frames are
// older versions of few pages.
constexpr std::size_t kScanChunkBytes = 256U << 10;
// Frames that follow each other in the file and in page order are read together, up to this.
constexpr std::size_t kPageRunBytes = 512U << 10;

Error NotAsPublished(const WalView& view, std::string_view what) {
  return {ErrorCode::kCorruption,
          fmt::format("WAL does not hold the {} frames that SQLite has published: {}", view.frames,
                      what)};
}

Result<void> Scan(const Context& ctx, Attachment& attachment, WalScanner& scanner,
                  const WalView& view, WalSegment& segment) {
  const std::uint64_t end = view.end_offset();
  std::uint64_t at = segment.start.offset_bytes;
  const bool keep = end - at <= kScanChunkBytes;
  const std::size_t chunk_bytes = std::min<std::uint64_t>(kScanChunkBytes, end - at);
  auto chunk = std::make_unique_for_overwrite<std::byte[]>(chunk_bytes);
  while (scanner.stop() == WalScanner::Stop::kNotYet && at < end) {
    LS_TRY(ctx.Check());
    const auto want = std::min<std::uint64_t>(chunk_bytes, end - at);
    const auto out = std::span(chunk.get(), want);
    const std::size_t got = LS_TRY(attachment.ReadWal(out, at), "read WAL");
    if (got == 0) return NotAsPublished(view, fmt::format("it ends at byte {}", at));
    scanner.Feed(out.first(got));
    if (keep && got < want)
      return NotAsPublished(view, fmt::format("it ends at byte {}", at + got));
    at += got;
  }
  if (keep) segment.bytes = std::move(chunk);
  return {};
}

}  // namespace

Result<WalSegment> ReadWalSegment(const Context& ctx, Attachment& attachment, const WalView& view,
                                  const WalPoint& start, std::uint64_t limit_bytes) {
  WalSegment segment;
  const auto header = LS_TRY(attachment.ReadWalHeader());
  if (!header) return NotAsPublished(view, "its header is not valid");
  if (header->salts != view.salts) return NotAsPublished(view, "its header has other salts");
  if (header->page_size != attachment.page_size()) {
    return NotAsPublished(view, "its page size is not the database's");
  }
  segment.header = *header;
  segment.start = start.offset_bytes == kWalHeaderSize ? WalStart(*header) : start;
  segment.end = segment.start;
  if (view.end_offset() <= segment.start.offset_bytes) return segment;

  WalScanner scanner(*header, view.salts, segment.start, view.end_offset(), limit_bytes);
  LS_TRY(Scan(ctx, attachment, scanner, view, segment));
  segment.end = scanner.commit_end();
  segment.commit_pages = scanner.commit_pages();
  segment.limited = scanner.stop() == WalScanner::Stop::kLimit;
  if (segment.end.offset_bytes == view.end_offset()) {
    if (segment.end.checksum != view.checksum) return NotAsPublished(view, "other checksum");
  } else if (!segment.limited) {
    return NotAsPublished(view,
                          fmt::format("valid only to byte {}", scanner.valid_end().offset_bytes));
  }
  segment.pages = scanner.TakePageMap();
  const auto again = LS_TRY(attachment.ReadWalHeader());
  if (again != header) return NotAsPublished(view, "its header changed meanwhile");
  return segment;
}

WalPageReader::WalPageReader(Attachment& attachment, const WalSegment& segment)
    : attachment_(attachment), segment_(segment), page_size_(segment.header.page_size) {}

Result<std::span<const std::byte>> WalPageReader::Read(std::size_t index) {
  const WalPageEntry& entry = segment_.pages[index];
  if (segment_.bytes) {
    const std::uint64_t at = entry.frame_offset - segment_.start.offset_bytes;
    return std::span<const std::byte>(&segment_.bytes[at + kWalFrameHeaderSize], page_size_);
  }
  const std::uint64_t frame_size = WalFrameSize(page_size_);
  if (index < first_ || index >= last_) {
    const std::size_t most = std::max<std::size_t>(1, kPageRunBytes / frame_size);
    std::size_t count = 1;
    while (count < most && index + count < segment_.pages.size() &&
           segment_.pages[index + count].frame_offset == entry.frame_offset + count * frame_size) {
      ++count;
    }
    buffer_.resize(count * frame_size);
    const std::size_t got = LS_TRY(attachment_.ReadWal(buffer_, entry.frame_offset), "read WAL");
    if (got != buffer_.size()) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("WAL was cut at byte {} while its frames were held",
                               entry.frame_offset + got));
    }
    first_ = index;
    last_ = index + count;
  }
  const auto frame =
      std::span<const std::byte>(buffer_).subspan((index - first_) * frame_size, frame_size);
  const WalFrameHeader header = ParseWalFrameHeader(frame.first<kWalFrameHeaderSize>());
  if (header.pgno != entry.pgno || header.salts != segment_.header.salts) {
    return Error(
        ErrorCode::kCorruption,
        fmt::format("WAL frame at byte {} changed after it was validated", entry.frame_offset));
  }
  return frame.subspan(kWalFrameHeaderSize);
}

}  // namespace litestream
