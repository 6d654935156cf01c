// Which databases a directory holds: what is added and removed when files come, go, move and
// change, with every kind of event, and without.

#include "db/directory_monitor.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/memory_env.h"
#include "base/seeded_scheduler.h"
#include "db/attachment.h"
#include "tests/support/recorded_log.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

constexpr std::string_view kDatabase("SQLite format 3\0 and the rest of a header", 40);
constexpr std::string_view kOldDatabase("SQLite format 2\0 and the rest of a header", 40);

using Names = std::set<std::string>;

class DirectoryMonitorTest : public ::testing::Test {
 protected:
  DirectoryMonitorTest() {
    MakeDirectory("/d");
    options_.directory = "/d";
    options_.recursive = true;
    options_.matches = [](const std::string& name) { return name.ends_with(".db"); };
    options_.add = [this](const std::string& path) -> Result<void> {
      ++adds_;
      if (refuse_) return Error(ErrorCode::kAlreadyExists, "taken");
      EXPECT_TRUE(live_.insert(path).second) << path << " is added twice";
      return {};
    };
    options_.remove = [this](const std::string& path) {
      EXPECT_EQ(live_.erase(path), 1U) << path << " is removed and not there";
    };
  }
  void TearDown() override { monitor_.reset(); }

  void MakeDirectory(const std::string& path) {
    const auto made = env_.CreateDirectory(path, {});
    ASSERT_TRUE(made.ok()) << made.error().message();
  }
  void Write(const std::string& path, std::string_view text) {
    const auto file =
        env_.Open(path, {.write = true, .create = true, .exclusive = false, .truncate = true});
    ASSERT_TRUE(file.ok()) << file.error().message();
    ASSERT_TRUE(file.value()->WriteAt(std::as_bytes(std::span(text)), 0).ok());
  }
  void MakeDatabase(const std::string& path) { Write(path, kDatabase); }
  void Rename(const std::string& from, const std::string& to) {
    const auto renamed = env_.Rename(from, to);
    ASSERT_TRUE(renamed.ok()) << renamed.error().message();
  }
  void Remove(const std::string& path) { ASSERT_TRUE(env_.RemoveTree(path).ok()); }

  Result<void> TryStart(const std::vector<std::string>& added = {}) {
    for (const std::string& path : added) live_.insert(path);
    monitor_ = std::make_unique<DirectoryMonitor>(env_, scheduler_, options_, log_.logger());
    return monitor_->Start(added);
  }
  void Start(const std::vector<std::string>& added = {}) {
    const auto started = TryStart(added);
    ASSERT_TRUE(started.ok()) << started.error().message();
  }
  void Run(std::chrono::nanoseconds duration = 1s) { scheduler_.RunFor(duration); }

  ManualClock clock_;
  SeededScheduler scheduler_{1, clock_};
  MemoryEnv env_{clock_, 1};
  RecordedLog log_{LogLevel::kInfo};
  DirectoryMonitorOptions options_;
  Names live_;
  int adds_ = 0;
  bool refuse_ = false;
  std::unique_ptr<DirectoryMonitor> monitor_;
};

TEST_F(DirectoryMonitorTest, StartFindsWhatIsThere) {
  MakeDirectory("/d/sub");
  MakeDirectory("/d/sub/.b.db-litestream");
  MakeDatabase("/d/a.db");
  MakeDatabase("/d/sub/b.db");
  MakeDatabase("/d/sub/.b.db-litestream/no.db");
  MakeDatabase("/d/other.sqlite");
  MakeDatabase("/d/a.db-wal");
  Write("/d/text.db", "this is not a database");
  Start();
  EXPECT_EQ(live_, (Names{"/d/a.db", "/d/sub/b.db"}));
  EXPECT_EQ(log_.Count("added database to replication /d/a.db"), 1);
}

TEST_F(DirectoryMonitorTest, SubdirectoriesOnlyIfRecursive) {
  options_.recursive = false;
  MakeDirectory("/d/sub");
  MakeDirectory("/d/like.db");
  MakeDatabase("/d/sub/b.db");
  Start();
  MakeDirectory("/d/sub2");
  MakeDatabase("/d/sub2/b.db");
  MakeDatabase("/d/a.db");
  Run();
  EXPECT_EQ(live_, (Names{"/d/a.db"}));
  EXPECT_EQ(monitor_->watch_count(), 1U);
}

// The owner has added some itself. What went away between that and the start is removed.
TEST_F(DirectoryMonitorTest, TakesOverWhatTheOwnerHasAdded) {
  MakeDatabase("/d/a.db");
  MakeDatabase("/d/new.db");
  Start({"/d/a.db", "/d/gone.db"});
  Run(2min);
  EXPECT_EQ(live_, (Names{"/d/a.db", "/d/new.db"}));
  EXPECT_EQ(adds_, 1);
}

TEST_F(DirectoryMonitorTest, WhatComesAndGoes) {
  Start();
  MakeDatabase("/d/a.db");
  Run();
  EXPECT_EQ(live_, (Names{"/d/a.db"}));
  Rename("/d/a.db", "/d/b.db");
  Run();
  EXPECT_EQ(live_, (Names{"/d/b.db"}));
  Rename("/d/b.db", "/d/b.bak");
  Run(0s);  // Removals do not wait.
  EXPECT_EQ(live_, Names{});
  MakeDatabase("/d/b.db");
  Run();
  EXPECT_EQ(live_, (Names{"/d/b.db"}));
  Remove("/d/b.db");
  Run(0s);
  EXPECT_EQ(live_, Names{});
  EXPECT_EQ(log_.Count("removed database from replication /d/b.db"), 2);
}

TEST_F(DirectoryMonitorTest, WhatIsNoDatabaseYet) {
  const struct {
    const char* why;
    std::string_view text;
  } cases[] = {
      {"empty", ""},
      {"the beginning of a header", kDatabase.substr(0, 15)},
      {"text", "this is not a database at all"},
      {"an old format", kOldDatabase},
  };
  Start();
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    Write("/d/a.db", c.text);
    Run(2s);
    EXPECT_EQ(live_, Names{});
    Write("/d/a.db", c.text);  // It can be written any number of times.
    Run(2s);
    EXPECT_EQ(live_, Names{});
    Write("/d/a.db", kDatabase);
    Run(1s);
    EXPECT_EQ(live_, (Names{"/d/a.db"}));
    Remove("/d/a.db");
    Run();
  }
  EXPECT_EQ(monitor_->watch_count(), 1U);
}

// The same for files that are there at the start.
TEST_F(DirectoryMonitorTest, BecomesADatabaseAfterTheStart) {
  Write("/d/a.db", "");
  Write("/d/b.db", "text, text, text, text");
  Start();
  EXPECT_EQ(live_, Names{});
  MakeDatabase("/d/a.db");
  MakeDatabase("/d/b.db");
  Run();
  EXPECT_EQ(live_, (Names{"/d/a.db", "/d/b.db"}));
}

// 250 ms after the first event, whatever comes behind it.
TEST_F(DirectoryMonitorTest, TheTimerIsArmedOnce) {
  Start();
  MakeDatabase("/d/a.db");
  Run(100ms);
  MakeDatabase("/d/b.db");
  Run(140ms);
  EXPECT_EQ(live_, Names{});
  MakeDatabase("/d/a.db");
  Run(10ms);
  EXPECT_EQ(live_, (Names{"/d/a.db", "/d/b.db"}));
}

TEST_F(DirectoryMonitorTest, TreesMove) {
  MakeDirectory("/d/sub");
  MakeDirectory("/d/sub/deep");
  MakeDatabase("/d/sub/a.db");
  MakeDatabase("/d/sub/deep/b.db");
  MakeDatabase("/d/subway.db");  // Not below sub.
  Start();
  Rename("/d/sub", "/d/other");
  Run();
  EXPECT_EQ(live_, (Names{"/d/subway.db", "/d/other/a.db", "/d/other/deep/b.db"}));
  EXPECT_EQ(monitor_->watch_count(), 3U);
  // The old names again: nothing of before stands in the way.
  MakeDirectory("/d/sub");
  MakeDirectory("/d/sub/deep");
  Run();
  MakeDatabase("/d/sub/deep/b.db");
  Run();
  EXPECT_TRUE(live_.contains("/d/sub/deep/b.db"));
  Remove("/d/other");
  Remove("/d/sub");
  Run();
  EXPECT_EQ(live_, (Names{"/d/subway.db"}));
  EXPECT_EQ(monitor_->watch_count(), 1U);
}

// A directory in the place of another one: what both have stays, the rest goes.
TEST_F(DirectoryMonitorTest, DirectoryIsReplaced) {
  MakeDirectory("/d/sub");
  MakeDatabase("/d/sub/both.db");
  MakeDatabase("/d/sub/old.db");
  MakeDirectory("/new");
  MakeDatabase("/new/both.db");
  MakeDatabase("/new/new.db");
  Start();
  Rename("/d/sub", "/old");
  Rename("/new", "/d/sub");
  Run();
  EXPECT_EQ(live_, (Names{"/d/sub/both.db", "/d/sub/new.db"}));
  EXPECT_EQ(log_.Count("removed database from replication /d/sub/both.db"), 0);
  MakeDatabase("/d/sub/later.db");
  MakeDatabase("/old/elsewhere.db");
  Run();
  EXPECT_EQ(live_, (Names{"/d/sub/both.db", "/d/sub/later.db", "/d/sub/new.db"}));
}

TEST_F(DirectoryMonitorTest, StateTreesAndReplicasAreLeftAlone) {
  options_.skips = [](const std::string& path) { return path == "/d/backup"; };
  Start();
  MakeDirectory("/d/.a.db-litestream");
  MakeDirectory("/d/.a.db-litestream/ltx");
  MakeDirectory("/d/backup");
  MakeDatabase("/d/.a.db-litestream/ltx/x.db");
  MakeDatabase("/d/backup/x.db");
  Run(10min);
  EXPECT_EQ(live_, Names{});
  EXPECT_EQ(monitor_->watch_count(), 1U);
}

TEST_F(DirectoryMonitorTest, TheDirectoryGoesAndComesBack) {
  MakeDatabase("/d/a.db");
  Start();
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    Rename("/d", "/gone");
    Run(0s);
    EXPECT_EQ(live_, Names{});
    Run(10s);
    Rename("/gone", "/d");
    Run(2s);
    EXPECT_EQ(live_, (Names{"/d/a.db"}));
    MakeDatabase("/d/b.db");  // It is watched, not only read.
    Run(1s);
    EXPECT_EQ(live_, (Names{"/d/a.db", "/d/b.db"}));
    Remove("/d/b.db");
    Run();
  }
}

TEST_F(DirectoryMonitorTest, LostEvents) {
  MakeDirectory("/d/sub");
  MakeDatabase("/d/gone.db");
  MakeDatabase("/d/sub/moved.db");
  Write("/d/text.db", "text");
  Start();
  env_.LoseEvents(true);
  MakeDatabase("/d/new.db");
  Remove("/d/gone.db");
  Write("/d/text.db", kDatabase);
  Rename("/d/sub", "/d/sub2");
  MakeDirectory("/d/sub");
  Run(10s);
  EXPECT_EQ(live_, (Names{"/d/gone.db", "/d/sub/moved.db"}));
  env_.LoseEvents(false);
  Run(1s);
  EXPECT_EQ(live_, (Names{"/d/new.db", "/d/sub2/moved.db", "/d/text.db"}));
  EXPECT_EQ(log_.Count("file events were lost"), 1);
  MakeDatabase("/d/sub/later.db");
  MakeDatabase("/d/sub2/later.db");
  Run(1s);
  EXPECT_TRUE(live_.contains("/d/sub/later.db"));
  EXPECT_TRUE(live_.contains("/d/sub2/later.db"));
}

// Without any event (a network file system), at the next rescan.
TEST_F(DirectoryMonitorTest, NoEventsAtAll) {
  MakeDatabase("/d/gone.db");
  MakeDatabase("/d/text.db");
  Start();
  env_.LoseEvents(true);
  MakeDirectory("/d/sub");
  MakeDatabase("/d/sub/new.db");
  Remove("/d/gone.db");
  Remove("/d/text.db");
  Write("/d/text.db", "this was a database");
  Run(62s);
  EXPECT_EQ(live_, (Names{"/d/sub/new.db"}));
}

TEST_F(DirectoryMonitorTest, ReplacedFiles) {
  MakeDatabase("/d/a.db");
  MakeDatabase("/d/other");
  Write("/d/text", "neither long nor a database");
  Start();
  Rename("/d/other", "/d/a.db");
  Run(2min);
  EXPECT_EQ(live_, (Names{"/d/a.db"}));
  EXPECT_EQ(log_.Count("removed"), 0);
  Rename("/d/text", "/d/a.db");
  Run(1s);
  EXPECT_EQ(live_, Names{});
  MakeDatabase("/d/a.db");
  Run(1s);
  EXPECT_EQ(live_, (Names{"/d/a.db"}));
  // By a directory, and back.
  Remove("/d/a.db");
  MakeDirectory("/d/a.db");
  Run(1s);
  EXPECT_EQ(live_, Names{});
  Remove("/d/a.db");
  MakeDatabase("/d/a.db");
  Run(1s);
  EXPECT_EQ(live_, (Names{"/d/a.db"}));
}

// A file that is still attached under its old name is not opened; it is added when it is free.
TEST_F(DirectoryMonitorTest, AttachedUnderAnotherName) {
  MakeDatabase("/d/a.db");
  Start();
  auto claim = AttachedFile::Claim(env_, "/d/a.db");
  ASSERT_TRUE(claim.ok());
  int opened = 0;
  env_.SetFault([&](const EnvCallInfo& info) {
    opened += info.call == EnvCall::kOpen ? 1 : 0;
    return std::nullopt;
  });
  Rename("/d/a.db", "/d/b.db");
  Run(5s);
  EXPECT_EQ(live_, Names{});
  EXPECT_EQ(opened, 0);
  claim.value().reset();
  Run(1s);
  EXPECT_EQ(live_, (Names{"/d/b.db"}));
  EXPECT_EQ(log_.Count("error"), 0);
}

// One that stays attached (a second name for one file) costs a look a minute, and one message.
TEST_F(DirectoryMonitorTest, AttachedUnderAnotherNameForEver) {
  MakeDatabase("/d/b.db");
  auto claim = AttachedFile::Claim(env_, "/d/b.db");
  ASSERT_TRUE(claim.ok());
  Rename("/d/b.db", "/d/second.db");
  Start();
  Run(5min);
  EXPECT_EQ(log_.Count("is the same file as /d/b.db"), 1);
  const auto calls = env_.call_count();
  Run(10min);
  EXPECT_LT(env_.call_count() - calls, 150U);
  claim.value().reset();
  Run(62s);
  EXPECT_EQ(live_, (Names{"/d/second.db"}));
}

TEST_F(DirectoryMonitorTest, RefusedIsSaidOnceAndTriedAgain) {
  refuse_ = true;
  Start();
  MakeDatabase("/d/a.db");
  Run(10min);
  EXPECT_EQ(live_, Names{});
  EXPECT_EQ(log_.Count("directory watcher error /d/a.db taken"), 1);
  EXPECT_GE(adds_, 9);
  EXPECT_LE(adds_, 12);
  refuse_ = false;
  Run(62s);
  EXPECT_EQ(live_, (Names{"/d/a.db"}));
}

TEST_F(DirectoryMonitorTest, StartFails) {
  const struct {
    const char* why;
    EnvCall call;
    ErrorCode code;
  } cases[] = {
      {"inotify's limit", EnvCall::kWatch, ErrorCode::kNoSpace},
      {"may not be read", EnvCall::kList, ErrorCode::kDenied},
      {"cannot be looked at", EnvCall::kStat, ErrorCode::kIo},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
      if (info.call == c.call) return EnvFault{.code = c.code};
      return std::nullopt;
    });
    const auto started = TryStart();
    ASSERT_FALSE(started.ok());
    EXPECT_TRUE(started.error().Is(c.code));
    EXPECT_TRUE(started.error().message().starts_with("start directory monitor for /d: "))
        << started.error().message();
  }
  env_.SetFault({});
  options_.directory = "/none";
  const auto started = TryStart();
  ASSERT_FALSE(started.ok());
  EXPECT_TRUE(started.error().Is(ErrorCode::kNotFound));
}

// A directory that comes later and cannot be watched is said once, and read by rescans.
TEST_F(DirectoryMonitorTest, LimitReachedLater) {
  Start();
  bool limit = true;
  env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (limit && info.call == EnvCall::kWatch) return EnvFault{.code = ErrorCode::kNoSpace};
    return std::nullopt;
  });
  MakeDirectory("/d/sub");
  MakeDatabase("/d/sub/a.db");
  Run(5s);
  EXPECT_EQ(live_, (Names{"/d/sub/a.db"}));
  MakeDatabase("/d/sub/b.db");
  Run(10min);
  EXPECT_EQ(live_, (Names{"/d/sub/a.db", "/d/sub/b.db"}));
  EXPECT_EQ(log_.Count("directory watcher error /d/sub"), 1);
  limit = false;
  Run(62s);
  MakeDatabase("/d/sub/c.db");
  Run(1s);
  EXPECT_TRUE(live_.contains("/d/sub/c.db"));
}

TEST_F(DirectoryMonitorTest, IdleCostsLittle) {
  for (int i = 0; i < 100; ++i) MakeDatabase(fmt::format("/d/{}.db", i));
  Start();
  Run(1min);
  const auto calls = env_.call_count();
  Run(1h);
  // A stat a file and a list a directory, a minute.
  EXPECT_LE(env_.call_count() - calls, 61U * 105U);
  EXPECT_EQ(live_.size(), 100U);
}

TEST_F(DirectoryMonitorTest, NothingAfterStop) {
  Start();
  MakeDatabase("/d/a.db");
  monitor_->Stop();
  Run(5min);
  EXPECT_EQ(live_, Names{});
}

// Anything that people do to a tree of files, with and without events. Afterwards what is added is
// what is there.
class Churn : public DirectoryMonitorTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  std::string AnyDirectory() {
    static const char* const names[] = {"/d",   "/d/x", "/d/x/y", "/d/z", "/d/.s-litestream",
                                        "/else"};
    return names[Pick(6)];
  }
  std::string AnyFile() {
    static const char* const names[] = {"a.db", "b.db", "c.db", "d.txt", "a.db-wal"};
    return AnyDirectory() + "/" + names[Pick(5)];
  }
  int Pick(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  // A database that is overwritten in place by something else stays added, and reports it.
  bool IsDatabase(const std::string& path) {
    const auto text = ReadSmallFile(env_, path, 1000);
    return text.ok() && text.value().starts_with(kDatabase.substr(0, 16));
  }
  void WriteAny(std::string_view text) {
    const std::string path = AnyFile();
    if (IsDatabase(path)) text = kDatabase;
    const auto file = env_.Open(
        path, {.write = true, .create = true, .exclusive = false, .truncate = Pick(2) == 0});
    if (file.ok()) (void)file.value()->WriteAt(std::as_bytes(std::span(text)), 0).ok();
  }
  void Act() {
    static const std::string_view texts[] = {"", "text, text, text, text", kDatabase, kDatabase};
    switch (Pick(9)) {
      case 0:
      case 1:
      case 2:
        return WriteAny(texts[Pick(4)]);
      case 3:
        return (void)env_.CreateDirectory(AnyDirectory(), {}).ok();
      case 4:
        return (void)env_.Rename(AnyFile(), AnyFile()).ok();
      case 5:
        return (void)env_.Rename(AnyDirectory(), AnyDirectory()).ok();
      case 6:
        return (void)env_.RemoveTree(Pick(3) == 0 ? AnyDirectory() : AnyFile()).ok();
      case 7:
        return Run(std::chrono::milliseconds(Pick(400)));
      default:
        if (Pick(4) == 0) env_.LoseEvents(Pick(2) == 0);
    }
  }
  void Expect(const std::string& directory, Names& out) {
    const auto listed = env_.List(directory);
    if (!listed.ok()) return;
    for (const auto& entry : listed.value()) {
      const std::string path = directory + "/" + entry.name;
      if (entry.type == FileType::kDirectory) {
        if (!entry.name.ends_with("-litestream")) Expect(path, out);
      } else if (entry.name.ends_with(".db")) {
        if (IsDatabase(path)) out.insert(path);
      }
    }
  }
  std::mt19937 random_;
};

TEST_P(Churn, EndsWithWhatIsThere) {
  random_.seed(GetParam());
  Start();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 40; ++i) Act();
    env_.LoseEvents(false);
    Run(5s);
    Names want;
    Expect("/d", want);
    ASSERT_EQ(live_, want) << "round " << round;
    const auto tracked = monitor_->tracked();
    ASSERT_EQ(Names(tracked.begin(), tracked.end()), want);
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, Churn, ::testing::Range(1U, 60U));

}  // namespace
}  // namespace litestream
