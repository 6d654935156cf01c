#include "format/wal.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream {

// For messages of failed tests.
static void PrintTo(WalScanner::Stop stop, std::ostream* out) {
  constexpr const char* kNames[] = {"kNotYet", "kEnd", "kLimit", "kSalt", "kChecksum"};
  *out << kNames[static_cast<std::size_t>(stop)];
}

namespace {

using Bytes = std::vector<std::byte>;
using Stop = WalScanner::Stop;

constexpr WalSalts kSalts = {0x11223344, 0x55667788};
constexpr WalSalts kOlderSalts = {0x11223343, 0x0badcafe};

void AppendBe32(Bytes& bytes, std::uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::byte>(value >> shift));
}

// Writes a WAL, with nothing from the code under test.
class WalWriter {
 public:
  WalWriter(std::uint32_t page_size, bool big_endian, const WalSalts& salts = kSalts)
      : page_size_(page_size), big_endian_(big_endian), salts_(salts) {
    AppendBe32(bytes_, big_endian ? 0x377f0683 : 0x377f0682);
    AppendBe32(bytes_, 3007000);
    AppendBe32(bytes_, page_size);
    AppendBe32(bytes_, 7);
    AppendBe32(bytes_, salts[0]);
    AppendBe32(bytes_, salts[1]);
    Sum(bytes_);
    AppendBe32(bytes_, s0_);
    AppendBe32(bytes_, s1_);
  }

  void AddFrame(std::uint32_t pgno, std::uint32_t commit_pages, const Bytes& page) {
    Bytes front;
    AppendBe32(front, pgno);
    AppendBe32(front, commit_pages);
    Sum(front);
    Sum(page);
    AppendBe32(front, salts_[0]);
    AppendBe32(front, salts_[1]);
    AppendBe32(front, s0_);
    AppendBe32(front, s1_);
    bytes_.insert(bytes_.end(), front.begin(), front.end());
    bytes_.insert(bytes_.end(), page.begin(), page.end());
  }
  void AddFrame(std::uint32_t pgno, std::uint32_t commit_pages, std::byte fill) {
    AddFrame(pgno, commit_pages, Bytes(page_size_, fill));
  }

  const Bytes& bytes() const { return bytes_; }
  Bytes Take() { return std::exchange(bytes_, {}); }
  WalChecksum checksum() const { return {s0_, s1_}; }

 private:
  void Sum(const Bytes& bytes) {
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      s0_ += Word(bytes, i) + s1_;
      s1_ += Word(bytes, i + 4) + s0_;
    }
  }
  std::uint32_t Word(const Bytes& bytes, std::size_t at) const {
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      word = word << 8 | std::to_integer<std::uint32_t>(bytes[at + (big_endian_ ? i : 3 - i)]);
    }
    return word;
  }

  std::uint32_t page_size_;
  bool big_endian_;
  WalSalts salts_;
  std::uint32_t s0_ = 0;
  std::uint32_t s1_ = 0;
  Bytes bytes_;
};

WalHeader MustParse(const Bytes& wal) {
  const auto header = ParseWalHeader(wal);
  EXPECT_TRUE(header.ok() && header.value().has_value());
  return header.ok() ? header.value().value_or(WalHeader()) : WalHeader();
}

TEST(Wal, ChecksumVectors) {
  const struct {
    bool big_endian;
    WalChecksum header;
    WalChecksum frame1;
    WalChecksum frame2;
  } cases[] = {
      {false, {0x18fe2524, 0x594f631e}, {0xfc185fa5, 0xe7ae316c}, {0xfb5decb6, 0xd1ae2b8b}},
      {true, {0x2726fe1b, 0x23664f5c}, {0xdf7b0d07, 0x67300062}, {0xbc1eeea5, 0xfdc25a23}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.big_endian);
    Bytes wal;
    for (const std::uint32_t word : {c.big_endian ? kWalMagicBigEndian : kWalMagicLittleEndian,
                                     kWalVersion, 512U, 0U, 0x11223344U, 0x55667788U}) {
      AppendBe32(wal, word);
    }
    const WalChecksum header = ContinueWalChecksum({}, wal, c.big_endian);
    EXPECT_EQ(header, c.header);
    Bytes frame1;
    AppendBe32(frame1, 1);
    AppendBe32(frame1, 0);
    frame1.resize(8 + 512, std::byte{0xab});
    const WalChecksum sum1 = ContinueWalChecksum(header, frame1, c.big_endian);
    EXPECT_EQ(sum1, c.frame1);
    Bytes frame2;
    AppendBe32(frame2, 2);
    AppendBe32(frame2, 2);
    for (int i = 0; i < 512; ++i) frame2.push_back(static_cast<std::byte>(i));
    EXPECT_EQ(ContinueWalChecksum(sum1, frame2, c.big_endian), c.frame2);
    EXPECT_EQ(ContinueWalChecksum(sum1, {}, c.big_endian), sum1);
  }
}

TEST(Wal, Header) {
  for (std::uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
    for (const bool big_endian : {false, true}) {
      SCOPED_TRACE(page_size);
      const WalWriter writer(page_size, big_endian);
      const WalHeader want = {.big_endian_checksums = big_endian,
                              .page_size = page_size,
                              .sequence = 7,
                              .salts = kSalts,
                              .checksum = writer.checksum()};
      EXPECT_EQ(MustParse(writer.bytes()), want);
      EXPECT_EQ(WalStart(want), (WalPoint{32, writer.checksum()}));
      for (std::size_t size = 0; size < kWalHeaderSize; ++size) {
        const auto part = ParseWalHeader(std::span(writer.bytes()).first(size));
        ASSERT_TRUE(part.ok());
        EXPECT_FALSE(part.value().has_value());
      }
    }
  }
}

// Every single flipped bit shows: in the magic as damage, elsewhere as "not written yet".
TEST(Wal, HeaderWithOneFlippedBit) {
  const WalWriter writer(4096, false);
  for (std::size_t bit = 0; bit < 8 * kWalHeaderSize; ++bit) {
    SCOPED_TRACE(bit);
    Bytes damaged = writer.bytes();
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto header = ParseWalHeader(damaged);
    // 377f0682 becomes the other magic; then the checksum is wrong.
    const bool magic = bit < 32 && bit != 24;
    ASSERT_EQ(header.ok(), !magic);
    if (magic) {
      EXPECT_EQ(header.error().code(), ErrorCode::kCorruption);
    } else {
      EXPECT_FALSE(header.value().has_value());
    }
  }
}

TEST(Wal, HeaderThatSqliteDoesNotWrite) {
  const struct {
    const char* want;
    std::uint32_t version;
    std::uint32_t page_size;
  } cases[] = {
      {"unsupported wal version: 3007001", 3007001, 4096},
      {"unsupported wal version: 0", 0, 4096},
      {"invalid page size in wal header: 0", 3007000, 0},
      {"invalid page size in wal header: 256", 3007000, 256},
      {"invalid page size in wal header: 4095", 3007000, 4095},
      {"invalid page size in wal header: 131072", 3007000, 131072},
      {"invalid page size in wal header: 1", 3007000, 1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    Bytes wal;
    for (const std::uint32_t word : {kWalMagicBigEndian, c.version, c.page_size, 0U, 1U, 2U}) {
      AppendBe32(wal, word);
    }
    const WalChecksum checksum = ContinueWalChecksum({}, wal, true);
    AppendBe32(wal, checksum[0]);
    AppendBe32(wal, checksum[1]);
    const auto header = ParseWalHeader(wal);
    ASSERT_FALSE(header.ok());
    EXPECT_EQ(header.error().code(), ErrorCode::kCorruption);
    EXPECT_EQ(header.error().message(), c.want);
  }
}

TEST(Wal, PointAt) {
  WalWriter writer(512, true);
  writer.AddFrame(1, 0, std::byte{1});
  const WalChecksum after_first = writer.checksum();
  writer.AddFrame(2, 2, std::byte{2});
  const WalHeader header = MustParse(writer.bytes());
  const auto frame = std::span(writer.bytes()).subspan(32, 536);
  const struct {
    const char* why;
    WalSalts salts;
    std::uint64_t offset;
    std::span<const std::byte> previous;
    std::optional<WalPoint> want;
    const char* error;
  } cases[] = {
      {"behind the first frame", kSalts, 568, frame, WalPoint{568, after_first}, nullptr},
      {"with more than the frame", kSalts, 568, std::span(writer.bytes()).subspan(32),
       WalPoint{568, after_first}, nullptr},
      {"other salt-1", {1, kSalts[1]}, 568, frame, std::nullopt, nullptr},
      {"other salt-2", {kSalts[0], 1}, 568, frame, std::nullopt, nullptr},
      {"a byte is missing", kSalts, 568, frame.first(535), std::nullopt, nullptr},
      {"nothing there", kSalts, 1104, {}, std::nullopt, nullptr},
      {"the first frame",
       kSalts,
       32,
       {},
       {},
       "offset (32) must be greater than the wal header size (32)"},
      {"zero", kSalts, 0, {}, {}, "offset (0) must be greater than the wal header size (32)"},
      {"unaligned", kSalts, 569, frame, {}, "unaligned wal offset 569 for page size 512"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto point = WalPointAt(header, c.salts, c.offset, c.previous);
    ASSERT_EQ(point.ok(), c.error == nullptr);
    if (point.ok()) {
      EXPECT_EQ(point.value(), c.want);
    } else {
      EXPECT_EQ(point.error().code(), ErrorCode::kInvalidArgument);
      EXPECT_EQ(point.error().message(), c.error);
    }
  }
}

// What is known about a WAL while it is written: the model that the scanner is compared with.
struct Model {
  struct Frame {
    std::uint32_t pgno;
    std::uint32_t commit_pages;
    WalChecksum checksum;
  };
  struct Result {
    Stop stop = Stop::kEnd;
    WalPoint valid_end;
    WalPoint commit_end;
    std::uint32_t commit_pages = 0;
    std::uint64_t valid_frames = 0;
    std::uint64_t committed_frames = 0;
    std::map<std::uint32_t, std::uint64_t> pages;
  };

  std::uint64_t OffsetOf(std::size_t frame) const {
    return 32 + frame * (24 + std::uint64_t{page_size});
  }
  WalPoint PointBehind(std::size_t frames_before) const {
    if (frames_before == 0) return {32, header_checksum};
    return {OffsetOf(frames_before), frames[frames_before - 1].checksum};
  }

  // `behind`: why a scan without a limit ends behind the last frame.
  Result Scan(std::size_t first, std::uint64_t limit_bytes, std::uint64_t end_offset,
              Stop behind) const {
    Result result = {.valid_end = PointBehind(first), .commit_end = PointBehind(first)};
    std::map<std::uint32_t, std::uint64_t> transaction;
    std::size_t i = first;
    for (; i < frames.size() && OffsetOf(i + 1) <= end_offset; ++i) {
      transaction[frames[i].pgno] = OffsetOf(i);
      result.valid_end = PointBehind(i + 1);
      result.valid_frames = i + 1 - first;
      if (frames[i].commit_pages == 0) continue;
      for (const auto& [pgno, offset] : transaction) result.pages[pgno] = offset;
      transaction.clear();
      result.commit_end = result.valid_end;
      result.commit_pages = frames[i].commit_pages;
      result.committed_frames = result.valid_frames;
      if (limit_bytes != 0 && OffsetOf(i + 1) - OffsetOf(first) >= limit_bytes) {
        result.stop = Stop::kLimit;
        break;
      }
    }
    if (result.stop != Stop::kLimit && OffsetOf(i + 1) <= end_offset) result.stop = behind;
    std::erase_if(result.pages, [&](const auto& p) { return p.first > result.commit_pages; });
    return result;
  }

  std::uint32_t page_size = 0;
  WalChecksum header_checksum = {};
  std::vector<Frame> frames;
};

// A WAL and what is behind its frames.
struct RandomWal {
  RandomWal(std::mt19937& random, std::uint32_t page_size, bool big_endian)
      : random_(random), writer_(page_size, big_endian) {
    model.page_size = page_size;
    model.header_checksum = writer_.checksum();
    const std::uint32_t frames = random_() % 60;
    std::uint32_t database_pages = 1 + random_() % 20;
    std::uint32_t commit_every = 1 + random_() % 8;
    for (std::uint32_t i = 0; i < frames; ++i) {
      const std::uint32_t pgno = 1 + random_() % (database_pages + 2);  // Often a page again.
      std::uint32_t commit_pages = 0;
      if (random_() % commit_every == 0) {
        if (random_() % 4 == 0) database_pages = 1 + random_() % 20;
        commit_pages = database_pages;
      }
      writer_.AddFrame(pgno, commit_pages, RandomPage());
      model.frames.push_back({pgno, commit_pages, writer_.checksum()});
    }
    bytes = writer_.bytes();
    AddTail(big_endian);
  }

  Model model;
  Bytes bytes;
  Stop behind = Stop::kEnd;

 private:
  Bytes RandomPage() {
    Bytes page(model.page_size);
    for (std::byte& b : page) b = static_cast<std::byte>(random_());
    return page;
  }

  void AddTail(bool big_endian) {
    const std::size_t size = bytes.size();
    WalWriter next = writer_;
    switch (random_() % 7) {
      case 0:  // Nothing.
        return;
      case 1:  // A frame that is being written.
        next.AddFrame(1, 1, RandomPage());
        bytes = next.bytes();
        bytes.resize(size + random_() % (24 + model.page_size));
        return;
      case 2: {  // An older generation, whose checksums go on from other frames.
        WalWriter older(model.page_size, big_endian, kOlderSalts);
        older.AddFrame(2, 2, RandomPage());
        older.AddFrame(3, 3, RandomPage());
        bytes.insert(bytes.end(), older.bytes().begin() + 32, older.bytes().end());
        behind = Stop::kSalt;
        return;
      }
      case 3:  // Garbage.
        for (int i = 0; i < 3; ++i) {
          const Bytes page = RandomPage();
          bytes.insert(bytes.end(), page.begin(), page.end());
        }
        behind = Stop::kSalt;
        return;
      case 4: {  // A torn frame: one bit of the page number, the commit, the checksum or the page.
        next.AddFrame(1, 1, RandomPage());
        next.AddFrame(2, 2, RandomPage());
        bytes = next.bytes();
        std::size_t at = random_() % (16 + model.page_size);
        if (at >= 8) at += 8;  // Not the salts.
        bytes[size + at] ^= std::byte{1} << (random_() % 8);
        behind = Stop::kChecksum;
        return;
      }
      case 5:  // Right in all but its page number.
        next.AddFrame(0, 1, RandomPage());
        next.AddFrame(1, 1, RandomPage());
        bytes = next.bytes();
        behind = Stop::kChecksum;
        return;
      default:  // The rest of a transaction that was rolled back: its first frame is overwritten.
        next.AddFrame(1, 0, RandomPage());
        next.AddFrame(2, 3, RandomPage());
        bytes.insert(bytes.end(), next.bytes().end() - 24 - model.page_size, next.bytes().end());
        behind = Stop::kChecksum;
    }
  }

  std::mt19937& random_;
  WalWriter writer_;
};

void ExpectScan(WalScanner& scanner, const Model::Result& want) {
  EXPECT_EQ(scanner.stop(), want.stop);
  EXPECT_EQ(scanner.valid_end(), want.valid_end);
  EXPECT_EQ(scanner.commit_end(), want.commit_end);
  EXPECT_EQ(scanner.commit_pages(), want.commit_pages);
  EXPECT_EQ(scanner.valid_frames(), want.valid_frames);
  EXPECT_EQ(scanner.committed_frames(), want.committed_frames);
  std::vector<std::pair<std::uint32_t, std::uint64_t>> pages;
  for (const WalPageEntry& entry : scanner.TakePageMap()) {
    pages.emplace_back(entry.pgno.value, entry.frame_offset);
  }
  EXPECT_THAT(pages, testing::ElementsAreArray(want.pages));
}

TEST(WalScanner, AgainstTheModel) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::map<Stop, int> stops;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const bool big_endian = random() % 2 == 0;
    const std::uint32_t page_size = 512U << (random() % 2);
    const RandomWal wal(random, page_size, big_endian);
    const WalHeader header = MustParse(wal.bytes);
    // From the front, and from every commit.
    for (std::size_t first = 0; first <= wal.model.frames.size(); ++first) {
      if (first != 0 && wal.model.frames[first - 1].commit_pages == 0) continue;
      const WalPoint start = wal.model.PointBehind(first);
      const std::uint64_t frame_size = 24 + std::uint64_t{page_size};
      std::uint64_t limit = random() % (20 * frame_size);  // 0: none.
      if (random() % 2 == 0) limit -= limit % frame_size;
      std::uint64_t end_offset = wal.bytes.size();
      if (random() % 4 == 0) end_offset = start.offset_bytes + random() % wal.bytes.size();
      end_offset = std::min<std::uint64_t>(end_offset, wal.bytes.size());
      const std::size_t piece = 1 + random() % (random() % 2 == 0 ? 100 : 5000);

      WalScanner scanner(header, kSalts, start, end_offset, limit);
      std::uint64_t at = start.offset_bytes;
      while (scanner.stop() == Stop::kNotYet) {
        const auto rest = std::span(wal.bytes).subspan(at);
        ASSERT_FALSE(rest.empty());
        at += scanner.Feed(rest.first(std::min(rest.size(), piece)));
      }
      EXPECT_EQ(scanner.Feed(wal.bytes), 0U);  // It has ended.
      ++stops[scanner.stop()];
      ExpectScan(scanner, wal.model.Scan(first, limit, end_offset, wal.behind));
      ASSERT_FALSE(HasFailure());
    }
  }
  EXPECT_EQ(stops.size(), 4U);  // All of them were seen.
}

// A frame that ends the scan is not consumed when it was not cut into pieces: the caller can read
// on from there when the WAL has grown.
TEST(WalScanner, TakesNothingBehindTheEnd) {
  WalWriter writer(512, false);
  writer.AddFrame(1, 1, std::byte{1});
  const std::size_t one = writer.bytes().size() - kWalHeaderSize;
  Bytes wal = writer.bytes();
  wal.resize(wal.size() + 5000, std::byte{9});
  const WalHeader header = MustParse(wal);
  WalScanner scanner(header, kSalts, WalStart(header), wal.size());
  EXPECT_EQ(scanner.Feed(std::span(wal).subspan(kWalHeaderSize)), one);
  EXPECT_EQ(scanner.stop(), Stop::kSalt);

  WalScanner ends(header, kSalts, WalStart(header), kWalHeaderSize + one);
  EXPECT_EQ(ends.Feed(std::span(wal).subspan(kWalHeaderSize)), one);
  EXPECT_EQ(ends.stop(), Stop::kEnd);

  WalScanner empty(header, kSalts, WalStart(header), kWalHeaderSize + one - 1);
  EXPECT_EQ(empty.stop(), Stop::kEnd);
  EXPECT_TRUE(empty.TakePageMap().empty());
}

// More frames than the list of entries may hold: what it drops must be old, uncommitted frames must
// not replace committed ones, and the order must not matter.
TEST(WalScanner, ManyFramesOfFewPages) {
  constexpr std::uint32_t kPages = 40'000;
  constexpr std::uint64_t kFrames = 230'000;
  constexpr std::uint64_t kLastCommit = 229'000;
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  WalWriter writer(512, false);
  const WalHeader header = MustParse(writer.Take());
  WalScanner scanner(header, kSalts, WalStart(header), WalSizeOf(kFrames, 512));
  std::map<std::uint32_t, std::uint64_t> want;
  std::map<std::uint32_t, std::uint64_t> transaction;
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    // First few pages, then many: the list shrinks, and then has to grow.
    const std::uint32_t pgno = 1 + random() % (i < 150'000 ? 100 : kPages);
    const bool commit = i + 1 == kLastCommit || (i < kLastCommit && random() % 50 == 0);
    writer.AddFrame(pgno, commit ? kPages - 7 : 0, std::byte{0});
    transaction[pgno] = WalSizeOf(i, 512);
    if (commit) {
      for (const auto& [page, offset] : transaction) want[page] = offset;
      transaction.clear();
    }
    if (i % 1000 == 0 || i + 1 == kFrames) {
      const Bytes bytes = writer.Take();
      ASSERT_EQ(scanner.Feed(bytes), bytes.size());
    }
  }
  std::erase_if(want, [](const auto& page) { return page.first > kPages - 7; });
  EXPECT_EQ(scanner.stop(), Stop::kEnd);
  EXPECT_EQ(scanner.valid_frames(), kFrames);
  EXPECT_EQ(scanner.committed_frames(), kLastCommit);
  const auto map = scanner.TakePageMap();
  ASSERT_EQ(map.size(), want.size());
  EXPECT_LT(map.capacity(), kFrames) << "no old entry was ever dropped";
  auto expected = want.begin();
  for (const WalPageEntry& entry : map) {
    ASSERT_EQ(entry.pgno.value, expected->first);
    ASSERT_EQ(entry.frame_offset, expected->second);
    ++expected;
  }
}

// The commit at which old entries are dropped is the last one.
TEST(WalScanner, OneLongTransaction) {
  constexpr std::uint32_t kFrames = 70'000;
  WalWriter writer(512, false);
  for (std::uint32_t i = 1; i < kFrames; ++i) writer.AddFrame(1 + i % 3, 0, std::byte{0});
  writer.AddFrame(4, 4, std::byte{0});
  writer.AddFrame(1, 0, std::byte{0});
  const WalHeader header = MustParse(writer.bytes());
  WalScanner scanner(header, kSalts, WalStart(header), writer.bytes().size());
  scanner.Feed(std::span(writer.bytes()).subspan(kWalHeaderSize));
  EXPECT_EQ(scanner.valid_frames(), kFrames + 1);
  EXPECT_EQ(scanner.committed_frames(), kFrames);
  std::vector<std::uint64_t> frames;
  for (const WalPageEntry& entry : scanner.TakePageMap()) {
    EXPECT_EQ(entry.pgno.value, frames.size() + 1);
    frames.push_back((entry.frame_offset - kWalHeaderSize) / WalFrameSize(512));
  }
  EXPECT_THAT(frames, testing::ElementsAre(69'998, 69'996, 69'997, 69'999));
}

TEST(WalSaltScan, DistinctInOrderUpToTheOneAskedFor) {
  const WalSalts a = {5, 1};
  const WalSalts b = {4, 2};
  const WalSalts c = {4, 1};
  Bytes frames;
  for (const WalSalts& salts : {a, a, b, a, c, b}) {
    WalWriter one(1024, false, salts);
    one.AddFrame(1, 1, std::byte{7});
    frames.insert(frames.end(), one.bytes().begin() + kWalHeaderSize, one.bytes().end());
  }
  const struct {
    const char* why;
    std::optional<WalSalts> until;
    std::size_t size;
    std::vector<WalSalts> want;
    bool more;
  } cases[] = {
      {"all", std::nullopt, frames.size(), {a, b, c}, true},
      {"the first", a, frames.size(), {a}, false},
      {"one in the middle", b, frames.size(), {a, b}, false},
      {"one that is not there", WalSalts{5, 2}, frames.size(), {a, b, c}, true},
      {"a cut frame header", std::nullopt, 2 * 1048 + 23, {a}, true},
      {"a cut page", std::nullopt, 2 * 1048 + 24, {a, b}, true},
      {"nothing", std::nullopt, 0, {}, true},
  };
  for (const auto& test : cases) {
    for (const std::size_t piece :
         {std::size_t{1}, std::size_t{100}, std::size_t{1048}, SIZE_MAX}) {
      SCOPED_TRACE(test.why);
      WalSaltScan scan(1024, test.until);
      bool more = true;
      for (auto rest = std::span(frames).first(test.size); more && !rest.empty();) {
        const auto part = rest.first(std::min(piece, rest.size()));
        more = scan.Feed(part);
        rest = rest.subspan(part.size());
      }
      EXPECT_EQ(more, test.more);
      EXPECT_EQ(scan.salts(), test.want);
      if (!more) {
        EXPECT_FALSE(scan.Feed(frames));
        EXPECT_EQ(scan.salts(), test.want);
      }
    }
  }
}

TEST(WalSaltScan, GivesUpOnWhatIsNoWal) {
  WalSaltScan scan(512, std::nullopt);
  bool more = true;
  std::uint32_t frames = 0;
  for (; more && frames < 10 * WalSaltScan::kMaxPairs; ++frames) {
    Bytes frame;
    for (const std::uint32_t word : {1U, 1U, frames, ~frames, 0U, 0U}) AppendBe32(frame, word);
    frame.resize(WalFrameSize(512));
    more = scan.Feed(frame);
  }
  EXPECT_EQ(frames, WalSaltScan::kMaxPairs);
  EXPECT_EQ(scan.salts().size(), WalSaltScan::kMaxPairs);
}

}  // namespace
}  // namespace litestream
