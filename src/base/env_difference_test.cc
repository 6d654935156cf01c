// The in-memory environment behaves as the machine's, as long as nothing crashes.
#include <algorithm>
#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/env.h"
#include "base/manual_clock.h"
#include "base/memory_env.h"
#include "base/test_dir.h"

namespace litestream {
namespace {

using Path = std::filesystem::path;

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

template <typename T>
std::string CodeOf(const Result<T>& result) {
  return result.ok() ? "ok" : std::string(ToString(result.error().code()));
}

std::string ReadAll(File& file) {
  std::string text(100'000, '?');
  const auto n = file.ReadAt(std::as_writable_bytes(std::span(text)), 0);
  return n.ok() ? text.substr(0, n.value()) : CodeOf(n);
}

// Everything below `path`, as text.
std::string Dump(Env& env, const Path& path, const std::string& indent = {}) {
  auto entries = env.List(path);
  if (!entries.ok()) return CodeOf(entries);
  std::ranges::sort(entries.value(), {}, &DirectoryEntry::name);
  std::string text;
  for (const auto& e : entries.value()) {
    text += indent + e.name;
    if (e.type == FileType::kDirectory) {
      text += "/\n" + Dump(env, path / e.name, indent + "  ");
    } else {
      const auto file = env.Open(path / e.name, {});
      text += file.ok() ? " = " + ReadAll(*file.value()) + "\n" : CodeOf(file);
    }
  }
  return text;
}

// One random operation on a handful of names. Returns what came of it.
class Actor {
 public:
  Actor(Env& env, Path root, std::uint64_t seed)
      : env_(env), root_(std::move(root)), random_(seed) {}

  std::string Step() {
    const Path path = RandomPath();
    const Path other = RandomPath();
    switch (random_() % 15) {
      case 0:
      case 1:
        return "create directory " + Name(path) + ": " + CodeOf(env_.CreateDirectory(path, {}));
      case 2:
        return "remove " + Name(path) + ": " + CodeOf(env_.Remove(path));
      case 3:
        return "remove tree " + Name(path) + ": " +
               (random_() % 4 == 0 ? CodeOf(env_.RemoveTree(path)) : "not done");
      case 4:
      case 5:
        return "rename " + Name(path) + " " + Name(other) + ": " + CodeOf(env_.Rename(path, other));
      case 6:
        if (Inside(other, path)) return "not tried";
        return "rename without replacing " + Name(path) + " " + Name(other) + ": " +
               CodeOf(env_.RenameNoReplace(path, other));
      case 7:
        return "stat " + Name(path) + ": " + DescribeStat(env_.Stat(path));
      case 8:
        return "list " + Name(path) + ": " + CodeOf(env_.List(path));
      case 9:
        return "sync " + Name(path) + ": " + CodeOf(env_.SyncDirectory(path));
      case 10:
        return "create all " + Name(path) + ": " + CodeOf(CreateDirectories(env_, path, {}));
      default:
        return OpenAndUse(path);
    }
  }

 private:
  Path RandomPath() {
    Path path = root_;
    const std::uint64_t depth = 1 + random_() % 3;
    for (std::uint64_t i = 0; i < depth; ++i) path /= std::string(1, "abc"[random_() % 3]);
    return path;
  }

  std::string Name(const Path& path) const { return path.lexically_relative(root_).native(); }

  static bool Inside(const Path& path, const Path& directory) {
    return std::ranges::mismatch(directory, path).in1 == directory.end();
  }

  static std::string DescribeStat(const Result<FileStat>& stat) {
    if (!stat.ok()) return CodeOf(stat);
    std::string text = std::to_string(static_cast<int>(stat.value().type));
    if (stat.value().type == FileType::kRegular) {
      text += " " + std::to_string(stat.value().size_bytes);
    }
    return text;
  }

  std::string OpenAndUse(const Path& path) {
    const OpenOptions options{.write = random_() % 4 != 0,
                              .create = random_() % 4 != 0,
                              .exclusive = random_() % 4 == 0,
                              .truncate = random_() % 8 == 0};
    std::string text = "open " + Name(path);
    // Linux creates or truncates a file opened only for reading, too; nobody does that.
    if (!options.write && (options.truncate || options.create)) return "not tried";
    const auto opened = env_.Open(path, options);
    text += ": " + CodeOf(opened);
    if (!opened.ok()) return text;
    File& file = *opened.value();
    const std::uint64_t offset = random_() % 2000;
    switch (random_() % 5) {
      case 0:
        return text + ", truncate: " + CodeOf(file.Truncate(offset));
      case 1:
        return text +
               ", allocate: " + CodeOf(options.write ? file.Allocate(offset) : Result<void>());
      case 2:
        return text + ", sync: " + CodeOf(file.Sync()) + " " + DescribeStat(file.Stat());
      default: {
        const std::string content(random_() % 700, "xyz"[random_() % 3]);
        text += ", write: " + CodeOf(file.WriteAt(Bytes(content), offset));
        return text + ", then: " + ReadAll(file);
      }
    }
  }

  Env& env_;
  const Path root_;
  std::mt19937_64 random_;
};

// In memory where that is possible: the test syncs a lot.
Path Fast() {
  const Path memory = "/dev/shm";
  return ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
}

TEST(EnvDifference, MemoryAndMachineDoTheSame) {
  const auto seed = std::random_device()();
  std::map<std::string, int> outcomes;
  for (std::uint64_t round = 0; round < 30; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed + round));
    const ManualClock clock;
    MemoryEnv memory(clock, 1);
    ASSERT_TRUE(CreateDirectories(memory, "/r", {}).ok());
    const TestDir dir(Fast());
    Actor on_memory(memory, "/r", seed + round);
    Actor on_machine(Env::Real(), dir.path(), seed + round);
    for (int step = 0; step < 300; ++step) {
      const std::string want = on_machine.Step();
      ASSERT_EQ(on_memory.Step(), want) << "step " << step;
      ++outcomes[want.substr(want.rfind(':') + 1)];
    }
    EXPECT_EQ(Dump(memory, "/r"), Dump(Env::Real(), dir.path()));
  }
  // It did something.
  for (const char* outcome : {" ok", " not found", " already exists", " invalid argument"}) {
    EXPECT_GT(outcomes[outcome], 100) << outcome;
  }
}

}  // namespace
}  // namespace litestream
