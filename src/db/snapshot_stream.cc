#include "db/snapshot_stream.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"

namespace litestream {

Result<void> SnapshotStream::Buffer::Write(std::span<const std::byte> more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
  return {};
}

SnapshotStream::SnapshotStream(Permit& permit, std::shared_ptr<OldState> state,
                               const LtxHeader& header, std::size_t slice_bytes,
                               std::function<void()> on_mismatch)
    : permit_(permit),
      state_(std::move(state)),
      header_(header),
      on_mismatch_(std::move(on_mismatch)),
      encoder_(buffer_),
      slice_(std::max<std::size_t>(slice_bytes, header.page_size)) {}

SnapshotStream::~SnapshotStream() = default;

Result<std::size_t> SnapshotStream::Read(const Context& ctx, std::span<std::byte> out) {
  while (buffer_.taken == buffer_.bytes.size()) {
    if (ended_) return std::size_t{0};
    buffer_.bytes.clear();
    buffer_.taken = 0;
    LS_TRY(EncodeMore(ctx));
  }
  const std::size_t count = std::min(out.size(), buffer_.bytes.size() - buffer_.taken);
  std::memcpy(out.data(), &buffer_.bytes[buffer_.taken], count);
  buffer_.taken += count;
  return count;
}

Result<void> SnapshotStream::EncodeMore(const Context& ctx) {
  if (!begun_) {
    begun_ = true;
    return encoder_.Begin(header_);
  }
  if (encoded_ == state_->page_count()) return End();
  const std::uint32_t count = LS_TRY(ReadSlice(ctx));
  const Pgno lock_page = LockPage(header_.page_size);
  for (std::uint32_t i = 0; i < count; ++i) {
    const Pgno pgno{++encoded_};
    if (pgno == lock_page) continue;
    const auto page = std::span(slice_).subspan(std::size_t{i} * header_.page_size);
    checksum_.Toggle(LS_TRY(encoder_.AddPage(pgno, page.first(header_.page_size))));
  }
  return {};
}

Result<std::uint32_t> SnapshotStream::ReadSlice(const Context& ctx) {
  LS_TRY(ctx.Check());
  LS_TRY(permit_.Take(ctx));
  const PermitHold hold(permit_);
  return state_->Read(slice_);
}

// The index in pieces: for many pages it is large.
Result<void> SnapshotStream::End() {
  LS_TRY(CheckSum());
  if (LS_TRY(encoder_.WriteIndexPiece())) return {};
  ended_ = true;
  LS_TRY(encoder_.Finish(std::nullopt));
  return {};
}

Result<void> SnapshotStream::CheckSum() {
  const auto proof = header_.Proof();
  if (!proof || checksum_.value() == proof->after) return {};
  on_mismatch_();
  return Error(ErrorCode::kCorruption,
               fmt::format("what the database file holds is not what was captured at TXID {}; the "
                           "two are being compared, and what differs will be captured",
                           FormatTxid(header_.txids.max)));
}

}  // namespace litestream
