// Any bytes as a file that is read from its end: tail, index, frames. If the file as a whole is
// good, the index must give exactly its frames; whatever it is, nothing may lie outside of it.
// The bytes are also taken as one frame.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/endian.h"
#include "format/ltx_decoder.h"
#include "format/ltx_file_checksum.h"
#include "format/page_sum.h"
#include "fuzz/require.h"
#include "tests/support/byte_streams.h"

namespace litestream {
namespace {

Result<std::vector<LtxIndexEntry>> ReadIndex(std::span<const std::byte> file, std::size_t piece) {
  auto tail = ParseLtxTail(file, file.size());
  if (!tail.ok()) return tail.error();
  LtxIndexReader reader(tail.value().index_offset, tail.value().index_bytes);
  std::vector<LtxIndexEntry> entries;
  auto rest = file.subspan(tail.value().index_offset, tail.value().index_bytes);
  while (!rest.empty()) {
    const auto part = rest.first(rest.size() < piece ? rest.size() : piece);
    auto fed = reader.Feed(part, entries);
    if (!fed.ok()) return fed.error();
    rest = rest.subspan(part.size());
  }
  auto finished = reader.Finish();
  if (!finished.ok()) return finished.error();
  return entries;
}

void ReadFrames(std::span<const std::byte> file, const std::vector<LtxIndexEntry>& index) {
  std::vector<std::byte> page(512);
  std::uint32_t last = 0;
  for (const auto& entry : index) {
    Require(entry.pgno.value > last);
    last = entry.pgno.value;
    Require(entry.size_bytes <= file.size() &&
            entry.offset_bytes <= file.size() - entry.size_bytes);
    const auto frame = ParseLtxFrame(file.subspan(entry.offset_bytes, entry.size_bytes), 512);
    if (frame.ok()) (void)DecodeLtxFrame(frame.value(), page).ok();
  }
}

// A file that the stream decoder takes.
void CompareWithStream(std::span<const std::byte> file, const std::vector<LtxIndexEntry>& index) {
  const Context ctx = Context::Background();
  testing::SpanSource source(file);
  LtxDecoder decoder(source);
  const auto header = decoder.ReadHeader(ctx);
  Require(header.ok());
  std::vector<std::byte> bytes(header.value().page_size);
  for (const auto& entry : index) {
    const auto page = decoder.ReadPage(ctx);
    Require(page.ok() && page.value().has_value());
    Require(decoder.last_entry() == entry);
    const auto frame =
        ParseLtxFrame(file.subspan(entry.offset_bytes, entry.size_bytes), header.value().page_size);
    Require(frame.ok() && frame.value().size_bytes == entry.size_bytes);
    Require(DecodeLtxFrame(frame.value(), bytes).ok());
    Require(PageSum(entry.pgno, bytes) == page.value()->page_sum);
  }
  Require(!decoder.ReadPage(ctx).value().has_value());
}

// Gives the file the checksum that it would have, so that the search gets behind that gate. Leaves
// files alone whose pages do not decode.
void MendChecksum(std::vector<std::byte>& file) {
  const Context ctx = Context::Background();
  testing::SpanSource source(file);
  LtxDecoder decoder(source);
  const auto header = decoder.ReadHeader(ctx);
  if (!header.ok()) return;
  LtxFileChecksum checksum(header.value().page_size);
  const std::span<const std::byte> bytes = file;
  checksum.Add(bytes.first(kLtxHeaderSize));
  std::size_t end = kLtxHeaderSize;
  for (;;) {
    const auto page = decoder.ReadPage(ctx);
    if (!page.ok()) return;
    if (!page.value().has_value()) break;
    const std::size_t prefix = page.value()->block.empty() ? 0 : kLtxSizePrefixSize;
    checksum.Add(bytes.subspan(end, kLtxFrameHeaderSize + prefix));
    checksum.AddPage(page.value()->pgno, page.value()->page_sum);
    end += decoder.last_entry().size_bytes;
  }
  if (bytes.size() - end < 8) return;
  checksum.Add(bytes.subspan(end, bytes.size() - end - 8));
  StoreBe64(file.data() + file.size() - 8, checksum.value());
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace litestream;
  const auto input = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(input.begin(), input.end());
  MendChecksum(file);
  const auto index = ReadIndex(file, SIZE_MAX);
  const auto in_pieces = ReadIndex(file, 1);
  Require(index.ok() == in_pieces.ok());
  if (index.ok()) {
    Require(index.value() == in_pieces.value());
    ReadFrames(file, index.value());
  }
  testing::SpanSource source(file);
  if (VerifyLtx(Context::Background(), source).ok()) {
    Require(index.ok());
    CompareWithStream(file, index.value());
  }
  std::vector<std::byte> page(512);
  const auto frame = ParseLtxFrame(file, 512);
  if (frame.ok()) (void)DecodeLtxFrame(frame.value(), page).ok();
  return 0;
}
