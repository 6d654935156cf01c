#include "db/page_sums.h"

#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/endian.h"
#include "base/try.h"
#include "format/crc64.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

//   offset size   (header page, 4096 bytes; integers big-endian)
//        0    8  "LSPAGSUM"
//        8    4  version 1
//       12    4  page size
//       16    4  page count
//       20    4  zero
//       24    8  TXID
//       32    8  database checksum
//       40    8  device
//       48    8  inode
//       56    8  CRC-64 of bytes 0..55
// Entry of page n: 8 bytes at 4096 + 8 * (n - 1).
constexpr std::string_view kMagic = "LSPAGSUM";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderUsed = 64;
constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::uint64_t kEntryBytes = 8;
constexpr std::uint64_t kEntriesPerBlock = kBlockBytes / kEntryBytes;

std::uint64_t EntryOffset(Pgno pgno) {
  return kBlockBytes + kEntryBytes * (std::uint64_t{pgno.value} - 1);
}

std::array<std::byte, kHeaderUsed> Format(const PageSumsHeader& h) {
  std::array<std::byte, kHeaderUsed> out = {};
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  StoreBe32(&out[8], kVersion);
  StoreBe32(&out[12], h.page_size);
  StoreBe32(&out[16], h.page_count);
  StoreBe64(&out[24], h.txid.value);
  StoreBe64(&out[32], h.checksum);
  StoreBe64(&out[40], h.database.device);
  StoreBe64(&out[48], h.database.inode);
  StoreBe64(&out[56], Crc64(0, std::span(out).first(56)));
  return out;
}

std::optional<PageSumsHeader> Parse(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderUsed) return std::nullopt;
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  if (LoadBe32(&bytes[8]) != kVersion) return std::nullopt;
  if (LoadBe64(&bytes[56]) != Crc64(0, bytes.first(56))) return std::nullopt;
  PageSumsHeader h;
  h.page_size = LoadBe32(&bytes[12]);
  h.page_count = LoadBe32(&bytes[16]);
  h.txid = Txid{LoadBe64(&bytes[24])};
  h.checksum = LoadBe64(&bytes[32]);
  h.database = {.device = LoadBe64(&bytes[40]), .inode = LoadBe64(&bytes[48])};
  if (!IsValidPageSize(h.page_size) || h.txid == Txid{}) return std::nullopt;
  return h;
}

// What the file has at least. The lock page has no entry, and may be the last one.
std::uint64_t SizeOf(const PageSumsHeader& header) {
  std::uint64_t last = header.page_count;
  if (last == LockPage(header.page_size).value) --last;
  return last == 0 ? 0 : EntryOffset(Pgno{static_cast<std::uint32_t>(last)}) + kEntryBytes;
}

}  // namespace

PageSums::PageSums(Env& env, std::filesystem::path path, FileOwner owner)
    : env_(env), path_(std::move(path)), owner_(owner) {}

Result<std::unique_ptr<PageSums>> PageSums::Open(Env& env, const std::filesystem::path& path,
                                                 const FileOwner& owner) {
  std::unique_ptr<PageSums> sums(new PageSums(env, path, owner));
  OpenOptions options{.write = true, .create = true, .exclusive = true};
  options.owner = owner;
  auto made = env.Open(path, options);
  if (made.ok()) {
    sums->file_ = std::move(made).value();
    sums->is_new_ = true;
    return sums;
  }
  if (!made.error().Is(ErrorCode::kAlreadyExists)) return std::move(made).error();
  options.exclusive = false;
  sums->file_ = LS_TRY(env.Open(path, options));
  std::array<std::byte, kHeaderUsed> bytes = {};
  const std::size_t got = LS_TRY(sums->file_->ReadAt(bytes, 0), "{}", path.string());
  sums->header_ = Parse(std::span(bytes).first(got));
  if (sums->header_ && LS_TRY(sums->file_->Stat()).size_bytes < SizeOf(*sums->header_)) {
    sums->header_.reset();
  }
  return sums;
}

Result<void> PageSums::LoadBlock(std::uint64_t index) {
  if (block_index_ == index) return {};
  block_index_.reset();
  block_.assign(kBlockBytes, std::byte{});
  // A short read is the end of the table: zeros.
  LS_TRY(file_->ReadAt(block_, kBlockBytes * (index + 1)), "{}", path_.string());
  block_index_ = index;
  return {};
}

Result<std::uint64_t> PageSums::Get(Pgno pgno) {
  const std::uint64_t entry = std::uint64_t{pgno.value} - 1;
  LS_TRY(LoadBlock(entry / kEntriesPerBlock));
  return LoadBe64(&block_[entry % kEntriesPerBlock * kEntryBytes]);
}

Result<void> PageSums::GetRange(Pgno first, std::span<std::uint64_t> out) {
  const auto bytes = std::as_writable_bytes(out);
  const std::size_t got = LS_TRY(file_->ReadAt(bytes, EntryOffset(first)), "{}", path_.string());
  std::memset(bytes.data() + got, 0, bytes.size() - got);
  for (auto& value : out) value = LoadBe64(reinterpret_cast<const std::byte*>(&value));
  return {};
}

Result<void> PageSums::Set(std::span<const PageSumEntry> entries) {
  block_index_.reset();
  is_new_ = false;
  std::vector<std::byte> run;
  constexpr std::size_t kMaxRunBytes = 64 * 1024;
  std::size_t i = 0;
  while (i < entries.size()) {
    // Neighbouring pages go out in one write.
    const Pgno first = entries[i].pgno;
    run.clear();
    while (i < entries.size() && run.size() < kMaxRunBytes &&
           entries[i].pgno.value == first.value + run.size() / kEntryBytes) {
      run.resize(run.size() + kEntryBytes);
      StoreBe64(&run[run.size() - kEntryBytes], entries[i].sum);
      ++i;
    }
    LS_TRY(file_->WriteAt(run, EntryOffset(first)), "{}", path_.string());
  }
  return {};
}

Result<void> PageSums::Flush(const PageSumsHeader& header) {
  if (header_ == header) return {};
  is_new_ = false;
  LS_TRY(file_->SyncData(), "{}", path_.string());
  const auto bytes = Format(header);
  LS_TRY(file_->WriteAt(bytes, 0), "{}", path_.string());
  LS_TRY(file_->SyncData(), "{}", path_.string());
  header_ = header;
  return {};
}

Result<void> PageSums::Reset() {
  header_.reset();
  block_index_.reset();
  if (is_new_) return {};
  LS_TRY(file_->Truncate(0), "{}", path_.string());
  return file_->Sync();
}

}  // namespace litestream
