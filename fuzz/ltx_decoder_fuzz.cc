// Any bytes as an LTX file: no crash, and the pieces in which they arrive do not matter.
#include <cstddef>
#include <cstdint>

#include "format/ltx_decoder.h"
#include "fuzz/require.h"
#include "tests/support/byte_streams.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace litestream;
  const auto file = std::as_bytes(std::span(data, size));
  const Context ctx = Context::Background();
  testing::SpanSource whole(file);
  testing::SpanSource pieces(file, 13);
  const auto first = VerifyLtx(ctx, whole);
  const auto second = VerifyLtx(ctx, pieces);
  Require(first.ok() == second.ok());
  Require(first.ok() || first.error().message() == second.error().message());
  return 0;
}
