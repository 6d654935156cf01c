#include "replica/fetch.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "base/try.h"
#include "format/crc64.h"
#include "storage/resumable_source.h"

namespace litestream {
namespace {

// Small enough for the second-level cache, so that a page is still there when it is hashed and
// written; large enough that system calls do not count. At least two frames of the largest pages.
constexpr std::size_t kReadBytes = std::size_t{256} << 10;
constexpr std::size_t kWriteBytes = std::size_t{256} << 10;
// Stretches below this are left to the system, which may find neighbours to write along with them.
constexpr std::uint64_t kWritebackBytes = std::uint64_t{1} << 20;
constexpr std::chrono::milliseconds kTick{100};
constexpr std::array<std::byte, kLtxEndMarkerSize> kEndMarker = {};

constexpr std::size_t kMaxPageBytes = 65536;

static_assert(kReadBytes >= 2 * MaxLtxFrameSize(kMaxPageBytes));
static_assert(kWriteBytes % kMaxPageBytes == 0);

Error Broken(std::string what) {
  return {ErrorCode::kCorruption, std::move(what)};
}

// Without setting it to zero.
std::unique_ptr<std::byte[]> Buffer(std::size_t size_bytes) {
  return std::unique_ptr<std::byte[]>(new std::byte[size_bytes]);
}

}  // namespace

void RestoreTotals::Add(const Piece& piece, const PieceSums& sums) {
  MutexLock lock(mu_);
  auto& parts = file_crcs_[piece.file];
  if (parts.size() <= piece.ordinal) parts.resize(piece.ordinal + 1);
  parts[piece.ordinal] = {.crc = sums.crc, .bytes = sums.crc_bytes};
  page_sums_ ^= sums.page_sums;
  mixed_sums_ ^= sums.mixed_sums;
}

DatabaseChecksum RestoreTotals::database_checksum() const {
  MutexLock lock(mu_);
  return DatabaseChecksum(mixed_sums_);
}

std::uint64_t RestoreTotals::page_sums() const {
  MutexLock lock(mu_);
  return page_sums_;
}

std::uint64_t RestoreTotals::FoldFile(std::size_t file, std::uint64_t crc) const {
  MutexLock lock(mu_);
  for (const CrcPart& part : file_crcs_[file]) crc = Crc64Combine(crc, part.crc, part.bytes);
  return crc;
}

// The bytes of a piece, front to back: from memory, or from a source through a buffer.
class PieceFetcher::Input {
 public:
  explicit Input(std::span<const std::byte> held, std::uint64_t offset_bytes)
      : held_(held), offset_(offset_bytes) {}
  Input(std::unique_ptr<ByteSource> source, std::span<std::byte> buffer, std::uint64_t offset_bytes,
        std::uint64_t size_bytes)
      : source_(std::move(source)), buffer_(buffer), offset_(offset_bytes), left_(size_bytes) {}

  // The bytes [offset, offset + size); `offset` never goes back, and the buffer has room for them.
  Result<std::span<const std::byte>> At(const Context& ctx, std::uint64_t offset,
                                        std::size_t size) {
    if (source_ == nullptr) return held_.subspan(offset - offset_, size);
    while (offset_ + filled_ < offset + size) {
      const std::uint64_t skip = std::min<std::uint64_t>(offset - offset_, filled_);
      if (skip > 0 && (filled_ == buffer_.size() || skip == filled_)) {
        std::memmove(buffer_.data(), buffer_.data() + skip, filled_ - skip);
        offset_ += skip;
        filled_ -= skip;
      }
      const std::size_t room = std::min<std::uint64_t>(buffer_.size() - filled_, left_);
      const std::size_t n = LS_TRY(source_->Read(ctx, buffer_.subspan(filled_, room)));
      if (n == 0) return Broken(fmt::format("ends at byte {}", offset_ + filled_));
      filled_ += n;
      left_ -= n;
    }
    return std::span<const std::byte>(buffer_).subspan(offset - offset_, size);
  }

 private:
  std::span<const std::byte> held_;
  std::unique_ptr<ByteSource> source_;
  std::span<std::byte> buffer_;
  std::uint64_t offset_;    // In the file, of the first byte of held_ or buffer_.
  std::size_t filled_ = 0;  // Bytes in the buffer.
  std::uint64_t left_ = 0;  // Bytes still to come from the source.
};

// Folds the file checksum from page sums, so that no page is hashed twice: with K = x^(8 * page
// size), F := (CRC(F, frame header) ^ CRC(be32(pgno))) * K ^ page sum.
class PieceFetcher::Checksum {
 public:
  explicit Checksum(std::uint32_t page_size) : shift_(page_size), page_size_(page_size) {}

  void AddFrame(std::span<const std::byte> frame, const LtxFrame& parsed, std::uint64_t page_sum) {
    const std::size_t header_bytes = (parsed.flags & kLtxFrameFlagBlock) != 0
                                         ? kLtxFrameHeaderSize + kLtxSizePrefixSize
                                         : kLtxFrameHeaderSize;
    crc_ = Crc64(crc_, frame.first(header_bytes));
    crc_ = shift_.Apply(crc_ ^ PgnoSum(parsed.pgno)) ^ page_sum;
    bytes_ += header_bytes + page_size_;
  }
  void AddPlain(std::span<const std::byte> bytes) {
    crc_ = Crc64(crc_, bytes);
    bytes_ += bytes.size();
  }
  std::uint64_t crc() const { return crc_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Crc64Shift shift_;
  std::uint32_t page_size_;
  std::uint64_t crc_ = 0;
  std::uint64_t bytes_ = 0;
};

PieceFetcher::PieceFetcher(ReplicaClient& client, const std::vector<PlannedFile>& files,
                           File& output, bool checksums, RestoreTotals& totals)
    : client_(client),
      files_(files),
      output_(output),
      checksums_(checksums),
      totals_(totals),
      out_(Buffer(kWriteBytes)) {
  if (checksums_) unwanted_ = Buffer(kMaxPageBytes);
}

Result<void> PieceFetcher::Fetch(const Context& ctx, const Piece& piece) {
  LS_TRY(ctx.Check());
  const PlannedFile& file = files_[piece.file];
  const auto label = [&]() { return "ltx file " + FileLabel(file.info.id); };
  const auto held = file.Held(piece.offset_bytes, piece.size_bytes);
  if (!held.empty()) {
    Input input(held, piece.offset_bytes);
    LS_TRY(FetchFrom(ctx, piece, input), "{}", label());
    return {};
  }
  totals_.read_bytes += piece.size_bytes;
  if (in_ == nullptr) in_ = Buffer(kReadBytes);
  Input input(MakeResumableSource(client_, file.info.id, piece.offset_bytes, piece.size_bytes),
              {in_.get(), kReadBytes}, piece.offset_bytes, piece.size_bytes);
  LS_TRY(FetchFrom(ctx, piece, input), "{}", label());
  return {};
}

Result<void> PieceFetcher::FetchFrom(const Context& ctx, const Piece& piece, Input& input) {
  const std::uint32_t page_size = files_[piece.file].header.page_size;
  RestoreTotals::PieceSums sums;
  Checksum checksum(page_size);
  std::uint64_t wanted_pages = 0;
  std::uint64_t first_wanted = 0;
  for (const PieceFrame& entry : piece.frames) {
    const auto bytes = LS_TRY(input.At(ctx, entry.offset_bytes, entry.size_bytes));
    const LtxFrame frame = LS_TRY(ParseLtxFrame(bytes, page_size), "frame of page {}", entry.pgno);
    if (frame.pgno != Pgno{entry.pgno} || frame.size_bytes != entry.size_bytes) {
      return Broken(fmt::format("the page index says page {} with {} bytes, the frame {} with {}",
                                entry.pgno, entry.size_bytes, frame.pgno.value, frame.size_bytes));
    }
    if (!entry.wanted && !checksums_) continue;
    const std::span<std::byte> page =
        entry.wanted ? LS_TRY(Place(entry.pgno, page_size)) : std::span(unwanted_.get(), page_size);
    LS_TRY(DecodeLtxFrame(frame, page), "decode page {}", entry.pgno);
    const std::uint64_t sum = PageSum(frame.pgno, page);
    if (checksums_) checksum.AddFrame(bytes, frame, sum);
    if (!entry.wanted) continue;
    if (wanted_pages++ == 0) first_wanted = out_offset_;
    sums.page_sums ^= sum;
    sums.mixed_sums ^= MixPageSum(sum);
  }
  if (piece.has_end_marker) {
    const auto marker = LS_TRY(input.At(
        ctx, piece.offset_bytes + piece.size_bytes - kLtxEndMarkerSize, kLtxEndMarkerSize));
    if (!std::ranges::equal(marker, kEndMarker)) return Broken("no end marker behind the pages");
    if (checksums_) checksum.AddPlain(marker);
  }
  LS_TRY(Flush());
  const std::uint64_t stretch = out_offset_ - first_wanted;
  if (stretch >= kWritebackBytes && wanted_pages * page_size >= stretch / 2) {
    output_.StartWriteback(first_wanted, stretch);
  }
  sums.crc = checksum.crc();
  sums.crc_bytes = checksum.bytes();
  totals_.Add(piece, sums);
  return {};
}

Result<std::span<std::byte>> PieceFetcher::Place(std::uint32_t pgno, std::uint32_t page_size) {
  const std::uint64_t offset = (std::uint64_t{pgno} - 1) * page_size;
  if (out_size_ + page_size > kWriteBytes || offset != out_offset_ + out_size_) {
    LS_TRY(Flush());
    out_offset_ = offset;
  }
  const std::span<std::byte> page(out_.get() + out_size_, page_size);
  out_size_ += page_size;
  return page;
}

Result<void> PieceFetcher::Flush() {
  if (out_size_ == 0) return {};
  LS_TRY(output_.WriteAt({out_.get(), out_size_}, out_offset_));
  totals_.written_bytes += out_size_;
  out_offset_ += out_size_;
  out_size_ = 0;
  return {};
}

FetchPool::FetchPool(const Context& ctx, int threads,
                     const std::function<PieceFetcher()>& make_fetcher, std::function<void()> tick)
    : group_(ctx), queue_limit_(static_cast<std::size_t>(threads)), tick_(std::move(tick)) {
  for (int i = 0; i < threads; ++i) fetchers_.push_back(make_fetcher());
  if (threads == 1) return;
  threads_ = StartThreads(fetchers_.size(), [this]() { Work(fetchers_[next_fetcher_++]); });
}

FetchPool::~FetchPool() {
  group_.Fail(Error(ErrorCode::kCancelled, "abandoned"));  // Nothing happens if all is done.
}

Result<void> FetchPool::Submit(Piece piece) {
  if (threads_.empty()) {
    auto result = fetchers_.front().Fetch(group_.context(), piece);
    if (!result.ok()) group_.Fail(std::move(result).error());
    tick_();
    return group_.failed() ? group_.Status() : Result<void>();
  }
  while (!group_.failed()) {
    {
      MutexLock lock(mu_);
      const bool room =
          changed_.WaitFor(mu_, group_.context().stop(), kTick,
                           [this]() LS_REQUIRES(mu_) { return queue_.size() < queue_limit_; });
      if (room) {
        queue_.push_back(std::move(piece));
        changed_.NotifyAll();
        break;
      }
    }
    tick_();
  }
  tick_();
  return group_.failed() ? group_.Status() : Result<void>();
}

Result<void> FetchPool::Finish() {
  for (bool ended = threads_.empty(); !ended; tick_()) {
    MutexLock lock(mu_);
    closed_ = true;
    changed_.NotifyAll();
    // The threads end by themselves when the group stops; so wait for them, not for the stop.
    ended = changed_.WaitFor(mu_, std::stop_token(), kTick,
                             [this]() LS_REQUIRES(mu_) { return ended_ == threads_.size(); });
  }
  return group_.failed() ? group_.Status() : Result<void>();
}

void FetchPool::Work(PieceFetcher& fetcher) {
  while (true) {
    std::optional<Piece> piece;
    {
      MutexLock lock(mu_);
      changed_.Wait(mu_, group_.context().stop(),
                    [this]() LS_REQUIRES(mu_) { return !queue_.empty() || closed_; });
      if (!group_.failed() && !queue_.empty()) {
        piece = std::move(queue_.front());
        queue_.pop_front();
      } else {
        ++ended_;
      }
      changed_.NotifyAll();
    }
    if (!piece) return;
    auto result = fetcher.Fetch(group_.context(), *piece);
    if (!result.ok()) group_.Fail(std::move(result).error());
  }
}

}  // namespace litestream
