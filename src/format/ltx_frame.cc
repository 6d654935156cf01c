#include "format/ltx_frame.h"

#include <memory>

#include <lz4.h>
#include <lz4frame.h>

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/ltx_page_order.h"

namespace litestream {
namespace {

constexpr std::uint32_t kLz4FrameMagic = 0x184d2204;  // Little-endian.

// What the four bytes behind the page number are in files of older generations: the magic of an LZ4
// frame, or the start of page 1 of a database.
constexpr std::uint16_t kFlagsOfGeneration2 = 0x0422;
constexpr std::uint16_t kFlagsOfGeneration1 = 0x5351;

Error Corruption(std::string message) {
  return Error(ErrorCode::kCorruption, std::move(message));
}

// Behind the last two zero bytes that stand together at an even or odd place; 0 if there are none.
std::size_t EndOfLastZeroPair(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kLow = 0x0101010101010101;
  constexpr std::uint64_t kHigh = 0x8080808080808080;
  std::size_t end = bytes.size();
  for (; end >= 9; end -= 8) {
    const std::byte* const p = bytes.data() + end - 9;
    const std::uint64_t either = LoadLe64(p) | LoadLe64(p + 1);
    if (((either - kLow) & ~either & kHigh) != 0) return end;
  }
  for (; end >= 2; --end) {
    if (bytes[end - 1] == std::byte{0} && bytes[end - 2] == std::byte{0}) return end;
  }
  return 0;
}

// Whether a match of this block, which liblz4 has expanded, has the distance 0. The format forbids
// that; liblz4 lets it pass, and what it then copies is not defined.
bool HasZeroDistance(std::span<const std::byte> block) {
  const std::size_t end = EndOfLastZeroPair(block);  // Most blocks have none, or it is near.
  const auto at = [block](std::size_t i) { return std::to_integer<std::size_t>(block[i]); };
  std::size_t i = 0;
  // A length of 15 goes on in the bytes that follow, up to one that is not 255.
  const auto length_of = [&](std::size_t nibble) {
    std::size_t length = nibble;
    for (std::size_t more = nibble == 15 ? 255 : 0; more == 255 && i < end; length += more) {
      more = at(i++);
    }
    return length;
  };
  while (i < end) {
    const std::size_t token = at(i++);
    const std::size_t literals = length_of(token >> 4);
    i += literals;
    if (i + 2 > end) return false;
    if (at(i) == 0 && at(i + 1) == 0) return true;
    i += 2;
    length_of(token & 15);
  }
  return false;
}

// The same for the compressed blocks of an LZ4 frame that liblz4 has expanded.
bool FrameHasZeroDistance(std::span<const std::byte> frame) {
  constexpr std::uint32_t kStored = 1U << 31;
  const auto flags = std::to_integer<unsigned>(frame[4]);
  const bool has_block_checksums = (flags & 0x10) != 0;
  const bool has_content_size = (flags & 0x08) != 0;
  const bool has_dictionary_id = (flags & 0x01) != 0;
  std::size_t i = 7U + (has_content_size ? 8 : 0) + (has_dictionary_id ? 4 : 0);
  while (i + 4 <= frame.size()) {
    const std::uint32_t field = LoadLe32(frame.data() + i);
    const std::size_t size = field & ~kStored;
    i += 4;
    if (field == 0 || size > frame.size() - i) break;
    if ((field & kStored) == 0 && HasZeroDistance(frame.subspan(i, size))) return true;
    i += size + (has_block_checksums ? 4 : 0);
  }
  return false;
}

constexpr const char* kZeroDistance =
    "lz4: invalid source or destination buffer too short (a match has the distance 0)";

struct FreeLz4Context {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

// One for each thread: it holds 128 KiB of buffers that are worth keeping. Null without memory.
LZ4F_dctx* ThreadLz4Context() {
  thread_local std::unique_ptr<LZ4F_dctx, FreeLz4Context> context;
  if (context == nullptr) {
    LZ4F_dctx* created = nullptr;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&created, LZ4F_VERSION)) == 0) {
      context.reset(created);
    }
  }
  return context.get();
}

Error WrongExpandedSize(std::size_t got, std::size_t want) {
  return Corruption(fmt::format("decompress block: page has {} bytes, expecting {}", got, want));
}

constexpr const char* kNoFrameEnd = "read lz4 trailer: expected lz4 end frame";

Error FrameError(std::string_view name) {
  if (name == "ERROR_contentChecksum_invalid") {
    return Corruption(fmt::format("{}: {}", kNoFrameEnd, name));
  }
  return Corruption(fmt::format("lz4: {}", name));
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

Result<void> CheckLtxBlockSize(std::uint32_t size, std::uint32_t page_size) {
  if (size == 0 || size > MaxLz4BlockSize(page_size)) {
    return Corruption(fmt::format("invalid data size: {} for a page of {} bytes", size, page_size));
  }
  return {};
}

Result<void> ExpandLz4Block(std::span<const std::byte> block, std::span<std::byte> page) {
  const int size = LZ4_decompress_safe(
      reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(page.data()),
      static_cast<int>(block.size()), static_cast<int>(page.size()));
  if (size < 0) [[unlikely]] {
    return Corruption("decompress block: lz4: invalid source or destination buffer too short");
  }
  if (static_cast<std::size_t>(size) != page.size()) [[unlikely]] {
    return WrongExpandedSize(static_cast<std::size_t>(size), page.size());
  }
  if (HasZeroDistance(block)) [[unlikely]] {
    return Corruption(kZeroDistance).Wrap("decompress block");
  }
  return {};
}

Result<std::size_t> ExpandLz4Frame(std::span<const std::byte> bytes, std::span<std::byte> page) {
  if (bytes.size() < 4) return Corruption("lz4: unexpected EOF");
  if (LoadLe32(bytes.data()) != kLz4FrameMagic) return Corruption("lz4: bad magic number");
  LZ4F_dctx* const context = ThreadLz4Context();
  if (context == nullptr) return Error(ErrorCode::kInternal, "lz4: out of memory");
  LZ4F_resetDecompressionContext(context);

  std::size_t consumed = 0;
  std::size_t produced = 0;
  for (;;) {
    std::size_t in = bytes.size() - consumed;
    std::size_t out = page.size() - produced;
    const std::size_t hint = LZ4F_decompress(context, page.data() + produced, &out,
                                             bytes.data() + consumed, &in, nullptr);
    if (LZ4F_isError(hint) != 0) return FrameError(LZ4F_getErrorName(hint));
    consumed += in;
    produced += out;
    if (hint == 0) break;
    if (in == 0 && out == 0) {
      if (consumed < bytes.size()) return Corruption("lz4: more than a page");
      return Corruption(produced < page.size() ? "lz4: unexpected EOF" : kNoFrameEnd);
    }
  }
  if (produced != page.size()) return WrongExpandedSize(produced, page.size());
  if (FrameHasZeroDistance(bytes.first(consumed))) return Corruption(kZeroDistance);
  return consumed;
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
  if ((frame.flags & kLtxFrameFlagBlock) != 0) return ExpandLz4Block(frame.payload, page);
  const std::size_t size = LS_TRY(ExpandLz4Frame(frame.payload, page));
  if (size != frame.payload.size()) {
    return Corruption(fmt::format("lz4: {} bytes behind the frame", frame.payload.size() - size));
  }
  return {};
}

}  // namespace litestream
