#include "base/memory_env.h"

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/manual_clock.h"

namespace litestream {
namespace {

using std::chrono_literals::operator""s;
using Path = std::filesystem::path;

constexpr OpenOptions kCreate{.write = true, .create = true};

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

bool KeepNothing(const UnsyncedChange& /*change*/) {
  return false;
}
bool KeepAll(const UnsyncedChange& /*change*/) {
  return true;
}

template <typename T>
std::string CodeOf(const Result<T>& result) {
  return result.ok() ? "ok" : std::string(ToString(result.error().code()));
}

class MemoryEnvTest : public ::testing::Test {
 protected:
  std::unique_ptr<File> Open(const Path& path, const OpenOptions& options = kCreate) {
    auto file = env_.Open(path, options);
    EXPECT_TRUE(file.ok()) << file.error().message();
    return file.ok() ? std::move(file).value() : nullptr;
  }
  // Synced, with its name.
  void PutDurable(const Path& path, std::string_view text) {
    const auto file = Open(path);
    ASSERT_TRUE(file->WriteAt(Bytes(text), 0).ok());
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_TRUE(env_.SyncDirectory(path.parent_path()).ok());
  }
  std::string Get(const Path& path) {
    const auto text = ReadSmallFile(env_, path, 1 << 20);
    return text.ok() ? text.value() : CodeOf(text);
  }
  bool Has(const Path& path) { return Exists(env_, path).value(); }

  ManualClock clock_;
  MemoryEnv env_{clock_, 1};
};

TEST_F(MemoryEnvTest, FilesBasics) {
  const auto file = Open("/f");
  clock_.Advance(5s);
  EXPECT_EQ(CodeOf(file->WriteAt(Bytes("world"), 6)), "ok");
  EXPECT_EQ(CodeOf(file->WriteAt(Bytes("hello "), 0)), "ok");
  EXPECT_EQ(Get("/f"), "hello world");
  const FileStat stat = file->Stat().value();
  EXPECT_EQ(stat.size_bytes, 11U);
  EXPECT_EQ(stat.modified_at, clock_.Now());
  EXPECT_EQ(stat.identity, env_.Stat("f").value().identity);
  EXPECT_EQ(CodeOf(file->SetModified(NanoTime(7s))), "ok");
  EXPECT_EQ(env_.Stat("/f").value().modified_at, NanoTime(7s));
  EXPECT_EQ(CodeOf(Open("/f", {})->WriteAt(Bytes("x"), 0)), "internal");
  EXPECT_EQ(CodeOf(Open("/f", {})->WriteAt({}, 0)), "ok") << "nothing to do, as on the machine";
  EXPECT_EQ(CodeOf(file->WriteAt(Bytes("x"), ~std::uint64_t{0})), "i/o");
  EXPECT_EQ(env_.Open("/none/f", kCreate).error().message(),
            "open /none/f: No such file or directory");
}

TEST_F(MemoryEnvTest, IdentityFollowsTheFile) {
  PutDurable("/a", "A");
  PutDurable("/b", "B");
  const FileIdentity a = env_.Stat("/a").value().identity;
  EXPECT_NE(a, env_.Stat("/b").value().identity);
  ASSERT_TRUE(env_.Rename("/a", "/b").ok());
  EXPECT_EQ(env_.Stat("/b").value().identity, a);
  ASSERT_TRUE(env_.Remove("/b").ok());
  PutDurable("/b", "new");
  EXPECT_NE(env_.Stat("/b").value().identity, a);
}

TEST_F(MemoryEnvTest, LockAndOwner) {
  auto first = env_.Lock("/lock", {});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(CodeOf(env_.Lock("/lock", {})), "already exists");
  first.value().reset();
  const auto again = env_.Lock("/lock", {});
  ASSERT_TRUE(again.ok());
  env_.Crash(KeepAll);
  EXPECT_EQ(CodeOf(env_.Lock("/lock", {})), "ok");
  const FileOwner owner{.mode = 0640, .uid = 7, .gid = 8};
  ASSERT_TRUE(env_.CreateDirectory("/d", owner).ok());
  EXPECT_EQ(env_.Stat("/d").value().mode, 0750U);
  EXPECT_EQ(env_.Stat("/d").value().uid, 7U);
}

TEST_F(MemoryEnvTest, RandomRepeatsWithTheSeed) {
  std::array<std::byte, 32> a = {};
  std::array<std::byte, 32> b = {};
  env_.Random(a);
  MemoryEnv(clock_, 1).Random(b);
  EXPECT_EQ(a, b);
  env_.Random(b);
  EXPECT_NE(a, b);
  MemoryEnv(clock_, 2).Random(b);
  EXPECT_NE(a, b);
}

// --- Crashes ---

TEST_F(MemoryEnvTest, UnsyncedContentIsLost) {
  PutDurable("/f", "old content");
  const auto file = Open("/f");
  ASSERT_TRUE(file->WriteAt(Bytes("NEW"), 0).ok());
  ASSERT_TRUE(file->Truncate(5).ok());
  EXPECT_EQ(Get("/f"), "NEW c");
  env_.Crash(KeepNothing);
  EXPECT_EQ(Get("/f"), "old content");
}

TEST_F(MemoryEnvTest, SyncedContentStays) {
  PutDurable("/f", "old content");
  for (const bool data_only : {false, true}) {
    const auto file = Open("/f");
    ASSERT_TRUE(file->WriteAt(Bytes(data_only ? "two" : "one"), 0).ok());
    ASSERT_TRUE((data_only ? file->SyncData() : file->Sync()).ok());
    ASSERT_TRUE(file->Truncate(0).ok());
    env_.Crash(KeepNothing);
    EXPECT_EQ(Get("/f"), data_only ? "two content" : "one content");
  }
}

TEST_F(MemoryEnvTest, NamesNeedASyncOfTheirDirectory) {
  PutDurable("/kept", "kept");
  PutDurable("/moved", "moved");
  PutDurable("/removed", "removed");
  ASSERT_TRUE(env_.Rename("/moved", "/elsewhere").ok());
  ASSERT_TRUE(env_.Remove("/removed").ok());
  const auto created = Open("/created");
  ASSERT_TRUE(created->WriteAt(Bytes("x"), 0).ok());
  ASSERT_TRUE(created->Sync().ok());  // The content, not the name.
  env_.Crash(KeepNothing);
  EXPECT_EQ(Get("/moved"), "moved");
  EXPECT_EQ(Get("/removed"), "removed");
  EXPECT_EQ(Get("/kept"), "kept");
  EXPECT_FALSE(Has("/elsewhere"));
  EXPECT_FALSE(Has("/created"));
}

TEST_F(MemoryEnvTest, ASyncedDirectoryIsLostWithItsUnsyncedParent) {
  ASSERT_TRUE(env_.CreateDirectory("/d", {}).ok());
  PutDurable("/d/f", "x");
  env_.Crash(KeepNothing);
  EXPECT_FALSE(Has("/d"));
  ASSERT_TRUE(CreateDirectories(env_, "/d/e", {}).ok());
  PutDurable("/d/e/f", "x");
  env_.Crash(KeepNothing);
  EXPECT_EQ(Get("/d/e/f"), "x");
}

TEST_F(MemoryEnvTest, ARenameIsOneChangeAcrossDirectories) {
  ASSERT_TRUE(CreateDirectories(env_, "/a", {}).ok());
  ASSERT_TRUE(CreateDirectories(env_, "/b", {}).ok());
  PutDurable("/a/f", "x");
  for (const bool keep : {false, true}) {
    ASSERT_TRUE(env_.Rename("/a/f", "/b/f").ok());
    int asked = 0;
    env_.Crash([&](const UnsyncedChange& change) {
      ++asked;
      EXPECT_EQ(change.path, "/b/f");
      return keep;
    });
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(Has("/a/f"), !keep);
    EXPECT_EQ(Has("/b/f"), keep);
  }
}

TEST_F(MemoryEnvTest, WritesTearAtSectors) {
  PutDurable("/f", std::string(2048, '.'));
  const auto file = Open("/f");
  ASSERT_TRUE(file->WriteAt(Bytes(std::string(1000, 'x')), 300).ok());  // Four pieces.
  std::vector<std::uint64_t> asked;
  env_.Crash([&asked](const UnsyncedChange& change) {
    EXPECT_EQ(change.kind, UnsyncedChange::Kind::kSector);
    asked.push_back(change.offset_bytes);
    return change.offset_bytes == 300 || change.offset_bytes == 1024;
  });
  EXPECT_EQ(asked, (std::vector<std::uint64_t>{300, 512, 1024}));
  EXPECT_EQ(Get("/f"), std::string(300, '.') + std::string(212, 'x') + std::string(512, '.') +
                           std::string(276, 'x') + std::string(748, '.'));
}

TEST_F(MemoryEnvTest, AnExtensionMayShowWithoutItsBytesAndTheReverse) {
  const struct {
    const char* why;
    bool keep_size;
    bool keep_last_sector;
    std::string want;
  } cases[] = {
      {"nothing", false, false, "abc"},
      {"size only", true, false, "abc" + std::string(1021, '\0')},
      {"last sector only", false, true, "abc" + std::string(509, '\0') + std::string(512, 'x')},
      {"both", true, true, "abc" + std::string(509, '\0') + std::string(512, 'x')},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    ASSERT_TRUE(env_.RemoveTree("/f").ok());
    PutDurable("/f", "abc");
    const auto file = Open("/f");
    ASSERT_TRUE(file->WriteAt(Bytes(std::string(1021, 'x')), 3).ok());
    env_.Crash([&](const UnsyncedChange& change) {
      return change.kind == UnsyncedChange::Kind::kSize
                 ? c.keep_size
                 : c.keep_last_sector && change.offset_bytes == 512;
    });
    EXPECT_EQ(Get("/f"), c.want);
  }
}

TEST_F(MemoryEnvTest, AnyOfSeveralUnsyncedVersionsMayBeThere) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    ASSERT_TRUE(env_.RemoveTree("/f").ok());
    PutDurable("/f", "old");
    const auto file = Open("/f");
    ASSERT_TRUE(file->WriteAt(Bytes("one"), 0).ok());
    ASSERT_TRUE(file->WriteAt(Bytes("two"), 0).ok());
    env_.Crash(seed);
    seen.insert(Get("/f"));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"old", "one", "two"}));
}

TEST_F(MemoryEnvTest, ACrashRepeatsWithTheSeed) {
  const auto run = [](std::uint64_t seed) {
    const ManualClock clock;
    MemoryEnv env(clock, 1);
    for (const char* name : {"/a", "/b", "/c", "/d"}) {
      const auto file = env.Open(name, kCreate);
      EXPECT_TRUE(file.value()->WriteAt(Bytes(std::string(3000, *(name + 1))), 0).ok());
    }
    env.Crash(seed);
    std::string state;
    const auto entries = env.List("/");
    for (const auto& entry : entries.value()) {
      state += entry.name + "=" + ReadSmallFile(env, "/" + entry.name, 1 << 20).value();
    }
    return state;
  };
  std::set<std::string> states;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(run(seed), run(seed)) << seed;
    states.insert(run(seed));
  }
  EXPECT_GT(states.size(), 20U);
}

TEST_F(MemoryEnvTest, WhatWasOpenFailsAfterACrash) {
  PutDurable("/f", "text");
  const auto file = Open("/f");
  int events = 0;
  const auto watch = env_.WatchFile("/f", [&](FileEvent, const std::string&) { ++events; });
  ASSERT_TRUE(watch.ok());
  env_.Crash(KeepAll);
  std::array<std::byte, 4> buffer = {};
  EXPECT_EQ(CodeOf(file->ReadAt(buffer, 0)), "i/o");
  EXPECT_EQ(CodeOf(file->WriteAt(Bytes("x"), 0)), "i/o");
  EXPECT_EQ(CodeOf(file->Truncate(0)), "i/o");
  EXPECT_EQ(CodeOf(file->Allocate(9)), "i/o");
  EXPECT_EQ(CodeOf(file->Sync()), "i/o");
  EXPECT_EQ(CodeOf(file->SyncData()), "i/o");
  EXPECT_EQ(CodeOf(file->Stat()), "i/o");
  EXPECT_EQ(CodeOf(file->SetModified({})), "i/o");
  EXPECT_EQ(CodeOf(watch.value()->Rearm()), "i/o");
  EXPECT_EQ(Get("/f"), "text");
  ASSERT_TRUE(Open("/f")->WriteAt(Bytes("x"), 0).ok());
  EXPECT_EQ(events, 0);
}

// --- Faults ---

TEST_F(MemoryEnvTest, FaultsComeBeforeTheCallTakesEffect) {
  PutDurable("/f", "old");
  const auto file = Open("/f");
  env_.SetFault([](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call == EnvCall::kWrite && info.offset_bytes == 0) {
      return EnvFault{.code = ErrorCode::kNoSpace, .written_bytes = 2};
    }
    if (info.call == EnvCall::kRename) return EnvFault{.code = ErrorCode::kDenied};
    return std::nullopt;
  });
  const auto written = file->WriteAt(Bytes("new"), 0);
  ASSERT_FALSE(written.ok());
  EXPECT_TRUE(written.error().Is(ErrorCode::kNoSpace));
  EXPECT_EQ(written.error().message(), "write /f: no space (injected)");
  EXPECT_EQ(Get("/f"), "ned");
  EXPECT_EQ(CodeOf(file->WriteAt(Bytes("w"), 2)), "ok");
  EXPECT_EQ(CodeOf(env_.Rename("/f", "/g")), "denied");
  EXPECT_TRUE(Has("/f"));
  env_.SetFault(nullptr);
  EXPECT_EQ(CodeOf(env_.Rename("/f", "/g")), "ok");
}

TEST_F(MemoryEnvTest, EveryCallCanFailAndIsCounted) {
  PutDurable("/f", "x");
  const auto file = Open("/f");
  std::vector<EnvCall> calls;
  std::uint64_t last = env_.call_count();
  env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    EXPECT_EQ(info.number, ++last);
    calls.push_back(info.call);
    return EnvFault{};
  });
  std::array<std::byte, 1> byte = {};
  EXPECT_EQ(CodeOf(env_.Open("/f", {})), "i/o");
  EXPECT_EQ(CodeOf(file->ReadAt(byte, 0)), "i/o");
  EXPECT_EQ(CodeOf(file->WriteAt(byte, 0)), "i/o");
  EXPECT_EQ(CodeOf(file->Truncate(0)), "i/o");
  EXPECT_EQ(CodeOf(file->Allocate(10)), "i/o");
  EXPECT_EQ(CodeOf(file->Sync()), "i/o");
  EXPECT_EQ(CodeOf(file->SyncData()), "i/o");
  EXPECT_EQ(CodeOf(file->Stat()), "i/o");
  EXPECT_EQ(CodeOf(file->SetModified({})), "i/o");
  EXPECT_EQ(CodeOf(env_.Stat("/f")), "i/o");
  EXPECT_EQ(CodeOf(env_.Rename("/f", "/g")), "i/o");
  EXPECT_EQ(CodeOf(env_.RenameNoReplace("/f", "/g")), "i/o");
  EXPECT_EQ(CodeOf(env_.Remove("/f")), "i/o");
  EXPECT_EQ(CodeOf(env_.RemoveTree("/f")), "i/o");
  EXPECT_EQ(CodeOf(env_.CreateDirectory("/d", {})), "i/o");
  EXPECT_EQ(CodeOf(env_.List("/")), "i/o");
  EXPECT_EQ(CodeOf(env_.SyncDirectory("/")), "i/o");
  EXPECT_EQ(CodeOf(env_.Lock("/l", {})), "i/o");
  EXPECT_EQ(CodeOf(env_.WatchFile("/f", nullptr)), "i/o");
  EXPECT_EQ(CodeOf(env_.WatchDirectory("/", nullptr)), "i/o");
  EXPECT_EQ(calls.size(), 20U);
  EXPECT_EQ(std::set<EnvCall>(calls.begin(), calls.end()).size(), 17U);  // All there are.
  env_.SetFault(nullptr);
  EXPECT_EQ(env_.List("/").value().size(), 1U);
  EXPECT_EQ(Get("/f"), "x");
}

// Trying a failed fsync again proves nothing: the pages count as clean.
TEST_F(MemoryEnvTest, AFailedSyncIsNotMendedByTheNext) {
  PutDurable("/f", "old");
  const auto file = Open("/f");
  const auto fail_sync = [](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call != EnvCall::kSync) return std::nullopt;
    return EnvFault{};
  };
  ASSERT_TRUE(file->WriteAt(Bytes("NEW"), 0).ok());
  env_.SetFault(fail_sync);
  EXPECT_EQ(CodeOf(file->Sync()), "i/o");
  env_.SetFault(nullptr);
  ASSERT_TRUE(file->WriteAt(Bytes("!"), 2).ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(Get("/f"), "NE!");
  env_.Crash(KeepNothing);
  EXPECT_EQ(Get("/f"), "ol!");
}

TEST_F(MemoryEnvTest, AFaultMayCrash) {
  PutDurable("/f", "old");
  const auto file = Open("/f");
  env_.SetFault([this](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call == EnvCall::kSync) env_.Crash(KeepNothing);
    return std::nullopt;
  });
  ASSERT_TRUE(file->WriteAt(Bytes("new"), 0).ok());
  EXPECT_EQ(CodeOf(file->Sync()), "i/o");
  EXPECT_EQ(Get("/f"), "old");
}

// --- Events ---

class Recorder {
 public:
  FileEventCallback Callback() {
    return [this](FileEvent event, const std::string& name) {
      constexpr const char* kNames[] = {"modified", "entry ", "overflow", "gone"};
      seen_.push_back(kNames[static_cast<int>(event)] + name);
    };
  }
  std::vector<std::string> Take() { return std::exchange(seen_, {}); }

 private:
  std::vector<std::string> seen_;
};
using Seen = std::vector<std::string>;

TEST_F(MemoryEnvTest, FileEventsAreOneShot) {
  PutDurable("/f", "x");
  Recorder recorder;
  const auto watch = env_.WatchFile("/f", recorder.Callback());
  ASSERT_TRUE(watch.ok());
  const auto file = Open("/f");
  const std::vector<std::function<bool()>> writes = {
      [&] { return file->WriteAt(Bytes("y"), 0).ok(); }, [&] { return file->Truncate(0).ok(); },
      [&] { return file->Allocate(10).ok(); },
      [&] { return env_.Open("/f", {.write = true, .truncate = true}).ok(); }};
  for (const auto& write : writes) {
    ASSERT_TRUE(write());
    EXPECT_EQ(recorder.Take(), Seen{"modified"});
    ASSERT_TRUE(file->WriteAt(Bytes("y"), 0).ok());
    EXPECT_EQ(recorder.Take(), Seen{});
    ASSERT_TRUE(watch.value()->Rearm().ok());
    ASSERT_TRUE(watch.value()->Rearm().ok());
  }
  ASSERT_TRUE(env_.Rename("/f", "/g").ok());
  EXPECT_EQ(recorder.Take(), Seen{"gone"});
  EXPECT_EQ(CodeOf(watch.value()->Rearm()), "not found");
  PutDurable("/f", "new");
  ASSERT_TRUE(watch.value()->Rearm().ok());
  ASSERT_TRUE(env_.Rename("/g", "/f").ok());  // Replaced.
  EXPECT_EQ(recorder.Take(), Seen{"gone"});
  ASSERT_TRUE(watch.value()->Rearm().ok());
  ASSERT_TRUE(env_.Remove("/f").ok());
  EXPECT_EQ(recorder.Take(), Seen{"gone"});
}

TEST_F(MemoryEnvTest, DirectoryEvents) {
  ASSERT_TRUE(CreateDirectories(env_, "/d/e", {}).ok());
  Recorder recorder;
  Recorder inner;
  auto watch = env_.WatchDirectory("/d", recorder.Callback());
  const auto inner_watch = env_.WatchDirectory("/d/e", inner.Callback());
  ASSERT_TRUE(watch.ok() && inner_watch.ok());
  PutDurable("/d/f", "x");
  ASSERT_TRUE(env_.Rename("/d/f", "/d/e/g").ok());
  ASSERT_TRUE(env_.CreateDirectory("/d/h", {}).ok());
  ASSERT_TRUE(env_.Lock("/d/lock", {}).ok());
  ASSERT_TRUE(env_.RemoveTree("/d/e").ok());
  EXPECT_EQ(recorder.Take(), (Seen{"entry f", "entry f", "entry h", "entry lock", "entry e"}));
  EXPECT_EQ(inner.Take(), (Seen{"entry g", "entry g", "gone"}));
  watch.value().reset();
  PutDurable("/d/i", "x");
  EXPECT_EQ(recorder.Take(), Seen{});
  EXPECT_EQ(CodeOf(env_.WatchFile("/d", nullptr)), "invalid argument");
  EXPECT_EQ(CodeOf(env_.WatchDirectory("/d/i", nullptr)), "invalid argument");
  EXPECT_EQ(CodeOf(env_.WatchDirectory("/none", nullptr)), "not found");
}

TEST_F(MemoryEnvTest, CreateDirectoriesBelow) {
  EXPECT_EQ(CodeOf(CreateDirectoriesBelow(env_, "/d", "/d/e/f", {})), "not found");
  ASSERT_TRUE(env_.CreateDirectory("/d", {}).ok());
  EXPECT_TRUE(CreateDirectoriesBelow(env_, "/d", "/d/e/f", {}).ok());
  EXPECT_TRUE(CreateDirectoriesBelow(env_, "/d", "/d/e/f", {}).ok());
  EXPECT_TRUE(CreateDirectoriesBelow(env_, "/d", "/d/e/g", {}).ok());
  env_.Crash(KeepNothing);
  EXPECT_FALSE(env_.Stat("/d").ok());  // Its parent is nobody's business here.
  PutDurable("/f", "x");
  EXPECT_EQ(CodeOf(CreateDirectoriesBelow(env_, "/", "/f", {})), "already exists");
}

TEST_F(MemoryEnvTest, LostEvents) {
  ASSERT_TRUE(env_.CreateDirectory("/d", {}).ok());
  Recorder recorder;
  const auto watch = env_.WatchDirectory("/d", recorder.Callback());
  ASSERT_TRUE(watch.ok());
  env_.LoseEvents(true);
  PutDurable("/d/lost", "x");
  EXPECT_EQ(recorder.Take(), Seen{});
  env_.LoseEvents(false);
  EXPECT_EQ(recorder.Take(), Seen{"overflow"});
  PutDurable("/d/seen", "x");
  EXPECT_EQ(recorder.Take(), Seen{"entry seen"});
}

// --- WriteFileAtomically: whatever fails, and whenever the power does, one of the two is there ---

TEST_F(MemoryEnvTest, WriteFileAtomicallySurvivesEveryFailure) {
  const std::string old_text(1500, 'o');
  const std::string new_text(2500, 'n');
  bool failed = true;
  for (std::uint64_t nth = 1; failed; ++nth) {
    failed = false;
    for (const bool left_over : {false, true}) {
      for (const std::size_t written : {std::size_t{0}, std::size_t{1000}}) {
        SCOPED_TRACE("call " + std::to_string(nth) + (left_over ? ", with a left-over" : ""));
        MemoryEnv env(clock_, 1);
        ASSERT_TRUE(WriteFileAtomically(env, "/f", Bytes(old_text), {}).ok());
        if (left_over) {
          ASSERT_TRUE(env.Open("/f.tmp", kCreate).value()->WriteAt(Bytes("left over"), 0).ok());
        }
        const std::uint64_t fail_at = env.call_count() + nth;
        env.SetFault([=](const EnvCallInfo& info) -> std::optional<EnvFault> {
          if (info.number != fail_at) return std::nullopt;
          return EnvFault{.code = ErrorCode::kNoSpace, .written_bytes = written};
        });
        const bool ok = WriteFileAtomically(env, "/f", Bytes(new_text), {}).ok();
        env.SetFault(nullptr);
        failed = failed || !ok;
        const std::string got = ReadSmallFile(env, "/f", 1 << 20).value();
        EXPECT_TRUE(got == old_text || got == new_text);
        EXPECT_TRUE(!ok || got == new_text);
        // And the next attempt succeeds, whatever stayed behind.
        EXPECT_TRUE(WriteFileAtomically(env, "/f", Bytes(new_text), {}).ok());
        EXPECT_EQ(env.List("/").value().size(), 1U);
      }
    }
    ASSERT_LT(nth, 100U);
  }
}

TEST_F(MemoryEnvTest, WriteFileAtomicallySurvivesPowerFailures) {
  const std::string old_text(1500, 'o');
  const std::string new_text(2500, 'n');
  std::set<char> seen;
  bool finished = false;
  for (std::uint64_t nth = 1; !finished; ++nth) {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      SCOPED_TRACE("call " + std::to_string(nth) + ", seed " + std::to_string(seed));
      MemoryEnv env(clock_, 1);
      ASSERT_TRUE(WriteFileAtomically(env, "/f", Bytes(old_text), {}).ok());
      const std::uint64_t crash_at = env.call_count() + nth;
      env.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
        if (info.number < crash_at) return std::nullopt;
        if (info.number == crash_at) env.Crash(seed);
        return EnvFault{};  // The process is dead.
      });
      const bool ok = WriteFileAtomically(env, "/f", Bytes(new_text), {}).ok();
      env.SetFault(nullptr);
      if (ok) env.Crash(seed);
      finished = ok;
      const std::string got = ReadSmallFile(env, "/f", 1 << 20).value();
      ASSERT_TRUE(got == old_text || got == new_text);
      ASSERT_TRUE(!ok || got == new_text);
      seen.insert(got.front());
    }
    ASSERT_LT(nth, 100U);
  }
  EXPECT_EQ(seen, (std::set<char>{'n', 'o'}));
}

TEST_F(MemoryEnvTest, ConcurrentCalls) {
  ASSERT_TRUE(env_.CreateDirectory("/d", {}).ok());
  std::atomic<int> events = 0;
  const auto watch =
      env_.WatchDirectory("/d", [&events](FileEvent, const std::string&) { ++events; });
  ASSERT_TRUE(watch.ok());
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([this, t] {
        for (int i = 0; i < 200; ++i) {
          const std::string name = "/d/" + std::to_string(t);
          EXPECT_TRUE(WriteFileAtomically(env_, name, Bytes(std::to_string(i)), {}).ok());
          EXPECT_EQ(ReadSmallFile(env_, name, 100).value(), std::to_string(i));
        }
      });
    }
  }
  EXPECT_EQ(events, 4 * 200 * 3);  // Created, renamed from, renamed to.
  EXPECT_EQ(env_.List("/d").value().size(), 4U);
}

}  // namespace
}  // namespace litestream
