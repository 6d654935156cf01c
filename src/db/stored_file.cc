#include "db/stored_file.h"

#include <array>

#include "base/endian.h"
#include "base/try.h"
#include "format/names.h"

namespace litestream {

Result<std::uint64_t> TrailingChecksum(const Context& ctx, ByteSource& source) {
  std::array<std::byte, kLtxTrailerSize> trailer = {};
  const std::size_t got = LS_TRY(ReadFull(ctx, source, trailer));
  if (got < trailer.size()) return Error(ErrorCode::kCorruption, "LTX file too short");
  return LoadBe64(&trailer[8]);
}

Result<LtxHeader> RemoteHeader(const Context& ctx, ReplicaClient& client, const FileId& id) {
  const auto source = LS_TRY(client.Open(ctx, id, {.length_bytes = kLtxHeaderSize}));
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(ReadFull(ctx, *source, bytes));
  return LS_TRY(ParseLtxHeader(std::span(bytes).first(got)), "ltx file {}/{} in {}", id.level.value,
                FormatLtxFilename(id.txids), client.Describe());
}

}  // namespace litestream
