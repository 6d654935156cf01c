#include "litestream/byte_stream.h"

#include "base/try.h"

namespace litestream {

Result<std::size_t> ReadFull(const Context& ctx, ByteSource& source, std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t n = LS_TRY(source.Read(ctx, out.subspan(done)));
    if (n == 0) break;
    done += n;
  }
  return done;
}

}  // namespace litestream
