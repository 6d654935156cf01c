#include "cloud/part_upload.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream::cloud {
namespace {

// Up to `size` bytes; memory for what is there only.
Result<Piece> ReadPiece(const Context& ctx, ByteSource& body, std::uint64_t size,
                        std::optional<std::uint64_t> expected) {
  constexpr std::size_t kStep = 64 * 1024;
  auto piece = std::make_shared<std::string>();  // Shared: see Piece.
  if (expected) piece->reserve(static_cast<std::size_t>(std::min(size, *expected)));
  while (piece->size() < size) {
    const std::size_t old = piece->size();
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(kStep, size - old));
    piece->resize(old + want);
    const std::size_t count =
        LS_TRY(ReadFull(ctx, body, std::as_writable_bytes(std::span(piece->data() + old, want))));
    piece->resize(old + count);
    if (count < want) break;
  }
  return Piece(std::move(piece));
}

class Upload {
 public:
  Upload(ByteSource& body, std::optional<std::uint64_t> size_bytes, PartSink& sink,
         std::string_view what)
      : body_(body), size_bytes_(size_bytes), sink_(sink), what_(what) {}

  Result<std::uint64_t> Run(const Context& ctx);

 private:
  Result<Piece> Next(const Context& ctx);
  Result<void> InParts(const Context& ctx, Piece first, Piece second);
  // More bytes than were announced are noticed before the last of them is sent.
  Result<void> CheckSize(bool at_end) const;

  ByteSource& body_;
  const std::optional<std::uint64_t> size_bytes_;
  PartSink& sink_;
  const std::string_view what_;
  std::uint64_t pieces_ = 0;  // That were read.
  std::uint64_t bytes_ = 0;
  bool at_end_ = false;
};

// Empty at the end.
Result<Piece> Upload::Next(const Context& ctx) {
  if (at_end_) return std::make_shared<const std::string>();
  const std::uint64_t want = sink_.PieceBytes(++pieces_);
  auto piece = LS_TRY(ReadPiece(ctx, body_, want, pieces_ == 1 ? size_bytes_ : std::nullopt));
  at_end_ = piece->size() < want;
  bytes_ += piece->size();
  return piece;
}

Result<void> Upload::CheckSize(bool at_end) const {
  if (!size_bytes_) return {};
  if (at_end ? bytes_ == *size_bytes_ : bytes_ <= *size_bytes_) return {};
  return Error(ErrorCode::kCorruption,
               fmt::format("{}: the body has {} bytes instead of {}; nothing was stored", what_,
                           bytes_, *size_bytes_));
}

Result<void> Upload::InParts(const Context& ctx, Piece first, Piece second) {
  LS_TRY(sink_.Begin(ctx));
  // One is read ahead, to know which one is the last.
  while (!second->empty()) {
    LS_TRY(CheckSize(/*at_end=*/false));
    LS_TRY(sink_.Add(ctx, std::move(first), /*is_last=*/false));
    first = std::exchange(second, LS_TRY(Next(ctx)));
  }
  LS_TRY(CheckSize(/*at_end=*/true));
  LS_TRY(sink_.Add(ctx, std::move(first), /*is_last=*/true));
  return sink_.Complete(ctx);
}

Result<std::uint64_t> Upload::Run(const Context& ctx) {
  Piece first = LS_TRY(Next(ctx));
  Piece second = LS_TRY(Next(ctx));
  if (second->empty()) {
    LS_TRY(CheckSize(/*at_end=*/true));
    LS_TRY(sink_.PutWhole(ctx, std::move(first)));
    return bytes_;
  }
  if (auto done = InParts(ctx, std::move(first), std::move(second)); !done.ok()) {
    sink_.Abort();
    return std::move(done).error();
  }
  return bytes_;
}

}  // namespace

Result<std::uint64_t> UploadInParts(const Context& ctx, ByteSource& body,
                                    std::optional<std::uint64_t> size_bytes, PartSink& sink,
                                    std::string_view what) {
  return Upload(body, size_bytes, sink, what).Run(ctx);
}

}  // namespace litestream::cloud
