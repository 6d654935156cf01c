#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "db/old_state.h"
#include "db/permit.h"
#include "format/ltx.h"
#include "format/ltx_encoder.h"
#include "format/page_sum.h"
#include "litestream/byte_stream.h"

namespace litestream {

// A snapshot file made of the database as it is read. Its pages are compressed in the thread of
// whoever reads; only for a slice of pages at a time it needs the database's permit.
//
// The checksum of all pages is compared with the one that the header promises before the last bytes
// are given away: nobody gets a whole file that holds anything else. kCorruption then, and
// `on_mismatch` is called. kUnavailable: the database was let go of, or captured anew, meanwhile.
class SnapshotStream final : public ByteSource {
 public:
  // The header has its proof. The permit outlives this. So many bytes are read at once.
  SnapshotStream(Permit& permit, std::shared_ptr<OldState> state, const LtxHeader& header,
                 std::size_t slice_bytes, std::function<void()> on_mismatch);
  ~SnapshotStream() override;

  const LtxHeader& header() const { return header_; }
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;

 private:
  // What was encoded and is not read yet.
  struct Buffer : ByteSink {
    std::vector<std::byte> bytes;
    std::size_t taken = 0;
    Result<void> Write(std::span<const std::byte> more) override;
  };
  Result<void> EncodeMore(const Context& ctx);
  Result<std::uint32_t> ReadSlice(const Context& ctx);
  Result<void> End();
  Result<void> CheckSum();

  Permit& permit_;
  std::shared_ptr<OldState> state_;  // Shared with the database, which breaks it when it must.
  const LtxHeader header_;
  const std::function<void()> on_mismatch_;
  Buffer buffer_;
  LtxEncoder encoder_;
  std::vector<std::byte> slice_;
  DatabaseChecksum checksum_;
  std::uint32_t encoded_ = 0;  // Pages.
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace litestream
