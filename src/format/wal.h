#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// The SQLite write-ahead log. Source: sqlite.org/fileformat2.html section 4, wal.c. All stored
// integers are big-endian; the magic only says how checksums read their words.

inline constexpr std::size_t kWalHeaderSize = 32;
inline constexpr std::size_t kWalFrameHeaderSize = 24;
inline constexpr std::uint32_t kWalMagicLittleEndian = 0x377f0682;
inline constexpr std::uint32_t kWalMagicBigEndian = 0x377f0683;
inline constexpr std::uint32_t kWalVersion = 3007000;

// As they stand in the header: salt-1 is one more after each restart, salt-2 is random.
using WalSalts = std::array<std::uint32_t, 2>;
// Cumulative over the header and all frames up to a point.
using WalChecksum = std::array<std::uint32_t, 2>;

constexpr std::uint64_t WalFrameSize(std::uint32_t page_size) {
  return kWalFrameHeaderSize + page_size;
}
// Bytes of a WAL with so many frames.
constexpr std::uint64_t WalSizeOf(std::uint64_t frames, std::uint32_t page_size) {
  return kWalHeaderSize + frames * WalFrameSize(page_size);
}

//   offset size
//        0    4  magic
//        4    4  version 3007000
//        8    4  page size, 65536 as such
//       12    4  checkpoint sequence number
//       16    8  salts
//       24    8  checksum of bytes 0..23
struct WalHeader {
  bool big_endian_checksums = false;
  std::uint32_t page_size = 0;
  std::uint32_t sequence = 0;
  WalSalts salts = {};
  WalChecksum checksum = {};
  friend bool operator==(const WalHeader&, const WalHeader&) = default;
};

// Unset: too short, or the checksum is wrong (being written, or empty): no frame can be read yet.
// kCorruption: the magic, version or page size is not one SQLite writes.
Result<std::optional<WalHeader>> ParseWalHeader(std::span<const std::byte> bytes);

//   offset size
//        0    4  page number
//        4    4  pages in the database if this frame commits, else 0
//        8    8  salts of the header
//       16    8  checksum over the first 8 bytes here and the page, continued from before
struct WalFrameHeader {
  Pgno pgno;
  std::uint32_t commit_pages = 0;
  WalSalts salts = {};
  WalChecksum checksum = {};
};
WalFrameHeader ParseWalFrameHeader(std::span<const std::byte, kWalFrameHeaderSize> bytes);

// Continues a cumulative checksum over `bytes` (a multiple of 8).
WalChecksum ContinueWalChecksum(WalChecksum seed, std::span<const std::byte> bytes,
                                bool big_endian);

// A point between two frames.
struct WalPoint {
  std::uint64_t offset_bytes = kWalHeaderSize;
  WalChecksum checksum = {};
  friend bool operator==(const WalPoint&, const WalPoint&) = default;
};
inline WalPoint WalStart(const WalHeader& header) {
  return {.offset_bytes = kWalHeaderSize, .checksum = header.checksum};
}

// The point at `offset_bytes` of a WAL whose newest frames may be of another generation than
// `salts`. `previous` is the frame before it; its checksum is taken as it is.
// Unset: that frame is incomplete, or of other salts.
// kInvalidArgument: there is no frame before the offset, or the offset is within a frame.
Result<std::optional<WalPoint>> WalPointAt(const WalHeader& header, const WalSalts& salts,
                                           std::uint64_t offset_bytes,
                                           std::span<const std::byte> previous);

// The newest committed version of a page in a stretch of WAL.
struct WalPageEntry {
  Pgno pgno;
  std::uint64_t frame_offset = 0;  // Of the frame header; the page follows it.
};

// Validates a stretch of WAL, frame by frame, and maps its committed pages.
//
// Feed it the bytes from `start` on, in pieces of any size. It stops by itself at `end_offset`, at
// the first frame with other salts or a wrong checksum, or, at a commit, when `limit_bytes` were
// consumed. No allocation per frame.
class WalScanner {
 public:
  enum class Stop : unsigned char {
    kNotYet,    // Feed more.
    kEnd,       // Reached end_offset.
    kLimit,     // At a commit at or behind limit_bytes.
    kSalt,      // The next frame belongs to another generation.
    kChecksum,  // The next frame is torn or not ours.
  };
  // end_offset: where SQLite says that the commits end (design 4.2), or the file's size.
  // limit_bytes: 0 for none.
  WalScanner(const WalHeader& header, const WalSalts& salts, const WalPoint& start,
             std::uint64_t end_offset, std::uint64_t limit_bytes = 0);

  // Consumes bytes; returns how many it took (less than given once it has stopped).
  std::size_t Feed(std::span<const std::byte> bytes);
  Stop stop() const { return stop_; }

  // The end of the last valid frame, and of the last valid commit. Both are `start` if there was
  // none.
  const WalPoint& valid_end() const { return valid_; }
  const WalPoint& commit_end() const { return committed_; }
  // Database size in pages at commit_end(); 0 if no commit was seen.
  std::uint32_t commit_pages() const { return commit_pages_; }
  std::uint64_t valid_frames() const { return valid_frames_; }
  std::uint64_t committed_frames() const { return committed_frames_; }

  // The committed pages up to commit_end(), ascending, without those beyond commit_pages().
  // Call once, at the end; the scanner then holds no map any more.
  std::vector<WalPageEntry> TakePageMap();

 private:
  // When the list of entries has grown to this many, and to twice what was left after the last
  // time, older versions of the same pages are dropped from it.
  static constexpr std::size_t kMinEntriesToCompact = 64 * 1024;

  void TakeFrame(const std::byte* frame);

  WalSalts salts_;
  bool big_endian_;
  std::uint32_t page_size_;
  std::uint64_t start_offset_;
  std::uint64_t end_offset_;
  std::uint64_t limit_bytes_;
  Stop stop_ = Stop::kNotYet;
  WalPoint valid_;
  WalPoint committed_;
  std::uint32_t commit_pages_ = 0;
  std::uint64_t valid_frames_ = 0;
  std::uint64_t committed_frames_ = 0;
  std::vector<std::byte> partial_;  // A frame that is not complete yet.
  // One for each frame, in file order but for compacted ones in front: page number in the upper
  // half, index of the frame (0 at the start of the scan) in the lower, so that they sort by page
  // and then by age. SQLite counts frames in 32 bits, too. The first committed_entries_ count.
  std::vector<std::uint64_t> entries_;
  std::size_t committed_entries_ = 0;
  std::size_t compact_at_ = kMinEntriesToCompact;
};

// Walks frame headers from the front of a WAL, without checksums, and collects the distinct salt
// pairs in order of appearance, up to and including `until`. Gives up after kMaxPairs: a WAL holds
// a handful of generations.
class WalSaltScan {
 public:
  static constexpr std::size_t kMaxPairs = 1024;

  WalSaltScan(std::uint32_t page_size, const std::optional<WalSalts>& until);
  // Feed bytes from offset 32 on, in pieces. False once it needs no more.
  bool Feed(std::span<const std::byte> bytes);
  const std::vector<WalSalts>& salts() const { return found_; }

 private:
  std::uint32_t page_size_;
  std::optional<WalSalts> until_;
  std::vector<WalSalts> found_;
  std::uint64_t position_ = 0;  // Within the current frame.
  std::array<std::byte, kWalFrameHeaderSize> header_ = {};
  bool done_ = false;
};

}  // namespace litestream
