// Any bytes as a WAL: the scanner, fed whole and in pieces, agrees with a plain reading of the
// same bytes, and goes on from each commit as if it had never stopped.
//
// Input: 6 bytes that choose what is done, then the WAL. So that changed bytes do not all end in
// "wrong checksum", the first frames get right ones.
//
//   offset size
//        0    1  frames whose salts and checksums are made right, with those of the header; 0: none
//        1    1  size of the pieces
//        2    2  limit_bytes / 8, big-endian
//        4    2  how many bytes end_offset is before the end, big-endian
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/endian.h"
#include "format/page_sum.h"
#include "format/wal.h"
#include "fuzz/require.h"

namespace litestream {
namespace {

using Bytes = std::vector<std::byte>;
using Stop = WalScanner::Stop;

constexpr std::size_t kChoiceSize = 6;

// One word at a time, straight from the description of the format.
class PlainChecksum {
 public:
  PlainChecksum(WalChecksum seed, bool big_endian) : sum_(seed), big_endian_(big_endian) {}
  void Add(const std::byte* bytes, std::size_t size) {
    for (std::size_t i = 0; i < size; i += 4) {
      std::uint32_t word = 0;
      for (std::size_t j = 0; j < 4; ++j) {
        word = word << 8 | std::to_integer<std::uint32_t>(bytes[i + (big_endian_ ? j : 3 - j)]);
      }
      std::uint32_t& mine = sum_[i / 4 % 2];
      mine += word + sum_[1 - i / 4 % 2];
    }
  }
  const WalChecksum& sum() const { return sum_; }

 private:
  WalChecksum sum_;
  bool big_endian_;
};

void StoreChecksum(std::byte* at, const WalChecksum& checksum) {
  StoreBe32(at, checksum[0]);
  StoreBe32(at + 4, checksum[1]);
}

void Repair(Bytes& wal, std::size_t frames) {
  if (frames == 0 || wal.size() < kWalHeaderSize) return;
  const bool big_endian = LoadBe32(wal.data()) == kWalMagicBigEndian;
  if (!big_endian) StoreBe32(wal.data(), kWalMagicLittleEndian);
  StoreBe32(&wal[4], kWalVersion);
  if (!IsValidPageSize(LoadBe32(&wal[8]))) StoreBe32(&wal[8], 512);
  const std::uint32_t page_size = LoadBe32(&wal[8]);
  PlainChecksum checksum({}, big_endian);
  checksum.Add(wal.data(), 24);
  StoreChecksum(&wal[24], checksum.sum());
  for (std::size_t at = kWalHeaderSize; frames > 0; --frames, at += WalFrameSize(page_size)) {
    if (at + WalFrameSize(page_size) > wal.size()) return;
    std::copy_n(&wal[16], 8, &wal[at + 8]);
    checksum.Add(&wal[at], 8);
    checksum.Add(&wal[at + kWalFrameHeaderSize], page_size);
    StoreChecksum(&wal[at + 16], checksum.sum());
  }
}

struct Reading {
  Stop stop = Stop::kEnd;
  WalPoint valid_end;
  WalPoint commit_end;
  std::uint32_t commit_pages = 0;
  std::uint64_t valid_frames = 0;
  std::uint64_t committed_frames = 0;
  std::vector<std::array<std::uint64_t, 2>> pages;
  friend bool operator==(const Reading&, const Reading&) = default;
};

Reading ReadPlainly(const Bytes& wal, const WalHeader& header, const WalPoint& start,
                    std::uint64_t end_offset, std::uint64_t limit_bytes) {
  Reading reading = {.valid_end = start, .commit_end = start};
  std::map<std::uint64_t, std::uint64_t> transaction;
  std::map<std::uint64_t, std::uint64_t> pages;
  PlainChecksum checksum(start.checksum, header.big_endian_checksums);
  const std::uint64_t frame_size = WalFrameSize(header.page_size);
  std::uint64_t at = start.offset_bytes;
  for (; at + frame_size <= end_offset; at += frame_size) {
    const std::byte* frame = &wal[at];
    if (LoadBe32(frame + 8) != header.salts[0] || LoadBe32(frame + 12) != header.salts[1]) {
      reading.stop = Stop::kSalt;
      break;
    }
    checksum.Add(frame, 8);
    checksum.Add(frame + kWalFrameHeaderSize, header.page_size);
    const WalChecksum stored = {LoadBe32(frame + 16), LoadBe32(frame + 20)};
    if (checksum.sum() != stored || LoadBe32(frame) == 0) {
      reading.stop = Stop::kChecksum;
      break;
    }
    transaction[LoadBe32(frame)] = at;
    ++reading.valid_frames;
    reading.valid_end = {at + frame_size, stored};
    if (LoadBe32(frame + 4) == 0) continue;
    for (const auto& page : transaction) pages[page.first] = page.second;
    transaction.clear();
    reading.commit_end = reading.valid_end;
    reading.commit_pages = LoadBe32(frame + 4);
    reading.committed_frames = reading.valid_frames;
    if (limit_bytes != 0 && at + frame_size - start.offset_bytes >= limit_bytes) {
      reading.stop = Stop::kLimit;
      break;
    }
  }
  for (const auto& page : pages) {
    if (page.first <= reading.commit_pages) reading.pages.push_back({page.first, page.second});
  }
  return reading;
}

Reading ReadWithScanner(const Bytes& wal, const WalHeader& header, const WalPoint& start,
                        std::uint64_t end_offset, std::uint64_t limit_bytes, std::size_t piece) {
  WalScanner scanner(header, header.salts, start, end_offset, limit_bytes);
  std::uint64_t at = start.offset_bytes;
  while (scanner.stop() == Stop::kNotYet) {
    Require(at < end_offset);
    const auto rest = std::span(wal).subspan(at);
    at += scanner.Feed(rest.first(std::min(rest.size(), piece)));
  }
  Require(scanner.Feed(wal) == 0);
  Reading reading = {.stop = scanner.stop(),
                     .valid_end = scanner.valid_end(),
                     .commit_end = scanner.commit_end(),
                     .commit_pages = scanner.commit_pages(),
                     .valid_frames = scanner.valid_frames(),
                     .committed_frames = scanner.committed_frames()};
  for (const WalPageEntry& entry : scanner.TakePageMap()) {
    reading.pages.push_back({entry.pgno.value, entry.frame_offset});
  }
  return reading;
}

void TestFrames(const Bytes& wal, const WalHeader& header, std::uint64_t end_offset,
                std::uint64_t limit_bytes, std::size_t piece) {
  const std::uint64_t frame_size = WalFrameSize(header.page_size);
  WalPoint at = WalStart(header);
  for (;;) {
    const Reading plain = ReadPlainly(wal, header, at, end_offset, limit_bytes);
    Require(ReadWithScanner(wal, header, at, end_offset, limit_bytes, SIZE_MAX) == plain);
    Require(ReadWithScanner(wal, header, at, end_offset, limit_bytes, piece) == plain);
    if (plain.stop != Stop::kLimit) return;
    // From here on, as a reader that knows only the offset.
    at = plain.commit_end;
    const auto point = WalPointAt(header, header.salts, at.offset_bytes,
                                  std::span(wal).subspan(at.offset_bytes - frame_size, frame_size));
    Require(point.ok() && point.value() == at);
  }
}

void TestSalts(const Bytes& wal, const WalHeader& header, std::size_t piece) {
  std::vector<WalSalts> plain;
  for (std::size_t at = kWalHeaderSize;
       at + kWalFrameHeaderSize <= wal.size() && plain.size() < WalSaltScan::kMaxPairs;
       at += WalFrameSize(header.page_size)) {
    const WalSalts salts = {LoadBe32(&wal[at + 8]), LoadBe32(&wal[at + 12])};
    if (std::ranges::find(plain, salts) == plain.end()) plain.push_back(salts);
  }
  WalSaltScan scan(header.page_size, std::nullopt);
  bool more = true;
  for (auto rest = std::span(wal).subspan(kWalHeaderSize); more && !rest.empty();) {
    const auto part = rest.first(std::min(piece, rest.size()));
    more = scan.Feed(part);
    rest = rest.subspan(part.size());
  }
  Require(more == (plain.size() < WalSaltScan::kMaxPairs));
  Require(scan.salts() == plain);
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace litestream;
  if (size < kChoiceSize) return 0;
  const auto input = std::as_bytes(std::span(data, size));
  Bytes wal(input.begin() + kChoiceSize, input.end());
  Repair(wal, data[0]);
  const auto header = ParseWalHeader(wal);
  if (!header.ok() || !header.value().has_value()) return 0;
  const std::size_t piece = 1 + std::size_t{data[1]} * 5;
  const std::uint64_t limit_bytes = LoadBe16(&input[2]) * std::uint64_t{8};
  const std::uint64_t end_offset =
      wal.size() - std::min<std::size_t>(LoadBe16(&input[4]), wal.size());
  TestFrames(wal, *header.value(), end_offset, limit_bytes, piece);
  TestSalts(wal, *header.value(), piece);
  return 0;
}
