// Pages made from any bytes: what is encoded decodes the same, and an LZ4 block that both take,
// liblz4 and we, expands to the same page.
//
// Input: byte 0 chooses the page size, whether it is a snapshot and whether a proof is patched in;
// then for each page one byte with the step to its number, one with the number of bytes that
// follow, and these bytes, which fill the page over and over.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lz4.h>

#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/ltx_lz4.h"
#include "format/page_sum.h"
#include "fuzz/require.h"
#include "tests/support/byte_streams.h"

namespace litestream {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{128} << 10;  // Of pages: more is only slower.

struct Page {
  Pgno pgno;
  std::vector<std::byte> bytes;
};

std::vector<Page> MakePages(std::span<const std::byte> input, std::size_t page_size,
                            bool snapshot) {
  std::vector<Page> pages;
  std::uint32_t last = 0;
  while (input.size() >= 2 && (pages.size() + 1) * page_size <= kMaxBytes) {
    const auto step = std::to_integer<std::uint32_t>(input[0]);
    const std::size_t count = std::min(std::to_integer<std::size_t>(input[1]), input.size() - 2);
    const auto fill = input.subspan(2, count);
    input = input.subspan(2 + count);
    last += snapshot ? 1 : 1 + step * step * step;
    Page page{.pgno = Pgno{last}, .bytes = std::vector<std::byte>(page_size)};
    for (std::size_t i = 0; i < page_size && !fill.empty(); ++i) {
      page.bytes[i] = fill[(i + i / 300) % fill.size()];
    }
    pages.push_back(std::move(page));
  }
  return pages;
}

void ExpectSamePages(std::span<const std::byte> file, const LtxHeader& header,
                     const std::vector<Page>& pages) {
  const Context ctx = Context::Background();
  testing::SpanSource source(file, 1000);
  LtxDecoder decoder(source);
  const auto read = decoder.ReadHeader(ctx);
  Require(read.ok() && read.value() == header);
  for (const Page& page : pages) {
    const auto decoded = decoder.ReadPage(ctx);
    Require(decoded.ok() && decoded.value().has_value());
    Require(decoded.value()->pgno == page.pgno);
    Require(std::equal(page.bytes.begin(), page.bytes.end(), decoded.value()->page.begin()));
    Require(decoded.value()->page_sum == PageSum(page.pgno, page.bytes));
  }
  const auto end = decoder.ReadPage(ctx);
  Require(end.ok() && !end.value().has_value());
  Require(decoder.Finish(ctx).ok());
}

void RoundTrip(std::span<const std::byte> input) {
  const auto choice = std::to_integer<unsigned>(input[0]);
  const bool snapshot = (choice & 8) != 0;
  const std::uint32_t page_size = 512U << (choice & 7);
  const auto pages = MakePages(input.subspan(1), page_size, snapshot);
  LtxHeader header{.page_size = page_size,
                   .commit_pages = pages.empty() ? 0 : pages.back().pgno.value,
                   .txids = {Txid{snapshot ? 1U : 5U}, Txid{9}}};
  const LtxProof proof{.before = 0x1234567890abcdefU * choice, .after = pages.size()};

  testing::VectorSink sink;
  LtxEncoder encoder(sink);
  Require(encoder.Begin(header).ok());
  for (const Page& page : pages) {
    if (page.pgno == LockPage(page_size)) return;
    Require(encoder.AddPage(page.pgno, page.bytes).ok());
  }
  const bool patch = (choice & 16) != 0;
  Require(encoder.Finish(patch ? std::optional(proof) : std::nullopt).ok());
  auto file = sink.Take();
  if (patch) {
    const auto bytes = ProofBytes(proof);
    std::copy(bytes.begin(), bytes.end(), file.begin() + kLtxProofOffset);
    header.SetProof(proof);
  }
  ExpectSamePages(file, header, pages);
}

void CompareWithLiblz4(std::span<const std::byte> block) {
  std::vector<std::byte> theirs(512);
  const int size = LZ4_decompress_safe(
      reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(theirs.data()),
      static_cast<int>(block.size()), static_cast<int>(theirs.size()));
  std::vector<std::byte> ours(size > 0 ? static_cast<std::size_t>(size) : theirs.size());
  const bool expanded = ExpandLz4Block(block, ours);
  if (size > 0 && expanded) Require(std::equal(ours.begin(), ours.end(), theirs.begin()));
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (input.empty()) return 0;
  litestream::RoundTrip(input);
  litestream::CompareWithLiblz4(input);
  return 0;
}
