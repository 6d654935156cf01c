// Several files from any bytes: what their merge lets through is a right file that holds the newest
// version of every page of right files.
//
// Input: byte 0 chooses whether the result is a snapshot and how large the windows are; then for
// each file two bytes with its length (big-endian) and its bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/endian.h"
#include "format/ltx_decoder.h"
#include "fuzz/require.h"
#include "replica/merge.h"
#include "tests/support/byte_streams.h"

namespace litestream {
namespace {

using Bytes = std::span<const std::byte>;
using Pages = std::map<std::uint32_t, std::vector<std::byte>>;

constexpr std::size_t kMaxFiles = 16;

std::vector<Bytes> Split(Bytes input) {
  std::vector<Bytes> files;
  while (input.size() >= 2 && files.size() < kMaxFiles) {
    const std::size_t size = std::min<std::size_t>(LoadBe16(input.data()), input.size() - 2);
    files.push_back(input.subspan(2, size));
    input = input.subspan(2 + size);
  }
  return files;
}

std::vector<MergeInput> Inputs(const std::vector<Bytes>& files) {
  std::vector<MergeInput> inputs;
  for (const Bytes file : files) {
    inputs.push_back({.name = "file",
                      .size_bytes = file.size(),
                      .txids = {},
                      .open = [file](const Context&, const ByteRange& range)
                          -> Result<std::unique_ptr<ByteSource>> {
                        Require(range.offset_bytes + range.length_bytes <= file.size());
                        return std::make_unique<testing::SpanSource>(
                            file.subspan(range.offset_bytes, range.length_bytes));
                      }});
  }
  return inputs;
}

// Lays a file, which must be right, over the pages.
LtxHeader LayOver(Bytes file, Pages& pages) {
  const Context ctx = Context::Background();
  testing::SpanSource source(file);
  LtxDecoder decoder(source);
  const auto header = decoder.ReadHeader(ctx);
  Require(header.ok());
  for (;;) {
    const auto page = decoder.ReadPage(ctx);
    Require(page.ok());
    if (!page.value()) break;
    pages[page.value()->pgno.value].assign(page.value()->page.begin(), page.value()->page.end());
  }
  Require(decoder.Finish(ctx).ok());
  pages.erase(pages.upper_bound(header.value().commit_pages), pages.end());
  return header.value();
}

void Merge(Bytes input) {
  const auto choice = std::to_integer<unsigned>(input[0]);
  const auto files = Split(input.subspan(1));
  const Context ctx = Context::Background();
  const auto merge = LtxMerge::Open(
      ctx, Inputs(files),
      {.as_snapshot = (choice & 1) != 0, .window_bytes = std::size_t{1} << (choice >> 1 & 15)});
  if (!merge.ok()) return;
  std::vector<std::byte> merged;
  std::vector<std::byte> piece(777);
  for (;;) {
    const auto n = merge.value()->Read(ctx, piece);
    if (!n.ok()) return;
    if (n.value() == 0) break;
    merged.insert(merged.end(), piece.begin(),
                  piece.begin() + static_cast<std::ptrdiff_t>(n.value()));
  }
  Pages want;
  LtxHeader last;
  for (const Bytes file : files) last = LayOver(file, want);
  Pages got;
  const LtxHeader header = LayOver(merged, got);
  Require(header == merge.value()->header());
  Require(header.commit_pages == last.commit_pages && header.txids.max == last.txids.max);
  Require(got == want);
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) litestream::Merge(std::as_bytes(std::span(data, size)));
  return 0;
}
