#include "tests/support/writer/workload.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include <fmt/core.h>

namespace litestream::writer {

namespace {

constexpr std::int64_t kFillTransactionBytes = 16 << 20;
constexpr std::int64_t kFillRowBytes = 1000;

std::uint64_t NowNs() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

std::uint32_t Saturate(std::uint64_t ns) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(ns, std::numeric_limits<std::uint32_t>::max()));
}

// Before any statement is prepared, because they set up the file.
Database& Prepare(Database& db, const Options& options) {
  db.Execute(fmt::format("PRAGMA page_size={}", options.page_size));
  db.Execute(fmt::format("PRAGMA auto_vacuum={}", options.auto_vacuum));
  db.Execute("PRAGMA journal_mode=WAL");
  db.Execute(fmt::format("PRAGMA synchronous={}", options.synchronous));
  db.Execute(fmt::format("PRAGMA wal_autocheckpoint={}", options.autocheckpoint_pages));
  db.Execute(fmt::format("PRAGMA journal_size_limit={}", options.journal_size_limit));
  db.Execute("PRAGMA cache_size=-16000");
  if (options.keep_wal) {
    sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  CreateTables(db, !options.no_index);
  return db;
}

const char* ModeName(CheckpointMode mode, int cycle) {
  static constexpr const char* kNames[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
  if (mode == CheckpointMode::kCycle) return kNames[cycle % 4];
  return kNames[static_cast<int>(mode)];
}

}  // namespace

double MonotonicSeconds() {
  return static_cast<double>(NowNs()) * 1e-9;
}

// A read transaction that is held for a while, on a connection of its own.
struct Workload::Reader {
  explicit Reader(const std::string& path) : db(path) {}
  Database db;
  State seen;
  double until = 0;
  bool open = false;
};

Workload::Workload(const Options& options)
    : options_(options),
      db_(options.database),
      begin_(Prepare(db_, options).get(), "BEGIN IMMEDIATE"),
      commit_(db_.get(), "COMMIT"),
      insert_(db_.get(), "INSERT INTO items VALUES(?, ?, ?)"),
      select_(db_.get(), "SELECT id, value, data FROM items WHERE id >= ? ORDER BY id LIMIT 1"),
      update_(db_.get(), "UPDATE items SET value = ? WHERE id = ?"),
      remove_(db_.get(), "DELETE FROM items WHERE id = ?"),
      oldest_(db_.get(), "SELECT min(id) FROM items"),
      save_(db_.get(),
            "UPDATE state SET counter = ?, checksum = ?, row_count = ?, row_sum = ?,"
            " next_id = ?, data_bytes = ? WHERE id = 1") {
  state_ = ReadState(db_);
  if (options_.journal.empty()) return;
  journal_ = std::make_unique<Journal>(options_.journal);
  if (journal_->last_counter() > state_.counter) {
    Fail(fmt::format("{} has lost commits: it is at {}, the journal at {}", options_.database,
                     state_.counter, journal_->last_counter()));
  }
  if (journal_->last_counter() < state_.counter) {
    // The commit that was in flight when the writer died did happen.
    if (journal_->last_counter() + 1 != state_.counter && journal_->last_counter() != 0) {
      Fail(fmt::format("{} is at {}, but the journal ends at {}", options_.database, state_.counter,
                       journal_->last_counter()));
    }
    journal_->Append(state_);
  }
  if (state_.counter == 0) journal_->Append(state_);
}

Workload::~Workload() = default;

std::span<const std::byte> Workload::RandomData(std::int64_t bytes) {
  // Half random, half text that compresses, as real rows do.
  static constexpr char kText[] = "the quick brown fox jumps over the lazy dog; ";
  const auto size = static_cast<std::size_t>(bytes);
  buffer_.resize(size + sizeof(std::uint64_t));
  std::size_t at = 0;
  for (; at < size / 2; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = Random();
    std::memcpy(buffer_.data() + at, &word, sizeof word);
  }
  while (at < size) {
    const std::size_t piece = std::min(size - at, sizeof kText - 1);
    std::memcpy(buffer_.data() + at, kText, piece);
    at += piece;
  }
  return std::span<const std::byte>(buffer_).first(size);
}

void Workload::Note(std::uint64_t operation) {
  state_.checksum = Mix(state_.checksum ^ operation) + operation;
}

void Workload::InsertRow(std::int64_t row_bytes) {
  const std::int64_t id = state_.next_id;
  const auto value = static_cast<std::int64_t>(Random() >> 1);
  const auto data = RandomData(row_bytes);
  insert_.Bind(1, id).Bind(2, value).Bind(3, data);
  if (insert_.Run() != SQLITE_OK) Fail(fmt::format("insert: {}", sqlite3_errmsg(db_.get())));
  const std::uint64_t hash = RowHash(id, value, data);
  state_.next_id += 1;
  state_.row_count += 1;
  state_.row_sum += hash;
  state_.data_bytes += row_bytes;
  Note(hash);
}

void Workload::UpdateRow() {
  if (state_.row_count == 0) return;
  const auto from =
      static_cast<std::int64_t>(Random() % static_cast<std::uint64_t>(state_.next_id));
  select_.Bind(1, from);
  if (select_.Step()) {
    const std::int64_t id = select_.Integer(0);
    const auto value = static_cast<std::int64_t>(Random() >> 1);
    state_.row_sum -= RowHash(id, select_.Integer(1), select_.Blob(2));
    state_.row_sum += RowHash(id, value, select_.Blob(2));
    update_.Bind(1, value).Bind(2, id);
    if (update_.Run() != SQLITE_OK) Fail(fmt::format("update: {}", sqlite3_errmsg(db_.get())));
    Note(static_cast<std::uint64_t>(id) ^ Mix(static_cast<std::uint64_t>(value)));
  }
  select_.Reset();
}

void Workload::DeleteRow(std::int64_t id) {
  select_.Bind(1, id);
  if (select_.Step()) {
    const std::int64_t found = select_.Integer(0);
    const std::uint64_t hash = RowHash(found, select_.Integer(1), select_.Blob(2));
    state_.row_sum -= hash;
    state_.row_count -= 1;
    state_.data_bytes -= static_cast<std::int64_t>(select_.Blob(2).size());
    select_.Reset();
    remove_.Bind(1, found);
    if (remove_.Run() != SQLITE_OK) Fail(fmt::format("delete: {}", sqlite3_errmsg(db_.get())));
    Note(~hash);
  }
  select_.Reset();
}

void Workload::SaveState() {
  save_.Bind(1, state_.counter)
      .Bind(2, static_cast<std::int64_t>(state_.checksum))
      .Bind(3, state_.row_count)
      .Bind(4, static_cast<std::int64_t>(state_.row_sum))
      .Bind(5, state_.next_id)
      .Bind(6, state_.data_bytes);
  if (save_.Run() != SQLITE_OK) Fail(fmt::format("save: {}", sqlite3_errmsg(db_.get())));
}

void Workload::Transaction(std::int64_t rows, std::int64_t row_bytes, std::int64_t delete_rows,
                           bool large) {
  const std::uint64_t started = NowNs();
  if (begin_.Run() != SQLITE_OK) Fail(fmt::format("begin: {}", sqlite3_errmsg(db_.get())));
  state_.counter += 1;
  Note(static_cast<std::uint64_t>(state_.counter));
  for (std::int64_t i = 0; i < rows; ++i) InsertRow(row_bytes);
  for (std::int64_t i = 0; !large && i < options_.updates; ++i) UpdateRow();
  for (std::int64_t i = 0; i < delete_rows && state_.row_count > 0; ++i) {
    // The oldest, and now and then one from anywhere.
    const bool anywhere = Random() % 4 == 0;
    DeleteRow(anywhere
                  ? static_cast<std::int64_t>(Random() % static_cast<std::uint64_t>(state_.next_id))
                  : 0);
  }
  SaveState();
  const std::uint64_t before_commit = NowNs();
  if (commit_.Run() != SQLITE_OK) Fail(fmt::format("commit: {}", sqlite3_errmsg(db_.get())));
  const std::uint64_t ended = NowNs();
  if (journal_) journal_->Append(state_);
  commits_ += 1;
  if (large) {
    latencies_.large_commits += 1;
    latencies_.large_transaction_ns.push_back(ended - started);
  } else {
    latencies_.commit_ns.push_back(Saturate(ended - before_commit));
    latencies_.transaction_ns.push_back(Saturate(ended - started));
  }
}

std::int64_t Workload::PagesWritten() {
  int current = 0;
  int highest = 0;
  sqlite3_db_status(db_.get(), SQLITE_DBSTATUS_CACHE_WRITE, &current, &highest, 0);
  return current;
}

std::int64_t Workload::wal_bytes() {
  constexpr std::int64_t kFrameHeaderSize = 24;
  return (PagesWritten() - fill_pages_) * (db_.QueryInteger("PRAGMA page_size") + kFrameHeaderSize);
}

void Workload::Fill(const Stopper& stopper) {
  while (state_.data_bytes < options_.fill_bytes && !stopper.stopped()) {
    const std::int64_t bytes =
        std::min(kFillTransactionBytes, options_.fill_bytes - state_.data_bytes);
    Transaction(std::max<std::int64_t>(1, bytes / kFillRowBytes), kFillRowBytes, 0, true);
  }
}

void Workload::Checkpoint() {
  const std::string sql =
      fmt::format("PRAGMA wal_checkpoint({})", ModeName(options_.checkpoint_mode, cycle_));
  cycle_ += 1;
  // Others may hold the log: busy is a normal answer.
  sqlite3_busy_timeout(db_.get(), 100);
  const int code = db_.TryExecute(sql) & 0xff;
  sqlite3_busy_timeout(db_.get(), 20000);
  if (code != SQLITE_OK && code != SQLITE_BUSY && code != SQLITE_LOCKED) {
    Fail(fmt::format("{}: {}", sql, sqlite3_errmsg(db_.get())));
  }
}

void Workload::HoldReader() {
  EndReader();
  if (!reader_) reader_ = std::make_unique<Reader>(options_.database);
  reader_->db.Execute("BEGIN");
  reader_->seen = ReadState(reader_->db);
  reader_->until = MonotonicSeconds() + options_.reader_seconds;
  reader_->open = true;
}

void Workload::EndReader() {
  if (!reader_ || !reader_->open) return;
  const State again = ReadState(reader_->db);
  if (again.counter != reader_->seen.counter || again.checksum != reader_->seen.checksum) {
    Fail(
        fmt::format("a read transaction saw {} and then {}", reader_->seen.counter, again.counter));
  }
  reader_->db.Execute("COMMIT");
  reader_->open = false;
}

void Workload::Between() {
  if (reader_ && reader_->open && MonotonicSeconds() >= reader_->until) EndReader();
  if (Due(options_.reader_every)) HoldReader();
  if (Due(options_.checkpoint_every)) Checkpoint();
  if (Due(options_.vacuum_every)) {
    const int code = db_.TryExecute("VACUUM") & 0xff;
    if (code != SQLITE_OK && code != SQLITE_BUSY) {
      Fail(fmt::format("vacuum: {}", sqlite3_errmsg(db_.get())));
    }
  }
}

void Workload::Run(const Stopper& stopper) {
  Fill(stopper);
  latencies_ = {};
  commits_ = 0;
  fill_pages_ = PagesWritten();
  const double started = MonotonicSeconds();
  double next = started;
  while (!stopper.stopped()) {
    if (options_.count > 0 && commits_ >= options_.count) break;
    const double now = MonotonicSeconds();
    if (options_.seconds > 0 && now - started >= options_.seconds) break;
    if (options_.commits_per_second > 0) {
      if (next > now) stopper.WaitUntil(next);
      // After a stall, go on at the rate; do not catch up.
      next = std::max(next, MonotonicSeconds() - 1) + 1 / options_.commits_per_second;
    }
    // Repeatable for a seed, also across restarts.
    random_ = Mix(options_.seed) ^ Mix(static_cast<std::uint64_t>(state_.counter));
    state_.counter += 1;  // So that Due() speaks of the transaction to come.
    const bool large = Due(options_.large_every);
    const bool blob = Due(options_.blob_every);
    const bool shrink = Due(options_.shrink_every);
    state_.counter -= 1;
    const std::int64_t excess = state_.data_bytes - options_.keep_bytes;
    const std::int64_t average = state_.data_bytes / std::max<std::int64_t>(1, state_.row_count);
    std::int64_t deletes = Random() % 8 == 0 ? 1 : 0;
    if (excess > 0) deletes = excess / std::max<std::int64_t>(1, average) + 1;
    if (shrink) deletes = state_.row_count / 2;
    if (large) {
      Transaction(std::max<std::int64_t>(1, options_.large_bytes / kFillRowBytes), kFillRowBytes,
                  deletes, true);
    } else if (blob) {
      Transaction(1, options_.blob_bytes, deletes, true);
    } else {
      Transaction(options_.rows, options_.row_bytes, deletes, deletes > 1);
    }
    if (shrink && options_.auto_vacuum == "incremental") {
      db_.Execute("PRAGMA incremental_vacuum");
    }
    Between();
  }
  EndReader();
}

}  // namespace litestream::writer
