#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/writer/database.h"
#include "tests/support/writer/journal.h"

namespace litestream::writer {

enum class CheckpointMode : unsigned char { kPassive, kFull, kRestart, kTruncate, kCycle };

struct Options {
  std::string database;
  std::string journal;  // Empty: none.

  // How long, how fast.
  double commits_per_second = 0;  // 0: as fast as possible.
  std::int64_t count = 0;         // Commits of this run; 0: no limit.
  double seconds = 0;             // 0: no limit.

  // The database. Page size and auto_vacuum count when it is created.
  int page_size = 4096;
  std::string auto_vacuum = "none";
  std::string synchronous = "normal";
  std::int64_t autocheckpoint_pages = 1000;  // 0: never.
  std::int64_t journal_size_limit = -1;
  bool keep_wal = false;  // No checkpoint when closing.

  // What a transaction does. "every" counts commits; 0: never.
  std::uint64_t seed = 1;
  std::int64_t rows = 2;
  std::int64_t row_bytes = 120;
  std::int64_t updates = 1;
  bool no_index = false;  // Counts when the tables are created.
  std::int64_t large_every = 0;
  std::int64_t large_bytes = 4 << 20;
  std::int64_t blob_every = 0;
  std::int64_t blob_bytes = 1 << 20;
  std::int64_t shrink_every = 0;       // Delete half of the rows.
  std::int64_t keep_bytes = 64 << 20;  // Delete the oldest rows above this.
  std::int64_t fill_bytes = 0;         // First, transactions of 16 MiB up to this size.

  // Between transactions.
  std::int64_t vacuum_every = 0;
  std::int64_t checkpoint_every = 0;
  CheckpointMode checkpoint_mode = CheckpointMode::kPassive;
  std::int64_t reader_every = 0;
  double reader_seconds = 0.2;
};

// Waits until `seconds` of this process have gone by, or a signal asks to stop.
class Stopper {
 public:
  virtual ~Stopper() = default;
  virtual bool stopped() const = 0;
  // Until `at` on the monotonic clock.
  virtual void WaitUntil(double at_seconds) const = 0;
};

struct Latencies {
  std::vector<std::uint32_t> commit_ns;       // COMMIT alone.
  std::vector<std::uint32_t> transaction_ns;  // BEGIN to COMMIT.
  std::int64_t large_commits = 0;
  std::vector<std::uint64_t> large_transaction_ns;
};

// Runs transactions on one connection. Every transaction updates the state row, so a copy of the
// database at any commit can be checked from inside.
class Workload {
 public:
  explicit Workload(const Options& options);
  ~Workload();

  void Run(const Stopper& stopper);
  const Latencies& latencies() const { return latencies_; }
  const State& state() const { return state_; }
  std::int64_t commits() const { return commits_; }
  // Written to the log by this run's transactions.
  std::int64_t wal_bytes();

 private:
  void Fill(const Stopper& stopper);
  std::int64_t PagesWritten();
  void Transaction(std::int64_t rows, std::int64_t row_bytes, std::int64_t delete_rows, bool large);
  void InsertRow(std::int64_t row_bytes);
  void UpdateRow();
  void DeleteRow(std::int64_t id);
  void Note(std::uint64_t operation);
  void SaveState();
  void Between();
  void Checkpoint();
  void HoldReader();
  void EndReader();
  bool Due(std::int64_t every) const { return every > 0 && state_.counter % every == 0; }
  std::span<const std::byte> RandomData(std::int64_t bytes);
  std::uint64_t Random() { return Mix(random_ += 0x9e3779b97f4a7c15U); }  // SplitMix64

  struct Reader;

  Options options_;
  Database db_;
  std::unique_ptr<Journal> journal_;
  State state_;
  std::uint64_t random_ = 0;
  std::vector<std::byte> buffer_;
  std::int64_t commits_ = 0;
  std::int64_t fill_pages_ = 0;
  int cycle_ = 0;
  Latencies latencies_;
  Statement begin_;
  Statement commit_;
  Statement insert_;
  Statement select_;
  Statement update_;
  Statement remove_;
  Statement oldest_;
  Statement save_;
  std::unique_ptr<Reader> reader_;
};

// Seconds on the monotonic clock.
double MonotonicSeconds();

}  // namespace litestream::writer
