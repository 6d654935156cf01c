#include "backend/file/file_client.h"

#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/file/directories.h"
#include "base/manual_clock.h"
#include "base/memory_env.h"
#include "base/test_dir.h"
#include "storage/layout.h"
#include "tests/contract/bodies.h"

namespace litestream {
namespace {

using contract::Id;
using contract::Ranges;
using contract::ReadFile;
using contract::TextSource;
using contract::TextThenSource;
using contract::WriteFile;
using std::filesystem::path;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const Context kNever = Context::Background();
constexpr const char* kName1 = "0000000000000001-0000000000000001.ltx";
constexpr const char* kName2 = "0000000000000002-0000000000000002.ltx";
constexpr const char* kDeadTemp = "0000000000000001-0000000000000001.ltx.123-0123456789abcdef.tmp";

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.ok()) << "should have failed";
  return result.ok() ? ErrorCode::kInternal : result.error().code();
}

template <typename T>
std::string MessageOf(const Result<T>& result) {
  return result.ok() ? "(no error)" : result.error().message();
}

std::string Listed(ReplicaClient& client, Level level = kLevel0) {
  const auto files = client.List(kNever, level, {});
  return files.ok() ? Ranges(files.value()) : files.error().message();
}

void Put(const path& name, std::string_view content) {
  std::filesystem::create_directories(name.parent_path());
  std::ofstream(name) << content;
}

std::vector<std::string> Names(Env& env, const path& directory) {
  std::vector<std::string> names;
  const auto entries = env.List(directory);
  if (!entries.ok()) return {entries.error().message()};
  for (const auto& entry : entries.value()) names.push_back(entry.name);
  return names;
}

// ---- On the machine's file system

class FileClientTest : public ::testing::Test {
 protected:
  std::unique_ptr<ReplicaClient> Connect(const FileOwner& owner = {}) {
    return MakeFileClient(Env::Real(), {.root = root_, .owner = owner});
  }

  const TestDir dir_;
  const path root_ = dir_ / "replica";
};

TEST_F(FileClientTest, NothingIsCreatedBeforeTheFirstWrite) {
  const auto client = Connect();
  EXPECT_EQ(client->type(), "file");
  EXPECT_EQ(client->Describe(), root_.string());
  const FileId ids[] = {Id(0, 1, 1)};
  EXPECT_EQ(Listed(*client), "");
  EXPECT_EQ(CodeOf(client->Open(kNever, ids[0], {})), ErrorCode::kNotFound);
  EXPECT_TRUE(client->Delete(kNever, ids).ok());
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
  EXPECT_EQ(CodeOf(client->GetObject(kNever, "lock.json")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(client->DeleteObject(kNever, "lock.json", "t")), ErrorCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(root_));
}

TEST_F(FileClientTest, WritesTheDecimalLayoutAndNothingElse) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(9, 1, 0x2a), "snapshot").ok());
  ASSERT_TRUE(client->PutObject(kNever, "lock.json", "{}", "").ok());
  EXPECT_THAT(Names(Env::Real(), root_), UnorderedElementsAre("ltx", "lock.json"))
      << "no lock file stays behind";
  EXPECT_THAT(Names(Env::Real(), root_ / "ltx"), ElementsAre("9"));
  EXPECT_THAT(Names(Env::Real(), root_ / "ltx/9"),
              ElementsAre("0000000000000001-000000000000002a.ltx"));
}

TEST_F(FileClientTest, ReadsBothLayouts) {
  Put(root_ / "ltx/0" / kName2, "decimal");
  Put(root_ / "0000" / kName1, "bucket");
  Put(root_ / "0000" / kName2, "older, in the bucket");
  Put(root_ / "0009" / kName1, "snapshot");
  const auto client = Connect();
  const auto files = client->List(kNever, kLevel0, {});
  ASSERT_TRUE(files.ok()) << files.error().message();
  EXPECT_EQ(Ranges(files.value()), "1-1 2-2") << "each once";
  EXPECT_EQ(files.value()[1].size_bytes, 7U) << "the decimal layout is newer";
  EXPECT_EQ(Listed(*client, kSnapshotLevel), "1-1");
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), "bucket");
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 2, 2)).value(), "decimal");
  EXPECT_EQ(CodeOf(WriteFile(kNever, *client, Id(0, 1, 1), "x", {.if_absent = true})),
            ErrorCode::kAlreadyExists);
  const FileId ids[] = {Id(0, 1, 1), Id(0, 2, 2)};
  ASSERT_TRUE(client->Delete(kNever, ids).ok());
  EXPECT_EQ(Listed(*client), "") << "deleted from both";
}

TEST_F(FileClientTest, OwnerAndMode) {
  const mode_t umask_before = ::umask(0);
  const auto mode = [](const path& name) {
    struct stat st = {};
    EXPECT_EQ(::stat(name.c_str(), &st), 0) << name;
    return st.st_mode & 07777U;
  };
  const auto client = Connect({.mode = 0640});
  EXPECT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  EXPECT_TRUE(client->PutObject(kNever, "lock.json", "{}", "").ok());
  EXPECT_EQ(mode(root_), 0750U);
  EXPECT_EQ(mode(root_ / "ltx/0"), 0750U);
  EXPECT_EQ(mode(root_ / "ltx/0" / kName1), 0640U);
  EXPECT_EQ(mode(root_ / "lock.json"), 0640U);
  EXPECT_TRUE(WriteFile(kNever, *Connect(), Id(1, 1, 1), "x").ok());
  EXPECT_EQ(mode(root_ / "ltx/1"), 0700U) << "nothing known: only the user's";
  EXPECT_EQ(mode(root_ / "ltx/1" / kName1), 0600U);
  ::umask(umask_before);
}

TEST_F(FileClientTest, AFileWhereTheRootShouldBe) {
  Put(root_, "a file");
  const auto client = Connect();
  EXPECT_EQ(CodeOf(client->List(kNever, kLevel0, {})), ErrorCode::kInvalidArgument);
  EXPECT_THAT(Listed(*client), HasSubstr(root_.string() + " is not a directory"));
  const auto written = WriteFile(kNever, *client, Id(0, 1, 1), "x");
  EXPECT_EQ(CodeOf(written), ErrorCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(written), HasSubstr(root_.string() + " is not a directory"));

  const auto below = MakeFileClient(Env::Real(), {.root = root_ / "below", .owner = {}});
  EXPECT_EQ(CodeOf(WriteFile(kNever, *below, Id(0, 1, 1), "x")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(below->PutObject(kNever, "lock.json", "x", "")), ErrorCode::kInvalidArgument);
}

TEST_F(FileClientTest, NoRightsIsNotMissing) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may do everything";
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  std::filesystem::permissions(root_ / "ltx/0", std::filesystem::perms::none);
  EXPECT_EQ(CodeOf(client->List(kNever, kLevel0, {})), ErrorCode::kDenied);
  EXPECT_EQ(CodeOf(client->Open(kNever, Id(0, 1, 1), {})), ErrorCode::kDenied);
  EXPECT_EQ(CodeOf(WriteFile(kNever, *client, Id(0, 2, 2), "x")), ErrorCode::kDenied);
  std::filesystem::permissions(root_ / "ltx/0", std::filesystem::perms::owner_all);
}

TEST_F(FileClientTest, StrangeThingsWithLtxNamesAreNotListed) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 5, 5), "x").ok());
  std::filesystem::create_directory(root_ / "ltx/0" / kName1);
  std::filesystem::create_symlink("nowhere", root_ / "ltx/0" / kName2);
  EXPECT_EQ(Listed(*client), "5-5");
  std::filesystem::remove(root_ / "ltx/0" / kName2);
  Put(dir_ / "elsewhere", "1234");
  std::filesystem::create_symlink(dir_ / "elsewhere", root_ / "ltx/0" / kName2);
  const auto files = client->List(kNever, kLevel0, {});
  ASSERT_TRUE(files.ok()) << files.error().message();
  EXPECT_EQ(Ranges(files.value()), "2-2 5-5") << "a link to a file is that file";
  EXPECT_EQ(files.value()[0].size_bytes, 4U);
}

TEST_F(FileClientTest, ALinkAsRoot) {
  std::filesystem::create_directory(dir_ / "other disk");
  std::filesystem::create_directory_symlink(dir_ / "other disk", root_);
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  EXPECT_TRUE(std::filesystem::exists(dir_ / "other disk/ltx/0" / kName1));
  ASSERT_TRUE(client->DeleteAll(kNever).ok());
  EXPECT_TRUE(std::filesystem::is_empty(dir_ / "other disk"));
  EXPECT_TRUE(std::filesystem::is_symlink(root_)) << "the next write must go there, too";
}

TEST_F(FileClientTest, DeleteAllKnowsWhatIsNoReplica) {
  for (const char* root : {"", "/", ".", "..", "a/..", "a/../..", "./", "//"}) {
    SCOPED_TRACE(root);
    const auto client = MakeFileClient(Env::Real(), {.root = root, .owner = {}});
    EXPECT_EQ(CodeOf(client->DeleteAll(kNever)), ErrorCode::kInvalidArgument);
  }
  const auto none = MakeFileClient(Env::Real(), {.root = "", .owner = {}});
  EXPECT_EQ(Listed(*none), "file replica path required");
  EXPECT_EQ(MessageOf(WriteFile(kNever, *none, Id(0, 1, 1), "x")), "file replica path required");
}

TEST_F(FileClientTest, ATempFileOfALivingWriterStays) {
  const auto slow = Connect();
  std::string temps;
  TextThenSource body("slow", [this, &temps]() -> Result<std::size_t> {
    // Another client starts, and sweeps at its first write. As a process with another id would.
    EXPECT_TRUE(WriteFile(kNever, *Connect(), Id(0, 2, 2), "quick").ok());
    for (const std::string& name : Names(Env::Real(), root_ / "ltx/0")) {
      if (name.ends_with(".tmp")) temps += name;
    }
    return std::size_t{0};
  });
  const auto written = slow->Write(kNever, Id(0, 1, 1), body, {});
  ASSERT_TRUE(written.ok()) << written.error().message();
  EXPECT_THAT(temps, HasSubstr(std::string(kName1) + "." + std::to_string(::getpid()) + "-"));
  EXPECT_EQ(Listed(*slow), "1-1 2-2");
  EXPECT_THAT(Names(Env::Real(), root_ / "ltx/0"), UnorderedElementsAre(kName1, kName2));
}

// ---- On files in memory, with faults and counted calls

class FileClientMemoryTest : public ::testing::Test {
 protected:
  std::unique_ptr<ReplicaClient> Connect(const path& root = "/backup/db") {
    return MakeFileClient(env_, {.root = root, .owner = {}});
  }
  void PutRaw(const path& name, std::string_view content) {
    ASSERT_TRUE(CreateDirectories(env_, name.parent_path(), {}).ok());
    const auto file = env_.Open(name, {.write = true, .create = true});
    ASSERT_TRUE(file.ok()) << file.error().message();
    ASSERT_TRUE(file.value()->WriteAt(std::as_bytes(std::span(content)), 0).ok());
  }
  // Makes every call of this kind fail.
  void Fail(EnvCall call, ErrorCode code) {
    env_.SetFault([call, code](const EnvCallInfo& info) -> std::optional<EnvFault> {
      if (info.call != call) return std::nullopt;
      return EnvFault{.code = code};
    });
  }
  std::vector<std::string> Names(const path& directory) {
    return litestream::Names(env_, directory);
  }

  ManualClock clock_;
  MemoryEnv env_{clock_, /*seed=*/1};
};

TEST_F(FileClientMemoryTest, SyncsEachDirectoryOnce) {
  std::map<std::string, int> directory_syncs;
  int file_syncs = 0;
  env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call == EnvCall::kSyncDirectory) ++directory_syncs[info.path.string()];
    if (info.call == EnvCall::kSync || info.call == EnvCall::kSyncData) ++file_syncs;
    return std::nullopt;
  });
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  // "/" twice: its own entry, too, might be new.
  EXPECT_EQ(directory_syncs, (std::map<std::string, int>{{"/", 2},
                                                         {"/backup", 1},
                                                         {"/backup/db", 1},
                                                         {"/backup/db/ltx", 1},
                                                         {"/backup/db/ltx/0", 1}}));
  EXPECT_EQ(file_syncs, 1);

  for (int i = 2; i <= 5; ++i) {
    SCOPED_TRACE(i);
    directory_syncs.clear();
    file_syncs = 0;
    const auto txid = static_cast<std::uint64_t>(i);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, txid, txid), "x").ok());
    EXPECT_EQ(directory_syncs, (std::map<std::string, int>{{"/backup/db/ltx/0", 1}}));
    EXPECT_EQ(file_syncs, 1);
  }
}

TEST_F(FileClientMemoryTest, TheTimeIsSetBeforeTheSync) {
  std::vector<EnvCall> calls;
  env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call == EnvCall::kSetModified || info.call == EnvCall::kSync ||
        info.call == EnvCall::kRename || info.call == EnvCall::kWrite) {
      calls.push_back(info.call);
    }
    return std::nullopt;
  });
  ASSERT_TRUE(WriteFile(kNever, *Connect(), Id(0, 1, 1), "x").ok());
  EXPECT_THAT(
      calls, ElementsAre(EnvCall::kWrite, EnvCall::kSetModified, EnvCall::kSync, EnvCall::kRename));
}

TEST_F(FileClientMemoryTest, ASmallFileTakesOneWrite) {
  std::vector<std::uint64_t> lengths;
  env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (info.call == EnvCall::kWrite) lengths.push_back(info.length_bytes);
    return std::nullopt;
  });
  const auto client = Connect();
  TextSource drops(contract::MakeContent(5000, 1), /*step_bytes=*/100);
  ASSERT_TRUE(client->Write(kNever, Id(0, 1, 1), drops, {.size_bytes = 5000}).ok());
  EXPECT_THAT(lengths, ElementsAre(5000U));
  lengths.clear();
  TextSource large(contract::MakeContent((5 << 20) + 1, 1), /*step_bytes=*/100'000);
  ASSERT_TRUE(client->Write(kNever, Id(0, 2, 2), large, {}).ok());
  constexpr std::uint64_t kMiB = 1 << 20;
  EXPECT_THAT(lengths, ElementsAre(kMiB, kMiB, kMiB, kMiB, kMiB, 1U));
}

TEST_F(FileClientMemoryTest, TimesThatNoFileCanHave) {
  const auto client = Connect();
  for (const auto time : {WallTime::min(), WallTime::max()}) {
    const auto info = WriteFile(kNever, *client, Id(0, 1, 1), "x", {.created_at = time});
    ASSERT_TRUE(info.ok()) << info.error().message();
    EXPECT_EQ(info.value().created_at, time);
    const auto files = client->List(kNever, kLevel0, {});
    ASSERT_TRUE(files.ok());
    EXPECT_EQ(files.value()[0].created_at > WallTime(), time > WallTime())
        << "cut off, not wrapped";
  }
}

TEST_F(FileClientMemoryTest, ErrorsKeepTheirMeaning) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  const auto list = [&] { return CodeOf(client->List(kNever, kLevel0, {})); };
  const auto open = [&] { return CodeOf(client->Open(kNever, Id(0, 1, 1), {})); };
  const auto write = [&] { return CodeOf(WriteFile(kNever, *client, Id(0, 2, 2), "x")); };
  const auto if_absent = [&] {
    return CodeOf(WriteFile(kNever, *client, Id(0, 2, 2), "x", {.if_absent = true}));
  };
  const auto remove = [&] {
    const FileId ids[] = {Id(0, 1, 1)};
    return CodeOf(client->Delete(kNever, ids));
  };
  const auto get = [&] { return CodeOf(client->GetObject(kNever, "lock.json")); };
  const auto put = [&] { return CodeOf(client->PutObject(kNever, "lock.json", "x", "")); };
  const struct {
    const char* why;
    EnvCall call;
    ErrorCode code;
    std::function<ErrorCode()> act;
    ErrorCode want;
  } cases[] = {
      {"no rights to list", EnvCall::kList, ErrorCode::kDenied, list, ErrorCode::kDenied},
      {"no rights to stat", EnvCall::kStat, ErrorCode::kDenied, list, ErrorCode::kDenied},
      {"no rights to open", EnvCall::kOpen, ErrorCode::kDenied, open, ErrorCode::kDenied},
      {"missing", EnvCall::kOpen, ErrorCode::kNotFound, open, ErrorCode::kNotFound},
      {"a broken disk", EnvCall::kList, ErrorCode::kIo, list, ErrorCode::kIo},
      {"no rights to create", EnvCall::kOpen, ErrorCode::kDenied, write, ErrorCode::kDenied},
      {"disk full at create", EnvCall::kOpen, ErrorCode::kNoSpace, write, ErrorCode::kNoSpace},
      {"disk full at write", EnvCall::kWrite, ErrorCode::kNoSpace, write, ErrorCode::kNoSpace},
      {"disk full at sync", EnvCall::kSync, ErrorCode::kNoSpace, write, ErrorCode::kNoSpace},
      {"sync fails", EnvCall::kSync, ErrorCode::kIo, write, ErrorCode::kIo},
      {"the directory is gone", EnvCall::kOpen, ErrorCode::kNotFound, write,
       ErrorCode::kUnavailable},
      {"the temporary file is gone", EnvCall::kRename, ErrorCode::kNotFound, write,
       ErrorCode::kUnavailable},
      {"the rename finds something", EnvCall::kRename, ErrorCode::kAlreadyExists, write,
       ErrorCode::kIo},
      {"somebody was faster", EnvCall::kRename, ErrorCode::kAlreadyExists, if_absent,
       ErrorCode::kAlreadyExists},
      {"cannot look first", EnvCall::kStat, ErrorCode::kDenied, if_absent, ErrorCode::kDenied},
      {"no rights to delete", EnvCall::kRemove, ErrorCode::kDenied, remove, ErrorCode::kDenied},
      {"no rights to get", EnvCall::kOpen, ErrorCode::kDenied, get, ErrorCode::kDenied},
      {"no rights to put", EnvCall::kLock, ErrorCode::kDenied, put, ErrorCode::kDenied},
      {"disk full at put", EnvCall::kWrite, ErrorCode::kNoSpace, put, ErrorCode::kNoSpace},
      {"put finds no directory", EnvCall::kLock, ErrorCode::kNotFound, put,
       ErrorCode::kUnavailable},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    Fail(c.call, c.code);
    EXPECT_EQ(c.act(), c.want);
    env_.SetFault({});
    EXPECT_EQ(Listed(*client), "1-1");
    EXPECT_THAT(Names("/backup/db/ltx/0"), ElementsAre(kName1)) << "nothing is left behind";
  }
}

TEST_F(FileClientMemoryTest, MessagesSayWhereAndWhatToDo) {
  Fail(EnvCall::kCreateDirectory, ErrorCode::kDenied);
  const auto created = WriteFile(kNever, *Connect(), Id(0, 1, 1), "x");
  EXPECT_THAT(MessageOf(created), HasSubstr("create replica directory /backup/db/ltx/0: "));
  EXPECT_THAT(MessageOf(created), HasSubstr("a replica must be writable for this user"));
  Fail(EnvCall::kOpen, ErrorCode::kDenied);
  EXPECT_THAT(MessageOf(Connect()->Open(kNever, Id(0, 1, 1), {})),
              HasSubstr("open ltx file /backup/db/ltx/0/" + std::string(kName1) + ": "));
}

TEST_F(FileClientMemoryTest, WithoutLocksItStillWrites) {
  Fail(EnvCall::kLock, ErrorCode::kUnsupported);
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  EXPECT_EQ(CodeOf(client->PutObject(kNever, "lock.json", "x", "")), ErrorCode::kUnsupported)
      << "but says that it has no conditional writes";
}

TEST_F(FileClientMemoryTest, TheDirectoryGoesBetweenTwoWrites) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  ASSERT_TRUE(env_.RemoveTree("/backup").ok());
  const auto again = WriteFile(kNever, *client, Id(0, 2, 2), "x");
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(Listed(*client), "2-2");
  ASSERT_TRUE(env_.RemoveTree("/backup").ok());
  const auto put = client->PutObject(kNever, "lock.json", "x", "");
  EXPECT_TRUE(put.ok()) << put.error().message();
}

TEST_F(FileClientMemoryTest, ARelativeRoot) {
  for (const char* root : {"db", "./db", "x/../db/", "backups//db"}) {
    SCOPED_TRACE(root);
    const auto client = Connect(root);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
    EXPECT_EQ(Listed(*client), "1-1");
    EXPECT_TRUE(Exists(env_, path("/") / path(root).lexically_normal() / "ltx/0" / kName1).value());
    ASSERT_TRUE(client->DeleteAll(kNever).ok());
  }
}

TEST_F(FileClientMemoryTest, AFileThatGoesWhileItIsListed) {
  const auto client = Connect();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, i, i), "x").ok());
  }
  bool gone = false;
  env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    if (gone || info.call != EnvCall::kStat) return std::nullopt;
    gone = true;
    EXPECT_TRUE(env_.Remove(path("/backup/db/ltx/0") / kName2).ok());
    return std::nullopt;
  });
  EXPECT_EQ(Listed(*client), "1-1 3-3");
}

TEST_F(FileClientMemoryTest, ALargeDirectory) {
  constexpr std::uint64_t kFiles = 5000;
  for (std::uint64_t i = kFiles; i >= 1; --i) {
    PutRaw(path("/backup/db") / RelativePath(ReplicaLayout::kLtxDecimal, Id(0, i, i)), "x");
  }
  const auto files = Connect()->List(kNever, kLevel0, {});
  ASSERT_TRUE(files.ok()) << files.error().message();
  ASSERT_EQ(files.value().size(), kFiles);
  for (std::uint64_t i = 1; i <= kFiles; ++i) ASSERT_EQ(files.value()[i - 1].id, Id(0, i, i));
}

TEST_F(FileClientMemoryTest, ALimitLooksAtNoMoreFiles) {
  const auto client = Connect();
  for (std::uint64_t i = 1; i <= 20; ++i) {
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, i, i), "x").ok());
  }
  int stats = 0;
  env_.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
    stats += info.call == EnvCall::kStat ? 1 : 0;
    return std::nullopt;
  });
  const auto files = client->List(kNever, kLevel0, {.seek = Txid{5}, .limit = 2});
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(Ranges(files.value()), "5-5 6-6");
  EXPECT_EQ(stats, 3);  // And the root's.
}

TEST_F(FileClientMemoryTest, ObjectNames) {
  const auto client = Connect();
  for (const char* name : {"", "/etc/passwd", "../x", "a/../../x", "a/", ".", "..", "./x", "a//b",
                           ".litestream.lock"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(CodeOf(client->PutObject(kNever, name, "x", "")), ErrorCode::kInvalidArgument);
    EXPECT_EQ(CodeOf(client->GetObject(kNever, name)), ErrorCode::kInvalidArgument);
    EXPECT_EQ(CodeOf(client->DeleteObject(kNever, name, "")), ErrorCode::kInvalidArgument);
  }
  ASSERT_TRUE(client->PutObject(kNever, "leases/db/lock.json", "x", "").ok());
  EXPECT_EQ(client->GetObject(kNever, "leases/db/lock.json").value().content, "x");
}

TEST_F(FileClientMemoryTest, SomebodyKeepsTheLock) {
  const auto client = Connect();
  const auto tag = client->PutObject(kNever, "lock.json", "x", "");
  ASSERT_TRUE(tag.ok()) << tag.error().message();
  const Context ctx(std::stop_token(), std::nullopt, clock_);
  const auto held = env_.Lock("/backup/db/.litestream.lock", {});
  ASSERT_TRUE(held.ok());
  const MonoTime begun = clock_.Monotonic();
  const auto put = client->PutObject(ctx, "lock.json", "y", tag.value());
  EXPECT_EQ(CodeOf(put), ErrorCode::kUnavailable);
  EXPECT_THAT(MessageOf(put), HasSubstr("another process holds /backup/db/.litestream.lock"));
  EXPECT_GE(clock_.Monotonic() - begun, std::chrono::seconds(10));
  const Context short_ctx = ctx.WithDeadline(clock_.Monotonic() + std::chrono::milliseconds(50));
  EXPECT_EQ(CodeOf(client->PutObject(short_ctx, "lock.json", "y", tag.value())),
            ErrorCode::kTimeout);
  EXPECT_EQ(client->GetObject(kNever, "lock.json").value().content, "x") << "reading needs no lock";
}

// ---- Temporary files

TEST_F(FileClientMemoryTest, TheFirstWriteSweeps) {
  const path level = "/backup/db/ltx/3";
  const std::string old_stock = std::string(kName1) + ".tmp";
  const std::string young_stock = std::string(kName2) + ".tmp";
  PutRaw(level / old_stock, "x");
  clock_.Advance(std::chrono::hours(24));
  PutRaw(level / young_stock, "x");
  clock_.Advance(std::chrono::milliseconds(1));
  PutRaw(level / kDeadTemp, "x");
  PutRaw(level / "thesis.tmp", "x");
  PutRaw(level / kName1, "x");
  PutRaw("/backup/db/lock.json.77-00000000deadbeef.tmp", "x");
  PutRaw("/backup/db/0000" / path(kDeadTemp), "in a bucket's copy: not ours");
  const std::string live = std::string(kName2) + ".5-0123456789abcdef.tmp";
  PutRaw(level / live, "x");
  const auto held = env_.Lock(level / live, {});
  ASSERT_TRUE(held.ok());

  const auto client = Connect();
  EXPECT_EQ(Listed(*client, Level{3}), "1-1");
  EXPECT_EQ(Names(level).size(), 6U) << "reading removes nothing";
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 7, 7), "x").ok()) << "on another level";
  EXPECT_THAT(Names(level), UnorderedElementsAre(young_stock, "thesis.tmp", kName1, live));
  EXPECT_THAT(Names("/backup/db"), UnorderedElementsAre("ltx", "0000"));
  EXPECT_THAT(Names("/backup/db/0000"), ElementsAre(kDeadTemp));
}

TEST(Directories, Parents) {
  const struct {
    const char* name;
    const char* want;
  } cases[] = {{"/a/b", "/a"}, {"/a", "/"},   {"/", "/"},      {"a/b", "a"},
               {"a", "."},     {".", "./.."}, {"..", "../.."}, {"../a", ".."}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(ParentDirectory(c.name), path(c.want));
  }
}

}  // namespace
}  // namespace litestream
