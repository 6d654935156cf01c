#include "db/scrubber.h"

#include <algorithm>

#include "base/try.h"
#include "db/wal_segment.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

// A pass of a large database takes at most this part of the interval between passes.
constexpr int kPassShare = 10;
constexpr std::chrono::milliseconds kMinSlicePause{5};

}  // namespace

MonoTime Scrubber::NextDue(MonoTime now) const {
  if (pass_interval_.count() <= 0 && !due_ && !running_) return MonoTime::max();
  if (running_) return next_slice_;
  return due_ ? now : next_pass_;
}

// Notes which pages the WAL holds. Costs one reading of the WAL for each slice in which it moved.
Result<void> Scrubber::MapWal(const Context& ctx, Attachment& attachment) {
  const WalView& view = attachment.held();
  if (view.salts == wal_salts_ && view.end_offset() == wal_end_) return {};
  in_wal_.clear();
  if (view.frames > 0 && !attachment.restart_allowed()) {
    const WalSegment segment = LS_TRY(ReadWalSegment(ctx, attachment, view, WalPoint{}, 0));
    if (!segment.pages.empty()) in_wal_.resize(segment.pages.back().pgno.value + 1);
    for (const WalPageEntry& entry : segment.pages) in_wal_[entry.pgno.value] = true;
  }
  wal_salts_ = view.salts;
  wal_end_ = view.end_offset();
  return {};
}

Result<std::vector<Pgno>> Scrubber::Slice(const Context& ctx, Attachment& attachment,
                                          Capture& capture) {
  const MonoTime now = ctx.clock().Monotonic();
  if (!running_) {
    running_ = true;
    due_ = false;
    next_page_ = 1;
  }
  std::vector<Pgno> different;
  const std::uint32_t page_size = attachment.page_size();
  const std::uint32_t page_count = capture.position().commit_pages;
  const std::uint32_t slice_pages = std::max(1U, kSliceBytes / page_size);
  if (next_page_ <= page_count) {
    LS_TRY(MapWal(ctx, attachment));
    const std::uint32_t count = std::min(slice_pages, page_count - next_page_ + 1);
    std::vector<std::byte> pages(std::size_t{count} * page_size);
    std::vector<std::uint64_t> sums(count);
    LS_TRY(attachment.ReadPages(Pgno{next_page_}, pages));
    LS_TRY(capture.ExpectedSums(Pgno{next_page_}, sums));
    for (std::uint32_t i = 0; i < count; ++i) {
      const Pgno pgno{next_page_ + i};
      if (pgno == LockPage(page_size)) continue;
      if (pgno.value < in_wal_.size() && in_wal_[pgno.value]) continue;
      const auto page =
          std::span<const std::byte>(pages).subspan(std::size_t{i} * page_size, page_size);
      ++status_.pages;
      if (PageSum(pgno, page) != sums[i]) different.push_back(pgno);
    }
    next_page_ += count;
  }
  status_.differences += different.size();
  const std::uint32_t slices = page_count / slice_pages + 1;
  next_slice_ = now + std::clamp<std::chrono::nanoseconds>(pass_interval_ / kPassShare / slices,
                                                           kMinSlicePause, std::chrono::seconds(1));
  if (next_page_ > page_count) {
    running_ = false;
    next_pass_ = now + pass_interval_;
    ++status_.passes;
    status_.last_pass = ctx.clock().Now();
  }
  return different;
}

}  // namespace litestream
