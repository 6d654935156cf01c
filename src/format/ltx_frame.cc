#include "format/ltx_frame.h"

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/ltx_lz4.h"
#include "format/ltx_page_order.h"

namespace litestream {
namespace {

// What the four bytes behind the page number are in files of older generations: the magic of an LZ4
// frame, or the start of page 1 of a database.
constexpr std::uint16_t kFlagsOfGeneration2 = 0x0422;
constexpr std::uint16_t kFlagsOfGeneration1 = 0x5351;

Error Corruption(std::string message) {
  return Error(ErrorCode::kCorruption, std::move(message));
}

}  // namespace

Result<void> CheckLtxFrameHeader(Pgno pgno, std::uint16_t flags, bool first_frame) {
  if (pgno == Pgno{0}) return Corruption("page number required");
  if ((flags & ~kLtxFrameFlagBlock) != 0) {
    const bool old = flags == kFlagsOfGeneration1 || flags == kFlagsOfGeneration2;
    return Corruption(fmt::format("invalid page header flags: 0x{:04x}{}", flags,
                                  old && first_frame ? kPreReleaseNote : ""));
  }
  return {};
}

Result<void> CheckLtxBlockSize(std::size_t size, std::uint32_t page_size) {
  if (size == 0 || size > MaxLz4BlockSize(page_size)) {
    return Corruption(fmt::format("invalid data size: {} for a page of {} bytes", size, page_size));
  }
  return {};
}

Result<void> ExpandLtxBlock(std::span<const std::byte> block, std::span<std::byte> page) {
  if (!ExpandLz4Block(block, page)) [[unlikely]] {
    return Corruption(fmt::format(
        "decompress block: lz4: invalid source or destination buffer too short ({} bytes do not "
        "expand to a page of {})",
        block.size(), page.size()));
  }
  return {};
}

Result<LtxFrame> ParseLtxFrame(std::span<const std::byte> bytes, std::uint32_t page_size) {
  if (bytes.size() < kLtxFrameHeaderSize) return Corruption("unmarshal: short buffer");
  LtxFrame frame{.pgno = Pgno{LoadBe32(bytes.data())}, .flags = LoadBe16(bytes.data() + 4)};
  LS_TRY(CheckLtxFrameHeader(frame.pgno, frame.flags, /*first_frame=*/false));
  if ((frame.flags & kLtxFrameFlagBlock) == 0) {
    frame.payload = bytes.subspan(kLtxFrameHeaderSize);
    frame.size_bytes = bytes.size();
    return frame;
  }
  constexpr std::size_t kFront = kLtxFrameHeaderSize + kLtxSizePrefixSize;
  if (bytes.size() < kFront) return Corruption("buffer too small for size prefix");
  const std::uint32_t size = LoadBe32(bytes.data() + kLtxFrameHeaderSize);
  LS_TRY(CheckLtxBlockSize(size, page_size));
  if (bytes.size() - kFront < size) {
    return Corruption(
        fmt::format("buffer too small for data: need {}, have {}", kFront + size, bytes.size()));
  }
  frame.payload = bytes.subspan(kFront, size);
  frame.size_bytes = kFront + size;
  return frame;
}

Result<void> DecodeLtxFrame(const LtxFrame& frame, std::span<std::byte> page) {
  if ((frame.flags & kLtxFrameFlagBlock) != 0) return ExpandLtxBlock(frame.payload, page);
  const std::size_t size = LS_TRY(ExpandLz4Frame(frame.payload, page));
  if (size != frame.payload.size()) {
    return Corruption(fmt::format("lz4: {} bytes behind the frame", frame.payload.size() - size));
  }
  return {};
}

}  // namespace litestream
