#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/ltx.h"
#include "format/page_sum.h"
#include "litestream/types.h"

namespace litestream {

// Behind the message about flags that only files of older generations have.
inline constexpr std::string_view kPreReleaseNote =
    " (LTX file from a pre-release format, which no release of Litestream reads)";

// The order of the pages in an LTX file: ascending, within the commit, never the lock page; in a
// snapshot every page. Encoder and decoder ask here.
class LtxPageOrder {
 public:
  LtxPageOrder() = default;
  explicit LtxPageOrder(const LtxHeader& header)
      : commit_pages_(header.commit_pages),
        lock_page_(LockPage(header.page_size)),
        is_snapshot_(header.IsSnapshot()) {}

  // Moves on to `pgno`. False if that page may not come now.
  bool Take(Pgno pgno) {
    if (pgno.value > commit_pages_ || pgno == lock_page_ || pgno <= last_) return false;
    if (is_snapshot_ && pgno != NextOfSnapshot()) return false;
    last_ = pgno;
    return true;
  }
  // Why Take refused `pgno`.
  std::string WhyNot(Pgno pgno) const;
  // What a snapshot that ends here lacks; nothing for other files.
  std::optional<std::string> Missing() const;

 private:
  Pgno NextOfSnapshot() const {
    const Pgno next{last_.value + 1};
    return next == lock_page_ ? Pgno{next.value + 1} : next;
  }

  std::uint32_t commit_pages_ = 0;
  Pgno lock_page_;
  Pgno last_;
  bool is_snapshot_ = false;
};

}  // namespace litestream
