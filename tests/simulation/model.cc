#include "tests/simulation/model.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "base/endian.h"

namespace litestream::sim {
namespace {

// Of the newest states the pages are kept, of all others a hash over all pages.
constexpr std::size_t kRemembered = 20;
constexpr std::size_t kHeaderBytes = 48;
// Of the count of frames that are in the database file, behind both copies of the header.
constexpr std::size_t kBackfillOffset = 2 * kHeaderBytes;
constexpr std::uint64_t kWalHeader = 32;
constexpr std::uint64_t kFrameHeader = 24;

std::uint32_t Native32(const std::byte* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint64_t HashBytes(std::span<const std::byte> bytes) {
  std::uint64_t hash = bytes.size();
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, &bytes[at], sizeof word);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    hash ^= hash >> 29U;
  }
  for (; at < bytes.size(); ++at) {
    hash = (hash ^ std::to_integer<std::uint64_t>(bytes[at])) * 0x100000001b3U;
  }
  return hash;
}

std::vector<std::byte> ReadAll(File& file) {
  const auto stat = file.Stat();
  if (!stat.ok()) return {};
  std::vector<std::byte> content(stat.value().size_bytes);
  const auto got = file.ReadAt(content, 0);
  content.resize(got.ok() ? got.value() : 0);
  return content;
}

std::uint32_t PageSizeField(std::uint32_t value) {
  return value == 1 ? 65536 : value;
}

}  // namespace

PagePtr MakePage(std::span<const std::byte> bytes) {
  auto page = std::make_shared<Page>();
  page->bytes.assign(bytes.begin(), bytes.end());
  page->hash = HashBytes(bytes);
  return page;
}

std::uint64_t Image::hash() const {
  std::uint64_t hash = pages.size() * 1'000'003 + page_size;
  for (const PagePtr& page : pages) hash = Mix(hash, page ? page->hash : 0);
  return hash;
}

bool Same(const Image& a, const Image& b) {
  if (a.page_size != b.page_size || a.pages.size() != b.pages.size()) return false;
  return std::ranges::equal(a.pages, b.pages, [](const PagePtr& x, const PagePtr& y) {
    return x == y || (x && y && x->hash == y->hash && x->bytes == y->bytes);
  });
}

std::string Difference(const Image& a, const Image& b) {
  if (a.page_size != b.page_size) {
    return fmt::format("page size {} against {}", a.page_size, b.page_size);
  }
  std::string text =
      fmt::format("{} against {} pages; other content:", a.pages.size(), b.pages.size());
  for (std::size_t i = 0; i < std::min(a.pages.size(), b.pages.size()); ++i) {
    const PagePtr& x = a.pages[i];
    const PagePtr& y = b.pages[i];
    if (x != y && (!x || !y || x->bytes != y->bytes)) text += fmt::format(" {}", i + 1);
  }
  return text;
}

Model::Model(World& world, std::string path) : world_(world), path_(std::move(path)) {
  world_.SetOnWalIndex([this](const WalIndex& index) { OnWalIndex(index); });
  world_.SetObserver([this] { Observe(); });
}

bool Model::Is(Number number, const Image& image) const {
  const State& s = states_[number - 1];
  // The hash is over all pages; of a forgotten state it is all there is.
  if (s.hash != image.hash()) return false;
  return s.image.pages.empty() || Same(s.image, image);
}

std::optional<Model::Number> Model::Find(const Image& image, Number from) const {
  const auto it = by_hash_.find(image.hash());
  if (it == by_hash_.end()) return std::nullopt;
  for (const Number number : it->second) {
    if (number >= from && Is(number, image)) return number;
  }
  return std::nullopt;
}

bool Model::IsThere() const {
  return world_.disk().Stat(path_).ok();
}

bool Model::IsOfPresentFile(Number number) const {
  const auto stat = world_.disk().Stat(path_);
  return stat.ok() && stat.value().identity.inode == states_[number - 1].inode;
}

const Model::Followed* Model::Present() const {
  const auto database = world_.disk().Stat(path_);
  const auto shm = world_.disk().Stat(path_ + "-shm");
  if (!database.ok() || !shm.ok()) return nullptr;
  const auto it = followed_.find(shm.value().identity.inode);
  if (it == followed_.end() || !it->second.header) return nullptr;
  const Followed& f = it->second;
  const bool same = f.index.database_inode == database.value().identity.inode;
  return same && world_.memory().Look(it->first, 0) != nullptr ? &f : nullptr;
}

std::uint32_t Model::FramesToCheckpoint() const {
  const Followed* const f = Present();
  if (f == nullptr) return 0;
  return f->header->frames - std::min(f->header->frames, f->backfilled);
}

std::optional<Model::WalId> Model::PresentWal() const {
  const Followed* const f = Present();
  if (f == nullptr) return std::nullopt;
  return WalId{.inode = f->wal->Stat().value().identity.inode, .salts = f->header->salts};
}

std::uint32_t Model::PresentWalFrames() const {
  const Followed* const f = Present();
  return f == nullptr ? 0 : f->header->frames;
}

void Model::OnWalIndex(const WalIndex& index) {
  if (index.database_path != path_) return;
  Followed& f = followed_[index.shm_inode];
  auto database = world_.disk().Open(path_, {});
  auto wal = world_.disk().Open(path_ + "-wal", {});
  const bool same = database.ok() && wal.ok() &&
                    database.value()->Stat().value().identity.inode == index.database_inode;
  if (same && f.database && f.index.database_inode == index.database_inode &&
      f.wal->Stat().value().identity == wal.value()->Stat().value().identity) {
    return;
  }
  if (!same) {
    // The file was replaced while somebody opened it: what is published there, nobody can find.
    followed_.erase(index.shm_inode);
    return;
  }
  f = {};
  f.index = index;
  f.database = std::move(database).value();
  f.wal = std::move(wal).value();
}

void Model::Observe() {
  for (auto& [inode, f] : followed_) {
    const std::byte* const memory = world_.memory().Look(inode, 0);
    if (memory == nullptr) {
      f.header.reset();
      continue;
    }
    f.backfilled = std::max(f.backfilled, Native32(memory + kBackfillOffset));
    if (std::memcmp(memory, f.seen.data(), kHeaderBytes) == 0) continue;
    // Both copies are equal: it is published. (Offset 12: initialised.)
    if (std::memcmp(memory, memory + kHeaderBytes, kHeaderBytes) != 0) continue;
    if (memory[12] == std::byte{0}) continue;
    std::memcpy(f.seen.data(), memory, kHeaderBytes);
    Header header;
    std::uint16_t page_size = 0;
    std::memcpy(&page_size, memory + 14, sizeof page_size);
    header.page_size = PageSizeField(page_size);
    header.frames = Native32(memory + 16);
    header.pages = Native32(memory + 20);
    header.salts = {Native32(memory + 32), Native32(memory + 36)};
    Publish(f, header);
  }
}

// SQLite may remove the log at a close and leave its index (of a full disk, say), and others who
// have it open make another.
void Model::FollowNewWal(Followed& f, const Header& header) {
  const std::uint64_t end = kWalHeader + header.frames * (kFrameHeader + header.page_size);
  if (header.frames == 0 || f.wal->Stat().value().size_bytes >= end) return;
  const auto database = world_.disk().Stat(path_);
  auto wal = world_.disk().Open(path_ + "-wal", {});
  const bool same =
      database.ok() && database.value().identity.inode == f.index.database_inode && wal.ok();
  if (same) f.wal = std::move(wal).value();
}

void Model::Publish(Followed& f, const Header& header) {
  FollowNewWal(f, header);
  if (!f.header) {
    f.image = FromScratch(f, header);
  } else if (header.frames == 0 && header.salts != f.header->salts) {
    // The WAL begins anew, and everything is in the database file.
  } else if (!Extend(f, header)) {
    f.image = FromScratch(f, header);
  }
  const bool is_new = !f.header || f.header->salts != header.salts;
  if (is_new) f.backfilled = Native32(world_.memory().Look(f.index.shm_inode, 0) + kBackfillOffset);
  f.header = header;
  Record(f);
}

// The usual case: some frames more. False: not that.
bool Model::Extend(Followed& f, const Header& header) {
  const bool restarted = f.header->frames == 0;
  if (!restarted && (header.salts != f.header->salts || header.frames < f.header->frames)) {
    return false;
  }
  if (header.page_size != f.image.page_size) return false;
  const std::uint64_t frame_bytes = kFrameHeader + header.page_size;
  const std::uint64_t first = kWalHeader + f.header->frames * frame_bytes;
  std::vector<std::byte> frames((header.frames - f.header->frames) * frame_bytes);
  const auto got = f.wal->ReadAt(frames, first);
  if (!got.ok() || got.value() != frames.size()) {
    world_.Fail("model: frames are published that are not in the WAL");
    return true;
  }
  std::vector<PagePtr> pages = f.image.pages;
  const std::size_t before = pages.size();
  std::size_t grown = 0;
  for (std::size_t at = 0; at < frames.size(); at += frame_bytes) {
    const std::uint32_t number = LoadBe32(&frames[at]);
    if (number == 0) return false;
    if (pages.size() < number) pages.resize(number);
    PagePtr& page = pages[number - 1];
    if (!page) ++grown;
    page = MakePage(std::span(frames).subspan(at + kFrameHeader, header.page_size));
  }
  // Pages that are new, and not among these frames, stand somewhere earlier.
  const std::size_t most = std::max<std::size_t>(pages.size(), header.pages);
  if (header.pages > before && grown < most - before) return false;
  pages.resize(header.pages);
  f.image.pages = std::move(pages);
  return true;
}

Image Model::FromScratch(Followed& f, const Header& header) {
  const std::vector<std::byte> file = ReadAll(*f.database);
  Image image;
  image.page_size = header.page_size;
  std::uint32_t count = header.pages;
  if (header.frames == 0) {
    if (file.size() < 100) return {};
    image.page_size = PageSizeField((std::to_integer<std::uint32_t>(file[16]) << 8U) |
                                    std::to_integer<std::uint32_t>(file[17]));
    if (image.page_size < 512) return {};
    count = LoadBe32(&file[28]);
    if (count == 0 || LoadBe32(&file[24]) != LoadBe32(&file[92])) {
      count = static_cast<std::uint32_t>(file.size() / image.page_size);
    }
  }
  const std::vector<std::byte> zeros(image.page_size);
  image.pages.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = i * image.page_size;
    const bool there = at + image.page_size <= file.size();
    image.pages[i] =
        MakePage(there ? std::span(file).subspan(at, image.page_size) : std::span(zeros));
  }
  const std::vector<std::byte> wal = ReadAll(*f.wal);
  const std::uint64_t frame_bytes = kFrameHeader + image.page_size;
  for (std::uint64_t i = 0; i < header.frames; ++i) {
    const std::uint64_t at = kWalHeader + i * frame_bytes;
    if (at + frame_bytes > wal.size()) {
      world_.Fail("model: frames are published that are not in the WAL");
      return image;
    }
    const std::uint32_t number = LoadBe32(&wal[at]);
    if (number == 0 || number > count) continue;
    image.pages[number - 1] = MakePage(std::span(wal).subspan(at + kFrameHeader, image.page_size));
  }
  return image;
}

void Model::Record(const Followed& f) {
  if (f.image.pages.empty()) return;
  if (!states_.empty() && Same(states_.back().image, f.image)) return;
  const std::uint64_t hash = f.image.hash();
  states_.push_back({.image = f.image, .hash = hash, .inode = f.index.database_inode});
  by_hash_[hash].push_back(states_.size());
  if (states_.size() > kRemembered) states_[states_.size() - kRemembered - 1].image.pages = {};
  world_.Note("model", "commit", "", states_.size(), f.image.pages.size());
}

}  // namespace litestream::sim
