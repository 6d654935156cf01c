#include "replica/page_index.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

#include "base/try.h"
#include "format/crc64.h"
#include "format/page_sum.h"
#include "storage/resumable_source.h"

namespace litestream {
namespace {

constexpr std::size_t kIndexBlockBytes = std::size_t{64} << 10;
constexpr std::uint32_t kLastPgno = std::numeric_limits<std::uint32_t>::max();

Error Broken(std::string what) {
  return {ErrorCode::kCorruption, std::move(what)};
}

Result<void> CheckEntry(const LtxIndexEntry& entry, const LtxHeader& header) {
  const std::uint32_t pgno = entry.pgno.value;
  if (pgno > header.commit_pages) {
    return Broken(
        fmt::format("page number {} out-of-bounds for commit size {}", pgno, header.commit_pages));
  }
  if (entry.pgno == LockPage(header.page_size)) {
    return Broken(fmt::format("holds the lock page {}", pgno));
  }
  if (entry.size_bytes > MaxLtxFrameSize(header.page_size)) {
    return Broken(fmt::format("the frame of page {} has {} bytes, more than a page can take", pgno,
                              entry.size_bytes));
  }
  return {};
}

}  // namespace

// Gathers adjacent frames of one file and passes them on as pieces.
class PageIndex::Cutter {
 public:
  Cutter(std::size_t file, std::size_t& next_ordinal, const PieceLimits& limits,
         const std::function<Result<void>(Piece)>& emit)
      : file_(file), next_ordinal_(next_ordinal), limits_(limits), emit_(emit) {}

  Result<void> Add(const LtxIndexEntry& entry, bool wanted) {
    const std::uint64_t end = piece_.offset_bytes + piece_.size_bytes;
    const bool fits =
        piece_.frames.size() < limits_.frames &&
        entry.offset_bytes + entry.size_bytes - piece_.offset_bytes <= limits_.piece_bytes &&
        entry.offset_bytes - end <= limits_.hole_bytes;
    if (!piece_.frames.empty() && !fits) LS_TRY(Flush());
    if (piece_.frames.empty()) piece_.offset_bytes = entry.offset_bytes;
    piece_.size_bytes = entry.offset_bytes + entry.size_bytes - piece_.offset_bytes;
    piece_.frames.push_back({.offset_bytes = entry.offset_bytes,
                             .pgno = entry.pgno.value,
                             .size_bytes = static_cast<std::uint32_t>(entry.size_bytes),
                             .wanted = wanted});
    return {};
  }

  Result<void> AddEndMarker(std::uint64_t offset_bytes) {
    if (piece_.frames.empty()) piece_.offset_bytes = offset_bytes;
    piece_.size_bytes = offset_bytes + kLtxEndMarkerSize - piece_.offset_bytes;
    piece_.has_end_marker = true;
    return Flush();
  }

  Result<void> Flush() {
    if (piece_.size_bytes == 0) return {};
    piece_.file = file_;
    piece_.ordinal = next_ordinal_++;
    return emit_(std::exchange(piece_, {}));
  }

 private:
  const std::size_t file_;
  std::size_t& next_ordinal_;
  const PieceLimits& limits_;
  const std::function<Result<void>(Piece)>& emit_;
  Piece piece_;
};

PageIndex::PageIndex(ReplicaClient& client, const std::vector<PlannedFile>& files, bool whole,
                     const PieceLimits& limits)
    : client_(client),
      files_(files),
      whole_(whole),
      limits_(limits),
      page_size_(files.back().header.page_size),
      page_count_(files.back().header.commit_pages),
      index_crcs_(files.size()),
      next_ordinal_(files.size()) {}

Result<void> PageIndex::Run(const Context& ctx, const std::function<Result<void>(Piece)>& emit) {
  // The last stripe takes what files have beyond the end of the database, too: it is not wanted,
  // but whole files must be read. An empty database has one stripe.
  std::uint64_t first = 1;
  do {
    Stripe stripe = MakeStripe(first);
    LS_TRY(RunStripe(ctx, stripe, emit));
    NoteMissing(stripe);
    first += limits_.stripe_pages;
  } while (first <= page_count_);
  return {};
}

PageIndex::Stripe PageIndex::MakeStripe(std::uint64_t first) const {
  Stripe stripe;
  stripe.first = static_cast<std::uint32_t>(first);
  const std::uint64_t last_page =
      std::min<std::uint64_t>(first + limits_.stripe_pages - 1, page_count_);
  stripe.last = last_page == page_count_ ? kLastPgno : static_cast<std::uint32_t>(last_page);
  stripe.open = page_count_ == 0 ? 0 : last_page - first + 1;
  stripe.claimed.resize((stripe.open + 63) / 64);
  const std::uint32_t lock = LockPage(page_size_).value;
  if (lock >= first && lock <= last_page) {
    const std::uint32_t bit = lock - stripe.first;
    stripe.claimed[bit / 64] |= std::uint64_t{1} << (bit % 64);
    --stripe.open;
  }
  return stripe;
}

Result<void> PageIndex::RunStripe(const Context& ctx, Stripe& stripe,
                                  const std::function<Result<void>(Piece)>& emit) {
  std::uint32_t limit_pages = page_count_;
  for (std::size_t i = files_.size(); i-- > 0;) {
    const LtxHeader& header = files_[i].header;
    limit_pages = header.page_size == page_size_ ? std::min(limit_pages, header.commit_pages) : 0;
    if (!whole_ && (stripe.open == 0 || limit_pages < stripe.first)) break;
    Cutter cutter(i, next_ordinal_[i], limits_, emit);
    LS_TRY(RunFile(ctx, i, limit_pages, stripe, cutter), "ltx file {}",
           FileLabel(files_[i].info.id));
    const bool at_end = stripe.last == kLastPgno;
    LS_TRY(whole_ && at_end ? cutter.AddEndMarker(files_[i].tail.index_offset - kLtxEndMarkerSize)
                            : cutter.Flush());
  }
  return {};
}

Result<void> PageIndex::RunFile(const Context& ctx, std::size_t index, std::uint32_t limit_pages,
                                Stripe& stripe, Cutter& cutter) {
  const PlannedFile& file = files_[index];
  LtxIndexReader reader(file.tail.index_offset, file.tail.index_bytes);
  std::vector<LtxIndexEntry> entries;
  std::uint64_t crc = 0;
  LS_TRY(ForEachIndexBlock(ctx, file, [&](std::span<const std::byte> block) -> Result<void> {
    if (whole_) crc = Crc64(crc, block);
    entries.clear();
    LS_TRY(reader.Feed(block, entries), "read page index");
    for (const LtxIndexEntry& entry : entries) {
      LS_TRY(CheckEntry(entry, file.header));
      const std::uint32_t pgno = entry.pgno.value;
      if (pgno < stripe.first || pgno > stripe.last) continue;
      bool wanted = false;
      if (pgno <= limit_pages) {
        const std::uint32_t bit = pgno - stripe.first;
        std::uint64_t& word = stripe.claimed[bit / 64];
        const std::uint64_t mask = std::uint64_t{1} << (bit % 64);
        wanted = (word & mask) == 0;
        word |= mask;
        if (wanted) --stripe.open;
      }
      if (wanted || whole_) LS_TRY(cutter.Add(entry, wanted));
    }
    return {};
  }));
  LS_TRY(reader.Finish(), "read page index");
  index_crcs_[index] = crc;
  return {};
}

Result<void> PageIndex::ForEachIndexBlock(
    const Context& ctx, const PlannedFile& file,
    const std::function<Result<void>(std::span<const std::byte>)>& take) {
  const std::uint64_t size = file.tail.index_bytes;
  if (const auto held = file.Held(file.tail.index_offset, size); !held.empty()) return take(held);
  const auto source = MakeResumableSource(client_, file.info.id, file.tail.index_offset, size);
  std::vector<std::byte> block(kIndexBlockBytes);
  for (std::uint64_t left = size; left > 0;) {
    const std::size_t n = LS_TRY(
        source->Read(ctx, std::span(block).first(std::min<std::uint64_t>(left, block.size()))));
    if (n == 0) return Broken("the page index ends early");
    LS_TRY(take(std::span(block).first(n)));
    left -= n;
    read_bytes_ += n;
  }
  return {};
}

void PageIndex::NoteMissing(const Stripe& stripe) {
  if (missing_ || stripe.open == 0) return;
  for (std::uint64_t bit = 0;; ++bit) {
    if ((stripe.claimed[bit / 64] >> (bit % 64) & 1) == 0) {
      missing_ = Pgno{static_cast<std::uint32_t>(stripe.first + bit)};
      return;
    }
  }
}

}  // namespace litestream
