#include "base/posix_env.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"
#include "base/test_dir.h"

namespace litestream {
namespace {

constexpr OpenOptions kCreate{.write = true, .create = true};

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

void Put(const std::filesystem::path& path, std::string_view text) {
  const auto file = Env::Real().Open(path, {.write = true, .create = true, .truncate = true});
  ASSERT_TRUE(file.ok()) << file.error().message();
  ASSERT_TRUE(file.value()->WriteAt(Bytes(text), 0).ok());
}

std::string Get(const std::filesystem::path& path) {
  const auto text = ReadSmallFile(Env::Real(), path, 1 << 20);
  return text.ok() ? text.value() : "error: " + text.error().message();
}

std::string CodeOf(const Result<void>& result) {
  return result.ok() ? "ok" : std::string(ToString(result.error().code()));
}
template <typename T>
std::string CodeOf(const Result<T>& result) {
  return result.ok() ? "ok" : std::string(ToString(result.error().code()));
}

TEST(PosixFile, ReadsAndWritesAtOffsets) {
  const TestDir dir;
  const auto opened = Env::Real().Open(dir / "f", kCreate);
  ASSERT_TRUE(opened.ok());
  File& file = *opened.value();
  EXPECT_EQ(CodeOf(file.WriteAt(Bytes("world"), 6)), "ok");
  EXPECT_EQ(CodeOf(file.WriteAt(Bytes("hello "), 0)), "ok");
  std::string buffer(20, '?');
  const auto n = file.ReadAt(std::as_writable_bytes(std::span(buffer)), 4);
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(buffer.substr(0, n.value()), "o world");
  EXPECT_EQ(CodeOf(file.Truncate(5)), "ok");
  EXPECT_EQ(CodeOf(file.Sync()), "ok");
  EXPECT_EQ(CodeOf(file.SyncData()), "ok");
  EXPECT_EQ(Get(dir / "f"), "hello");
}

TEST(PosixFile, AllocateExtends) {
  const TestDir dir;
  const auto opened = Env::Real().Open(dir / "f", kCreate);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(CodeOf(opened.value()->Allocate(0)), "ok");
  EXPECT_EQ(CodeOf(opened.value()->Allocate(100'000)), "ok");
  EXPECT_EQ(CodeOf(opened.value()->Allocate(10)), "ok");
  opened.value()->StartWriteback(0, 100'000);
  EXPECT_EQ(opened.value()->Stat().value().size_bytes, 100'000U);
}

TEST(PosixFile, SetModified) {
  const TestDir dir;
  const auto opened = Env::Real().Open(dir / "f", kCreate);
  ASSERT_TRUE(opened.ok());
  for (const std::int64_t nanos : {std::int64_t{1'700'000'000'123'456'789}, std::int64_t{-1}}) {
    const NanoTime at{std::chrono::nanoseconds(nanos)};
    EXPECT_EQ(CodeOf(opened.value()->SetModified(at)), "ok");
    EXPECT_EQ(opened.value()->Stat().value().modified_at, at);
  }
}

TEST(PosixFile, IsNotInheritedByChildren) {
  const TestDir dir;
  const int lowest_free = ::dup(0);
  ASSERT_GE(lowest_free, 0);
  ::close(lowest_free);
  const auto opened = Env::Real().Open(dir / "f", kCreate);
  ASSERT_TRUE(opened.ok());
  EXPECT_NE(::fcntl(lowest_free, F_GETFD) & FD_CLOEXEC, 0);
}

TEST(PosixFile, ReadOnlyCannotWrite) {
  const TestDir dir;
  Put(dir / "f", "old");
  const auto opened = Env::Real().Open(dir / "f", {});
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(CodeOf(opened.value()->WriteAt(Bytes("new"), 0)), "internal");
  EXPECT_EQ(Get(dir / "f"), "old");
}

TEST(PosixFile, FullDiskIsNoSpace) {
  const auto opened = Env::Real().Open("/dev/full", {.write = true});
  ASSERT_TRUE(opened.ok());
  const auto written = opened.value()->WriteAt(Bytes("x"), 0);
  ASSERT_FALSE(written.ok());
  EXPECT_TRUE(written.error().Is(ErrorCode::kNoSpace));
  EXPECT_EQ(written.error().message(), "write /dev/full: No space left on device");
}

TEST(PosixEnv, OpenErrors) {
  const TestDir dir;
  Put(dir / "f", "x");
  const OpenOptions exclusive{.write = true, .create = true, .exclusive = true};
  const struct {
    const char* why;
    std::filesystem::path path;
    OpenOptions options;
    const char* want;
  } cases[] = {
      {"missing", dir / "none", {}, "not found"},
      {"missing directory", dir / "none/f", kCreate, "not found"},
      {"a file where a directory should be", dir / "f/g", kCreate, "not found"},
      {"there already", dir / "f", exclusive, "already exists"},
      {"a directory", dir.path(), kCreate, "invalid argument"},
      {"name too long", dir / std::string(300, 'x'), kCreate, "invalid argument"},
      {"fine", dir / "f", kCreate, "ok"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(CodeOf(Env::Real().Open(c.path, c.options)), c.want);
  }
  const auto missing = Env::Real().Open(dir / "none", {});
  EXPECT_EQ(missing.error().message(),
            "open " + (dir / "none").native() + ": No such file or directory");
}

TEST(PosixEnv, ModeAndOwner) {
  const TestDir dir;
  const mode_t old_mask = ::umask(0022);
  const FileOwner owner{.mode = 0660, .uid = ::getuid(), .gid = ::getgid()};
  for (int i = 0; i < 2; ++i) {  // The second time the file is there.
    const auto opened =
        Env::Real().Open(dir / "f", {.write = true, .create = true, .owner = owner});
    ASSERT_TRUE(opened.ok());
    EXPECT_EQ(opened.value()->Stat().value().mode, 0640U);
  }
  EXPECT_EQ(CodeOf(Env::Real().CreateDirectory(dir / "d", owner)), "ok");
  EXPECT_EQ(Env::Real().Stat(dir / "d").value().mode, 0750U);
  ::umask(old_mask);
  if (::getuid() != 0) return;
  const FileOwner nobody{.mode = 0600, .uid = 65534, .gid = 65533};
  const auto given = Env::Real().Open(dir / "g", {.write = true, .create = true, .owner = nobody});
  ASSERT_TRUE(given.ok());
  EXPECT_EQ(given.value()->Stat().value().uid, 65534U);
  EXPECT_EQ(given.value()->Stat().value().gid, 65533U);
  const auto kept = Env::Real().Open(dir / "f", {.write = true, .create = true, .owner = nobody});
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept.value()->Stat().value().uid, 0U);  // It was there.
  EXPECT_EQ(CodeOf(Env::Real().CreateDirectory(dir / "e", nobody)), "ok");
  EXPECT_EQ(Env::Real().Stat(dir / "e").value().uid, 65534U);
}

TEST(PosixEnv, DirectoryModeAddsEnterToRead) {
  EXPECT_EQ(posix::DirectoryMode(0600), 0700U);
  EXPECT_EQ(posix::DirectoryMode(0640), 0750U);
  EXPECT_EQ(posix::DirectoryMode(0644), 0755U);
  EXPECT_EQ(posix::DirectoryMode(0200), 0200U);
}

TEST(PosixEnv, StatFollowsLinksAndTellsIdentity) {
  const TestDir dir;
  Put(dir / "f", "abc");
  std::filesystem::create_symlink("f", dir / "l");
  std::filesystem::create_hard_link(dir / "f", dir / "h");
  const auto stat = Env::Real().Stat(dir / "f");
  ASSERT_TRUE(stat.ok());
  EXPECT_EQ(stat.value().type, FileType::kRegular);
  EXPECT_EQ(stat.value().size_bytes, 3U);
  EXPECT_EQ(stat.value().uid, ::getuid());
  EXPECT_EQ(Env::Real().Stat(dir / "l").value().identity, stat.value().identity);
  EXPECT_EQ(Env::Real().Stat(dir / "h").value().identity, stat.value().identity);
  EXPECT_NE(Env::Real().Stat(dir.path()).value().identity, stat.value().identity);
  EXPECT_EQ(Env::Real().Stat(dir.path()).value().type, FileType::kDirectory);
  const auto age = std::chrono::system_clock::now() - stat.value().modified_at;
  EXPECT_LT(age, std::chrono::hours(1));
  EXPECT_GT(age, -std::chrono::hours(1));
}

TEST(PosixEnv, ResolveLink) {
  const TestDir dir;
  Put(dir / "file", "x");
  ASSERT_EQ(::symlink("file", (dir / "link").c_str()), 0);
  ASSERT_EQ(::symlink((dir / "link").c_str(), (dir / "far").c_str()), 0);
  ASSERT_EQ(::symlink("nothing", (dir / "dangling").c_str()), 0);
  ASSERT_EQ(::symlink("loop", (dir / "loop").c_str()), 0);
  const struct {
    const char* name;
    const char* want;
  } cases[] = {{"file", "file"},       {"link", "file"},        {"far", "file"},
               {"missing", "missing"}, {"dangling", "nothing"}, {"file/below", "file/below"}};
  for (const auto& c : cases) {
    const auto got = Env::Real().ResolveLink(dir / c.name);
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(got.value(), dir / c.want);
  }
  EXPECT_EQ(CodeOf(Env::Real().ResolveLink(dir / "loop")), "invalid argument");
}

TEST(PosixEnv, Renames) {
  using Rename = Result<void> (*)(const std::filesystem::path&, const std::filesystem::path&);
  const struct {
    const char* why;
    Rename rename;
    bool replaces;
  } cases[] = {
      {"Rename", [](const auto& a, const auto& b) { return Env::Real().Rename(a, b); }, true},
      {"RenameNoReplace",
       [](const auto& a, const auto& b) { return Env::Real().RenameNoReplace(a, b); }, false},
      {"RenameByLink", posix::RenameByLink, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const TestDir dir;
    Put(dir / "a", "A");
    Put(dir / "b", "B");
    EXPECT_EQ(CodeOf(c.rename(dir / "none", dir / "c")), "not found");
    EXPECT_EQ(CodeOf(c.rename(dir / "a", dir / "none/c")), "not found");
    EXPECT_EQ(CodeOf(c.rename(dir / "a", dir / "c")), "ok");
    EXPECT_EQ(CodeOf(Exists(Env::Real(), dir / "a")), "ok");
    EXPECT_FALSE(Exists(Env::Real(), dir / "a").value());
    EXPECT_EQ(CodeOf(c.rename(dir / "c", dir / "b")), c.replaces ? "ok" : "already exists");
    EXPECT_EQ(Get(dir / "b"), c.replaces ? "A" : "B");
    EXPECT_EQ(Exists(Env::Real(), dir / "c").value(), !c.replaces);
  }
}

TEST(PosixEnv, RemoveAndRemoveTree) {
  const TestDir dir;
  Env& env = Env::Real();
  Put(dir / "f", "x");
  EXPECT_EQ(CodeOf(env.Remove(dir / "f")), "ok");
  EXPECT_EQ(CodeOf(env.Remove(dir / "f")), "not found");
  EXPECT_EQ(CodeOf(CreateDirectories(env, dir / "t/u/v", {})), "ok");
  Put(dir / "t/u/f", "x");
  Put(dir / "kept", "x");
  std::filesystem::create_symlink(dir / "kept", dir / "t/link");
  EXPECT_NE(CodeOf(env.Remove(dir / "t")), "ok");
  EXPECT_EQ(CodeOf(env.RemoveTree(dir / "t")), "ok");
  EXPECT_FALSE(Exists(env, dir / "t").value());
  EXPECT_TRUE(Exists(env, dir / "kept").value());
  EXPECT_EQ(CodeOf(env.RemoveTree(dir / "t")), "ok");
  EXPECT_EQ(CodeOf(env.RemoveTree(dir / "kept/t")), "ok");
}

TEST(PosixEnv, List) {
  const TestDir dir;
  Env& env = Env::Real();
  Put(dir / "file", "x");
  Put(dir / ".hidden", "x");
  ASSERT_EQ(CodeOf(env.CreateDirectory(dir / "sub", {})), "ok");
  EXPECT_EQ(CodeOf(env.CreateDirectory(dir / "sub", {})), "already exists");
  std::filesystem::create_symlink("file", dir / "link");
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  auto entries = env.List(dir.path());
  ASSERT_TRUE(entries.ok());
  std::ranges::sort(entries.value(), {}, &DirectoryEntry::name);
  std::string got;
  for (const auto& e : entries.value()) {
    got += e.name + " " + std::to_string(static_cast<int>(e.type)) + "\n";
  }
  EXPECT_EQ(got, ".hidden 0\nfile 0\nlink 2\npipe 3\nsub 1\n");
  EXPECT_EQ(CodeOf(env.List(dir / "none")), "not found");
  EXPECT_EQ(CodeOf(env.List(dir / "file")), "not found");
}

TEST(PosixEnv, SyncDirectory) {
  const TestDir dir;
  EXPECT_EQ(CodeOf(Env::Real().SyncDirectory(dir.path())), "ok");
  EXPECT_EQ(CodeOf(Env::Real().SyncDirectory(dir / "none")), "not found");
}

TEST(PosixEnv, WhoLooksAtALockKeepsNobodyOut) {
  const TestDir dir;
  EXPECT_FALSE(Env::Real().IsLocked(dir / "lock").value());
  EXPECT_EQ(CodeOf(Env::Real().Stat(dir / "lock")), "not found");
  {
    std::vector<std::jthread> lookers;
    for (int i = 0; i < 2; ++i) {
      lookers.emplace_back([&dir](const std::stop_token& stop) {
        while (!stop.stop_requested()) (void)Env::Real().IsLocked(dir / "lock").ok();
      });
    }
    for (int i = 0; i < 3000; ++i) {
      const auto held = Env::Real().Lock(dir / "lock", {});
      ASSERT_EQ(CodeOf(held), "ok");
      ASSERT_TRUE(Env::Real().IsLocked(dir / "lock").value());
    }
  }
  EXPECT_FALSE(Env::Real().IsLocked(dir / "lock").value());
}

TEST(PosixEnv, LockIsExclusiveUntilReleased) {
  const TestDir dir;
  auto first = Env::Real().Lock(dir / "lock", {});
  ASSERT_TRUE(first.ok());
  const auto second = Env::Real().Lock(dir / "lock", {});
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(second.error().Is(ErrorCode::kAlreadyExists));
  EXPECT_EQ(second.error().message(),
            "lock " + (dir / "lock").native() + ": held by another process");
  first.value().reset();
  EXPECT_EQ(CodeOf(Env::Real().Lock(dir / "lock", {})), "ok");
  EXPECT_EQ(CodeOf(Env::Real().Lock(dir / "none/lock", {})), "not found");
}

TEST(PosixEnv, RandomDiffers) {
  std::set<std::array<std::byte, 16>> seen;
  for (int i = 0; i < 100; ++i) {
    std::array<std::byte, 16> bytes = {};
    Env::Real().Random(bytes);
    seen.insert(bytes);
  }
  EXPECT_EQ(seen.size(), 100U);
}

TEST(EnvFunctions, CreateDirectories) {
  const TestDir dir;
  Env& env = Env::Real();
  Put(dir / "f", "x");
  EXPECT_EQ(CodeOf(CreateDirectories(env, dir / "a/b/c", {.mode = 0600})), "ok");
  EXPECT_EQ(env.Stat(dir / "a/b").value().mode, 0700U);
  EXPECT_EQ(CodeOf(CreateDirectories(env, dir / "a/b/d/", {})), "ok");
  EXPECT_EQ(env.Stat(dir / "a/b/d").value().type, FileType::kDirectory);
  EXPECT_EQ(CodeOf(CreateDirectories(env, dir / "a/b/c", {})), "ok");
  EXPECT_EQ(CodeOf(CreateDirectories(env, dir / "f", {})), "already exists");
  EXPECT_EQ(CodeOf(CreateDirectories(env, dir / "f/g/h", {})), "already exists");
  EXPECT_EQ(CodeOf(CreateDirectories(env, "", {})), "ok");
  EXPECT_EQ(CodeOf(CreateDirectories(env, ".", {})), "ok");
}

TEST(EnvFunctions, ReadSmallFileHasALimit) {
  const TestDir dir;
  const std::string text(40'000, 'x');
  Put(dir / "f", text);
  Put(dir / "empty", "");
  EXPECT_EQ(ReadSmallFile(Env::Real(), dir / "f", 40'000).value(), text);
  EXPECT_EQ(CodeOf(ReadSmallFile(Env::Real(), dir / "f", 39'999)), "corruption");
  EXPECT_EQ(ReadSmallFile(Env::Real(), dir / "empty", 0).value(), "");
  EXPECT_EQ(CodeOf(ReadSmallFile(Env::Real(), dir / "none", 1)), "not found");
}

TEST(EnvFunctions, WriteFileAtomicallyReplaces) {
  const TestDir dir;
  Env& env = Env::Real();
  for (const char* text : {"one", "two, which is longer", ""}) {
    EXPECT_EQ(CodeOf(WriteFileAtomically(env, dir / "f", Bytes(text), {})), "ok");
    EXPECT_EQ(Get(dir / "f"), text);
  }
  Put(dir / "f.tmp", "left over by a crash");
  EXPECT_EQ(CodeOf(WriteFileAtomically(env, dir / "f", Bytes("x"), {})), "ok");
  EXPECT_EQ(Get(dir / "f"), "x");
  EXPECT_EQ(env.List(dir.path()).value().size(), 1U);
}

TEST(EnvFunctions, Exists) {
  const TestDir dir;
  EXPECT_TRUE(Exists(Env::Real(), dir.path()).value());
  EXPECT_FALSE(Exists(Env::Real(), dir / "none").value());
  EXPECT_EQ(CodeOf(Exists(Env::Real(), dir / std::string(300, 'x'))), "invalid argument");
}

}  // namespace
}  // namespace litestream
