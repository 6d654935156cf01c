#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "backend/file/file_client.h"
#include "base/manual_clock.h"
#include "base/memory_env.h"
#include "tests/contract/bodies.h"

// Every call to the file system fails once, or for ever, or is the last before the power fails.
// Whatever happens: a listing holds only whole files, and what was acknowledged is as it was
// acknowledged.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;

const Context kNever = Context::Background();
constexpr const char* kRoot = "/srv/backup/db";
constexpr std::string_view kObject = "lock.json";
constexpr int kCrashSeeds = 6;

// What may be there: one of these contents, or (unset) nothing. Acknowledged: exactly one entry.
using Allowed = std::set<std::optional<std::string>>;

class Model {
 public:
  Allowed& File(const FileId& id) {
    return files_.try_emplace(id, Allowed{std::nullopt}).first->second;
  }
  Allowed& Object() { return object_; }

  template <typename T>
  static void Note(Allowed& allowed, const Result<T>& result, std::optional<std::string> content) {
    if (result.ok()) allowed.clear();
    allowed.insert(std::move(content));
  }

  // The replica, as a new process finds it, is one that may be.
  void Check(ReplicaClient& client);
  // The same after the reader decided what it saw: that must not change any more.
  const std::map<FileId, Allowed>& files() const { return files_; }

 private:
  std::map<FileId, Allowed> files_;
  Allowed object_{std::nullopt};
};

WallTime TimeOf(const FileId& id) {
  return WallTime(std::chrono::milliseconds(1'000'000'000'000 +
                                            static_cast<std::int64_t>(id.txids.max.value) * 1001));
}

void Model::Check(ReplicaClient& client) {
  std::set<FileId> listed;
  for (int level = 0; level < kLevelCount; ++level) {
    const auto files = client.List(kNever, Level{static_cast<std::uint8_t>(level)}, {});
    ASSERT_TRUE(files.ok()) << files.error().message();
    for (const FileInfo& file : files.value()) {
      SCOPED_TRACE(::testing::Message()
                   << "level " << level << " file " << file.id.txids.min.value);
      listed.insert(file.id);
      ASSERT_TRUE(files_.contains(file.id)) << "nobody wrote it";
      const auto content = contract::ReadFile(kNever, client, file.id);
      ASSERT_TRUE(content.ok()) << content.error().message();
      EXPECT_EQ(content.value().size(), file.size_bytes);
      EXPECT_TRUE(files_[file.id].contains(content.value()))
          << "not whole, or not what was acknowledged: " << content.value().size() << " bytes";
      EXPECT_EQ(file.created_at, TimeOf(file.id));
    }
  }
  for (const auto& [id, allowed] : files_) {
    EXPECT_TRUE(listed.contains(id) || allowed.contains(std::nullopt))
        << "level " << int{id.level.value} << " file " << id.txids.min.value
        << " was acknowledged and is gone";
  }
  const auto object = client.GetObject(kNever, kObject);
  if (object.ok()) {
    EXPECT_TRUE(object_.contains(object.value().content)) << object.value().content;
  } else {
    EXPECT_EQ(object.error().code(), ErrorCode::kNotFound) << object.error().message();
    EXPECT_TRUE(object_.contains(std::nullopt)) << "the object is gone";
  }
}

// What a replica goes through, from nothing on. Goes on after failures, as the engine does.
class Workload {
 public:
  Workload(Env& env, Model& model) : env_(env), model_(model) {}

  void Run() {
    Write(Id(0, 1, 1), 700, {});
    Write(Id(0, 2, 2), 1500, {.if_absent = true});
    PutObject("first");
    Write(Id(0, 3, 3), 10, {});
    Restart();
    Write(Id(1, 1, 3), 2000, {});
    Delete({Id(0, 1, 1), Id(0, 2, 2)});
    PutObject("second");
    Write(Id(0, 3, 3), 900, {});  // Again, with other content.
    Write(Id(9, 1, 3), 3000, {.if_absent = true});
    DeleteObject();
    PutObject("third");
    Write(Id(0, 4, 4), 100, {});
  }

  ReplicaClient& client() { return *client_; }
  void Restart() { client_ = MakeFileClient(env_, {.root = kRoot, .owner = {}}); }

 private:
  void Write(const FileId& id, std::size_t size, WriteOptions options) {
    options.created_at = TimeOf(id);
    const std::string content = MakeContent(size, ++seed_);
    const auto info = contract::WriteFile(kNever, *client_, id, content, options);
    if (!info.ok() && info.error().Is(ErrorCode::kAlreadyExists)) return;
    Model::Note(model_.File(id), info, content);
  }
  void Delete(std::vector<FileId> ids) {
    const auto deleted = client_->Delete(kNever, ids);
    for (const FileId& id : ids) Model::Note(model_.File(id), deleted, std::nullopt);
  }
  void PutObject(const std::string& content) {
    const auto now = client_->GetObject(kNever, kObject);
    if (!now.ok() && !now.error().Is(ErrorCode::kNotFound)) return;
    const auto put = client_->PutObject(kNever, kObject, content, now.ok() ? now.value().tag : "");
    Model::Note(model_.Object(), put, content);
  }
  void DeleteObject() {
    const auto deleted = client_->DeleteObject(kNever, kObject, "");
    if (!deleted.ok() && deleted.error().Is(ErrorCode::kNotFound)) return;
    Model::Note(model_.Object(), deleted, std::nullopt);
  }

  Env& env_;
  Model& model_;
  std::uint64_t seed_ = 0;
  std::unique_ptr<ReplicaClient> client_ = MakeFileClient(env_, {.root = kRoot, .owner = {}});
};

// No temporary or lock file is left after the first write of a new process.
void CheckSwept(MemoryEnv& env) {
  const auto client = MakeFileClient(env, {.root = kRoot, .owner = {}});
  const auto written = contract::WriteFile(kNever, *client, Id(0, 99, 99), "x");
  ASSERT_TRUE(written.ok()) << written.error().message();
  for (const char* directory : {"", "ltx/0", "ltx/1", "ltx/9"}) {
    const auto entries = env.List(std::filesystem::path(kRoot) / directory);
    if (!entries.ok()) continue;
    for (const DirectoryEntry& entry : entries.value()) {
      EXPECT_FALSE(entry.name.ends_with(".tmp")) << entry.name;
    }
  }
}

// The nth call fails `times` times in a row. Returns whether there was an nth call.
bool RunWithFault(std::uint64_t n, std::uint64_t times, ErrorCode code, std::uint64_t crash_seed) {
  ManualClock clock;
  MemoryEnv env(clock, /*seed=*/n);
  Model model;
  bool reached = false;
  env.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.number < n || info.number - n >= times) return std::nullopt;
    reached = true;
    return EnvFault{.code = code, .written_bytes = info.length_bytes / 2};
  });
  Workload workload(env, model);
  workload.Run();
  env.SetFault({});
  workload.Restart();
  model.Check(workload.client());
  env.Crash(crash_seed);
  workload.Restart();
  model.Check(workload.client());
  CheckSwept(env);
  return reached;
}

TEST(FileClientCrash, AnyCallMayFailOnce) {
  for (const ErrorCode code : {ErrorCode::kIo, ErrorCode::kNoSpace}) {
    for (std::uint64_t n = 1;; ++n) {
      for (std::uint64_t seed = 1; seed <= kCrashSeeds; ++seed) {
        SCOPED_TRACE(::testing::Message()
                     << ToString(code) << " at call " << n << ", seed " << seed);
        if (!RunWithFault(n, /*times=*/1, code, seed)) {
          EXPECT_GT(n, 100U) << "the workload became small";
          n = 0;
          break;
        }
        if (::testing::Test::HasFailure()) return;
      }
      if (n == 0) break;
    }
  }
}

TEST(FileClientCrash, ADiskThatFailsFromSomeCallOn) {
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE(::testing::Message() << "from call " << n);
    const bool reached = RunWithFault(n, /*times=*/~0ULL, ErrorCode::kIo, /*crash_seed=*/n);
    if (!reached || ::testing::Test::HasFailure()) break;
  }
}

TEST(FileClientCrash, ADiskThatIsFullForAWhile) {
  for (std::uint64_t n = 1;; n += 3) {
    SCOPED_TRACE(::testing::Message() << "from call " << n);
    const bool reached = RunWithFault(n, /*times=*/25, ErrorCode::kNoSpace, /*crash_seed=*/n);
    if (!reached || ::testing::Test::HasFailure()) break;
  }
}

// The power fails at the nth call. The process that was running is gone, a new one goes on.
TEST(FileClientCrash, ThePowerFailsAtAnyCall) {
  for (std::uint64_t n = 1;; ++n) {
    bool crashed = false;
    for (std::uint64_t seed = 1; seed <= kCrashSeeds; ++seed) {
      SCOPED_TRACE(::testing::Message() << "at call " << n << ", seed " << seed);
      ManualClock clock;
      MemoryEnv env(clock, seed);
      Model model;
      crashed = false;
      env.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
        if (info.number < n) return std::nullopt;
        if (!crashed) env.Crash(seed * 1000 + n);
        crashed = true;
        return EnvFault{.code = ErrorCode::kIo};
      });
      Workload before(env, model);
      before.Run();
      env.SetFault({});
      Workload after(env, model);
      model.Check(after.client());
      if (::testing::Test::HasFailure()) return;
      after.Run();
      model.Check(after.client());
      env.Crash(seed);
      after.Restart();
      model.Check(after.client());
      CheckSwept(env);
      if (::testing::Test::HasFailure()) return;
    }
    if (!crashed) break;
  }
}

}  // namespace
}  // namespace litestream
