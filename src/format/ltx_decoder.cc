#include "format/ltx_decoder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx_file_checksum.h"
#include "format/ltx_frame.h"
#include "format/ltx_index.h"
#include "format/ltx_input.h"
#include "format/ltx_lz4.h"
#include "format/ltx_page_order.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

constexpr std::size_t kFrameFront = kLtxFrameHeaderSize + kLtxSizePrefixSize;
constexpr std::size_t kMinBufferSize = std::size_t{4} << 10;

Error Corruption(std::string message) {
  return Error(ErrorCode::kCorruption, std::move(message));
}

Error EndOfFile(std::size_t got) {
  return Corruption(got == 0 ? "EOF" : "unexpected EOF");
}

}  // namespace

// Moves what is left to the front of a buffer of the right size.
void LtxInput::MakeRoom(std::size_t want) {
  const std::size_t left = size();
  const std::size_t capacity = std::max({next_capacity_, want, left});
  if (capacity == capacity_) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, left);
  } else {
    auto buffer = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (left > 0) std::memcpy(buffer.get(), buffer_.get() + begin_, left);
    buffer_ = std::move(buffer);
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = left;
}

Result<void> LtxInput::Refill(const Context& ctx, std::size_t want) {
  MakeRoom(want);
  while (end_ < want && !source_ended_) {
    const std::size_t n = LS_TRY(source_.Read(ctx, {buffer_.get() + end_, capacity_ - end_}));
    source_ended_ = n == 0;
    end_ += n;
  }
  return {};
}

struct LtxDecoder::State {
  enum class Stage { kHeader, kPages, kEnd, kClosed, kFailed };

  State(ByteSource& source, std::size_t buffer_bytes)
      : input(source, std::max(buffer_bytes, kMinBufferSize)) {}

  Result<LtxHeader> ReadHeader(const Context& ctx);
  Result<std::optional<LtxPage>> ReadPage(const Context& ctx);
  Result<std::span<const std::byte>> ReadBlock(const Context& ctx);
  Result<void> ReadLz4Frame(const Context& ctx);
  Result<LtxTrailer> Finish(const Context& ctx);
  Result<void> ReadIndex(const Context& ctx);
  Result<void> CheckTrailer(const LtxTrailer& trailer) const;
  void Consume(std::size_t bytes) {
    checksum.Add(input.window().first(bytes));
    input.Consume(bytes);
  }
  Error Fail(Error error, std::string_view doing) {
    stage = Stage::kFailed;
    return std::move(error).Wrap(doing);
  }

  LtxInput input;
  Stage stage = Stage::kHeader;
  LtxHeader header;
  LtxPageOrder order;
  LtxFileChecksum checksum{0};
  LtxIndexDigest index;
  std::uint64_t sum_of_pages = 0;  // XOR: LTX's own database checksum.
  std::uint32_t page_count = 0;
  LtxIndexEntry last_entry;
  std::unique_ptr<std::byte[]> own_page;
  std::span<std::byte> shared_page;  // Used instead, if there is one.
  std::span<std::byte> page;
};

Result<LtxHeader> LtxDecoder::State::ReadHeader(const Context& ctx) {
  LS_TRY(input.Fill(ctx, kLtxHeaderSize));
  const auto bytes = input.window().first(std::min(input.size(), kLtxHeaderSize));
  header = LS_TRY(ParseLtxHeader(bytes));
  order = LtxPageOrder(header);
  checksum = LtxFileChecksum(header.page_size);
  Consume(kLtxHeaderSize);
  if (shared_page.empty()) {
    own_page = std::make_unique_for_overwrite<std::byte[]>(header.page_size);
    page = {own_page.get(), header.page_size};
  } else {
    page = shared_page.first(header.page_size);
  }
  stage = Stage::kPages;
  return header;
}

// The size prefix and the block behind the frame header, which is the window's front. Leaves the
// window at the block.
Result<std::span<const std::byte>> LtxDecoder::State::ReadBlock(const Context& ctx) {
  if (input.size() < kFrameFront) {
    return EndOfFile(input.size() - kLtxFrameHeaderSize).Wrap("read data size");
  }
  const std::uint32_t size = LoadBe32(input.window().data() + kLtxFrameHeaderSize);
  LS_TRY(CheckLtxBlockSize(size, header.page_size));
  LS_TRY(input.Fill(ctx, kFrameFront + size));
  if (input.size() < kFrameFront + size) {
    return EndOfFile(input.size() - kFrameFront).Wrap("read compressed data");
  }
  Consume(kFrameFront);
  const auto block = input.window().first(size);
  LS_TRY(ExpandLtxBlock(block, page));
  input.Consume(size);
  return block;
}

Result<void> LtxDecoder::State::ReadLz4Frame(const Context& ctx) {
  const std::size_t most = MaxLtxFrameSize(header.page_size);
  LS_TRY(input.Fill(ctx, most));
  Consume(kLtxFrameHeaderSize);
  const auto bytes = input.window().first(std::min(input.size(), most - kLtxFrameHeaderSize));
  input.Consume(LS_TRY(ExpandLz4Frame(bytes, page)));
  return {};
}

Result<std::optional<LtxPage>> LtxDecoder::State::ReadPage(const Context& ctx) {
  LS_TRY(input.Fill(ctx, kFrameFront));
  if (input.size() < kLtxFrameHeaderSize) {
    return Corruption("unexpected EOF (the file ends before the end marker)");
  }
  const std::byte* const front = input.window().data();
  const Pgno pgno{LoadBe32(front)};
  const std::uint16_t flags = LoadBe16(front + 4);
  if (pgno == Pgno{0} && flags == 0) {
    Consume(kLtxEndMarkerSize);
    stage = Stage::kEnd;
    return std::optional<LtxPage>();
  }
  LS_TRY(CheckLtxFrameHeader(pgno, flags, page_count == 0));
  if (!order.Take(pgno)) return Corruption(order.WhyNot(pgno));

  const std::uint64_t offset = input.offset();
  std::span<const std::byte> block;
  if ((flags & kLtxFrameFlagBlock) != 0) {
    block = LS_TRY(ReadBlock(ctx));
  } else {
    LS_TRY(ReadLz4Frame(ctx));
  }
  const std::uint64_t sum = PageSum(pgno, page);
  checksum.AddPage(pgno, sum);
  sum_of_pages ^= sum;
  last_entry = {.pgno = pgno, .offset_bytes = offset, .size_bytes = input.offset() - offset};
  index.Add(last_entry);
  ++page_count;
  return std::optional<LtxPage>(
      LtxPage{.pgno = pgno, .page_sum = sum, .page = page, .block = block});
}

// The index must be, byte for byte, the one that belongs to the frames.
Result<void> LtxDecoder::State::ReadIndex(const Context& ctx) {
  index.AddTerminator();
  std::uint64_t crc = 0;
  for (std::uint64_t left = index.size_bytes(); left > 0;) {
    LS_TRY(input.Fill(ctx, 1));
    if (input.size() == 0) return Corruption("read page index: unexpected EOF");
    const auto piece =
        input.window().first(static_cast<std::size_t>(std::min<std::uint64_t>(left, input.size())));
    crc = Crc64(crc, piece);
    left -= piece.size();
    Consume(piece.size());
  }
  LS_TRY(input.Fill(ctx, kLtxIndexSizeSize + kLtxTrailerSize));
  if (input.size() < kLtxIndexSizeSize) {
    return EndOfFile(input.size()).Wrap("read page index: read page index size");
  }
  if (crc != index.crc()) {
    return Corruption("read page index: does not match the page frames");
  }
  const std::uint64_t size = LoadBe64(input.window().data());
  if (size != index.size_bytes()) {
    return Corruption(fmt::format("read page index: size field says {} bytes, the index has {}",
                                  size, index.size_bytes()));
  }
  Consume(kLtxIndexSizeSize);
  return {};
}

Result<void> LtxDecoder::State::CheckTrailer(const LtxTrailer& trailer) const {
  if (trailer.file_checksum != checksum.value()) {
    return Corruption(fmt::format("file checksum mismatch: {:016x} in the trailer, {:016x} found",
                                  trailer.file_checksum, checksum.value()));
  }
  LS_TRY(ValidateLtxTrailer(header, trailer));
  const std::uint64_t sum = sum_of_pages | kLtxChecksumFlag;
  if (header.IsSnapshot() && header.HasChecksums() && trailer.post_apply_checksum != sum) {
    return Corruption(
        fmt::format("post-apply checksum in trailer ({:016x}) does not match calculated checksum "
                    "({:016x})",
                    trailer.post_apply_checksum, sum));
  }
  return {};
}

Result<LtxTrailer> LtxDecoder::State::Finish(const Context& ctx) {
  if (const auto missing = order.Missing()) return Corruption(*missing);
  LS_TRY(ReadIndex(ctx));
  LS_TRY(input.Fill(ctx, kLtxTrailerSize + 1));
  if (input.size() < kLtxTrailerSize) return EndOfFile(input.size());
  const LtxTrailer trailer{.post_apply_checksum = LoadBe64(input.window().data()),
                           .file_checksum = LoadBe64(input.window().data() + 8)};
  Consume(sizeof trailer.post_apply_checksum);
  LS_TRY(CheckTrailer(trailer));
  input.Consume(sizeof trailer.file_checksum);
  if (input.size() != 0) return Corruption("file checksum mismatch: data behind the trailer");
  stage = Stage::kClosed;
  return trailer;
}

LtxDecoder::LtxDecoder(ByteSource& source, std::size_t buffer_bytes)
    : state_(std::make_unique<State>(source, buffer_bytes)) {}
LtxDecoder::~LtxDecoder() = default;

void LtxDecoder::SetBufferSize(std::size_t bytes) {
  state_->input.SetCapacity(std::max(bytes, kMinBufferSize));
}

std::size_t LtxDecoder::buffered_bytes() const {
  return state_->input.size();
}

void LtxDecoder::SharePageBuffer(std::span<std::byte, kMaxPageSize> buffer) {
  state_->shared_page = buffer;
}

Result<LtxHeader> LtxDecoder::ReadHeader(const Context& ctx) {
  if (state_->stage != State::Stage::kHeader) {
    return Error(ErrorCode::kInvalidArgument, "decode header: it was read before");
  }
  auto header = state_->ReadHeader(ctx);
  if (!header.ok()) return state_->Fail(std::move(header).error(), "decode header");
  return header;
}

Result<std::optional<LtxPage>> LtxDecoder::ReadPage(const Context& ctx) {
  switch (state_->stage) {
    case State::Stage::kPages:
      break;
    case State::Stage::kEnd:
      return std::optional<LtxPage>();
    case State::Stage::kHeader:
      return Error(ErrorCode::kInvalidArgument, "cannot read page header, expected header");
    default:
      return Error(ErrorCode::kInvalidArgument, "ltx decoder closed");
  }
  auto page = state_->ReadPage(ctx);
  if (!page.ok()) [[unlikely]] {
    return state_->Fail(std::move(page).error(), fmt::format("decode page {}", state_->page_count));
  }
  return page;
}

Result<LtxTrailer> LtxDecoder::Finish(const Context& ctx) {
  if (state_->stage != State::Stage::kEnd) {
    const bool before = state_->stage == State::Stage::kHeader;
    return Error(
        ErrorCode::kInvalidArgument,
        state_->stage > State::Stage::kEnd
            ? "ltx decoder closed"
            : fmt::format("close reader: cannot close, expected {}", before ? "header" : "page"));
  }
  auto trailer = state_->Finish(ctx);
  if (!trailer.ok()) return state_->Fail(std::move(trailer).error(), "close reader");
  return trailer;
}

const LtxHeader& LtxDecoder::header() const {
  return state_->header;
}

LtxIndexEntry LtxDecoder::last_entry() const {
  return state_->last_entry;
}

std::uint32_t LtxDecoder::page_count() const {
  return state_->page_count;
}

Result<LtxHeader> VerifyLtx(const Context& ctx, ByteSource& source) {
  LtxDecoder decoder(source);
  LS_TRY(decoder.ReadHeader(ctx));
  while (LS_TRY(decoder.ReadPage(ctx)).has_value()) {
  }
  LS_TRY(decoder.Finish(ctx));
  return decoder.header();
}

}  // namespace litestream
