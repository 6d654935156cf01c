#include "tests/simulation/by_hand.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/endian.h"

namespace litestream::sim {
namespace {

// The database header.
constexpr std::size_t kPageSizeField = 16;
constexpr std::size_t kWriteVersion = 18;
constexpr std::size_t kChangeCounter = 24;
constexpr std::size_t kPageCount = 28;
constexpr std::size_t kFirstTrunk = 32;
constexpr std::size_t kFreePages = 36;
constexpr std::size_t kLargestRoot = 52;  // Not zero: with pointer maps.
constexpr std::size_t kVersionValidFor = 92;
constexpr std::size_t kHeaderBytes = 100;
constexpr std::byte kWalMode{2};

std::optional<std::vector<std::byte>> ReadAll(Process& process, const std::string& path) {
  const auto file = process.env().Open(path, {});
  if (!file.ok()) return std::nullopt;
  const auto stat = file.value()->Stat();
  if (!stat.ok()) return std::nullopt;
  std::vector<std::byte> content(stat.value().size_bytes);
  const auto got = file.value()->ReadAt(content, 0);
  if (!got.ok() || got.value() != content.size()) return std::nullopt;
  return content;
}

}  // namespace

bool WalByHand::Open(Random& dice) {
  // A hot journal would come first.
  if (process_.env().Stat(database_ + "-journal").ok()) return false;
  if (!ReadFiles()) return false;
  const auto first = Page(1);
  if (first[kWriteVersion] != kWalMode || first[kWriteVersion + 1] != kWalMode) return false;
  if (LoadBe32(&first[kLargestRoot]) != 0) return false;
  if (page_count_ == 0) page_count_ = LoadBe32(&first[kPageCount]);
  const bool stale = LoadBe32(&first[kChangeCounter]) != LoadBe32(&first[kVersionValidFor]);
  if (page_count_ == 0 || stale) return false;
  if (header_.page_size == 0) BeginWal(dice);
  return true;
}

bool WalByHand::ReadFiles() {
  auto file = ReadAll(process_, database_);
  if (!file || file->size() < kHeaderBytes) return false;
  file_ = std::move(*file);
  page_size_ = LoadBe16(&file_[kPageSizeField]);
  if (page_size_ == 1) page_size_ = 65536;
  const std::string wal_path = database_ + "-wal";
  if (process_.env().Stat(wal_path).ok()) {
    const auto wal = ReadAll(process_, wal_path);
    if (!wal) return false;
    TakeWal(*wal);
  }
  return !process_.dead() && page_size_ >= 512;
}

// As the next connection will recover it.
void WalByHand::TakeWal(std::span<const std::byte> wal) {
  const auto header = ParseWalHeader(wal);
  if (!header.ok() || !header.value() || wal.size() < kWalHeaderSize) return;
  header_ = *header.value();
  page_size_ = header_.page_size;
  WalScanner scanner(header_, header_.salts, WalStart(header_), wal.size());
  scanner.Feed(wal.subspan(kWalHeaderSize));
  end_ = scanner.commit_end();
  page_count_ = scanner.commit_pages();
  // Whatever page a commit has written stays in the WAL, also when a later one cuts it off.
  const std::uint64_t frame_bytes = WalFrameSize(page_size_);
  for (std::uint64_t at = kWalHeaderSize; at < end_.offset_bytes; at += frame_bytes) {
    const auto page = wal.subspan(at + kWalFrameHeaderSize, page_size_);
    in_wal_[LoadBe32(&wal[at])].assign(page.begin(), page.end());
  }
}

void WalByHand::BeginWal(Random& dice) {
  header_.big_endian_checksums = dice.OneIn(2);
  header_.page_size = page_size_;
  header_.salts = {static_cast<std::uint32_t>(dice.Next()),
                   static_cast<std::uint32_t>(dice.Next())};
  new_header_.resize(kWalHeaderSize);
  const std::array words = {
      header_.big_endian_checksums ? kWalMagicBigEndian : kWalMagicLittleEndian,
      kWalVersion,
      page_size_,
      header_.sequence,
      header_.salts[0],
      header_.salts[1]};
  for (std::size_t i = 0; i < words.size(); ++i) StoreBe32(&new_header_[4 * i], words[i]);
  header_.checksum =
      ContinueWalChecksum({}, std::span(new_header_).first(24), header_.big_endian_checksums);
  StoreBe32(&new_header_[24], header_.checksum[0]);
  StoreBe32(&new_header_[28], header_.checksum[1]);
  end_ = WalStart(header_);
}

std::vector<std::byte> WalByHand::Page(std::uint32_t number) const {
  if (const auto it = in_wal_.find(number); it != in_wal_.end()) return it->second;
  std::vector<std::byte> page(page_size_);
  const std::size_t at = std::size_t{number - 1} * page_size_;
  if (at < file_.size()) {
    const std::size_t count = std::min<std::size_t>(page_size_, file_.size() - at);
    std::ranges::copy(std::span(file_).subspan(at, count), page.begin());
  }
  return page;
}

WalByHand::Frame WalByHand::FirstPage(std::uint32_t trunk, std::uint32_t free_pages,
                                      std::uint32_t page_count) const {
  Frame frame{.number = 1, .page = Page(1)};
  const std::uint32_t counter = LoadBe32(&frame.page[kChangeCounter]) + 1;
  StoreBe32(&frame.page[kChangeCounter], counter);
  StoreBe32(&frame.page[kVersionValidFor], counter);
  StoreBe32(&frame.page[kPageCount], page_count);
  StoreBe32(&frame.page[kFirstTrunk], trunk);
  StoreBe32(&frame.page[kFreePages], free_pages);
  return frame;
}

bool WalByHand::Grow(std::uint32_t leaves, bool write_them, Random& dice) {
  const auto first = Page(1);
  const std::uint32_t trunk = page_count_ + 1;
  std::vector<Frame> frames;
  frames.push_back(FirstPage(trunk, LoadBe32(&first[kFreePages]) + 1 + leaves, trunk + leaves));
  frames.push_back({.number = trunk, .page = std::vector<std::byte>(page_size_)});
  std::vector<std::byte>& list = frames.back().page;
  StoreBe32(list.data(), LoadBe32(&first[kFirstTrunk]));
  StoreBe32(&list[4], leaves);
  for (std::uint32_t i = 1; i <= leaves; ++i) StoreBe32(&list[4 + 4 * std::size_t{i}], trunk + i);
  for (std::uint32_t i = 1; write_them && i <= leaves; ++i) {
    frames.push_back({.number = trunk + i, .page = std::vector<std::byte>(page_size_)});
    for (std::byte& b : frames.back().page) b = static_cast<std::byte>(dice.Next());
  }
  return Commit(frames, trunk + leaves);
}

bool WalByHand::Cut() {
  const auto first = Page(1);
  const std::uint32_t trunk = LoadBe32(&first[kFirstTrunk]);
  const auto list = Page(trunk);
  const std::uint32_t cut = 1 + LoadBe32(&list[4]);
  const std::uint32_t next = LoadBe32(list.data());
  return Commit({FirstPage(next, LoadBe32(&first[kFreePages]) - cut, trunk - 1)}, trunk - 1);
}

bool WalByHand::Commit(const std::vector<Frame>& frames, std::uint32_t page_count) {
  std::vector<std::byte> bytes = new_header_;
  const std::uint64_t at = new_header_.empty() ? end_.offset_bytes : 0;
  WalPoint end = end_;
  for (const Frame& frame : frames) {
    std::array<std::byte, kWalFrameHeaderSize> front = {};
    StoreBe32(front.data(), frame.number);
    StoreBe32(&front[4], &frame == &frames.back() ? page_count : 0);
    StoreBe32(&front[8], header_.salts[0]);
    StoreBe32(&front[12], header_.salts[1]);
    const bool big_endian = header_.big_endian_checksums;
    end.checksum = ContinueWalChecksum(end.checksum, std::span(front).first(8), big_endian);
    end.checksum = ContinueWalChecksum(end.checksum, frame.page, big_endian);
    StoreBe32(&front[16], end.checksum[0]);
    StoreBe32(&front[20], end.checksum[1]);
    end.offset_bytes += WalFrameSize(page_size_);
    bytes.insert(bytes.end(), front.begin(), front.end());
    bytes.insert(bytes.end(), frame.page.begin(), frame.page.end());
  }
  const auto file = process_.env().Open(database_ + "-wal", {.write = true, .create = true});
  if (!file.ok() || !file.value()->WriteAt(bytes, at).ok() || !file.value()->Sync().ok()) {
    return false;
  }
  const auto directory = std::filesystem::path(database_).parent_path();
  if (!process_.env().SyncDirectory(directory).ok()) return false;
  new_header_.clear();
  end_ = end;
  page_count_ = page_count;
  for (const Frame& frame : frames) in_wal_[frame.number] = frame.page;
  return true;
}

}  // namespace litestream::sim
