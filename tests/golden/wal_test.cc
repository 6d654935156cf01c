// Every WAL of the golden data reads as SQLite and the reference implementation read it.
#include "format/wal.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/golden.h"
#include "tests/support/sha256.h"

namespace litestream {
namespace {

using Bytes = std::vector<std::byte>;
using Json = nlohmann::json;

constexpr unsigned kSeed = 20260101;

std::uint32_t Hex32(const Json& text) {
  return static_cast<std::uint32_t>(std::stoul(text.get<std::string>(), nullptr, 16));
}

WalSalts SaltsOf(const Json& json) {
  return {Hex32(json.at("salt1")), Hex32(json.at("salt2"))};
}

std::string Text(const WalSalts& salts) {
  return fmt::format("{:08x}-{:08x}", salts[0], salts[1]);
}

// How the bytes reach a reader.
class Pieces {
 public:
  // Zero: of random size, mostly shorter than a frame.
  explicit Pieces(std::size_t fixed) : fixed_(fixed) {}
  std::size_t Next() {
    if (fixed_ != 0) return fixed_;
    const std::size_t most = random_() % 4 == 0 ? 20'000 : 700;
    return std::uniform_int_distribution<std::size_t>(0, most)(random_);
  }

 private:
  std::size_t fixed_;
  std::mt19937 random_{kSeed};
};

// Gives all bytes from the scanner's start on, and what it did not take again.
void FeedAll(WalScanner& scanner, std::span<const std::byte> wal, std::size_t piece) {
  Pieces pieces(piece);
  std::uint64_t at = scanner.valid_end().offset_bytes;
  while (scanner.stop() == WalScanner::Stop::kNotYet && at < wal.size()) {
    const auto rest = wal.subspan(at);
    at += scanner.Feed(rest.first(std::min(rest.size(), pieces.Next())));
  }
}

struct Scan {
  WalScanner::Stop stop = {};
  std::uint64_t valid_frames = 0;
  std::uint64_t committed_frames = 0;
  WalPoint commit_end;
  std::uint32_t commit_pages = 0;
  std::vector<WalPageEntry> pages;
};

Scan ScanFrom(std::span<const std::byte> wal, const WalHeader& header, const WalSalts& salts,
              const WalPoint& start, std::size_t piece, std::uint64_t limit_bytes = 0) {
  WalScanner scanner(header, salts, start, wal.size(), limit_bytes);
  FeedAll(scanner, wal, piece);
  EXPECT_EQ(scanner.valid_end().offset_bytes,
            start.offset_bytes + scanner.valid_frames() * WalFrameSize(header.page_size));
  EXPECT_EQ(scanner.commit_end().offset_bytes,
            start.offset_bytes + scanner.committed_frames() * WalFrameSize(header.page_size));
  Scan scan = {.stop = scanner.stop(),
               .valid_frames = scanner.valid_frames(),
               .committed_frames = scanner.committed_frames(),
               .commit_end = scanner.commit_end(),
               .commit_pages = scanner.commit_pages()};
  scan.pages = scanner.TakePageMap();
  return scan;
}

void ExpectPageMap(const Scan& scan, const Json& want) {
  EXPECT_EQ(scan.commit_pages, want.at("commit"));
  // The reference has 0 for "nothing".
  EXPECT_EQ(scan.pages.empty() ? 0 : scan.commit_end.offset_bytes, want.at("end"));
  Json pages = Json::array();
  for (const WalPageEntry& page : scan.pages) {
    pages.push_back({page.pgno.value, page.frame_offset});
  }
  EXPECT_EQ(pages, want.at("pages"));
}

// The database after a checkpoint of what was scanned is the one that SQLite made.
void ExpectDatabase(Bytes database, std::span<const std::byte> wal, std::uint32_t page_size,
                    const Scan& scan, const Json& sqlite) {
  if (scan.committed_frames != 0) database.resize(std::size_t{scan.commit_pages} * page_size);
  for (const WalPageEntry& page : scan.pages) {
    const auto content = wal.subspan(page.frame_offset + kWalFrameHeaderSize, page_size);
    std::ranges::copy(content, &database.at(std::size_t{page.pgno.value - 1} * page_size));
  }
  EXPECT_EQ(database.size(), sqlite.at("size"));
  EXPECT_EQ(Sha256Hex(database), sqlite.at("sha256"));
}

// The header, or nothing if it is as unreadable as `want` says.
std::optional<WalHeader> ExpectHeader(std::span<const std::byte> wal, const Json& want) {
  const auto header = ParseWalHeader(wal);
  if (!want.contains("open_error")) {
    EXPECT_TRUE(header.ok()) << header.error().message();
    EXPECT_TRUE(!header.ok() || header.value().has_value());
    return header.ok() ? header.value() : std::nullopt;
  }
  const auto error = want.at("open_error").get<std::string>();
  EXPECT_EQ(header.ok(), error == "EOF");
  if (header.ok()) {
    EXPECT_FALSE(header.value().has_value());
  } else {
    EXPECT_EQ(header.error().code(), ErrorCode::kCorruption);
    EXPECT_EQ(header.error().message(), error);
  }
  return std::nullopt;
}

void ExpectFrames(std::span<const std::byte> wal, const WalHeader& header, const Json& want) {
  std::uint64_t offset = kWalHeaderSize;
  ASSERT_EQ(want.at("frames").size(), want.at("valid_frames"));
  for (const Json& frame : want.at("frames")) {
    EXPECT_EQ(offset, frame.at("offset"));
    const auto bytes = wal.subspan(offset, WalFrameSize(header.page_size));
    const WalFrameHeader parsed = ParseWalFrameHeader(bytes.first<kWalFrameHeaderSize>());
    EXPECT_EQ(parsed.pgno.value, frame.at("pgno"));
    EXPECT_EQ(parsed.commit_pages, frame.at("commit"));
    EXPECT_EQ(parsed.salts, header.salts);
    EXPECT_EQ(Sha256Hex(bytes.subspan(kWalFrameHeaderSize)), frame.at("sha256"));
    offset += bytes.size();
  }
}

// A scan with a limit ends at each commit, and the next goes on from there.
void ExpectCommits(std::span<const std::byte> wal, const WalHeader& header, const Json& want) {
  Json commits = Json::array();
  std::uint64_t frames = 0;
  WalPoint at = WalStart(header);
  for (;;) {
    const Scan scan = ScanFrom(wal, header, header.salts, at, /*piece=*/0, /*limit_bytes=*/1);
    if (scan.committed_frames == 0) break;
    EXPECT_EQ(scan.stop, WalScanner::Stop::kLimit);
    frames += scan.committed_frames;
    commits.push_back({{"frame", frames},
                       {"offset", scan.commit_end.offset_bytes - WalFrameSize(header.page_size)},
                       {"pages", scan.commit_pages}});
    at = scan.commit_end;
  }
  EXPECT_EQ(commits, want.at("commits"));
}

void ExpectSalts(std::span<const std::byte> wal, const WalHeader& header, const Json& want) {
  for (const std::size_t piece : {SIZE_MAX, std::size_t{0}, std::size_t{1}}) {
    Pieces pieces(piece);
    WalSaltScan scan(header.page_size, std::nullopt);
    for (auto rest = wal.subspan(kWalHeaderSize); !rest.empty();) {
      const auto part = rest.first(std::min(rest.size(), pieces.Next()));
      EXPECT_TRUE(scan.Feed(part));
      rest = rest.subspan(part.size());
    }
    Json found = Json::array();
    for (const WalSalts& salts : scan.salts()) found.push_back(Text(salts));
    std::sort(found.begin(), found.end());  // As in the golden data.
    EXPECT_EQ(found, want.at("distinct_salts"));

    // With `until` it ends early, having seen just the front.
    if (scan.salts().empty()) continue;
    WalSaltScan first(header.page_size, scan.salts().front());
    EXPECT_FALSE(first.Feed(wal.subspan(kWalHeaderSize)));
    EXPECT_THAT(first.salts(), testing::ElementsAre(scan.salts().front()));
  }
}

void ExpectOpenAt(std::span<const std::byte> wal, const WalHeader& header, const Json& want) {
  const auto offset = want.at("offset").get<std::uint64_t>();
  const WalSalts salts = SaltsOf(want);
  const std::uint64_t frame_size = WalFrameSize(header.page_size);
  std::span<const std::byte> previous;
  if (offset >= frame_size && offset - frame_size < wal.size()) {
    previous = wal.subspan(offset - frame_size);
  }
  const auto point = WalPointAt(header, salts, offset, previous);
  if (want.contains("open_error") && !want.at("prev_frame_mismatch").get<bool>()) {
    ASSERT_FALSE(point.ok());
    EXPECT_EQ(point.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(point.error().message(), want.at("open_error"));
    return;
  }
  ASSERT_TRUE(point.ok()) << point.error().message();
  ASSERT_EQ(point.value().has_value(), !want.contains("open_error"));
  if (!point.value().has_value()) return;
  for (const std::size_t piece : {SIZE_MAX, std::size_t{0}}) {
    const Scan scan = ScanFrom(wal, header, salts, *point.value(), piece);
    EXPECT_EQ(scan.valid_frames, want.at("valid_frames"));
    ExpectPageMap(scan, want.at("page_map"));
  }
}

void ExpectEdit(const Bytes& database, const Bytes& wal, const Json& edit) {
  const Bytes edited = ApplyEdit(wal, edit);
  ASSERT_NE(edited, wal);
  const auto header = ExpectHeader(edited, edit);
  if (!header.has_value()) {
    ExpectDatabase(database, edited, 0, {}, edit.at("sqlite"));
    return;
  }
  for (const std::size_t piece : {SIZE_MAX, std::size_t{0}, std::size_t{535}}) {
    const Scan scan = ScanFrom(edited, *header, header->salts, WalStart(*header), piece);
    EXPECT_EQ(scan.valid_frames, edit.at("valid_frames"));
    EXPECT_EQ(scan.committed_frames, edit.at("committed_frames"));
    ExpectPageMap(scan, edit.at("page_map"));
    ExpectDatabase(database, edited, header->page_size, scan, edit.at("sqlite"));
  }
}

void ExpectWal(const Bytes& database, const Bytes& wal, const Json& want) {
  const auto header = ExpectHeader(wal, want);
  if (!header.has_value()) return;
  EXPECT_EQ(header->big_endian_checksums, want.at("header").at("magic") == "377f0683");
  EXPECT_EQ(header->page_size, want.at("header").at("page_size"));
  EXPECT_EQ(header->sequence, want.at("header").at("sequence"));
  EXPECT_EQ(header->salts, SaltsOf(want.at("header")));
  for (const std::size_t piece : {SIZE_MAX, std::size_t{1}, std::size_t{0}}) {
    const Scan scan = ScanFrom(wal, *header, header->salts, WalStart(*header), piece);
    EXPECT_EQ(scan.valid_frames, want.at("valid_frames"));
    EXPECT_EQ(scan.committed_frames, want.at("committed_frames"));
    ExpectPageMap(scan, want.at("page_map"));
    ExpectDatabase(database, wal, header->page_size, scan, want.at("sqlite"));
  }
  ExpectFrames(wal, *header, want);
  ExpectCommits(wal, *header, want);
  ExpectSalts(wal, *header, want);
}

TEST(WalGolden, EveryWal) {
  std::size_t wals = 0;
  std::size_t edits = 0;
  std::size_t opened = 0;
  for (const auto& folder : GoldenCases("wal")) {
    SCOPED_TRACE(folder.filename().string());
    Json want = LoadJson(folder / "expected.json");
    const Bytes database = ReadWholeFile(folder / want.at("db").get<std::string>());
    const Bytes wal = ReadWholeFile(folder / want.at("wal").get<std::string>());
    ASSERT_EQ(wal.size(), want.at("wal_size"));
    ++wals;
    // The reference takes any page size, and then finds no frame.
    if (folder.filename() == "header-page-size-1000") {
      ASSERT_EQ(want.at("valid_frames"), 0);
      want["open_error"] = "invalid page size in wal header: 1000";
    }
    ExpectWal(database, wal, want);
    for (const Json& open : want.value("open_at", Json::array())) {
      SCOPED_TRACE(open.dump());
      ++opened;
      ExpectOpenAt(wal, *ParseWalHeader(wal).value(), open);
    }
    for (const Json& edit : want.value("edits", Json::array())) {
      SCOPED_TRACE(edit.dump().substr(0, 200));
      ++edits;
      ExpectEdit(database, wal, edit);
    }
  }
  EXPECT_GE(wals, 35U);
  EXPECT_GE(opened, 15U);
  EXPECT_GE(edits, 194U);
}

}  // namespace
}  // namespace litestream
