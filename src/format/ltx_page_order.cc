#include "format/ltx_page_order.h"

#include <fmt/core.h>

namespace litestream {

std::string LtxPageOrder::WhyNot(Pgno pgno) const {
  if (pgno == Pgno{0}) return "page number required";
  if (pgno.value > commit_pages_) {
    return fmt::format("page number {} out-of-bounds for commit size {}", pgno.value,
                       commit_pages_);
  }
  if (pgno == lock_page_) return fmt::format("lock page not allowed: pgno={}", pgno.value);
  if (!is_snapshot_) {
    return fmt::format("out-of-order page numbers: {},{}", last_.value, pgno.value);
  }
  if (last_ == Pgno{0}) {
    return fmt::format("snapshot transaction file must start with page number 1, not {}",
                       pgno.value);
  }
  const bool behind_lock_page = last_.value + 1 == lock_page_.value;
  return fmt::format("nonsequential page numbers in snapshot transaction{}: {},{}",
                     behind_lock_page ? " (skip lock page)" : "", last_.value, pgno.value);
}

std::optional<std::string> LtxPageOrder::Missing() const {
  if (!is_snapshot_ || last_.value == commit_pages_) return std::nullopt;
  const Pgno next = NextOfSnapshot();
  if (next.value > commit_pages_) return std::nullopt;  // The lock page was the last one.
  return fmt::format("snapshot transaction file ends before page {}, commit size {}", next.value,
                     commit_pages_);
}

}  // namespace litestream
