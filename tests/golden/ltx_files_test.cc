// Every LTX file that the reference implementation wrote reads the same here.
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/endian.h"
#include "format/crc64.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/ltx_file_checksum.h"
#include "format/page_sum.h"
#include "tests/golden/ltx_golden.h"
#include "tests/support/byte_streams.h"
#include "tests/support/golden.h"
#include "tests/support/sha256.h"

namespace litestream {
namespace {

using testing::SpanSource;
using testing::VectorSink;
using Json = nlohmann::json;
namespace fs = std::filesystem;

struct Page {
  LtxIndexEntry entry;
  std::vector<std::byte> bytes;
  std::uint64_t sum = 0;
};

struct Decoded {
  LtxHeader header;
  std::vector<Page> pages;
  LtxTrailer trailer;
};

Result<Decoded> Decode(std::span<const std::byte> file, std::size_t piece) {
  const Context ctx = Context::Background();
  SpanSource source(file, piece);
  LtxDecoder decoder(source);
  Decoded decoded;
  decoded.header = LS_TRY(decoder.ReadHeader(ctx));
  while (const auto page = LS_TRY(decoder.ReadPage(ctx))) {
    decoded.pages.push_back({.entry = decoder.last_entry(),
                             .bytes = {page->page.begin(), page->page.end()},
                             .sum = page->page_sum});
    EXPECT_EQ(page->pgno, decoder.last_entry().pgno);
    EXPECT_EQ(page->page_sum, PageSum(page->pgno, page->page));
  }
  decoded.trailer = LS_TRY(decoder.Finish(ctx));
  return decoded;
}

void ExpectHeader(const LtxHeader& header, const Json& want) {
  EXPECT_EQ(header.flags, want["flags"]);
  EXPECT_EQ(header.page_size, want["page_size"]);
  EXPECT_EQ(header.commit_pages, want["commit"]);
  EXPECT_EQ(header.IsSnapshot(), want["is_snapshot"]);
  EXPECT_EQ(header.txids.min.value, Hex(want["min_txid"]));
  EXPECT_EQ(header.txids.max.value, Hex(want["max_txid"]));
  EXPECT_EQ(header.timestamp_ms, want["timestamp_ms"]);
  EXPECT_EQ(header.pre_apply_checksum, Hex(want["pre_apply_checksum"]));
  EXPECT_EQ(header.wal_offset, want["wal_offset"]);
  EXPECT_EQ(header.wal_size, want["wal_size"]);
  EXPECT_EQ(header.wal_salts[0], Hex(want["wal_salt1"]));
  EXPECT_EQ(header.wal_salts[1], Hex(want["wal_salt2"]));
  EXPECT_EQ(header.node_id, Hex(want["node_id"]));
  EXPECT_EQ(header.Proof(), std::nullopt);
}

void ExpectPages(std::span<const std::byte> file, const Decoded& decoded, const Json& want) {
  ASSERT_EQ(decoded.pages.size(), want["pages"].size());
  std::vector<std::byte> database(std::size_t{decoded.header.page_size} *
                                  (want.contains("database") ? decoded.header.commit_pages : 0));
  for (std::size_t i = 0; i < decoded.pages.size(); ++i) {
    SCOPED_TRACE(i);
    const Page& page = decoded.pages[i];
    const Json& want_page = want["pages"][i];
    EXPECT_EQ(page.entry.pgno.value, want_page["pgno"]);
    EXPECT_EQ(page.entry.offset_bytes, want_page["offset"]);
    EXPECT_EQ(page.entry.size_bytes, want_page["size"]);
    EXPECT_EQ(Sha256Hex(page.bytes), want_page["sha256"]);
    if (want.contains("page_checksums")) {
      EXPECT_EQ(page.sum | kLtxChecksumFlag, Hex(want["page_checksums"][i]));
    }
    // Random access, as with the index alone.
    const auto frame = ParseLtxFrame(file.subspan(page.entry.offset_bytes, page.entry.size_bytes),
                                     decoded.header.page_size);
    ASSERT_TRUE(frame.ok()) << frame.error().message();
    EXPECT_EQ(frame.value().pgno, page.entry.pgno);
    EXPECT_EQ(frame.value().flags, want_page["flags"]);
    EXPECT_EQ(frame.value().size_bytes, page.entry.size_bytes);
    std::vector<std::byte> bytes(decoded.header.page_size);
    const auto expanded = DecodeLtxFrame(frame.value(), bytes);
    ASSERT_TRUE(expanded.ok()) << expanded.error().message();
    EXPECT_EQ(bytes, page.bytes);
    if (!database.empty()) {
      std::copy(bytes.begin(), bytes.end(),
                database.begin() + std::size_t{page.entry.pgno.value - 1} * bytes.size());
    }
  }
  if (want.contains("database")) {
    EXPECT_EQ(database.size(), want["database"]["size"]);
    EXPECT_EQ(Sha256Hex(database), want["database"]["sha256"]);
  }
}

// The index from the file's end, in pieces of `piece` bytes.
void ExpectIndex(std::span<const std::byte> file, const Decoded& decoded, std::size_t piece) {
  const auto index = ReadIndexFromEnd(file, piece);
  ASSERT_TRUE(index.ok()) << index.error().message();
  ASSERT_EQ(index.value().size(), decoded.pages.size());
  for (std::size_t i = 0; i < decoded.pages.size(); ++i) {
    EXPECT_EQ(index.value()[i], decoded.pages[i].entry);
  }
  const auto tail = ParseLtxTail(file, file.size());
  ASSERT_TRUE(tail.ok());
  EXPECT_EQ(tail.value().trailer, decoded.trailer);
}

// The checksum by hashing everything is the one folded from the page sums.
void ExpectFoldedChecksum(std::span<const std::byte> file, const Decoded& decoded) {
  std::uint64_t plain = Crc64(0, file.first(kLtxHeaderSize));
  LtxFileChecksum folded(decoded.header.page_size);
  folded.Add(file.first(kLtxHeaderSize));
  std::uint64_t end = kLtxHeaderSize;
  for (const Page& page : decoded.pages) {
    const bool block = (LoadBe16(file.data() + end + 4) & kLtxFrameFlagBlock) != 0;
    const auto front = file.subspan(end, kLtxFrameHeaderSize + (block ? kLtxSizePrefixSize : 0));
    plain = Crc64(Crc64(plain, front), page.bytes);
    folded.Add(front);
    folded.AddPage(page.entry.pgno, page.sum);
    EXPECT_EQ(folded.value(), plain | kLtxChecksumFlag);
    end += page.entry.size_bytes;
  }
  const auto rest = file.subspan(end, file.size() - 8 - end);
  folded.Add(rest);
  EXPECT_EQ(folded.value(), Crc64(plain, rest) | kLtxChecksumFlag);
  EXPECT_EQ(folded.value(), decoded.trailer.file_checksum);
}

// Encoded again, from the pages and from the blocks of the first round, the file decodes the same.
void ExpectRoundTrip(const Decoded& decoded) {
  VectorSink sink;
  LtxEncoder encoder(sink);
  ASSERT_TRUE(encoder.Begin(decoded.header).ok());
  for (const Page& page : decoded.pages) {
    const auto sum = encoder.AddPage(page.entry.pgno, page.bytes);
    ASSERT_TRUE(sum.ok()) << sum.error().message();
    EXPECT_EQ(sum.value(), page.sum);
  }
  const auto trailer = encoder.Finish(std::nullopt, decoded.trailer.post_apply_checksum);
  ASSERT_TRUE(trailer.ok()) << trailer.error().message();
  EXPECT_EQ(encoder.size_bytes(), sink.bytes().size());
  EXPECT_EQ(encoder.page_count(), decoded.pages.size());

  const auto again = Decode(sink.bytes(), SIZE_MAX);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again.value().header, decoded.header);
  EXPECT_EQ(again.value().trailer, trailer.value());
  ASSERT_EQ(again.value().pages.size(), decoded.pages.size());
  for (std::size_t i = 0; i < decoded.pages.size(); ++i) {
    EXPECT_EQ(again.value().pages[i].bytes, decoded.pages[i].bytes);
  }
  ExpectIndex(sink.bytes(), again.value(), 1000);

  const Context ctx = Context::Background();
  SpanSource source(sink.bytes());
  LtxDecoder decoder(source);
  VectorSink copy;
  LtxEncoder copier(copy);
  ASSERT_TRUE(decoder.ReadHeader(ctx).ok());
  ASSERT_TRUE(copier.Begin(decoder.header()).ok());
  for (;;) {
    const auto page = decoder.ReadPage(ctx);
    ASSERT_TRUE(page.ok()) << page.error().message();
    if (!page.value().has_value()) break;
    const auto added = copier.AddEncoded({.pgno = page.value()->pgno,
                                          .page_sum = page.value()->page_sum,
                                          .block = page.value()->block});
    ASSERT_TRUE(added.ok()) << added.error().message();
  }
  ASSERT_TRUE(copier.Finish(std::nullopt, decoded.trailer.post_apply_checksum).ok());
  EXPECT_EQ(copy.bytes(), sink.bytes());
}

TEST(LtxGolden, FilesOfTheReference) {
  int files = 0;
  for (const auto& folder : GoldenCases("ltx-files")) {
    SCOPED_TRACE(folder.filename().string());
    const Json want = LoadJson(folder / "expected.json");
    const auto file = ReadWholeFile(folder / want["file"].get<std::string>());
    ASSERT_EQ(Sha256Hex(file), want["sha256"]);
    for (const std::size_t piece : {SIZE_MAX, std::size_t{4099}}) {
      const auto decoded = Decode(file, piece);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      ExpectHeader(decoded.value().header, want["header"]);
      EXPECT_EQ(decoded.value().trailer.file_checksum, Hex(want["trailer"]["file_checksum"]));
      EXPECT_EQ(decoded.value().trailer.post_apply_checksum,
                Hex(want["trailer"]["post_apply_checksum"]));
      ExpectPages(file, decoded.value(), want);
      ExpectIndex(file, decoded.value(), piece);
      ExpectFoldedChecksum(file, decoded.value());
      ExpectRoundTrip(decoded.value());
      const auto header = FormatLtxHeader(decoded.value().header);
      EXPECT_TRUE(std::equal(header.begin(), header.end(), file.begin()));
    }
    ++files;
  }
  EXPECT_GE(files, 40);
}

// All other LTX files of the golden data: merges and replicas, whatever they are named.
TEST(LtxGolden, EveryFileOfEveryReplicaVerifies) {
  // Inputs damaged on purpose, and a merge whose result lacks a page.
  const std::set<fs::path> damaged = {"bad-checksum-input/in1.ltx", "truncated-input/in1.ltx",
                                      "empty-input/in1.ltx", "snapshot-tail-missing/out.ltx"};
  const Context ctx = Context::Background();
  int files = 0;
  for (const char* section : {"replica-file", "ltx-compact"}) {
    for (const auto& folder : GoldenCases(section)) {
      for (const auto& item : fs::recursive_directory_iterator(folder)) {
        if (item.path().extension() != ".ltx" || !item.is_regular_file()) continue;
        SCOPED_TRACE(item.path().string());
        const auto file = ReadWholeFile(item.path());
        SpanSource source(file);
        const auto verified = VerifyLtx(ctx, source);
        if (damaged.contains(folder.filename() / item.path().filename())) {
          EXPECT_FALSE(verified.ok());
          continue;
        }
        ASSERT_TRUE(verified.ok()) << verified.error().message();
        const auto index = ReadIndexFromEnd(file, SIZE_MAX);
        EXPECT_TRUE(index.ok()) << index.error().message();
        ++files;
      }
    }
  }
  EXPECT_GE(files, 300);
}

}  // namespace
}  // namespace litestream
