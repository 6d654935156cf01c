// Encoder and decoder together; what other programs wrote is read in tests/golden/.
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/endian.h"
#include "base/try.h"
#include "format/crc64.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/ltx_index.h"
#include "format/page_sum.h"
#include "tests/support/byte_streams.h"

namespace litestream {
namespace {

using testing::SpanSource;
using testing::VectorSink;
using Bytes = std::vector<std::byte>;

constexpr unsigned kSeed = 20260803;

const Context& Ctx() {
  static const Context ctx = Context::Background();
  return ctx;
}

LtxHeader Header(std::uint64_t min_txid, std::uint32_t commit_pages,
                 std::uint32_t page_size = 512) {
  return {.page_size = page_size,
          .commit_pages = commit_pages,
          .txids = {Txid{min_txid}, Txid{min_txid + 3}}};
}

// Half noise, half one byte.
Bytes MakePage(std::uint32_t number, std::size_t size = 512) {
  std::mt19937_64 random(kSeed + number);
  Bytes page(size, static_cast<std::byte>(number));
  for (std::size_t i = 0; i < size / 2; ++i) page[i] = static_cast<std::byte>(random());
  return page;
}

// A file of these pages, which must work out.
Bytes Encode(const LtxHeader& header, const std::vector<std::uint32_t>& pages,
             const std::optional<LtxProof>& proof = std::nullopt, std::uint64_t post_apply = 0) {
  VectorSink sink;
  LtxEncoder encoder(sink);
  EXPECT_TRUE(encoder.Begin(header).ok());
  for (const std::uint32_t n : pages) {
    const auto sum = encoder.AddPage(Pgno{n}, MakePage(n, header.page_size));
    EXPECT_TRUE(sum.ok()) << sum.error().message();
    EXPECT_EQ(sum.value(), PageSum(Pgno{n}, MakePage(n, header.page_size)));
  }
  const auto trailer = encoder.Finish(proof, post_apply);
  EXPECT_TRUE(trailer.ok()) << trailer.error().message();
  EXPECT_EQ(encoder.size_bytes(), sink.bytes().size());
  return sink.Take();
}

std::string VerifyError(std::span<const std::byte> file) {
  SpanSource source(file);
  const auto verified = VerifyLtx(Ctx(), source);
  return verified.ok() ? "" : verified.error().message();
}

TEST(LtxCodec, SmallestFile) {
  const Bytes file = Encode(Header(2, 7), {});
  EXPECT_EQ(file.size(), kLtxMinFileSize);
  EXPECT_EQ(VerifyError(file), "");
}

TEST(LtxCodec, DeletionWithAndWithoutChecksums) {
  EXPECT_EQ(VerifyError(Encode(Header(2, 0), {})), "");
  EXPECT_EQ(VerifyError(Encode(Header(1, 0), {})), "");
  LtxHeader header = Header(2, 0);
  header.flags = 0;
  header.pre_apply_checksum = kLtxChecksumFlag | 5;
  EXPECT_EQ(VerifyError(Encode(header, {}, std::nullopt, kLtxChecksumFlag)), "");
}

TEST(LtxCodec, ChecksummedSnapshotNeedsTheRightChecksum) {
  LtxHeader header = Header(1, 2);
  header.flags = 0;
  const std::uint64_t right =
      kLtxChecksumFlag | (PageSum(Pgno{1}, MakePage(1)) ^ PageSum(Pgno{2}, MakePage(2)));
  EXPECT_EQ(VerifyError(Encode(header, {1, 2}, std::nullopt, right)), "");
  for (const std::uint64_t wrong : {std::uint64_t{0}, right ^ 1, right & ~kLtxChecksumFlag}) {
    VectorSink sink;
    LtxEncoder encoder(sink);
    ASSERT_TRUE(encoder.Begin(header).ok());
    ASSERT_TRUE(encoder.AddPage(Pgno{1}, MakePage(1)).ok());
    ASSERT_TRUE(encoder.AddPage(Pgno{2}, MakePage(2)).ok());
    const auto trailer = encoder.Finish(std::nullopt, wrong);
    ASSERT_FALSE(trailer.ok());
    EXPECT_EQ(trailer.error().code(), ErrorCode::kInvalidArgument);
  }
}

// The file whose proof was patched in is the one that had it from the start.
TEST(LtxCodec, ProofKnownLast) {
  const LtxProof proof{.before = 0x1122334455667788, .after = 0x99aabbccddeeff00};
  for (const std::vector<std::uint32_t>& pages :
       {std::vector<std::uint32_t>{}, {5}, {1, 2, 3, 8, 200, 201}}) {
    SCOPED_TRACE(pages.size());
    LtxHeader header = Header(2, 300, 4096);
    const Bytes plain = Encode(header, pages);
    EXPECT_EQ(VerifyError(plain), "");
    Bytes patched = Encode(header, pages, proof);
    EXPECT_NE(VerifyError(patched), "");
    const auto bytes = ProofBytes(proof);
    std::copy(bytes.begin(), bytes.end(), patched.begin() + kLtxProofOffset);
    EXPECT_EQ(VerifyError(patched), "");
    header.SetProof(proof);
    EXPECT_EQ(patched, Encode(header, pages));
    // Another proof over an old one.
    const LtxProof other{.before = 1, .after = 2};
    Bytes again = Encode(header, pages, other);
    header.SetProof(other);
    const auto other_bytes = ProofBytes(other);
    std::copy(other_bytes.begin(), other_bytes.end(), again.begin() + kLtxProofOffset);
    EXPECT_EQ(again, Encode(header, pages));
  }
}

TEST(LtxEncoder, BreaksNoRule) {
  const struct {
    const char* want;
    std::uint64_t min_txid;
    std::vector<std::uint32_t> pages;  // The last one is refused.
  } cases[] = {
      {"page number 11 out-of-bounds for commit size 10", 2, {11}},
      {"page number required", 2, {0}},
      {"out-of-order page numbers: 4,3", 2, {4, 3}},
      {"snapshot transaction file must start with page number 1, not 3", 1, {3}},
      {"nonsequential page numbers in snapshot transaction: 1,3", 1, {1, 3}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    for (const bool encoded : {false, true}) {
      VectorSink sink;
      LtxEncoder encoder(sink);
      ASSERT_TRUE(encoder.Begin(Header(c.min_txid, 10)).ok());
      Result<void> result;
      for (const std::uint32_t n : c.pages) {
        ASSERT_TRUE(result.ok());
        const Bytes page = MakePage(n);
        Bytes block(MaxLz4BlockSize(512));
        block.resize(CompressPage(page, block));
        if (encoded) {
          result = encoder.AddEncoded(
              {.pgno = Pgno{n}, .page_sum = PageSum(Pgno{n}, page), .block = block});
        } else if (auto added = encoder.AddPage(Pgno{n}, page); !added.ok()) {
          result = added.error();
        }
      }
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(result.error().message(), c.want);
      EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
    }
  }
}

TEST(LtxEncoder, SnapshotMustBeComplete) {
  for (const std::vector<std::uint32_t>& pages : {std::vector<std::uint32_t>{}, {1}, {1, 2}}) {
    VectorSink sink;
    LtxEncoder encoder(sink);
    ASSERT_TRUE(encoder.Begin(Header(1, 3)).ok());
    for (const std::uint32_t n : pages) ASSERT_TRUE(encoder.AddPage(Pgno{n}, MakePage(n)).ok());
    const auto trailer = encoder.Finish(std::nullopt);
    ASSERT_FALSE(trailer.ok());
    EXPECT_EQ(trailer.error().message(), "snapshot transaction file ends before page " +
                                             std::to_string(pages.size() + 1) + ", commit size 3");
  }
}

TEST(LtxEncoder, WrongUse) {
  VectorSink sink;
  LtxEncoder encoder(sink);
  EXPECT_FALSE(encoder.AddPage(Pgno{1}, MakePage(1)).ok());
  EXPECT_FALSE(encoder.Finish(std::nullopt).ok());
  LtxHeader bad = Header(2, 3);
  bad.page_size = 1000;
  const auto begun = encoder.Begin(bad);
  ASSERT_FALSE(begun.ok());
  EXPECT_EQ(begun.error().code(), ErrorCode::kInvalidArgument);
  ASSERT_TRUE(encoder.Begin(Header(2, 3)).ok());
  EXPECT_FALSE(encoder.Begin(Header(2, 3)).ok());
  EXPECT_FALSE(encoder.AddPage(Pgno{1}, MakePage(1, 1024)).ok());
  EXPECT_FALSE(encoder.AddEncoded({.pgno = Pgno{1}, .block = {}}).ok());
  EXPECT_FALSE(encoder.AddEncoded({.pgno = Pgno{1}, .block = Bytes(600)}).ok());
  ASSERT_TRUE(encoder.Finish(std::nullopt).ok());
  EXPECT_EQ(VerifyError(sink.bytes()), "");
  EXPECT_FALSE(encoder.AddPage(Pgno{2}, MakePage(2)).ok());
  EXPECT_FALSE(encoder.Finish(std::nullopt).ok());
}

// Each write of the sink fails once; no file comes out that claims to be whole.
TEST(LtxEncoder, SinkThatFails) {
  constexpr std::uint32_t kPages = 2000;
  const auto encode = [](VectorSink& sink) -> Result<LtxTrailer> {
    LtxEncoder encoder(sink);
    LS_TRY(encoder.Begin(Header(1, kPages)));
    Result<void> failed;
    for (std::uint32_t n = 1; n <= kPages; ++n) {
      auto sum = encoder.AddPage(Pgno{n}, MakePage(n));
      if (!sum.ok() && failed.ok()) failed = std::move(sum).error();
    }
    auto trailer = encoder.Finish(std::nullopt);
    EXPECT_TRUE(failed.ok() || !trailer.ok());
    if (!failed.ok()) return failed.error();
    return trailer;
  };
  VectorSink good;
  ASSERT_TRUE(encode(good).ok());
  ASSERT_GT(good.writes(), 2);
  for (int n = 1; n <= good.writes(); ++n) {
    SCOPED_TRACE(n);
    VectorSink sink(n);
    const auto result = encode(sink);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::kNoSpace);
    EXPECT_NE(VerifyError(sink.bytes()), "");
  }
}

// Each read of the source fails once.
TEST(LtxDecoder, SourceThatFails) {
  const Bytes file = Encode(Header(1, 40), [] {
    std::vector<std::uint32_t> pages;
    for (std::uint32_t n = 1; n <= 40; ++n) pages.push_back(n);
    return pages;
  }());
  SpanSource good(file, 500);
  ASSERT_TRUE(VerifyLtx(Ctx(), good).ok());
  for (int n = 1; n <= good.reads(); ++n) {
    SCOPED_TRACE(n);
    SpanSource source(file, 500, n);
    const auto result = VerifyLtx(Ctx(), source);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::kUnavailable);
  }
}

TEST(LtxDecoder, WrongUse) {
  const Bytes file = Encode(Header(2, 3), {1, 2});
  SpanSource source(file);
  LtxDecoder decoder(source);
  EXPECT_FALSE(decoder.ReadPage(Ctx()).ok());
  EXPECT_FALSE(decoder.Finish(Ctx()).ok());
  ASSERT_TRUE(decoder.ReadHeader(Ctx()).ok());
  EXPECT_FALSE(decoder.ReadHeader(Ctx()).ok());
  ASSERT_TRUE(decoder.ReadPage(Ctx()).ok());
  const auto early = decoder.Finish(Ctx());
  ASSERT_FALSE(early.ok());
  EXPECT_EQ(early.error().message(), "close reader: cannot close, expected page");
  ASSERT_TRUE(decoder.ReadPage(Ctx()).value().has_value());
  ASSERT_FALSE(decoder.ReadPage(Ctx()).value().has_value());
  ASSERT_FALSE(decoder.ReadPage(Ctx()).value().has_value());
  ASSERT_TRUE(decoder.Finish(Ctx()).ok());
  EXPECT_FALSE(decoder.Finish(Ctx()).ok());
  EXPECT_FALSE(decoder.ReadPage(Ctx()).ok());
}

// A caller that overlooks an error does not get a good end.
TEST(LtxDecoder, StaysFailed) {
  Bytes file = Encode(Header(2, 3), {1, 2, 3});
  file[kLtxHeaderSize + 5] = std::byte{0x80};  // Frame flags.
  SpanSource source(file);
  LtxDecoder decoder(source);
  ASSERT_TRUE(decoder.ReadHeader(Ctx()).ok());
  EXPECT_FALSE(decoder.ReadPage(Ctx()).ok());
  EXPECT_FALSE(decoder.ReadPage(Ctx()).ok());
  EXPECT_FALSE(decoder.Finish(Ctx()).ok());
}

// A database beyond 1 GiB: the lock page is not in the file. The pages are all the same, so the
// block is compressed once.
TEST(LtxCodec, SnapshotAcrossTheLockPage) {
  const std::uint32_t lock = LockPage(65536).value;
  const Bytes page(65536, std::byte{0});
  Bytes block(MaxLz4BlockSize(65536));
  block.resize(CompressPage(page, block));
  VectorSink sink;
  LtxEncoder encoder(sink);
  ASSERT_TRUE(encoder.Begin(Header(1, lock + 1, 65536)).ok());
  std::uint64_t page_crc = Crc64(0, page);
  const Crc64Shift by_page(page.size());
  for (std::uint32_t n = 1; n <= lock + 1; ++n) {
    const auto added = encoder.AddEncoded(
        {.pgno = Pgno{n}, .page_sum = by_page.Combine(PgnoSum(Pgno{n}), page_crc), .block = block});
    ASSERT_EQ(added.ok(), n != lock) << n;
  }
  EXPECT_EQ(encoder.page_count(), lock);
  ASSERT_TRUE(encoder.Finish(std::nullopt).ok());
  EXPECT_EQ(VerifyError(sink.bytes()), "");
}

TEST(LtxIndexLog, GivesBackWhatWasAdded) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (const int count : {0, 1, 5, 30000}) {
    LtxIndexLog log;
    std::vector<LtxIndexEntry> want;
    LtxIndexEntry last{.pgno = Pgno{0}, .offset_bytes = kLtxHeaderSize, .size_bytes = 0};
    for (int i = 0; i < count; ++i) {
      const auto step = static_cast<std::uint32_t>(random() % 3 == 0 ? 1 + random() % 100000 : 1);
      last = {.pgno = Pgno{last.pgno.value + step},
              .offset_bytes = last.offset_bytes + last.size_bytes,
              .size_bytes = 11 + random() % 66000};
      log.Add(last.pgno, last.size_bytes);
      want.push_back(last);
    }
    std::vector<LtxIndexEntry> got;
    LtxIndexLog::Reader reader(log);
    for (LtxIndexEntry entry; reader.Next(entry);) got.push_back(entry);
    EXPECT_EQ(got, want);
    LtxIndexEntry none;
    EXPECT_FALSE(reader.Next(none));
  }
}

// Entries of an index as bytes, terminated.
Bytes IndexOf(const std::vector<LtxIndexEntry>& entries) {
  Bytes bytes;
  for (const auto& entry : entries) {
    std::byte buffer[kMaxLtxIndexEntrySize];
    bytes.insert(bytes.end(), buffer, PutLtxIndexEntry(buffer, entry));
  }
  bytes.push_back(std::byte{0});
  return bytes;
}

TEST(LtxIndexReader, Rules) {
  const std::uint64_t big = ~std::uint64_t{0};
  const struct {
    const char* want;  // Start of the message; empty: valid.
    std::vector<LtxIndexEntry> entries;
    std::uint64_t index_offset;
  } cases[] = {
      {"", {}, 106},
      {"", {{Pgno{3}, 100, 20}, {Pgno{9}, 120, 30}}, 156},
      {"page index: frames end at 150, the end marker is at 151",
       {{Pgno{3}, 100, 20}, {Pgno{9}, 120, 30}},
       157},
      {"page index: frames end at 100, the end marker is at 150", {}, 156},
      {"page index out of order: 3,3", {{Pgno{3}, 100, 20}, {Pgno{3}, 120, 30}}, 156},
      {"page index out of order: 3,2", {{Pgno{3}, 100, 20}, {Pgno{2}, 120, 30}}, 156},
      {"page index: frame of page 3 at 99, expected at 100", {{Pgno{3}, 99, 20}}, 126},
      {"page index: frame of page 9 at 119, expected at 120",
       {{Pgno{3}, 100, 20}, {Pgno{9}, 119, 31}},
       156},
      {"page index: frame of page 9 at 120 has 31 bytes, up to 30 fit",
       {{Pgno{3}, 100, 20}, {Pgno{9}, 120, 31}},
       156},
      {"page index: frame of page 3 at 100 has 18446744073709551615 bytes",
       {{Pgno{3}, 100, big}},
       156},
      {"page index: frame of page 3 at 100 has 10 bytes", {{Pgno{3}, 100, 10}}, 116},
      {"page index: frame of page 3 at 100 has 1000000 bytes", {{Pgno{3}, 100, 1000000}}, 1000106},
      {"page index: frame of page 3 at 18446744073709551615, expected at 100",
       {{Pgno{3}, big, 20}},
       156},
      {"page index at offset 105", {}, 105},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    const Bytes bytes = IndexOf(c.entries);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}}) {
      LtxIndexReader reader(c.index_offset, bytes.size());
      std::vector<LtxIndexEntry> entries;
      Result<void> result;
      for (std::size_t i = 0; i < bytes.size() && result.ok(); i += piece) {
        result =
            reader.Feed(std::span(bytes).subspan(i, std::min(piece, bytes.size() - i)), entries);
      }
      if (result.ok()) result = reader.Finish();
      const std::string want = c.want;
      if (want.empty()) {
        ASSERT_TRUE(result.ok()) << result.error().message();
        EXPECT_EQ(entries, c.entries);
      } else {
        ASSERT_FALSE(result.ok());
        EXPECT_EQ(result.error().code(), ErrorCode::kCorruption);
        EXPECT_EQ(result.error().message().substr(0, want.size()), want);
      }
    }
  }
}

TEST(LtxIndexReader, BytesThatAreNoIndex) {
  const auto byte = [](int b) { return static_cast<std::byte>(b); };
  const Bytes eleven(11, byte(0x81));
  Bytes ten(9, byte(0xff));
  ten.push_back(byte(0x02));  // Bit 64.
  const struct {
    const char* want;
    Bytes bytes;
  } cases[] = {
      {"read page index pgno: unexpected EOF", {}},
      {"read page index offset: unexpected EOF", {byte(3)}},
      {"read page index size: unexpected EOF", {byte(3), byte(100), byte(0x80)}},
      {"read page index pgno: varint longer than needed", {byte(0x83), byte(0)}},
      {"read page index pgno: varint longer than needed", {byte(0x80), byte(0)}},
      {"read page index pgno: varint overflows a 64-bit integer", eleven},
      {"read page index pgno: varint overflows a 64-bit integer", ten},
      {"read page index: data behind its end", {byte(0), byte(0)}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    LtxIndexReader reader(200, c.bytes.size());
    std::vector<LtxIndexEntry> entries;
    Result<void> result = reader.Feed(c.bytes, entries);
    if (result.ok()) result = reader.Finish();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().message(), c.want);
  }
  // More bytes than the index has.
  LtxIndexReader reader(200, 1);
  std::vector<LtxIndexEntry> entries;
  EXPECT_FALSE(reader.Feed(Bytes{byte(1), byte(100), byte(20)}, entries).ok());
}

TEST(LtxTail, Sizes) {
  const auto tail_with = [](std::uint64_t index_bytes) {
    Bytes tail(kLtxTailSize, std::byte{0xff});
    StoreBe64(tail.data(), index_bytes);
    return tail;
  };
  const auto good = ParseLtxTail(tail_with(100), 1000);
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(good.value().index_offset, 1000U - 24 - 100);
  EXPECT_EQ(good.value().index_bytes, 100U);
  EXPECT_EQ(good.value().trailer.file_checksum, ~std::uint64_t{0});
  EXPECT_TRUE(ParseLtxTail(tail_with(1), 131).ok());
  EXPECT_TRUE(ParseLtxTail(tail_with(870), 1000).ok());
  EXPECT_TRUE(ParseLtxTail(tail_with(1), ~std::uint64_t{0}).ok());
  EXPECT_FALSE(ParseLtxTail(tail_with(871), 1000).ok());
  EXPECT_FALSE(ParseLtxTail(tail_with(0), 1000).ok());
  EXPECT_FALSE(ParseLtxTail(tail_with(1), 130).ok());
  EXPECT_FALSE(ParseLtxTail(tail_with(1), 0).ok());
  for (const std::uint64_t huge : {1ULL << 31, 1ULL << 63, ~0ULL, ~0ULL - 23, ~0ULL - 100}) {
    EXPECT_FALSE(ParseLtxTail(tail_with(huge), 1000).ok()) << huge;
  }
  const auto short_tail = ParseLtxTail(Bytes(23), 1000);
  ASSERT_FALSE(short_tail.ok());
  EXPECT_EQ(short_tail.error().message(), "ltx file too short to contain a page index: 23 bytes");
}

TEST(LtxFrame, Rules) {
  const Bytes page = MakePage(5);
  Bytes frame(10 + MaxLz4BlockSize(512));
  const std::size_t size = CompressPage(page, std::span(frame).subspan(10));
  StoreBe32(frame.data(), 5);
  StoreBe16(frame.data() + 4, kLtxFrameFlagBlock);
  StoreBe32(frame.data() + 6, static_cast<std::uint32_t>(size));
  const std::span<const std::byte> bytes = frame;

  const auto parsed = ParseLtxFrame(bytes, 512);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().pgno, Pgno{5});
  EXPECT_EQ(parsed.value().size_bytes, 10 + size);
  Bytes expanded(512);
  ASSERT_TRUE(DecodeLtxFrame(parsed.value(), expanded).ok());
  EXPECT_EQ(expanded, page);
  Bytes other(1024);
  EXPECT_FALSE(DecodeLtxFrame(parsed.value(), other).ok());

  const std::string need = "buffer too small for data: need " + std::to_string(10 + size);
  const std::map<std::size_t, std::string> cuts = {
      {0, "unmarshal: short buffer"},
      {5, "unmarshal: short buffer"},
      {6, "buffer too small for size prefix"},
      {9, "buffer too small for size prefix"},
      {10, need + ", have 10"},
      {9 + size, need + ", have " + std::to_string(9 + size)},
  };
  for (const auto& [cut, want] : cuts) {
    const auto result = ParseLtxFrame(bytes.first(cut), 512);
    ASSERT_FALSE(result.ok()) << cut;
    EXPECT_EQ(result.error().message(), want);
  }
  StoreBe32(frame.data() + 6, 0xffffffff);
  EXPECT_FALSE(ParseLtxFrame(bytes, 512).ok());
  StoreBe32(frame.data(), 0);
  EXPECT_FALSE(ParseLtxFrame(bytes, 512).ok());
}

}  // namespace
}  // namespace litestream
