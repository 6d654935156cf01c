#include "format/ltx_encoder.h"

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include <lz4.h>

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx_file_checksum.h"
#include "format/ltx_frame.h"
#include "format/ltx_index.h"
#include "format/ltx_page_order.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

// The sink gets pieces of about this size.
constexpr std::size_t kWriteSize = std::size_t{256} << 10;
constexpr std::size_t kFrameFront = kLtxFrameHeaderSize + kLtxSizePrefixSize;

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

// The validators judge files that were read; here the caller is wrong.
Result<void> AsArgument(const Result<void>& result) {
  if (result.ok()) return {};
  return Invalid(result.error().message());
}

std::size_t Compress(LZ4_stream_t& state, std::span<const std::byte> page,
                     std::span<std::byte> block) {
  const int size = LZ4_compress_fast_extState(
      &state, reinterpret_cast<const char*>(page.data()), reinterpret_cast<char*>(block.data()),
      static_cast<int>(page.size()), static_cast<int>(block.size()), /*acceleration=*/1);
  return static_cast<std::size_t>(size);
}

}  // namespace

std::size_t CompressPage(std::span<const std::byte> page, std::span<std::byte> block) {
  LZ4_stream_t state;
  return Compress(state, page, block);
}

struct LtxEncoder::State {
  enum class Stage { kHeader, kPages, kIndex, kClosed, kFailed };

  explicit State(ByteSink& s) : sink(s) {}

  Result<void> CheckStage() const;
  Result<void> Room(std::size_t bytes);
  Result<void> Flush();
  Result<void> Append(std::span<const std::byte> bytes);
  void EndFrame(Pgno pgno, std::uint64_t page_sum, std::size_t block_size);
  Result<bool> WriteIndexPiece();

  ByteSink& sink;
  Stage stage = Stage::kHeader;
  LtxHeader header;
  LtxPageOrder order;
  LtxFileChecksum checksum{0};
  LtxIndexLog index;
  std::optional<LtxIndexLog::Reader> index_reader;  // Set while the index is written.
  std::uint64_t index_size = 0;
  std::uint64_t sum_of_pages = 0;  // XOR: LTX's own database checksum.
  std::uint32_t page_count = 0;
  std::uint64_t flushed_bytes = 0;
  std::size_t used = 0;
  std::unique_ptr<std::byte[]> buffer;
  std::unique_ptr<LZ4_stream_t> lz4;
};

// Makes room in the buffer.
Result<void> LtxEncoder::State::Room(std::size_t bytes) {
  if (kWriteSize - used < bytes) LS_TRY(Flush());
  return {};
}

Result<void> LtxEncoder::State::Flush() {
  if (used == 0) return {};
  const Stage before = std::exchange(stage, Stage::kFailed);
  LS_TRY(sink.Write({buffer.get(), used}));
  stage = before;
  flushed_bytes += used;
  used = 0;
  return {};
}

Result<void> LtxEncoder::State::Append(std::span<const std::byte> bytes) {
  LS_TRY(Room(bytes.size()));
  std::memcpy(buffer.get() + used, bytes.data(), bytes.size());
  used += bytes.size();
  checksum.Add(bytes);
  return {};
}

// The frame's block stands in the buffer; its front is written here.
void LtxEncoder::State::EndFrame(Pgno pgno, std::uint64_t page_sum, std::size_t block_size) {
  std::byte* const frame = buffer.get() + used;
  StoreBe32(frame, pgno.value);
  StoreBe16(frame + 4, kLtxFrameFlagBlock);
  StoreBe32(frame + 6, static_cast<std::uint32_t>(block_size));
  checksum.Add({frame, kFrameFront});
  checksum.AddPage(pgno, page_sum);
  sum_of_pages ^= page_sum;
  index.Add(pgno, kFrameFront + block_size);
  used += kFrameFront + block_size;
  ++page_count;
}

Result<void> LtxEncoder::State::CheckStage() const {
  switch (stage) {
    case Stage::kPages:
      return {};
    case Stage::kHeader:
      return Invalid("ltx encoder: expected header");
    case Stage::kIndex:
      return Invalid("ltx encoder: the index has begun");
    case Stage::kClosed:
      return Invalid("ltx encoder closed");
    case Stage::kFailed:
      break;
  }
  return Invalid("ltx encoder: the sink has failed");
}

Result<bool> LtxEncoder::State::WriteIndexPiece() {
  if (stage == Stage::kPages) {
    if (const auto missing = order.Missing()) return Invalid(*missing);
    constexpr std::array<std::byte, kLtxEndMarkerSize> kEndMarker = {};
    LS_TRY(Append(kEndMarker));
    index_reader.emplace(index);
    stage = Stage::kIndex;
  }
  if (!index_reader) return false;
  LtxIndexEntry entry;
  std::array<std::byte, 4096> piece;
  for (std::size_t written = 0; written < kLtxIndexPieceBytes;) {
    std::size_t filled = 0;
    while (piece.size() - filled >= kMaxLtxIndexEntrySize && index_reader->Next(entry)) {
      filled =
          static_cast<std::size_t>(PutLtxIndexEntry(piece.data() + filled, entry) - piece.data());
    }
    LS_TRY(Append(std::span(piece).first(filled)));
    written += filled;
    index_size += filled;
    if (piece.size() - filled < kMaxLtxIndexEntrySize) continue;
    index_reader.reset();
    std::array<std::byte, 1 + kLtxIndexSizeSize> end = {};
    StoreBe64(end.data() + 1, index_size + 1);
    LS_TRY(Append(end));
    return false;
  }
  return true;
}

LtxEncoder::LtxEncoder(ByteSink& sink) : state_(std::make_unique<State>(sink)) {}
LtxEncoder::~LtxEncoder() = default;

Result<void> LtxEncoder::Begin(const LtxHeader& header) {
  State& s = *state_;
  if (s.stage != State::Stage::kHeader) {
    return Invalid("ltx encoder: the file has a header");
  }
  LS_TRY(AsArgument(ValidateLtxHeader(header)));
  s.stage = State::Stage::kPages;
  s.header = header;
  s.order = LtxPageOrder(header);
  s.checksum = LtxFileChecksum(header.page_size);
  s.buffer = std::make_unique_for_overwrite<std::byte[]>(kWriteSize);
  return s.Append(FormatLtxHeader(header));
}

Result<std::uint64_t> LtxEncoder::AddPage(Pgno pgno, std::span<const std::byte> page) {
  State& s = *state_;
  LS_TRY(s.CheckStage());
  if (page.size() != s.header.page_size) {
    return Invalid(
        fmt::format("invalid page buffer size: {}, expecting {}", page.size(), s.header.page_size));
  }
  if (!s.order.Take(pgno)) return Invalid(s.order.WhyNot(pgno));
  if (s.lz4 == nullptr) s.lz4 = std::make_unique<LZ4_stream_t>();
  const std::size_t most = MaxLz4BlockSize(s.header.page_size);
  LS_TRY(s.Room(kFrameFront + most));
  const std::size_t size = Compress(*s.lz4, page, {s.buffer.get() + s.used + kFrameFront, most});
  if (size == 0) return Error(ErrorCode::kInternal, "lz4 block compression failed");
  const std::uint64_t sum = PageSum(pgno, page);
  s.EndFrame(pgno, sum, size);
  return sum;
}

Result<void> LtxEncoder::AddEncoded(const LtxEncodedPage& page) {
  State& s = *state_;
  LS_TRY(s.CheckStage());
  const std::size_t size = page.block.size();
  LS_TRY(AsArgument(CheckLtxBlockSize(size, s.header.page_size)));
  if (!s.order.Take(page.pgno)) return Invalid(s.order.WhyNot(page.pgno));
  LS_TRY(s.Room(kFrameFront + size));
  std::memcpy(s.buffer.get() + s.used + kFrameFront, page.block.data(), size);
  s.EndFrame(page.pgno, page.page_sum, size);
  return {};
}

Result<bool> LtxEncoder::WriteIndexPiece() {
  if (state_->stage != State::Stage::kIndex) LS_TRY(state_->CheckStage());
  return state_->WriteIndexPiece();
}

Result<LtxTrailer> LtxEncoder::Finish(const std::optional<LtxProof>& proof,
                                      std::uint64_t post_apply) {
  State& s = *state_;
  if (s.stage != State::Stage::kIndex) LS_TRY(s.CheckStage());
  if (const auto missing = s.order.Missing()) return Invalid(*missing);
  LtxTrailer trailer{.post_apply_checksum = post_apply, .file_checksum = kLtxChecksumFlag};
  LS_TRY(AsArgument(ValidateLtxTrailer(s.header, trailer)));
  if (s.header.HasChecksums() && s.header.IsSnapshot() &&
      post_apply != (s.sum_of_pages | kLtxChecksumFlag)) {
    return Invalid(
        fmt::format("post-apply checksum ({:016x}) does not match calculated checksum ({:016x})",
                    post_apply, s.sum_of_pages | kLtxChecksumFlag));
  }

  while (LS_TRY(s.WriteIndexPiece())) continue;
  std::array<std::byte, kLtxTrailerSize> bytes;
  StoreBe64(bytes.data(), post_apply);
  LS_TRY(s.Append(std::span(bytes).first(8)));
  if (proof) {
    auto difference = ProofBytes(*proof);
    for (std::size_t i = 0; i < difference.size(); ++i) difference[i] ^= s.header.reserved[i];
    s.checksum.Patch(difference, kLtxProofOffset + kLtxProofSize);
  }
  trailer.file_checksum = s.checksum.value();
  StoreBe64(bytes.data() + 8, trailer.file_checksum);
  LS_TRY(s.Append(std::span(bytes).subspan(8)));
  LS_TRY(s.Flush());
  s.stage = State::Stage::kClosed;
  s.buffer.reset();
  s.lz4.reset();
  return trailer;
}

std::uint64_t LtxEncoder::size_bytes() const {
  return state_->flushed_bytes + state_->used;
}

std::uint32_t LtxEncoder::page_count() const {
  return state_->page_count;
}

}  // namespace litestream
