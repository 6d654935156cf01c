#include <cstring>
#include <string_view>

#include "base/endian.h"
#include "base/try.h"
#include "format/crc64.h"
#include "replica/catalogue.h"

namespace litestream {
namespace {

//   offset size   (header; integers big-endian)
//        0    8  "LSCATLOG"
//        8    4  version 2
//       12   40  number of files of the levels 0 to 9, 4 bytes each
//       52    4  size of the lease's mark
//       56    8  chain
//       64    8  CRC-64 of the place
//       72    8  CRC-64 of bytes 0..71 and of everything behind the header
// The entries follow, those of level 0 first, ascending by (first, last TXID); then the mark.
constexpr std::string_view kMagic = "LSCATLOG";
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kCountsOffset = 12;
constexpr std::size_t kHeaderBytes = 80;

//   offset size   (entry)
//        0    8  first TXID
//        8    8  last TXID
//       16    8  size
//       24    8  milliseconds since 1970
constexpr std::size_t kEntryBytes = 32;

//   offset size   (mark; nothing if none is known)
//        0    8  generation of the lease
// Its tag follows, to the end.
constexpr std::size_t kMarkBytes = 8;

constexpr std::size_t kMaxFileBytes = std::size_t{256} << 20;

std::uint64_t HashOf(std::string_view text) {
  return Crc64(0, std::as_bytes(std::span(text)));
}

// Of everything but the place where it stands itself.
std::uint64_t CrcOf(std::span<const std::byte> file) {
  return Crc64(Crc64(0, file.first(kHeaderBytes - 8)), file.subspan(kHeaderBytes));
}

// The number of entries of each level; unset if this is no such file, or somebody else's.
std::optional<std::array<std::size_t, kLevelCount>> ParseHeader(std::span<const std::byte> file,
                                                                const CatalogueOwner& whose) {
  if (file.size() < kHeaderBytes) return std::nullopt;
  if (std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  if (LoadBe32(&file[8]) != kVersion || LoadBe64(&file[72]) != CrcOf(file)) return std::nullopt;
  if (LoadBe64(&file[56]) != whose.chain) return std::nullopt;
  if (LoadBe64(&file[64]) != HashOf(whose.place)) return std::nullopt;
  std::array<std::size_t, kLevelCount> counts = {};
  std::size_t total = 0;
  for (std::size_t level = 0; level < kLevelCount; ++level) {
    counts[level] = LoadBe32(&file[kCountsOffset + 4 * level]);
    total += counts[level];
  }
  if (file.size() != kHeaderBytes + kEntryBytes * total + LoadBe32(&file[52])) return std::nullopt;
  return counts;
}

std::size_t SizeOf(const LeaseMark& mark) {
  return mark.known() ? kMarkBytes + mark.tag.size() : 0;
}

void StoreMark(const LeaseMark& mark, std::byte* at) {
  if (!mark.known()) return;
  StoreBe64(at, static_cast<std::uint64_t>(mark.generation));
  std::memcpy(at + kMarkBytes, mark.tag.data(), mark.tag.size());
}

LeaseMark LoadMark(std::span<const std::byte> bytes) {
  if (bytes.size() < kMarkBytes) return {};
  const auto tag = bytes.subspan(kMarkBytes);
  return {.generation = static_cast<std::int64_t>(LoadBe64(bytes.data())),
          .tag = std::string(reinterpret_cast<const char*>(tag.data()), tag.size()),
          .instance = {}};
}

}  // namespace

std::optional<SavedCatalogue> CatalogueFile::Load(const CatalogueOwner& whose) {
  return Read(whose, std::nullopt);
}

std::optional<SavedCatalogue> CatalogueFile::LoadAgain(const CatalogueOwner& whose) {
  return Read(whose, crc_);
}

std::optional<SavedCatalogue> CatalogueFile::Read(const CatalogueOwner& whose,
                                                  std::optional<std::uint64_t> crc) {
  const auto read = ReadSmallFile(env_, path_, kMaxFileBytes);
  if (!read.ok()) return std::nullopt;
  const auto bytes = std::as_bytes(std::span(read.value()));
  const auto counts = ParseHeader(bytes, whose);
  if (!counts || (crc && *crc != CrcOf(bytes))) return std::nullopt;
  crc_ = CrcOf(bytes);
  SavedCatalogue saved;
  const std::byte* at = bytes.data() + kHeaderBytes;
  for (std::size_t level = 0; level < kLevelCount; ++level) {
    auto& entries = saved.catalogue.levels_[level];
    entries.reserve((*counts)[level]);
    for (std::size_t i = 0; i < (*counts)[level]; ++i, at += kEntryBytes) {
      const auto time = static_cast<std::int64_t>(LoadBe64(at + 24));
      entries.push_back({.txids = {Txid{LoadBe64(at)}, Txid{LoadBe64(at + 8)}},
                         .size_bytes = LoadBe64(at + 16),
                         .created_at = WallTime(std::chrono::milliseconds(time))});
    }
  }
  saved.lease = LoadMark(bytes.subspan(static_cast<std::size_t>(at - bytes.data())));
  return saved;
}

Result<void> CatalogueFile::Save(const Catalogue& catalogue, const CatalogueOwner& whose,
                                 const LeaseMark& lease) {
  if (!catalogue.doubtful().empty()) return {};
  std::vector<std::byte> file(kHeaderBytes + kEntryBytes * catalogue.file_count() + SizeOf(lease));
  std::memcpy(file.data(), kMagic.data(), kMagic.size());
  StoreBe32(&file[8], kVersion);
  StoreBe64(&file[56], whose.chain);
  StoreBe64(&file[64], HashOf(whose.place));
  std::byte* at = file.data() + kHeaderBytes;
  for (std::size_t level = 0; level < kLevelCount; ++level) {
    const auto& entries = catalogue.levels_[level];
    StoreBe32(&file[kCountsOffset + 4 * level], static_cast<std::uint32_t>(entries.size()));
    for (const auto& entry : entries) {
      StoreBe64(at, entry.txids.min.value);
      StoreBe64(at + 8, entry.txids.max.value);
      StoreBe64(at + 16, entry.size_bytes);
      StoreBe64(at + 24, static_cast<std::uint64_t>(entry.created_at.time_since_epoch().count()));
      at += kEntryBytes;
    }
  }
  StoreMark(lease, at);
  StoreBe32(&file[52], static_cast<std::uint32_t>(SizeOf(lease)));
  crc_ = CrcOf(file);
  StoreBe64(&file[72], crc_);
  LS_TRY(Discard());  // If this fails to be written, an old one must not be left.
  gone_ = false;
  return WriteFileAtomically(env_, path_, file, owner_);
}

Result<void> CatalogueFile::Discard() {
  if (gone_) return {};
  auto removed = env_.Remove(path_);
  if (!removed.ok() && !removed.error().Is(ErrorCode::kNotFound)) return removed;
  // Even if it was not there: an earlier removal may not be durable. (Unless its directory is
  // gone.)
  auto synced = env_.SyncDirectory(std::filesystem::path(path_).parent_path());
  if (!synced.ok() && !synced.error().Is(ErrorCode::kNotFound)) return synced;
  gone_ = true;
  return {};
}

}  // namespace litestream
