#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/ltx.h"
#include "format/ltx_decoder.h"
#include "litestream/replica_client.h"
#include "replica/plan.h"

namespace litestream {

// "level/name", as messages name an LTX file.
std::string FileLabel(const FileId& id);

// A file of a restore plan whose header and end have been read.
struct PlannedFile {
  FileInfo info;
  LtxHeader header;
  LtxTail tail;
  std::array<std::byte, kLtxHeaderSize> header_bytes = {};
  // The last bytes of the file, from held_offset on; the whole file if that is 0. Empty when the
  // files together would take too much memory.
  std::vector<std::byte> held;
  std::uint64_t held_offset = 0;

  // The bytes [offset, offset + size), if they are held; else empty.
  std::span<const std::byte> Held(std::uint64_t offset_bytes, std::uint64_t size_bytes) const;
};

// Of each file so many bytes at the end are read along with the trailer: small files whole, and the
// page indexes of middling ones.
inline constexpr std::uint64_t kHeldBytesPerFile = std::uint64_t{64} << 10;
inline constexpr std::uint64_t kHeldBytesInAll = std::uint64_t{16} << 20;

// Reads header and end of every file in the plan, `threads` at a time, and checks that the files
// fit their names and each other. Adds to `read_bytes` what was read.
Result<std::vector<PlannedFile>> OpenPlannedFiles(const Context& ctx, ReplicaClient& client,
                                                  const RestorePlan& plan, int threads,
                                                  std::atomic<std::uint64_t>& read_bytes);

// kCorruption unless the header belongs to a file of this name.
Result<void> CheckHeaderFitsName(const LtxHeader& header, const FileId& id);
// kCorruption for a size that no LTX file has.
Result<void> CheckFileSize(const FileInfo& info);

}  // namespace litestream
