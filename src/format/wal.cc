#include "format/wal.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/core.h>

#include "base/endian.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

constexpr std::size_t kChecksumUnitSize = 8;

// Each sum waits for the other; in this order a unit costs two additions one after the other, and
// not four.
template <bool kBigEndian>
void AddUnit(std::uint32_t& s0, std::uint32_t& s1, const std::byte* p) {
  s0 += kBigEndian ? LoadBe32(p) : LoadLe32(p);
  s0 += s1;
  s1 += kBigEndian ? LoadBe32(p + 4) : LoadLe32(p + 4);
  s1 += s0;
}

template <bool kBigEndian>
WalChecksum Continue(WalChecksum seed, std::span<const std::byte> bytes) {
  std::uint32_t s0 = seed[0];
  std::uint32_t s1 = seed[1];
  const std::byte* p = bytes.data();
  std::size_t units = bytes.size() / kChecksumUnitSize;
  for (; units >= 4; units -= 4, p += 4 * kChecksumUnitSize) {
    AddUnit<kBigEndian>(s0, s1, p);
    AddUnit<kBigEndian>(s0, s1, p + kChecksumUnitSize);
    AddUnit<kBigEndian>(s0, s1, p + 2 * kChecksumUnitSize);
    AddUnit<kBigEndian>(s0, s1, p + 3 * kChecksumUnitSize);
  }
  for (; units > 0; --units, p += kChecksumUnitSize) AddUnit<kBigEndian>(s0, s1, p);
  return {s0, s1};
}

// WalScanner::entries_.
constexpr std::uint64_t MakeEntry(Pgno pgno, std::uint64_t frame_index) {
  return std::uint64_t{pgno.value} << 32 | frame_index;
}
constexpr std::uint32_t EntryPgno(std::uint64_t entry) {
  return static_cast<std::uint32_t>(entry >> 32);
}
constexpr std::uint32_t EntryFrame(std::uint64_t entry) {
  return static_cast<std::uint32_t>(entry);
}

// Sorts by page and keeps the newest version of each.
void KeepNewest(std::vector<std::uint64_t>& entries) {
  // SQLite writes the pages of a transaction in ascending order; a large one needs no sorting.
  if (!std::ranges::is_sorted(entries)) std::ranges::sort(entries);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const bool newer_follows =
        i + 1 < entries.size() && EntryPgno(entries[i + 1]) == EntryPgno(entries[i]);
    if (!newer_follows) entries[kept++] = entries[i];
  }
  entries.resize(kept);
}

}  // namespace

WalChecksum ContinueWalChecksum(WalChecksum seed, std::span<const std::byte> bytes,
                                bool big_endian) {
  return big_endian ? Continue<true>(seed, bytes) : Continue<false>(seed, bytes);
}

Result<std::optional<WalHeader>> ParseWalHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kWalHeaderSize) return std::optional<WalHeader>();
  const std::uint32_t magic = LoadBe32(&bytes[0]);
  WalHeader header;
  header.big_endian_checksums = magic == kWalMagicBigEndian;
  header.checksum = {LoadBe32(&bytes[24]), LoadBe32(&bytes[28])};
  if (magic != kWalMagicBigEndian && magic != kWalMagicLittleEndian) {
    return Error(ErrorCode::kCorruption, fmt::format("invalid wal header magic: {:x}", magic));
  }
  if (ContinueWalChecksum({}, bytes.first(24), header.big_endian_checksums) != header.checksum) {
    return std::optional<WalHeader>();
  }
  const std::uint32_t version = LoadBe32(&bytes[4]);
  if (version != kWalVersion) {
    return Error(ErrorCode::kCorruption, fmt::format("unsupported wal version: {}", version));
  }
  header.page_size = LoadBe32(&bytes[8]);
  if (!IsValidPageSize(header.page_size)) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("invalid page size in wal header: {}", header.page_size));
  }
  header.sequence = LoadBe32(&bytes[12]);
  header.salts = {LoadBe32(&bytes[16]), LoadBe32(&bytes[20])};
  return std::optional<WalHeader>(header);
}

WalFrameHeader ParseWalFrameHeader(std::span<const std::byte, kWalFrameHeaderSize> bytes) {
  return {.pgno = Pgno{LoadBe32(&bytes[0])},
          .commit_pages = LoadBe32(&bytes[4]),
          .salts = {LoadBe32(&bytes[8]), LoadBe32(&bytes[12])},
          .checksum = {LoadBe32(&bytes[16]), LoadBe32(&bytes[20])}};
}

Result<std::optional<WalPoint>> WalPointAt(const WalHeader& header, const WalSalts& salts,
                                           std::uint64_t offset_bytes,
                                           std::span<const std::byte> previous) {
  if (offset_bytes <= kWalHeaderSize) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("offset ({}) must be greater than the wal header size ({})",
                             offset_bytes, kWalHeaderSize));
  }
  if ((offset_bytes - kWalHeaderSize) % WalFrameSize(header.page_size) != 0) {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("unaligned wal offset {} for page size {}", offset_bytes, header.page_size));
  }
  if (previous.size() < WalFrameSize(header.page_size)) return std::optional<WalPoint>();
  const WalFrameHeader frame = ParseWalFrameHeader(previous.first<kWalFrameHeaderSize>());
  if (frame.salts != salts) return std::optional<WalPoint>();
  return std::optional<WalPoint>({.offset_bytes = offset_bytes, .checksum = frame.checksum});
}

WalScanner::WalScanner(const WalHeader& header, const WalSalts& salts, const WalPoint& start,
                       std::uint64_t end_offset, std::uint64_t limit_bytes)
    : salts_(salts),
      big_endian_(header.big_endian_checksums),
      page_size_(header.page_size),
      start_offset_(start.offset_bytes),
      end_offset_(std::min(end_offset,
                           WalSizeOf(std::numeric_limits<std::uint32_t>::max(), header.page_size))),
      limit_bytes_(limit_bytes),
      valid_(start),
      committed_(start) {
  if (valid_.offset_bytes + WalFrameSize(page_size_) > end_offset_) stop_ = Stop::kEnd;
}

std::size_t WalScanner::Feed(std::span<const std::byte> bytes) {
  const std::size_t frame_size = WalFrameSize(page_size_);
  std::size_t used = 0;
  while (stop_ == Stop::kNotYet && used < bytes.size()) {
    const std::size_t left = bytes.size() - used;
    if (partial_.empty() && left >= frame_size) {
      TakeFrame(&bytes[used]);
      // A frame that ended the scan was not consumed.
      if (stop_ == Stop::kSalt || stop_ == Stop::kChecksum) break;
      used += frame_size;
      continue;
    }
    if (partial_.capacity() < frame_size) partial_.reserve(frame_size);
    const std::size_t take = std::min(frame_size - partial_.size(), left);
    partial_.insert(partial_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(used),
                    bytes.begin() + static_cast<std::ptrdiff_t>(used + take));
    used += take;
    if (partial_.size() == frame_size) {
      TakeFrame(partial_.data());
      partial_.clear();
    }
  }
  return used;
}

void WalScanner::TakeFrame(const std::byte* frame) {
  const std::size_t frame_size = WalFrameSize(page_size_);
  const WalFrameHeader header = ParseWalFrameHeader(
      std::span<const std::byte, kWalFrameHeaderSize>(frame, kWalFrameHeaderSize));
  if (header.salts != salts_) {
    stop_ = Stop::kSalt;
    return;
  }
  WalChecksum checksum = ContinueWalChecksum(valid_.checksum, {frame, 8}, big_endian_);
  checksum = ContinueWalChecksum(checksum, {frame + kWalFrameHeaderSize, page_size_}, big_endian_);
  // SQLite takes page 0 for the end of the log as well.
  if (header.checksum != checksum || header.pgno == Pgno{}) {
    stop_ = Stop::kChecksum;
    return;
  }
  entries_.push_back(MakeEntry(header.pgno, valid_frames_));
  valid_ = {valid_.offset_bytes + frame_size, checksum};
  ++valid_frames_;
  if (header.commit_pages != 0) {
    committed_ = valid_;
    commit_pages_ = header.commit_pages;
    committed_frames_ = valid_frames_;
    if (entries_.size() >= compact_at_) {
      KeepNewest(entries_);
      compact_at_ = std::max(kMinEntriesToCompact, 2 * entries_.size());
    }
    committed_entries_ = entries_.size();
    if (limit_bytes_ != 0 && valid_.offset_bytes - start_offset_ >= limit_bytes_) {
      stop_ = Stop::kLimit;
      return;
    }
  }
  if (valid_.offset_bytes + frame_size > end_offset_) stop_ = Stop::kEnd;
}

std::vector<WalPageEntry> WalScanner::TakePageMap() {
  // Without what was left uncommitted (R1), and without pages that the database no longer has
  // because it shrank (R10).
  std::vector<std::uint64_t> entries = std::exchange(entries_, {});
  entries.resize(std::exchange(committed_entries_, 0));
  KeepNewest(entries);
  while (!entries.empty() && EntryPgno(entries.back()) > commit_pages_) entries.pop_back();
  std::vector<WalPageEntry> pages;
  pages.reserve(entries.size());
  for (const std::uint64_t entry : entries) {
    pages.push_back({.pgno = Pgno{EntryPgno(entry)},
                     .frame_offset = start_offset_ + EntryFrame(entry) * WalFrameSize(page_size_)});
  }
  return pages;
}

WalSaltScan::WalSaltScan(std::uint32_t page_size, const std::optional<WalSalts>& until)
    : page_size_(page_size), until_(until) {}

bool WalSaltScan::Feed(std::span<const std::byte> bytes) {
  const std::uint64_t frame_size = WalFrameSize(page_size_);
  while (!done_ && !bytes.empty()) {
    if (position_ < kWalFrameHeaderSize) {
      const std::size_t take = std::min<std::size_t>(kWalFrameHeaderSize - position_, bytes.size());
      std::memcpy(&header_[position_], bytes.data(), take);
      position_ += take;
      bytes = bytes.subspan(take);
      if (position_ < kWalFrameHeaderSize) break;
      const WalSalts salts = ParseWalFrameHeader(header_).salts;
      if (std::ranges::find(found_, salts) == found_.end()) found_.push_back(salts);
      done_ = until_ == salts || found_.size() == kMaxPairs;
      continue;
    }
    const std::size_t skip = std::min<std::uint64_t>(frame_size - position_, bytes.size());
    position_ += skip;
    bytes = bytes.subspan(skip);
    if (position_ == frame_size) position_ = 0;
  }
  return !done_;
}

}  // namespace litestream
