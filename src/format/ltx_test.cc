#include "format/ltx.h"

#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "format/ltx_page_order.h"

namespace litestream {
namespace {

constexpr std::uint64_t kFlag = kLtxChecksumFlag;

LtxHeader Increment() {
  return {.flags = kLtxFlagNoChecksum,
          .page_size = 4096,
          .commit_pages = 10,
          .txids = {Txid{7}, Txid{9}},
          .timestamp_ms = 1767225600123,
          .wal_offset = 32,
          .wal_size = 8240,
          .wal_salts = {0x11223344, 0x55667788},
          .node_id = 42};
}

TEST(LtxHeader, FormatsAndParses) {
  LtxHeader header = Increment();
  header.SetProof(LtxProof{.before = 0x0102030405060708, .after = 0xf1f2f3f4f5f6f7f8});
  const auto parsed = ParseLtxHeader(FormatLtxHeader(header));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed.value(), header);
  EXPECT_EQ(parsed.value().Proof(),
            (LtxProof{.before = 0x0102030405060708, .after = 0xf1f2f3f4f5f6f7f8}));
  EXPECT_EQ(FormatLtxHeader(parsed.value()), FormatLtxHeader(header));
  EXPECT_EQ(parsed.value().Timestamp().time_since_epoch().count(), 1767225600123);
}

TEST(LtxHeader, ProofIsOptional) {
  LtxHeader header = Increment();
  EXPECT_EQ(header.Proof(), std::nullopt);
  header.reserved[0] = std::byte{'P'};  // Not ours.
  EXPECT_EQ(header.Proof(), std::nullopt);
  header.SetProof(LtxProof{});
  EXPECT_EQ(header.Proof(), LtxProof{});
  header.SetProof(std::nullopt);
  EXPECT_EQ(header, Increment());
}

TEST(LtxHeader, Rules) {
  const struct {
    const char* want;  // Empty: valid.
    void (*change)(LtxHeader&);
  } cases[] = {
      {"", [](LtxHeader&) {}},
      {"", [](LtxHeader& h) { h.commit_pages = 0; }},
      {"", [](LtxHeader& h) { h.timestamp_ms = -1; }},
      {"", [](LtxHeader& h) { h.page_size = 65536; }},
      {"",
       [](LtxHeader& h) {
         h.txids = {Txid{1}, Txid{~0ULL}};
       }},
      {"", [](LtxHeader& h) { h.flags = 0, h.pre_apply_checksum = kFlag; }},
      {"invalid flags: 0x00000001 (LTX file from a pre-release format",
       [](LtxHeader& h) { h.flags = 1; }},
      {"invalid flags: 0x00000003 (LTX file from a pre-release format",
       [](LtxHeader& h) { h.flags = 3; }},
      {"invalid flags: 0x00000004", [](LtxHeader& h) { h.flags = 4; }},
      {"invalid page size: 0", [](LtxHeader& h) { h.page_size = 0; }},
      {"invalid page size: 256", [](LtxHeader& h) { h.page_size = 256; }},
      {"invalid page size: 131072", [](LtxHeader& h) { h.page_size = 131072; }},
      {"invalid page size: 4097", [](LtxHeader& h) { h.page_size = 4097; }},
      {"minimum transaction id required", [](LtxHeader& h) { h.txids.min = Txid{0}; }},
      {"maximum transaction id required", [](LtxHeader& h) { h.txids.max = Txid{0}; }},
      {"transaction ids out of order: (10,9)", [](LtxHeader& h) { h.txids.min = Txid{10}; }},
      {"wal offset cannot be negative: -1", [](LtxHeader& h) { h.wal_offset = -1; }},
      {"wal size cannot be negative: -5", [](LtxHeader& h) { h.wal_size = -5; }},
      {"wal offset required if salt exists", [](LtxHeader& h) { h.wal_offset = 0; }},
      {"wal offset required if wal size exists",
       [](LtxHeader& h) { h.wal_offset = 0, h.wal_salts = {}; }},
      {"pre-apply checksum must be zero on snapshots",
       [](LtxHeader& h) { h.txids.min = Txid{1}, h.pre_apply_checksum = kFlag; }},
      {"pre-apply checksum not allowed", [](LtxHeader& h) { h.pre_apply_checksum = kFlag; }},
      {"pre-apply checksum required on non-snapshot files", [](LtxHeader& h) { h.flags = 0; }},
      {"invalid pre-apply checksum format",
       [](LtxHeader& h) { h.flags = 0, h.pre_apply_checksum = 1; }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    LtxHeader header = Increment();
    c.change(header);
    const auto parsed = ParseLtxHeader(FormatLtxHeader(header));
    const std::string want = c.want;
    if (want.empty()) {
      ASSERT_TRUE(parsed.ok()) << parsed.error().message();
      EXPECT_EQ(parsed.value(), header);
      continue;
    }
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.error().code(), ErrorCode::kCorruption);
    EXPECT_EQ(parsed.error().message().substr(0, want.size()), want);
  }
}

TEST(LtxHeader, WhatIsNone) {
  const auto bytes = FormatLtxHeader(Increment());
  EXPECT_FALSE(ParseLtxHeader({}).ok());
  EXPECT_FALSE(ParseLtxHeader(std::span(bytes).first(99)).ok());
  auto other = bytes;
  other[3] = std::byte{'2'};
  EXPECT_FALSE(ParseLtxHeader(other).ok());
}

TEST(LtxTrailer, Rules) {
  const struct {
    const char* want;  // Empty: valid.
    bool checksums;
    std::uint32_t commit_pages;
    LtxTrailer trailer;
  } cases[] = {
      {"", false, 3, {0, kFlag}},
      {"", true, 3, {kFlag | 5, kFlag}},
      {"", true, 0, {kFlag, kFlag}},
      {"", false, 0, {0, kFlag}},  // The reference cannot write this one.
      {"post-apply checksum not allowed", false, 3, {kFlag, kFlag}},
      {"post-apply checksum required", true, 3, {0, kFlag}},
      {"invalid post-apply checksum format", true, 3, {5, kFlag}},
      {"file checksum required", false, 3, {0, 0}},
      {"invalid file checksum format", false, 3, {0, 5}},
      {"post-apply checksum must be empty for zero-length database", true, 0, {kFlag | 1, kFlag}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    const LtxHeader header{.flags = c.checksums ? 0 : kLtxFlagNoChecksum,
                           .page_size = 512,
                           .commit_pages = c.commit_pages,
                           .txids = {Txid{1}, Txid{1}}};
    const auto valid = ValidateLtxTrailer(header, c.trailer);
    EXPECT_EQ(valid.ok() ? "" : valid.error().message(), c.want);
  }
}

TEST(LtxPageOrder, Rules) {
  const std::uint32_t lock = LockPage(65536).value;
  const std::uint32_t last = std::numeric_limits<std::uint32_t>::max();
  const struct {
    const char* want;  // Why the last page may not come; empty: it may.
    bool snapshot;
    std::uint32_t commit_pages;
    std::vector<std::uint32_t> pages;
  } cases[] = {
      {"", false, 10, {3, 7, 10}},
      {"", false, last, {last}},
      {"", true, 3, {1, 2, 3}},
      {"page number required", false, 10, {0}},
      {"page number 11 out-of-bounds for commit size 10", false, 10, {11}},
      {"page number 1 out-of-bounds for commit size 0", true, 0, {1}},
      {"lock page not allowed: pgno=16385", false, 20000, {lock}},
      {"out-of-order page numbers: 5,5", false, 10, {5, 5}},
      {"out-of-order page numbers: 5,4", false, 10, {5, 4}},
      {"snapshot transaction file must start with page number 1, not 2", true, 10, {2}},
      {"nonsequential page numbers in snapshot transaction: 2,4", true, 10, {1, 2, 4}},
      {"nonsequential page numbers in snapshot transaction: 2,1", true, 10, {1, 2, 1}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    LtxPageOrder order({.page_size = 65536,
                        .commit_pages = c.commit_pages,
                        .txids = {Txid{c.snapshot ? 1U : 2U}, Txid{2}}});
    for (std::size_t i = 0; i + 1 < c.pages.size(); ++i) {
      ASSERT_TRUE(order.Take(Pgno{c.pages[i]}));
    }
    const Pgno pgno{c.pages.back()};
    const bool taken = order.Take(pgno);
    EXPECT_EQ(taken ? "" : order.WhyNot(pgno), c.want);
  }
}

// Databases that end before, at and behind the lock page.
TEST(LtxPageOrder, SnapshotSkipsTheLockPage) {
  const std::uint32_t lock = LockPage(65536).value;
  for (const std::uint32_t commit : {lock - 1, lock, lock + 1, lock + 2}) {
    SCOPED_TRACE(commit);
    LtxPageOrder order({.page_size = 65536, .commit_pages = commit, .txids = {Txid{1}, Txid{1}}});
    for (std::uint32_t pgno = 1; pgno < lock - 1; ++pgno) ASSERT_TRUE(order.Take(Pgno{pgno}));
    EXPECT_TRUE(order.Missing().has_value());
    ASSERT_TRUE(order.Take(Pgno{lock - 1}));
    EXPECT_EQ(order.Missing().has_value(), commit > lock);
    EXPECT_FALSE(order.Take(Pgno{lock}));
    if (commit > lock) {
      EXPECT_FALSE(order.Take(Pgno{lock + 2}));
      ASSERT_TRUE(order.Take(Pgno{lock + 1}));
      EXPECT_EQ(order.Missing().has_value(), commit > lock + 1);
    }
  }
}

}  // namespace
}  // namespace litestream
