// What a database costs a month, measured, and compared with what docs/operating/cost.md says.

#include <chrono>
#include <cmath>
#include <fstream>
#include <ostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/life/life.h"

namespace litestream::life {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr hours kMonth{30 * 24};
// S3 Standard, us-east-1, US dollars; DELETE and what comes in are free.
constexpr double kPerPutOrList = 0.005 / 1000;
constexpr double kPerGet = 0.0004 / 1000;
constexpr double kPerByteMonth = 0.023 / 1e9;
// So much of what is merged stays: the window of a day, the base before it, the one before that,
// and two hours (year_test.cc).
constexpr double kDaysKept = 3 + 2.0 / 24;
constexpr double kSnapshotsKept = 4;

struct Workload {
  const char* row;    // Of the table.
  nanoseconds every;  // A commit; 0: none.
  hours warm_up;      // Until what comes first has come.
  hours measured;     // Stands for the month: whole times 12 hours, which is how often it lists.
  seconds sync_interval;
  friend void PrintTo(const Workload& workload, std::ostream* out) { *out << workload.row; }
};

constexpr Workload kWorkloads[] = {
    {"idle", nanoseconds(0), hours(24), hours(24 * 30), seconds(1)},
    {"light", minutes(1), hours(2), hours(24), seconds(1)},
    {"heavy", milliseconds(100), hours(1), hours(12), seconds(1)},
    {"heavy, `sync-interval: 10s`", milliseconds(100), hours(1), hours(12), seconds(10)},
};

struct Cost {
  double puts = 0;
  double lists = 0;
  double gets = 0;
  double deletes = 0;
  double uploaded_mb = 0;
  double stored_mb = 0;
  double dollars = 0;
};

// A row of 400 bytes that do not compress changes, one of a thousand: 0.5 MB of database.
void Live(Life& life, const Workload& workload, hours duration) {
  if (workload.every.count() == 0) {
    life.Run(duration);
    return;
  }
  std::mt19937_64 random(7);
  for (nanoseconds at{0}; at < duration; at += workload.every) {
    life.Commit(fmt::format("UPDATE t SET x = randomblob(400) WHERE id = {}", 1 + random() % 1000));
    life.Run(workload.every);
  }
}

// What a configuration without these keys has.
LifeOptions Defaults() {
  LifeOptions options;
  options.upkeep.levels = {seconds(30), minutes(5), hours(1)};
  options.record = false;
  return options;
}

void CreateTable(Life& life) {
  life.app().Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
  life.app().Exec(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
      "INSERT INTO t SELECT i, randomblob(400) FROM n");
}

Cost Measure(const Workload& workload) {
  LifeOptions options = Defaults();
  options.sync_interval = workload.sync_interval;
  Life life(options);
  CreateTable(life);
  life.Start();
  Live(life, workload, workload.warm_up);
  const Requests before = life.requests();
  const auto bytes_before = life.written_bytes();
  Live(life, workload, workload.measured);
  const Requests requests = life.requests() - before;
  const double month = std::chrono::duration<double>(kMonth) / workload.measured;
  Cost cost{.puts = static_cast<double>(requests.puts) * month,
            .lists = static_cast<double>(requests.lists) * month,
            .gets = static_cast<double>(requests.gets) * month,
            .deletes = static_cast<double>(requests.deletes) * month};
  double merged = 0;
  for (std::size_t level = 0; level < bytes_before.size(); ++level) {
    const auto bytes = static_cast<double>(life.written_bytes()[level] - bytes_before[level]);
    cost.uploaded_mb += bytes * month / 1e6;
    if (level >= 1 && level < kSnapshotLevel.value) merged += bytes * month;
  }
  cost.stored_mb =
      (merged / 30 * kDaysKept + kSnapshotsKept * static_cast<double>(life.database_bytes())) / 1e6;
  cost.dollars = (cost.puts + cost.lists) * kPerPutOrList + cost.gets * kPerGet +
                 cost.stored_mb * 1e6 * kPerByteMonth;
  return cost;
}

// The rows of the table of the document whose first column is `row`.
std::vector<std::string> Row(const std::string& row) {
  std::ifstream file(LITESTREAM_SOURCE_DIR "/docs/operating/cost.md");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| " + row + " |")) continue;
    std::vector<std::string> cells;
    std::istringstream columns(line.substr(1));
    for (std::string cell; std::getline(columns, cell, '|');) {
      std::erase_if(cell, [](char c) { return c == ' ' || c == ',' || c == '$'; });
      cells.push_back(cell);
    }
    return cells;
  }
  return {};
}

void ExpectSays(const std::string& said, double measured, double least) {
  ASSERT_FALSE(said.empty());
  EXPECT_NEAR(std::stod(said), measured, std::max(0.03 * measured, least));
}

TEST(Cost, OfAStart) {
  Life life(Defaults());
  CreateTable(life);
  life.Start();
  life.Run(hours(1));
  EXPECT_EQ(life.requests().lists, 10U) << "one a level";
  EXPECT_EQ(life.requests().puts, 3U) << "the database, its snapshot, and the lease for both";
  EXPECT_EQ(life.requests().gets, 1U) << "who has the lease";
  EXPECT_EQ(life.requests().deletes, 0U);
  const Requests before = life.requests();
  life.Stop();
  life.Start();
  life.Run(hours(1));
  const Requests again = life.requests() - before;
  EXPECT_EQ(again.lists + again.gets + again.puts + again.deletes, 0U);
  // Before the first upload it is looked at.
  life.Commit("UPDATE t SET x = randomblob(400) WHERE id = 1");
  life.Run(std::chrono::minutes(1));
  EXPECT_EQ((life.requests() - before).lists, 10U);
  EXPECT_LE((life.requests() - before).gets, 3U) << "is what is there ours";
}

class CostTest : public ::testing::TestWithParam<Workload> {};

TEST_P(CostTest, IsWhatTheDocumentSays) {
  const Cost cost = Measure(GetParam());
  fmt::print("| {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.1f} | {:.1f} | ${:.2f} |\n",
             GetParam().row, cost.puts, cost.lists, cost.gets, cost.deletes, cost.uploaded_mb,
             cost.stored_mb, cost.dollars);
  const auto says = Row(GetParam().row);
  ASSERT_EQ(says.size(), 8U);
  ExpectSays(says[1], cost.puts, 1);
  ExpectSays(says[2], cost.lists, 1);
  ExpectSays(says[3], cost.gets, 1);
  ExpectSays(says[4], cost.deletes, 1);
  ExpectSays(says[5], cost.uploaded_mb, 0.5);
  ExpectSays(says[6], cost.stored_mb, 0.5);
  ExpectSays(says[7], cost.dollars, 0.006);
}

// The second table has the first one's figures.
TEST(Cost, BesideLitestream) {
  const std::pair<const char*, const char*> rows[] = {{"here, idle", "idle"},
                                                      {"here, a commit a minute", "light"},
                                                      {"here, 10 commits a second", "heavy"}};
  for (const auto& [day, month] : rows) {
    SCOPED_TRACE(day);
    const auto of_day = Row(day);
    const auto of_month = Row(month);
    ASSERT_EQ(of_day.size(), 4U);
    ASSERT_EQ(of_month.size(), 8U);
    EXPECT_EQ(std::stod(of_day[1]) * 30, std::stod(of_month[1]));
    EXPECT_EQ(std::stod(of_day[2]) * 30, std::stod(of_month[2]));
    EXPECT_EQ(of_day[3], of_month[7]);
  }
}

INSTANTIATE_TEST_SUITE_P(Month, CostTest, ::testing::ValuesIn(kWorkloads),
                         [](const auto& info) { return "Workload" + std::to_string(info.index); });

}  // namespace
}  // namespace litestream::life
