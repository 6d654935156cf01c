#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "db/attachment.h"
#include "db/capture.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

struct ScrubStatus {
  std::uint64_t passes = 0;       // Finished.
  std::uint64_t pages = 0;        // Compared.
  std::uint64_t differences = 0;  // Pages that were not what was captured.
  std::optional<WallTime> last_pass;
};

// Compares the database with the page sums in slices, so that a change that capture missed is found
// within a day and not at the restore (design 5.4).
//
// It runs as a step between captures, when everything the holder sees is captured. Then a page that
// is not in the WAL must be in the file as it was captured: others may backfill only frames that
// the holder sees. Pages that are in the WAL are skipped; the WAL's own checksums guard them, and
// they are looked at in another pass.
class Scrubber {
 public:
  explicit Scrubber(std::chrono::nanoseconds pass_interval) : pass_interval_(pass_interval) {}

  // Begins a pass now, not at the next interval.
  void StartPass() { due_ = true; }
  // When the next slice is due. Slices of a pass are spread over a tenth of the interval at most.
  MonoTime NextDue(MonoTime now) const;

  // Compares one slice. Returns pages that differ (empty: fine). Nothing may be uncaptured.
  Result<std::vector<Pgno>> Slice(const Context& ctx, Attachment& attachment, Capture& capture);
  // The WAL was restarted or went on: what it holds has to be looked at again.
  void ForgetWal() { wal_end_ = 0; }

  ScrubStatus status() const { return status_; }

  static constexpr std::uint32_t kSliceBytes = 1U << 20;

 private:
  Result<void> MapWal(const Context& ctx, Attachment& attachment);

  std::chrono::nanoseconds pass_interval_;
  bool due_ = true;
  bool running_ = false;
  MonoTime next_slice_;
  MonoTime next_pass_;
  std::uint32_t next_page_ = 1;
  // Pages in the WAL's current generation up to wal_end_.
  std::vector<bool> in_wal_;
  WalSalts wal_salts_ = {};
  std::uint64_t wal_end_ = 0;
  ScrubStatus status_;
};

}  // namespace litestream
