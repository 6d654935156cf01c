#pragma once

#include <cstdint>
#include <memory>

#include "litestream/byte_stream.h"
#include "litestream/types.h"

namespace litestream {

// Turns a full level-0 file of TXID n, read from `local`, into the snapshot 1..n: the same pages
// (copied compressed), another header. Errors: kInvalidArgument if the file does not hold every
// page, kCorruption if it is damaged.
std::unique_ptr<ByteSource> MakeSnapshotSource(std::unique_ptr<ByteSource> local);

}  // namespace litestream
