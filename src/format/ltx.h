#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// The LTX file: header, page frames in ascending order, six zero bytes, page index, trailer. All
// integers big-endian. docs/formats/ltx.md has the whole; this is the generation that Litestream
// v0.5 reads and writes (superfly/ltx v0.5).

inline constexpr std::size_t kLtxHeaderSize = 100;
inline constexpr std::size_t kLtxFrameHeaderSize = 6;  // u32 page number, u16 flags
inline constexpr std::size_t kLtxSizePrefixSize = 4;   // u32 bytes of LZ4 block, if flag 1 is set
inline constexpr std::size_t kLtxEndMarkerSize = 6;    // zeros, where a frame header would be
inline constexpr std::size_t kLtxIndexSizeSize = 8;    // u64 bytes of page index before it
inline constexpr std::size_t kLtxTrailerSize = 16;
// Header, end marker, empty index with its terminator and size, trailer.
inline constexpr std::size_t kLtxMinFileSize =
    kLtxHeaderSize + kLtxEndMarkerSize + 1 + kLtxIndexSizeSize + kLtxTrailerSize;

// Set in every stored checksum, so that none is 0.
inline constexpr std::uint64_t kLtxChecksumFlag = 1ULL << 63;
inline constexpr std::uint32_t kLtxFlagNoChecksum = 0x2;  // Header: no pre/post-apply checksums.
inline constexpr std::uint16_t kLtxFrameFlagBlock = 0x1;  // Frame: size prefix and LZ4 block.

// Checksums of the whole database (format/page_sum.h) before and after the file's transactions.
// Stored in the reserved bytes, which other readers ignore: 80..83 "PRF1", 84..91 before, 92..99
// after.
struct LtxProof {
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  friend bool operator==(const LtxProof&, const LtxProof&) = default;
};
// The file holds every page, because what was there before is unknown or another database's.
// Snapshots always do.
constexpr bool BuildsOnNothing(const LtxProof& proof) {
  return proof.before == 0;
}
inline constexpr std::size_t kLtxProofOffset = 80;
inline constexpr std::size_t kLtxProofSize = 20;
// The bytes of LtxHeader::reserved for this proof.
std::array<std::byte, kLtxProofSize> ProofBytes(const LtxProof& proof);

//   offset size
//        0    4  "LTX1"
//        4    4  flags
//        8    4  page size
//       12    4  pages in the database after this file; 0: deleted
//       16    8  first TXID
//       24    8  last TXID
//       32    8  milliseconds since 1970
//       40    8  database checksum before (LTX's own kind); 0 on snapshots and with NoChecksum
//       48    8  WAL offset at which the captured segment starts; 0: not from a WAL
//       56    8  bytes of WAL frames captured
//       64    8  WAL salts
//       72    8  node; ours: cumulative WAL checksum at the segment's end
//       80   20  reserved; ours: the proof
struct LtxHeader {
  std::uint32_t flags = kLtxFlagNoChecksum;
  std::uint32_t page_size = 0;
  std::uint32_t commit_pages = 0;
  TxidRange txids;
  std::int64_t timestamp_ms = 0;
  std::uint64_t pre_apply_checksum = 0;
  std::int64_t wal_offset = 0;
  std::int64_t wal_size = 0;
  std::array<std::uint32_t, 2> wal_salts = {};
  std::uint64_t node_id = 0;
  std::array<std::byte, kLtxProofSize> reserved = {};

  // Holds every page of the database.
  bool IsSnapshot() const { return txids.min == Txid{1}; }
  bool HasChecksums() const { return (flags & kLtxFlagNoChecksum) == 0; }
  std::optional<LtxProof> Proof() const;
  void SetProof(const std::optional<LtxProof>& proof);
  WallTime Timestamp() const { return WallTime(std::chrono::milliseconds(timestamp_ms)); }
  friend bool operator==(const LtxHeader&, const LtxHeader&) = default;
};

struct LtxTrailer {
  std::uint64_t post_apply_checksum = 0;
  std::uint64_t file_checksum = 0;
  friend bool operator==(const LtxTrailer&, const LtxTrailer&) = default;
};

// Where a page's frame stands in the file.
struct LtxIndexEntry {
  Pgno pgno;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;  // Frame header, size prefix and payload.
  friend bool operator==(const LtxIndexEntry&, const LtxIndexEntry&) = default;
};

// kCorruption: wrong magic, or a rule broken (the message names it). Checks all rules of the
// header.
Result<LtxHeader> ParseLtxHeader(std::span<const std::byte> bytes);
Result<void> ValidateLtxHeader(const LtxHeader& header);
std::array<std::byte, kLtxHeaderSize> FormatLtxHeader(const LtxHeader& header);
Result<void> ValidateLtxTrailer(const LtxHeader& header, const LtxTrailer& trailer);

// The most bytes that a page can take as an LZ4 block.
constexpr std::size_t MaxLz4BlockSize(std::uint32_t page_size) {
  return page_size + page_size / 255 + 16;
}
// Frame header, prefix and the largest payload of either kind (19 more bytes for an LZ4 frame).
constexpr std::size_t MaxLtxFrameSize(std::uint32_t page_size) {
  return kLtxFrameHeaderSize + MaxLz4BlockSize(page_size) + 32;
}

}  // namespace litestream
