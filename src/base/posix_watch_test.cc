#include "base/posix_watch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/sync.h"
#include "base/test_dir.h"

namespace litestream {
namespace {

using std::chrono_literals::operator""s;

constexpr std::chrono::seconds kPatience{20};

// Notes the events of a watch, and waits for them.
class Recorder {
 public:
  FileEventCallback Callback() {
    return [this](FileEvent event, const std::string& name) {
      MutexLock lock(mu_);
      seen_.push_back(Describe(event, name));
      changed_.NotifyAll();
    };
  }
  // False if the event does not come.
  bool Await(const std::string& want) {
    MutexLock lock(mu_);
    return changed_.WaitFor(mu_, {}, kPatience, [&]() LS_REQUIRES(mu_) {
      return std::find(seen_.begin(), seen_.end(), want) != seen_.end();
    });
  }
  std::vector<std::string> Take() {
    MutexLock lock(mu_);
    return std::exchange(seen_, {});
  }

 private:
  static std::string Describe(FileEvent event, const std::string& name) {
    switch (event) {
      case FileEvent::kModified:
        return "modified";
      case FileEvent::kEntry:
        return "entry " + name;
      case FileEvent::kOverflow:
        return "overflow";
      case FileEvent::kGone:
        return "gone";
    }
    return "?";
  }

  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> seen_ LS_GUARDED_BY(mu_);
};

void Append(const std::filesystem::path& path, const char* text = "x") {
  std::FILE* file = std::fopen(path.c_str(), "ae");
  ASSERT_NE(file, nullptr);
  std::fputs(text, file);
  std::fclose(file);
}

class PosixWatchTest : public ::testing::Test {
 protected:
  // Waits until everything that happened before has been reported. An event of its own does that,
  // because the kernel keeps the order.
  void Settle() {
    Recorder recorder;
    TestDir dir;
    const auto watch = watcher_.WatchDirectory(dir.path(), recorder.Callback());
    ASSERT_TRUE(watch.ok());
    Append(dir / "settled");
    ASSERT_TRUE(recorder.Await("entry settled"));
  }

  TestDir dir_;
  PosixWatcher watcher_;
  Recorder recorder_;
};

using Seen = std::vector<std::string>;

TEST_F(PosixWatchTest, FileReportsOnceUntilArmedAgain) {
  Append(dir_ / "f");
  const auto watch = watcher_.WatchFile(dir_ / "f", recorder_.Callback());
  ASSERT_TRUE(watch.ok()) << watch.error().message();
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    for (int i = 0; i < 5; ++i) Append(dir_ / "f");
    ASSERT_TRUE(recorder_.Await("modified"));
    Settle();
    EXPECT_EQ(recorder_.Take(), Seen{"modified"});
    ASSERT_TRUE(watch.value()->Rearm().ok());
  }
  ASSERT_TRUE(watch.value()->Rearm().ok());  // Twice is as good as once.
  Append(dir_ / "f");
  ASSERT_TRUE(recorder_.Await("modified"));
  Settle();
  EXPECT_EQ(recorder_.Take(), Seen{"modified"});
}

// Nothing that is written after Rearm may go unnoticed, however close to the last event.
TEST_F(PosixWatchTest, NoWriteAfterRearmIsLost) {
  Append(dir_ / "f");
  std::atomic<int> written = 0;
  Mutex mu;
  CondVar changed;
  bool event = false;
  const auto watch = watcher_.WatchFile(dir_ / "f", [&](FileEvent, const std::string&) {
    MutexLock lock(mu);
    event = true;
    changed.NotifyAll();
  });
  ASSERT_TRUE(watch.ok());
  constexpr int kWrites = 20'000;
  std::jthread writer([&] {
    std::FILE* file = std::fopen((dir_ / "f").c_str(), "ae");
    for (int i = 1; i <= kWrites; ++i) {
      std::fputc('x', file);
      written = i;  // Before the event, as SQLite publishes after it.
      std::fflush(file);
    }
    std::fclose(file);
  });
  int seen = 0;
  int events = 0;
  while (seen < kWrites) {
    {
      MutexLock lock(mu);
      ASSERT_TRUE(changed.WaitFor(mu, {}, kPatience, [&] { return event; })) << "after " << seen;
      event = false;
      ++events;
    }
    ASSERT_TRUE(watch.value()->Rearm().ok());
    seen = written;
  }
  EXPECT_GT(events, 0);
}

TEST_F(PosixWatchTest, FileGone) {
  const struct {
    const char* why;
    void (*act)(const TestDir& dir);
    const char* want;
  } cases[] = {
      {"deleted", [](const TestDir& d) { std::filesystem::remove(d / "f"); }, "gone"},
      {"moved away", [](const TestDir& d) { std::filesystem::rename(d / "f", d / "g"); }, "gone"},
      {"replaced", [](const TestDir& d) { std::filesystem::rename(d / "other", d / "f"); }, "gone"},
      {"link added", [](const TestDir& d) { std::filesystem::create_hard_link(d / "f", d / "g"); },
       "modified"},
  };
  for (const bool open : {false, true}) {
    for (const auto& c : cases) {
      SCOPED_TRACE(std::string(c.why) + (open ? ", open elsewhere" : ""));
      const TestDir dir;
      Append(dir / "f");
      Append(dir / "other");
      std::FILE* holder = open ? std::fopen((dir / "f").c_str(), "re") : nullptr;
      const auto watch = watcher_.WatchFile(dir / "f", recorder_.Callback());
      ASSERT_TRUE(watch.ok());
      c.act(dir);
      ASSERT_TRUE(recorder_.Await(c.want));
      Settle();
      EXPECT_EQ(recorder_.Take(), Seen{c.want});
      const bool there = std::filesystem::exists(dir / "f");
      const auto again = watch.value()->Rearm();
      EXPECT_EQ(again.ok(), there);
      if (!there) {
        EXPECT_TRUE(again.error().Is(ErrorCode::kNotFound));
      } else {
        Append(dir / "f");
        ASSERT_TRUE(recorder_.Await("modified"));
        recorder_.Take();
      }
      if (holder != nullptr) std::fclose(holder);
    }
  }
}

TEST_F(PosixWatchTest, RearmFollowsThePathToANewFile) {
  Append(dir_ / "f");
  const auto watch = watcher_.WatchFile(dir_ / "f", recorder_.Callback());
  ASSERT_TRUE(watch.ok());
  Append(dir_ / "new");
  std::filesystem::rename(dir_ / "new", dir_ / "f");
  ASSERT_TRUE(recorder_.Await("gone"));
  ASSERT_TRUE(watch.value()->Rearm().ok());
  recorder_.Take();
  Append(dir_ / "f");
  EXPECT_TRUE(recorder_.Await("modified"));
}

TEST_F(PosixWatchTest, SeveralWatchesOnOneInode) {
  Append(dir_ / "f");
  std::filesystem::create_hard_link(dir_ / "f", dir_ / "h");
  std::filesystem::create_symlink("f", dir_ / "l");
  Recorder same;
  Recorder hard;
  Recorder symbolic;
  const auto first = watcher_.WatchFile(dir_ / "f", recorder_.Callback());
  auto second = watcher_.WatchFile(dir_ / "f", same.Callback());
  const auto third = watcher_.WatchFile(dir_ / "h", hard.Callback());
  const auto fourth = watcher_.WatchFile(dir_ / "l", symbolic.Callback());
  ASSERT_TRUE(first.ok() && second.ok() && third.ok() && fourth.ok());
  Append(dir_ / "f");
  for (Recorder* r : {&recorder_, &same, &hard, &symbolic}) EXPECT_TRUE(r->Await("modified"));
  Settle();
  for (Recorder* r : {&recorder_, &same, &hard, &symbolic}) EXPECT_EQ(r->Take(), Seen{"modified"});

  // Armed and destroyed one by one.
  ASSERT_TRUE(first.value()->Rearm().ok());
  ASSERT_TRUE(second.value()->Rearm().ok());
  second.value().reset();
  Append(dir_ / "h");
  EXPECT_TRUE(recorder_.Await("modified"));
  Settle();
  EXPECT_EQ(recorder_.Take(), Seen{"modified"});
  for (Recorder* r : {&same, &hard, &symbolic}) EXPECT_EQ(r->Take(), Seen{});

  // The file goes at one path and stays at the other.
  ASSERT_TRUE(first.value()->Rearm().ok());
  ASSERT_TRUE(third.value()->Rearm().ok());
  std::filesystem::remove(dir_ / "f");
  EXPECT_TRUE(recorder_.Await("gone"));
  EXPECT_TRUE(hard.Await("modified"));
}

TEST_F(PosixWatchTest, DirectoryReportsEntries) {
  Append(dir_ / "old");
  Recorder other;
  auto watch = watcher_.WatchDirectory(dir_.path(), recorder_.Callback());
  const auto twin = watcher_.WatchDirectory(dir_.path(), other.Callback());
  ASSERT_TRUE(watch.ok() && twin.ok());
  Append(dir_ / "old");  // Writing is no entry.
  std::filesystem::create_directory(dir_ / "created");
  std::filesystem::rename(dir_ / "old", dir_ / "moved");
  std::filesystem::remove(dir_ / "moved");
  EXPECT_TRUE(watch.value()->Rearm().ok());
  Settle();
  const Seen want = {"entry created", "entry old", "entry moved", "entry moved"};
  EXPECT_EQ(recorder_.Take(), want);
  EXPECT_EQ(other.Take(), want);

  watch.value().reset();
  Append(dir_ / "again");
  EXPECT_TRUE(other.Await("entry again"));
  EXPECT_EQ(recorder_.Take(), Seen{});
}

// Two databases in one directory, and who wants all of it.
TEST_F(PosixWatchTest, NamedEntriesOnly) {
  Recorder all;
  Recorder second;
  const auto everything = watcher_.WatchDirectory(dir_.path(), all.Callback());
  auto first = watcher_.WatchEntries(dir_.path(), {"a", "a-wal"}, recorder_.Callback());
  const auto other = watcher_.WatchEntries(dir_.path(), {"b", "a-wal"}, second.Callback());
  ASSERT_TRUE(everything.ok() && first.ok() && other.ok());
  for (const char* name : {"a", "b", "c", "a-wal"}) Append(dir_ / name);
  Settle();
  EXPECT_EQ(all.Take(), (std::vector<std::string>{"entry a", "entry b", "entry c", "entry a-wal"}));
  EXPECT_EQ(recorder_.Take(), (std::vector<std::string>{"entry a", "entry a-wal"}));
  EXPECT_EQ(second.Take(), (std::vector<std::string>{"entry b", "entry a-wal"}));
  first.value().reset();
  std::filesystem::remove(dir_ / "a-wal");
  Settle();
  EXPECT_EQ(recorder_.Take(), std::vector<std::string>{});
  EXPECT_EQ(second.Take(), std::vector<std::string>{"entry a-wal"});
  std::filesystem::remove_all(dir_.path());
  EXPECT_TRUE(all.Await("gone"));
  EXPECT_TRUE(second.Await("gone"));
  second.Take();
  Settle();
  EXPECT_EQ(second.Take(), std::vector<std::string>{});
}

TEST_F(PosixWatchTest, DirectoryGone) {
  for (const bool moved : {false, true}) {
    SCOPED_TRACE(moved ? "moved" : "deleted");
    std::filesystem::create_directory(dir_ / "d");
    const auto watch = watcher_.WatchDirectory(dir_ / "d", recorder_.Callback());
    ASSERT_TRUE(watch.ok());
    if (moved) {
      std::filesystem::rename(dir_ / "d", dir_ / "e");
    } else {
      std::filesystem::remove(dir_ / "d");
    }
    EXPECT_TRUE(recorder_.Await("gone"));
    if (moved) Append(dir_ / "e/f");
    Settle();
    EXPECT_EQ(recorder_.Take(), Seen{"gone"});
  }
}

TEST_F(PosixWatchTest, Errors) {
  Append(dir_ / "f");
  const auto none = watcher_.WatchFile(dir_ / "none", recorder_.Callback());
  ASSERT_FALSE(none.ok());
  EXPECT_TRUE(none.error().Is(ErrorCode::kNotFound));
  EXPECT_EQ(none.error().message(),
            "watch " + (dir_ / "none").native() + ": No such file or directory");
  EXPECT_TRUE(watcher_.WatchFile(dir_.path(), recorder_.Callback())
                  .error()
                  .Is(ErrorCode::kInvalidArgument));
  EXPECT_TRUE(watcher_.WatchDirectory(dir_ / "f", recorder_.Callback())
                  .error()
                  .Is(ErrorCode::kInvalidArgument));
}

TEST_F(PosixWatchTest, DestroyedWithinTheCallback) {
  Append(dir_ / "f");
  Mutex mu{LockRank::kStore};
  CondVar changed;
  std::unique_ptr<FileWatch> watch;
  bool destroyed = false;
  {
    MutexLock lock(mu);
    auto made = watcher_.WatchFile(dir_ / "f", [&](FileEvent, const std::string&) {
      MutexLock inner(mu);
      watch.reset();
      destroyed = true;
      changed.NotifyAll();
    });
    ASSERT_TRUE(made.ok());
    watch = std::move(made).value();
  }
  Append(dir_ / "f");
  MutexLock lock(mu);
  EXPECT_TRUE(changed.WaitFor(mu, {}, kPatience, [&] { return destroyed; }));
}

TEST_F(PosixWatchTest, DestructionWaitsForTheCallback) {
  Append(dir_ / "f");
  Mutex mu;
  CondVar changed;
  bool inside = false;
  std::atomic<bool> left = false;
  auto watch = watcher_.WatchFile(dir_ / "f", [&](FileEvent, const std::string&) {
    {
      MutexLock lock(mu);
      inside = true;
      changed.NotifyAll();
    }
    std::this_thread::yield();
    left = true;
  });
  ASSERT_TRUE(watch.ok());
  Append(dir_ / "f");
  {
    MutexLock lock(mu);
    ASSERT_TRUE(changed.WaitFor(mu, {}, kPatience, [&] { return inside; }));
  }
  watch.value().reset();
  EXPECT_TRUE(left);
}

TEST_F(PosixWatchTest, OverflowReachesEverybodyAndFilesStayArmed) {
  Append(dir_ / "f");
  Append(dir_ / "idle");
  TestDir busy;
  Recorder idle;
  Mutex mu;
  CondVar changed;
  bool blocked = true;
  // Holds the reading thread until the kernel's queue is full.
  const auto blocker = watcher_.WatchDirectory(busy.path(), [&](FileEvent, const std::string&) {
    MutexLock lock(mu);
    changed.WaitFor(mu, {}, kPatience, [&] { return !blocked; });
  });
  const auto file = watcher_.WatchFile(dir_ / "f", recorder_.Callback());
  const auto other = watcher_.WatchFile(dir_ / "idle", idle.Callback());
  ASSERT_TRUE(blocker.ok() && file.ok() && other.ok());
  int limit = 0;
  std::FILE* setting = std::fopen("/proc/sys/fs/inotify/max_queued_events", "re");
  ASSERT_NE(setting, nullptr);
  ASSERT_EQ(std::fscanf(setting, "%d", &limit), 1);
  std::fclose(setting);
  const std::string names[2] = {busy / "a", busy / "b"};
  // Also what the reader has already taken into its buffer.
  for (int i = 0; i < limit + 5'000; i += 2) {
    const std::string& name = names[(i / 2) % 2];
    Append(name);
    std::filesystem::remove(name);
  }
  Append(dir_ / "f");  // This event is lost, and with it the kernel's one-shot watch.
  {
    MutexLock lock(mu);
    blocked = false;
    changed.NotifyAll();
  }
  EXPECT_TRUE(recorder_.Await("overflow"));
  EXPECT_TRUE(idle.Await("overflow"));
  Settle();
  EXPECT_EQ(idle.Take(), Seen{"overflow"});
  EXPECT_EQ(recorder_.Take(), Seen{"overflow"});
  Append(dir_ / "f");
  EXPECT_TRUE(recorder_.Await("modified"));
  Append(dir_ / "idle");
  EXPECT_TRUE(idle.Await("modified"));
}

}  // namespace
}  // namespace litestream
