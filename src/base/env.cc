#include "base/env.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/try.h"

namespace litestream {
namespace {

constexpr std::size_t kReadBlockBytes = std::size_t{16} * 1024;

// SyncDirectory wants a name even for the directory that "file" is in.
std::filesystem::path ParentOf(const std::filesystem::path& path) {
  std::filesystem::path parent = path.parent_path();
  if (parent.empty()) parent = ".";
  return parent;
}

Result<void> RequireDirectory(Env& env, const std::filesystem::path& path) {
  if (LS_TRY(env.Stat(path)).type == FileType::kDirectory) return {};
  return Error(ErrorCode::kAlreadyExists,
               fmt::format("create directory {}: something else has this name", path.native()));
}

Result<void> WriteNewFile(Env& env, const std::filesystem::path& path,
                          std::span<const std::byte> content, const FileOwner& owner) {
  const OpenOptions options{.write = true, .create = true, .exclusive = true, .owner = owner};
  auto opened = env.Open(path, options);
  if (!opened.ok() && opened.error().Is(ErrorCode::kAlreadyExists)) {
    // Left over by a crash. Not reused, because it may have another owner or mode.
    LS_TRY(env.Remove(path));
    opened = env.Open(path, options);
  }
  const std::unique_ptr<File> file = LS_TRY(std::move(opened));
  LS_TRY(file->WriteAt(content, 0));
  return file->Sync();
}

}  // namespace

// For where nobody comes meanwhile.
Result<bool> Env::IsLocked(const std::filesystem::path& path) {
  if (!LS_TRY(Exists(*this, path))) return false;
  const auto lock = Lock(path, {});
  if (lock.ok()) return false;
  return lock.error().Is(ErrorCode::kAlreadyExists) ? Result<bool>(true)
                                                    : Result<bool>(lock.error());
}

Result<std::unique_ptr<FileWatch>> Env::WatchEntries(const std::filesystem::path& path,
                                                     std::vector<std::string> names,
                                                     FileEventCallback callback) {
  return WatchDirectory(path, [names = std::move(names), callback = std::move(callback)](
                                  FileEvent event, const std::string& name) {
    if (event == FileEvent::kEntry && std::ranges::count(names, name) == 0) return;
    callback(event, name);
  });
}

Result<void> CreateDirectories(Env& env, const std::filesystem::path& path,
                               const FileOwner& owner) {
  std::vector<std::filesystem::path> missing;
  std::filesystem::path at = path.has_filename() ? path : path.parent_path();
  while (!at.empty()) {
    const auto stat = env.Stat(at);
    if (stat.ok()) break;
    if (!stat.error().Is(ErrorCode::kNotFound)) return stat.error();
    missing.push_back(at);
    at = at.parent_path();
  }
  if (!at.empty()) LS_TRY(RequireDirectory(env, at));
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    auto created = env.CreateDirectory(*it, owner);
    if (!created.ok()) {
      if (!created.error().Is(ErrorCode::kAlreadyExists)) return created;
      LS_TRY(RequireDirectory(env, *it));  // Somebody else was faster.
    }
    LS_TRY(env.SyncDirectory(ParentOf(*it)));
  }
  return {};
}

Result<void> CreateDirectoriesBelow(Env& env, const std::filesystem::path& base,
                                    const std::filesystem::path& path, const FileOwner& owner) {
  if (env.Stat(path).ok()) return RequireDirectory(env, path);
  std::filesystem::path at = base;
  for (const auto& part : path.lexically_relative(base)) {
    const std::filesystem::path parent = at;
    at /= part;
    auto created = env.CreateDirectory(at, owner);
    if (created.ok()) {
      LS_TRY(env.SyncDirectory(parent));
      continue;
    }
    if (!created.error().Is(ErrorCode::kAlreadyExists)) return created;
    LS_TRY(RequireDirectory(env, at));
  }
  return {};
}

Result<std::string> ReadSmallFile(Env& env, const std::filesystem::path& path,
                                  std::size_t limit_bytes) {
  const std::unique_ptr<File> file = LS_TRY(env.Open(path, {}));
  std::string content;
  std::array<std::byte, kReadBlockBytes> block;
  while (true) {
    const std::size_t n = LS_TRY(file->ReadAt(block, content.size()));
    content.append(reinterpret_cast<const char*>(block.data()), n);
    if (content.size() > limit_bytes) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("read {}: larger than {} bytes", path.native(), limit_bytes));
    }
    if (n < block.size()) return content;
  }
}

Result<void> WriteFileAtomically(Env& env, const std::filesystem::path& path,
                                 std::span<const std::byte> content, const FileOwner& owner) {
  std::filesystem::path staged = path;
  staged += ".tmp";
  auto written = WriteNewFile(env, staged, content, owner);
  if (written.ok()) written = env.Rename(staged, path);
  if (!written.ok()) {
    // Best effort: the next call replaces what stays behind.
    [[maybe_unused]] const auto removed = env.Remove(staged);
    return written;
  }
  return env.SyncDirectory(ParentOf(path));
}

Result<bool> Exists(Env& env, const std::filesystem::path& path) {
  const auto stat = env.Stat(path);
  if (stat.ok()) return true;
  if (stat.error().Is(ErrorCode::kNotFound)) return false;
  return stat.error();
}

}  // namespace litestream
