#include <array>
#include <limits>
#include <string_view>

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx_decoder.h"

namespace litestream {
namespace {

Error Corruption(std::string message) {
  return Error(ErrorCode::kCorruption, std::move(message));
}

constexpr std::array<std::string_view, 3> kFields = {"pgno", "offset", "size"};

// The largest frame there can be, and the smallest that a page can have.
constexpr std::uint64_t kMaxFrameSize = MaxLtxFrameSize(65536);
constexpr std::uint64_t kMinFrameSize = kLtxFrameHeaderSize + kLtxSizePrefixSize + 1;

// `frames_end` is where the frames before this one end, `end_marker` where all end.
Result<LtxIndexEntry> CheckEntry(const std::uint64_t (&values)[3], Pgno last,
                                 std::uint64_t frames_end, std::uint64_t end_marker) {
  const auto [pgno, offset, size] = values;
  if (pgno > std::numeric_limits<std::uint32_t>::max()) {
    return Corruption(fmt::format("page number {} in page index", pgno));
  }
  if (pgno <= last.value) {
    return Corruption(fmt::format("page index out of order: {},{}", last.value, pgno));
  }
  if (offset != frames_end) {
    return Corruption(fmt::format("page index: frame of page {} at {}, expected at {}", pgno,
                                  offset, frames_end));
  }
  if (size < kMinFrameSize || size > kMaxFrameSize || size > end_marker - offset) {
    return Corruption(fmt::format("page index: frame of page {} at {} has {} bytes, up to {} fit",
                                  pgno, offset, size, end_marker - offset));
  }
  return LtxIndexEntry{
      .pgno = Pgno{static_cast<std::uint32_t>(pgno)}, .offset_bytes = offset, .size_bytes = size};
}

}  // namespace

Result<LtxTail> ParseLtxTail(std::span<const std::byte> last_bytes, std::uint64_t file_size) {
  if (last_bytes.size() < kLtxTailSize || file_size < kLtxMinFileSize) {
    return Corruption(
        fmt::format("ltx file too short to contain a page index: {} bytes",
                    last_bytes.size() < kLtxTailSize ? last_bytes.size() : file_size));
  }
  const std::byte* p = last_bytes.data() + last_bytes.size() - kLtxTailSize;
  LtxTail tail;
  tail.index_bytes = LoadBe64(p);
  tail.trailer = {.post_apply_checksum = LoadBe64(p + 8), .file_checksum = LoadBe64(p + 16)};
  const std::uint64_t most = file_size - kLtxHeaderSize - kLtxEndMarkerSize - kLtxTailSize;
  if (tail.index_bytes == 0 || tail.index_bytes > most) {
    return Corruption(fmt::format("invalid page index size: {} bytes in a file of {} bytes",
                                  tail.index_bytes, file_size));
  }
  tail.index_offset = file_size - kLtxTailSize - tail.index_bytes;
  return tail;
}

LtxIndexReader::LtxIndexReader(std::uint64_t index_offset, std::uint64_t index_bytes)
    : index_offset_(index_offset), index_bytes_(index_bytes) {}

Result<void> LtxIndexReader::Feed(std::span<const std::byte> bytes,
                                  std::vector<LtxIndexEntry>& out) {
  if (index_offset_ < kLtxHeaderSize + kLtxEndMarkerSize) {
    return Corruption(fmt::format("page index at offset {}", index_offset_));
  }
  const std::uint64_t end_marker = index_offset_ - kLtxEndMarkerSize;
  for (const std::byte b : bytes) {
    if (ended_ || consumed_ == index_bytes_) {
      return Corruption("read page index: data behind its end");
    }
    ++consumed_;
    const auto byte = std::to_integer<std::uint64_t>(b);
    const auto field = static_cast<std::size_t>(value_index_);
    if (shift_ == 63 && byte > 1) {
      return Corruption(
          fmt::format("read page index {}: varint overflows a 64-bit integer", kFields[field]));
    }
    values_[field] |= (byte & 0x7f) << shift_;
    if (byte >= 0x80) {
      shift_ += 7;
      continue;
    }
    if (byte == 0 && shift_ != 0) {
      return Corruption(
          fmt::format("read page index {}: varint longer than needed", kFields[field]));
    }
    shift_ = 0;
    if (field == 0 && values_[0] == 0) {
      ended_ = true;
      continue;
    }
    if (++value_index_ < 3) continue;
    const LtxIndexEntry entry = LS_TRY(CheckEntry(values_, last_, next_frame_, end_marker));
    out.push_back(entry);
    last_ = entry.pgno;
    next_frame_ += entry.size_bytes;
    value_index_ = 0;
    values_[0] = values_[1] = values_[2] = 0;
  }
  return {};
}

Result<void> LtxIndexReader::Finish() const {
  if (!ended_ || consumed_ != index_bytes_) {
    return Corruption(fmt::format("read page index {}: unexpected EOF",
                                  kFields[static_cast<std::size_t>(value_index_)]));
  }
  if (next_frame_ + kLtxEndMarkerSize != index_offset_) {
    return Corruption(fmt::format("page index: frames end at {}, the end marker is at {}",
                                  next_frame_, index_offset_ - kLtxEndMarkerSize));
  }
  return {};
}

}  // namespace litestream
