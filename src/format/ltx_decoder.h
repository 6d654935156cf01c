#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "format/ltx.h"
#include "format/page_sum.h"
#include "litestream/byte_stream.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// One decoded page of a stream. The spans are good until the next call.
struct LtxPage {
  Pgno pgno;
  std::uint64_t page_sum = 0;
  std::span<const std::byte> page;
  // The frame's LZ4 block, if it is a block frame (else empty).
  std::span<const std::byte> block;
};

inline constexpr std::size_t kLtxReadSize = std::size_t{256} << 10;

// Reads one LTX file front to back and checks everything that can be checked: header rules, page
// order and bounds, exact page sizes, the index against the frames, the file checksum, the database
// checksum of a checksummed snapshot, the trailer, that a snapshot is complete and nothing follows.
// Trust the pages only after Finish.
//
// Order: ReadHeader, ReadPage until nothing, Finish. Errors: kCorruption, and those of the source.
// A file cut short is an error of ReadPage, not an end of pages. After an error all calls fail.
// Borrows the source. Reads it in pieces of `buffer_bytes`; memory does not depend on the file: the
// buffer (which grows to what one page takes) and a page.
class LtxDecoder {
 public:
  explicit LtxDecoder(ByteSource& source, std::size_t buffer_bytes = kLtxReadSize);
  ~LtxDecoder();
  LtxDecoder(const LtxDecoder&) = delete;
  LtxDecoder& operator=(const LtxDecoder&) = delete;

  // From the next read of the source on.
  void SetBufferSize(std::size_t bytes);
  // Read from the source, and not decoded yet.
  std::size_t buffered_bytes() const;
  // Before ReadHeader. Pages are expanded into `buffer`, which many decoders may share: the page of
  // one is then good until the next call on any of them. Borrows it.
  void SharePageBuffer(std::span<std::byte, kMaxPageSize> buffer);

  Result<LtxHeader> ReadHeader(const Context& ctx);
  Result<std::optional<LtxPage>> ReadPage(const Context& ctx);
  Result<LtxTrailer> Finish(const Context& ctx);

  // Good after ReadHeader.
  const LtxHeader& header() const;
  // Where the frame of the last page began, and how long it is.
  LtxIndexEntry last_entry() const;
  std::uint32_t page_count() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads a whole file through LtxDecoder. The header, or the first error.
Result<LtxHeader> VerifyLtx(const Context& ctx, ByteSource& source);

// --- Random access: for readers that hold pieces of a file. ---

// The frame at the front of `bytes`.
struct LtxFrame {
  Pgno pgno;
  std::uint16_t flags = 0;
  std::span<const std::byte> payload;  // LZ4 block, or LZ4 frame if flags are 0.
  std::size_t size_bytes = 0;          // With header and prefix.
};
// `bytes` must hold the whole frame and, for legacy frames, end with it (the index says how long it
// is). kCorruption when it does not parse.
Result<LtxFrame> ParseLtxFrame(std::span<const std::byte> bytes, std::uint32_t page_size);
// Expands a frame into exactly `page`. kCorruption when it is not exactly a page.
Result<void> DecodeLtxFrame(const LtxFrame& frame, std::span<std::byte> page);

// Where the parts behind the frames stand, from the file's last bytes.
struct LtxTail {
  std::uint64_t index_offset = 0;  // First byte of the index, behind the end marker.
  std::uint64_t index_bytes = 0;   // Entries and terminator.
  LtxTrailer trailer;
};
inline constexpr std::size_t kLtxTailSize = kLtxIndexSizeSize + kLtxTrailerSize;
// `last_bytes` are the last kLtxTailSize bytes or more of a file of `file_size` bytes.
Result<LtxTail> ParseLtxTail(std::span<const std::byte> last_bytes, std::uint64_t file_size);

// Reads index entries one after another from bytes that arrive in pieces, so that the index of a
// huge file is never held whole. Checks ascending order, that frames are adjacent and lie between
// the header and the end marker.
class LtxIndexReader {
 public:
  // `index_offset` and `index_bytes` from LtxTail.
  LtxIndexReader(std::uint64_t index_offset, std::uint64_t index_bytes);
  // Gives the next bytes of the index. Entries that are complete are appended to `out`.
  Result<void> Feed(std::span<const std::byte> bytes, std::vector<LtxIndexEntry>& out);
  // After the last Feed: kCorruption unless the terminator was the last byte and the frames end at
  // the end marker.
  Result<void> Finish() const;

 private:
  std::uint64_t index_offset_;
  std::uint64_t index_bytes_;
  std::uint64_t consumed_ = 0;
  std::uint64_t next_frame_ = kLtxHeaderSize;
  std::uint64_t values_[3] = {};
  int value_index_ = 0;
  int shift_ = 0;
  Pgno last_;
  bool ended_ = false;
};

}  // namespace litestream
