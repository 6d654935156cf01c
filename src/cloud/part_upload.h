#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "litestream/byte_stream.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::cloud {

// A piece of an object that is uploaded. Shared: see http::Request.
using Piece = std::shared_ptr<const std::string>;

// How a service takes an object.
class PartSink {
 public:
  virtual ~PartSink() = default;
  // Size of the nth piece (from 1), more than 0. Only the last one is smaller.
  virtual std::uint64_t PieceBytes(std::uint64_t number) const = 0;
  // The object is smaller than a piece, or just as large.
  virtual Result<void> PutWhole(const Context& ctx, Piece whole) = 0;
  // Else: once Begin, then Add for each piece in turn (who may send several at a time), then
  // Complete. Nobody may see the object before.
  virtual Result<void> Begin(const Context& ctx) = 0;
  virtual Result<void> Add(const Context& ctx, Piece piece, bool is_last) = 0;
  virtual Result<void> Complete(const Context& ctx) = 0;
  // One of them failed, or the body did: nothing may stay. The context may have ended, so this has
  // to take time of its own.
  virtual void Abort() = 0;
};

// Feeds `body` to the sink. Keeps two pieces in memory, and what the sink keeps. Returns the number
// of bytes; if that is not `size_bytes` nothing was stored (kCorruption). Errors: of the body and
// of the sink. `what` names the object for people.
Result<std::uint64_t> UploadInParts(const Context& ctx, ByteSource& body,
                                    std::optional<std::uint64_t> size_bytes, PartSink& sink,
                                    std::string_view what);

}  // namespace litestream::cloud
