#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <utility>

#include "litestream/byte_stream.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// Asked before each piece of what goes up, and at its end. After an error nothing is stored.
using UploadGuard = std::function<Result<void>(const Context&)>;

// A body that goes up only as long as the guard allows it. Borrows the body.
class GuardedSource final : public ByteSource {
 public:
  GuardedSource(ByteSource& body, UploadGuard guard) : body_(body), guard_(std::move(guard)) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    if (guard_) {
      if (auto allowed = guard_(ctx); !allowed.ok()) return std::move(allowed).error();
    }
    return body_.Read(ctx, out);
  }

 private:
  ByteSource& body_;
  const UploadGuard guard_;
};

}  // namespace litestream
