#include "tests/simulation/application.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>

#include "tests/simulation/vfs.h"

namespace litestream::sim {
namespace {

using Tolerate = AppConnection::Tolerate;

// An application that is patient: whoever makes it wait longer has broken something.
constexpr int kBusyTimeoutMs = 10'000;
// Where nobody but us can be in the way: the documented bound (100 ms and the syncs of the tail),
// the steps in which SQLite's busy handler looks again, and the operation itself.
constexpr std::int64_t kLongestWaitNs = 600'000'000;
constexpr Nanos kRestAtOnce{std::chrono::seconds(5)};

// Totals over the rows stand in the same transaction, so that a torn or mixed state shows.
constexpr std::string_view kSchema =
    "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB);"
    "CREATE TABLE IF NOT EXISTS s (id INTEGER PRIMARY KEY, n INTEGER, total INTEGER);"
    "INSERT OR IGNORE INTO s VALUES (1, 0, 0)";
constexpr std::string_view kTotals =
    "UPDATE s SET n = (SELECT count(*) FROM t), "
    "total = (SELECT ifnull(sum(length(x)), 0) FROM t); COMMIT";
constexpr std::string_view kTotalsHold =
    "SELECT (SELECT count(*) FROM t) = n AND "
    "(SELECT ifnull(sum(length(x)), 0) FROM t) = total FROM s";

// Until work goes on. When there is no more trouble, nobody rests.
void Rest(Process& process, const Plan& plan) {
  const World& world = process.world();
  while (plan.rest.count() > 0 && world.faults_enabled() && !process.stopping().stop_requested()) {
    const std::int64_t both = (plan.work + plan.rest).count();
    const std::int64_t at = world.now_ns() % both;
    if (at < plan.work.count()) return;
    process.Sleep(std::min(Nanos(both - at), kRestAtOnce), process.stopping());
  }
}

class Writer {
 public:
  Writer(Process& process, const Plan& plan, const std::string& path)
      : process_(process), plan_(plan), app_(process, plan, path) {}

  void Run() {
    while (!process_.stopping().stop_requested()) {
      if (!app_.is_open() && !Begin()) {
        app_.Close();
        process_.Sleep(std::chrono::seconds(1), process_.stopping());
        continue;
      }
      if (!Act() || (plan_.reopen && dice().OneIn(50))) app_.Close();
      const auto mean = static_cast<std::uint64_t>(plan_.think.count());
      const Nanos think(static_cast<std::int64_t>(dice().Below(2 * mean)));
      process_.Sleep(think, process_.stopping());
      Rest(process_, plan_);
    }
    app_.Close();
  }

 private:
  Random& dice() { return process_.dice(); }

  bool Begin() {
    return app_.Open() &&
           app_.Exec(fmt::format("PRAGMA page_size = {}; PRAGMA auto_vacuum = {}", plan_.page_size,
                                 plan_.auto_vacuum)) &&
           app_.Exec("PRAGMA journal_mode = wal", Tolerate::kBusy) &&
           app_.Exec(fmt::format("PRAGMA synchronous = {}; PRAGMA wal_autocheckpoint = {}; "
                                 "PRAGMA journal_size_limit = {}",
                                 plan_.full_sync ? "FULL" : "NORMAL", plan_.auto_checkpoint,
                                 plan_.journal_size_limit)) &&
           app_.Exec(fmt::format("BEGIN IMMEDIATE; {}; COMMIT", kSchema));
  }

  // False: open the database anew.
  bool Act() {
    const auto pages = app_.Number("PRAGMA page_count");
    const auto unused = app_.Number("PRAGMA freelist_count");
    if (!pages || !unused) return false;
    if (*pages - *unused > plan_.most_pages) {
      return Write("DELETE FROM t WHERE id % 2 = 0 OR id < (SELECT max(id) - 50 FROM t)");
    }
    const std::uint64_t row = plan_.page_size * 3ULL / 4;
    switch (dice().Below(16)) {
      case 0:
        return Write(fmt::format("DELETE FROM t WHERE id % 5 = {}", dice().Below(5)));
      case 1:
      case 2:
        return Write(fmt::format("UPDATE t SET x = randomblob({}) WHERE id % 9 = {}",
                                 dice().Below(row), dice().Below(9)));
      case 3:
        return Bulk(plan_.huge_transactions ? 300 : 20);
      case 4:
        return !plan_.vacuum || app_.Exec("VACUUM", Tolerate::kBusy);
      case 5:
        return app_.Exec(fmt::format("PRAGMA incremental_vacuum({})", dice().Below(10)));
      case 6:
        if (dice().OneIn(2)) return app_.Exec("BEGIN IMMEDIATE; DELETE FROM t; ROLLBACK");
        // It grows by pages that nobody needs in the end, with one behind them.
        return Write(
            fmt::format("INSERT INTO t (id, x) VALUES (1 << 40, randomblob({})); "
                        "INSERT INTO t (x) VALUES ('last'); "
                        "DELETE FROM t WHERE id >= (1 << 40)",
                        (1 + dice().Below(20)) * row));
      case 7:
        return Checkpoint();
      case 9:
      case 10:
        return Restarts();
      case 8:
        // The same page again and again: many frames, few pages.
        return Repeat(static_cast<int>(dice().Below(20)));
      default:
        return Write(fmt::format("INSERT INTO t (x) VALUES (randomblob({}))", dice().Below(row)));
    }
  }

  bool Write(std::string_view statement) {
    if (!app_.Exec(fmt::format("BEGIN IMMEDIATE; {}; {}", statement, kTotals))) {
      return false;
    }
    return true;
  }

  bool Bulk(std::uint64_t most_rows) {
    return Write(
        fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
                    "INSERT INTO t (x) SELECT randomblob({}) FROM n",
                    1 + dice().Below(most_rows), dice().Below(500)));
  }

  bool Repeat(int times) {
    for (int i = 0; i < times; ++i) {
      if (!app_.Exec("UPDATE s SET id = id")) return false;
    }
    return true;
  }

  bool Checkpoint() {
    if (!plan_.checkpoints) return true;
    constexpr std::array kModes = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
    // An application that checkpoints this way has to live with "busy".
    return app_.Exec("PRAGMA busy_timeout = 100") &&
           app_.Exec(fmt::format("PRAGMA wal_checkpoint({})", kModes[dice().Below(4)]),
                     Tolerate::kBusy) &&
           app_.Exec(fmt::format("PRAGMA busy_timeout = {}", kBusyTimeoutMs));
  }

  // The WAL is begun anew again and again, and stays short.
  bool Restarts() {
    if (!plan_.restarts) return true;
    for (std::uint64_t i = 1 + dice().Below(4); i > 0; --i) {
      // Each time another page.
      if (!app_.Exec("PRAGMA wal_checkpoint(PASSIVE)", Tolerate::kBusy) ||
          !app_.Exec(fmt::format("UPDATE t SET x = randomblob(length(x)) WHERE id = "
                                 "(SELECT id FROM t LIMIT 1 OFFSET {})",
                                 dice().Below(30)))) {
        return false;
      }
    }
    return true;
  }

  Process& process_;
  const Plan& plan_;
  AppConnection app_;
};

// Reads twice in one transaction: nothing may have changed, and the totals must hold.
void RunReader(Process& process, const Plan& plan, const std::string& path) {
  Random dice(process.dice().Next());
  AppConnection app(process, plan, path);
  const auto pause = [&](Nanos most) {
    process.Sleep(
        Nanos(static_cast<std::int64_t>(dice.Below(static_cast<std::uint64_t>(most.count())))),
        process.stopping());
  };
  while (!process.stopping().stop_requested()) {
    pause(2 * plan.think);
    Rest(process, plan);
    if (!app.is_open() && !app.Open()) {
      app.Close();
      continue;
    }
    // The schema may not be there yet.
    const auto there = app.Number("SELECT count(*) FROM sqlite_schema WHERE name = 's'");
    if (!there || *there == 0) {
      app.Close();
      continue;
    }
    bool good = app.Exec("BEGIN");
    const auto first = app.Number("SELECT total FROM s");
    pause(plan.longest_read);
    const auto second = app.Number("SELECT total FROM s");
    if (first && second && *first != *second) {
      process.world().Fail("a reader saw its snapshot change");
    }
    const auto holds = app.Number(kTotalsHold);
    if (holds && *holds == 0) process.world().Fail("a reader saw half a transaction");
    if (dice.OneIn(10)) {
      const std::string found = app.Text("PRAGMA quick_check");
      // (It takes a page that it cannot read for a damaged one.)
      if (!found.empty() && found != "ok" && process.injected_faults() == 0 &&
          !process.world().LostSyncedData()) {
        process.world().Fail("the application's database is damaged: " + found);
      }
    }
    good = good && first && second && holds && app.Exec("COMMIT");
    if (!good) app.Close();
  }
}

}  // namespace

bool AppConnection::Open() {
  const std::int64_t began = process_.world().now_ns();
  const int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int rc = sqlite3_open_v2(path_.c_str(), &db_, flags, process_.vfs().name().c_str());
  if (!Judge(rc, "open", Tolerate::kNothing, began, process_.stalled_ns())) return false;
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
  return true;
}

bool AppConnection::KeepWal() {
  return sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr) == SQLITE_OK;
}

std::string AppConnection::WhatIsWrong() {
  const std::string found = Text("PRAGMA integrity_check");
  if (!found.empty() && found != "ok") return found;
  const auto there = Number("SELECT count(*) FROM sqlite_schema WHERE name = 's'");
  if (!there || *there == 0) return {};
  const auto holds = Number(kTotalsHold);
  return holds && *holds == 0 ? "the totals are not those of the rows" : "";
}

void AppConnection::Close() {
  if (db_ == nullptr) return;
  sqlite3_close_v2(db_);
  db_ = nullptr;
}

bool AppConnection::Exec(std::string_view sql, Tolerate tolerate) {
  if (db_ == nullptr) return false;
  const std::int64_t began = process_.world().now_ns();
  const std::int64_t stalled = process_.stalled_ns();
  process_.world().Note(process_.name(), "sql", sql);
  const int rc = sqlite3_exec(db_, std::string(sql).c_str(), nullptr, nullptr, nullptr);
  const bool good = Judge(rc, sql, tolerate, began, stalled);
  if (rc != SQLITE_OK && sqlite3_get_autocommit(db_) == 0) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  return good || (tolerate == Tolerate::kBusy && !process_.dead() && (rc & 0xff) == SQLITE_BUSY);
}

std::string AppConnection::Text(std::string_view sql, Tolerate tolerate) {
  if (db_ == nullptr) return {};
  const std::int64_t began = process_.world().now_ns();
  sqlite3_stmt* statement = nullptr;
  int rc = sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  std::string text;
  if (rc == SQLITE_OK) {
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
      const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
      text = p == nullptr ? "" : p;
    }
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) rc = SQLITE_OK;
  }
  sqlite3_finalize(statement);
  return Judge(rc, sql, tolerate, began, process_.stalled_ns()) ? text : std::string();
}

std::optional<std::int64_t> AppConnection::Number(std::string_view sql, Tolerate tolerate) {
  const std::string text = Text(sql, tolerate);
  if (text.empty()) return std::nullopt;
  return std::strtoll(text.c_str(), nullptr, 10);
}

bool AppConnection::Judge(int code, std::string_view sql, Tolerate tolerate, std::int64_t began_ns,
                          std::int64_t stalled_ns) {
  World& world = process_.world();
  if (process_.dead()) return false;
  const std::int64_t took = world.now_ns() - began_ns - (process_.stalled_ns() - stalled_ns);
  const int primary = code & 0xff;
  const auto fail = [&](std::string_view what) {
    world.Fail(fmt::format("{}: {}: SQLite code {} ({}) after {} ms: {}", process_.name(), what,
                           code, sqlite3_errstr(code), took / 1'000'000, sql));
    return false;
  };
  if (code == SQLITE_OK) {
    const bool alone = plan_.applications == 1 && !plan_.Stalls() && !plan_.huge_transactions;
    if (alone && tolerate == Tolerate::kNothing && took > kLongestWaitNs) {
      return fail("waited longer than documented");
    }
    return true;
  }
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) return fail("damaged");
  // Its own troubles: calls that were made to fail, or a full disk.
  if (process_.injected_faults() > 0) return false;
  const bool busy = primary == SQLITE_BUSY || primary == SQLITE_LOCKED;
  if (busy && (tolerate == Tolerate::kBusy || plan_.Stalls())) return false;
  // Whoever moves files about has to close the database first; here it tells the application.
  if (code == SQLITE_READONLY_DBMOVED) return false;
  return fail("an error that nothing explains");
}

void RunApplication(Process& process, const Plan& plan, const std::string& path) {
  for (int i = 0; i < plan.readers; ++i) {
    process.Spawn(fmt::format("reader {}", i),
                  [&process, &plan, path] { RunReader(process, plan, path); });
  }
  Writer(process, plan, path).Run();
}

}  // namespace litestream::sim
