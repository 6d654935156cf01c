#include "db/database_image.h"

#include <algorithm>
#include <vector>

#include "base/endian.h"
#include "base/try.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

constexpr std::uint32_t kReadBlockBytes = 1U << 20;

}  // namespace

std::uint32_t PageCountOf(std::span<const std::byte> first_page, std::uint64_t file_size,
                          std::uint32_t page_size) {
  const std::uint32_t change_counter = LoadBe32(&first_page[24]);
  const std::uint32_t count = LoadBe32(&first_page[28]);
  const std::uint32_t valid_for = LoadBe32(&first_page[92]);
  if (count != 0 && change_counter == valid_for) return count;
  return static_cast<std::uint32_t>(file_size / page_size);
}

Result<DatabaseImage> MapDatabase(const Context& ctx, Attachment& attachment, const WalView& view) {
  DatabaseImage image;
  image.view = view;
  if (view.frames > 0) {
    image.wal = LS_TRY(ReadWalSegment(ctx, attachment, view, WalPoint{}, 0));
    image.page_count = image.wal.commit_pages;
    return image;
  }
  std::vector<std::byte> first(attachment.page_size());
  LS_TRY(attachment.ReadPages(Pgno{1}, first));
  const std::uint64_t file_size = LS_TRY(attachment.DatabaseFileSize());
  image.page_count = PageCountOf(first, file_size, attachment.page_size());
  return image;
}

Result<DatabaseImage> MapHeld(const Context& ctx, Attachment& attachment,
                              std::uint32_t page_count) {
  DatabaseImage image;
  image.view = attachment.held();
  image.page_count = page_count;
  if (!attachment.restart_allowed() && image.view.frames > 0) {
    image.wal = LS_TRY(ReadWalSegment(ctx, attachment, image.view, WalPoint{}, 0));
  }
  return image;
}

Result<void> ForEachPage(const Context& ctx, Attachment& attachment, const DatabaseImage& image,
                         const PageFunction& take) {
  const std::uint32_t page_size = attachment.page_size();
  // Not larger than the database: memory for a whole block, cleared, costs more than to read a
  // small one.
  const std::uint32_t block_pages =
      std::clamp(kReadBlockBytes / page_size, 1U, std::max(1U, image.page_count));
  const Pgno lock_page = LockPage(page_size);
  std::vector<std::byte> block(std::size_t{block_pages} * page_size);
  WalPageReader wal_reader(attachment, image.wal);
  std::size_t wal_index = 0;
  for (std::uint64_t first = 1; first <= image.page_count; first += block_pages) {
    LS_TRY(ctx.Check());
    const auto count = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(block_pages, image.page_count - first + 1));
    const auto bytes = std::span(block).first(std::size_t{count} * page_size);
    LS_TRY(attachment.ReadPages(Pgno{static_cast<std::uint32_t>(first)}, bytes));
    for (std::uint32_t i = 0; i < count; ++i) {
      const Pgno pgno{static_cast<std::uint32_t>(first) + i};
      const bool in_wal =
          wal_index < image.wal.pages.size() && image.wal.pages[wal_index].pgno == pgno;
      if (pgno == lock_page) {
        if (in_wal) ++wal_index;
        continue;
      }
      if (in_wal) {
        LS_TRY(take(pgno, LS_TRY(wal_reader.Read(wal_index++))));
      } else {
        LS_TRY(take(pgno, bytes.subspan(std::size_t{i} * page_size, page_size)));
      }
    }
  }
  return {};
}

}  // namespace litestream
