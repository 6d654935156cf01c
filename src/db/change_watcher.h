#pragma once

#include <cstdint>
#include <span>

#include "format/wal.h"

namespace litestream {

// Is told of changes before the read transaction ends that saw the state before them, by capture
// (db/capture.h) and by whoever else ends one.
class ChangeWatcher {
 public:
  virtual ~ChangeWatcher() = default;
  // Somebody wants to know.
  virtual bool active() const = 0;
  // These pages, ascending, change; those above `commit_pages` go. To be told of more than change
  // does no harm, nor to be told twice.
  virtual void BeforeChange(std::span<const WalPageEntry> pages, std::uint32_t commit_pages) = 0;
  // Any page may have changed, without a trace in the WAL.
  virtual void BeforeAnyChange() = 0;
};

}  // namespace litestream
