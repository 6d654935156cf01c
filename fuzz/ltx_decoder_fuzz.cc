// Any bytes as an LTX file: no crash, and the pieces in which they arrive do not matter.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "format/ltx_decoder.h"
#include "tests/support/byte_streams.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace litestream;
  const auto file = std::as_bytes(std::span(data, size));
  const Context ctx = Context::Background();
  testing::SpanSource whole(file);
  testing::SpanSource pieces(file, 13);
  const auto first = VerifyLtx(ctx, whole);
  const auto second = VerifyLtx(ctx, pieces);
  if (first.ok() != second.ok()) std::abort();
  if (!first.ok() && first.error().message() != second.error().message()) std::abort();
  return 0;
}
