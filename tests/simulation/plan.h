#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "db/checkpointer.h"
#include "db/keeper.h"
#include "storage/limiter.h"
#include "tests/simulation/store.h"
#include "tests/simulation/world.h"

namespace litestream::sim {

// What goes on in one run. Each seed draws its own: most features and faults are off in most runs,
// so that the rest is met undiluted ("swarm testing").
struct Plan {
  // The database and its applications.
  int page_size = 4096;
  std::string auto_vacuum = "none";
  int applications = 1;
  int readers = 1;  // Threads of each application that only read.
  int auto_checkpoint = 1000;
  bool full_sync = true;
  int journal_size_limit = -1;
  Nanos think{std::chrono::milliseconds(200)};  // Between operations, on average.
  Nanos longest_read{std::chrono::seconds(1)};
  int most_pages = 200;
  bool huge_transactions = false;
  bool vacuum = false;
  bool checkpoints = false;
  bool restarts = false;  // Short WALs, begun anew again and again.
  bool reopen = false;
  // All of them work so long, and then nobody does anything; 0: they never rest.
  Nanos work{0};
  Nanos rest{0};

  // The replicator.
  Nanos monitor_interval{std::chrono::seconds(1)};
  Nanos sync_interval{std::chrono::seconds(1)};
  CheckpointOptions checkpoint;
  std::uint64_t max_sync_wal_bytes = 64U << 20U;
  Nanos scrub_interval{std::chrono::hours(24)};
  Nanos local_retention{std::chrono::minutes(5)};
  std::uint64_t local_retention_bytes = 0;
  std::uint64_t stream_above_bytes = UINT64_MAX;  // A larger one is read as its snapshot is sent.
  bool park = false;                              // Whenever nothing happens for some seconds.
  UpkeepOptions upkeep;                           // Levels, snapshots, retention.
  std::optional<LimitOptions> limits;             // Of its process.
  bool second_replica = false;
  bool rival = false;     // A second one on the same database, that must keep out.
  bool stranger = false;  // Somebody on another machine, who wants the leases now and then.

  // Trouble, and how often the chaos strikes.
  Nanos chaos{std::chrono::seconds(20)};
  bool crash_replicator = false;
  bool stop_replicator = false;
  bool crash_application = false;
  bool power_failure = false;
  bool disk_full = false;
  bool clock_jumps = false;
  bool store_breaks = false;
  bool store_wiped = false;
  bool store_expires = false;  // A lifecycle rule removes the oldest files.
  bool meta_lost = false;      // Somebody removes our state directory.
  bool change_journal_mode = false;
  bool change_page_size = false;
  bool replace_database = false;
  bool delete_database = false;
  bool delete_wal = false;
  bool restore_over = false;
  bool take_turns = false;    // Replicator and applications.
  bool grow_by_hand = false;  // Commits that SQLite itself would not make.
  bool outages = false;       // The disk is gone for a while.
  bool backups = false;       // Copies of the files, and their way back.
  FaultRates application_faults;
  FaultRates replicator_faults;
  StoreFaults store_faults;

  // Where calls take as long as they like, nobody can promise how long others wait.
  bool Stalls() const {
    return application_faults.stall > 0 || replicator_faults.stall > 0 ||
           replicator_faults.slowest_sync > FaultRates().slowest_sync;
  }
  bool HistoryIsCut() const { return store_wiped || store_expires || store_faults.late_list; }
};

Plan DrawPlan(std::uint64_t seed);

}  // namespace litestream::sim
