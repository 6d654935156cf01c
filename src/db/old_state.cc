#include "db/old_state.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/try.h"
#include "format/page_sum.h"

namespace litestream {

OldState::OldState(Env& env, Attachment& attachment, DatabaseImage image,
                   std::filesystem::path kept, FileOwner owner)
    : env_(env),
      attachment_(attachment),
      image_(std::move(image)),
      wal_(attachment, image_.wal),
      kept_path_(std::move(kept)),
      owner_(owner),
      page_size_(attachment.page_size()) {}

void OldState::Break(Error reason) {
  if (!broken_) broken_ = std::move(reason);
}

// Invariant 2.
bool OldState::MayLieInWal() const {
  return !attachment_.restart_allowed() && attachment_.held().salts == image_.view.salts;
}

bool OldState::IsKept(std::uint32_t pgno) const {
  return !is_kept_.empty() && is_kept_[pgno];
}

void OldState::Keep(std::span<const WalPageEntry> pages, std::uint32_t commit_pages) {
  if (broken_) return;
  auto kept = KeepPages(pages, commit_pages);
  if (!kept.ok()) Break(std::move(kept).error().Wrap("keep a page of the snapshot"));
}

Result<void> OldState::KeepPages(std::span<const WalPageEntry> pages, std::uint32_t commit_pages) {
  const auto first = std::ranges::lower_bound(pages, Pgno{next_}, {}, &WalPageEntry::pgno);
  for (auto it = first; it != pages.end() && it->pgno.value <= page_count(); ++it) {
    LS_TRY(KeepPage(it->pgno.value));
  }
  for (std::uint32_t pgno = std::max(next_, commit_pages + 1); pgno <= page_count(); ++pgno) {
    LS_TRY(KeepPage(pgno));
  }
  return {};
}

Result<void> OldState::KeepPage(std::uint32_t pgno) {
  if (IsKept(pgno) || Pgno{pgno} == LockPage(page_size_)) return {};
  if (!kept_) {
    OpenOptions options{.write = true, .create = true, .truncate = true};
    options.owner = owner_;
    kept_ = LS_TRY(env_.Open(kept_path_, options));
    LS_TRY(env_.Remove(kept_path_));
    is_kept_.resize(std::size_t{page_count()} + 1);
    page_.resize(page_size_);
  }
  if (!LS_TRY(ReadFromWal(pgno, page_))) LS_TRY(attachment_.ReadPages(Pgno{pgno}, page_));
  LS_TRY(kept_->WriteAt(page_, (std::uint64_t{pgno} - 1) * page_size_));
  is_kept_[pgno] = true;
  ++kept_count_;
  return {};
}

// False: it lies in the database file.
Result<bool> OldState::ReadFromWal(std::uint32_t pgno, std::span<std::byte> out) {
  if (!MayLieInWal()) return false;
  const auto& pages = image_.wal.pages;
  const auto found = std::ranges::lower_bound(pages, Pgno{pgno}, {}, &WalPageEntry::pgno);
  if (found == pages.end() || found->pgno != Pgno{pgno}) return false;
  const auto page = LS_TRY(wal_.Read(static_cast<std::size_t>(found - pages.begin())));
  std::memcpy(out.data(), page.data(), page.size());
  return true;
}

Result<std::uint32_t> OldState::Read(std::span<std::byte> out) {
  if (broken_) return *broken_;
  const auto count = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(out.size() / page_size_, page_count() + 1 - next_));
  if (count == 0) return 0U;
  const auto bytes = out.first(std::size_t{count} * page_size_);
  LS_TRY(attachment_.ReadPages(Pgno{next_}, bytes));
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t pgno = next_ + i;
    const auto page = bytes.subspan(std::size_t{i} * page_size_, page_size_);
    if (Pgno{pgno} == LockPage(page_size_)) {
      std::memset(page.data(), 0, page.size());
    } else if (IsKept(pgno)) {
      LS_TRY(kept_->ReadAt(page, (std::uint64_t{pgno} - 1) * page_size_));
    } else {
      LS_TRY(ReadFromWal(pgno, page));
    }
  }
  next_ += count;
  return count;
}

bool OldStates::active() const {
  return std::ranges::any_of(states_, [](const auto& state) { return !state.expired(); });
}

void OldStates::BeforeChange(std::span<const WalPageEntry> pages, std::uint32_t commit_pages) {
  std::erase_if(states_, [](const auto& state) { return state.expired(); });
  for (const auto& weak : states_) {
    if (const auto state = weak.lock()) state->Keep(pages, commit_pages);
  }
}

void OldStates::BeforeAnyChange() {
  BreakAll(Error(ErrorCode::kUnavailable, "the database is being captured anew"));
}

void OldStates::BreakAll(const Error& reason) {
  for (const auto& weak : states_) {
    if (const auto state = weak.lock()) state->Break(reason);
  }
  states_.clear();
}

}  // namespace litestream
