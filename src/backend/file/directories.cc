#include "backend/file/directories.h"

#include <vector>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream {

std::filesystem::path ParentDirectory(const std::filesystem::path& path) {
  if (path.filename() == "." || path.filename() == "..") return path / "..";
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

Result<void> DirectoryMaker::SyncParentOf(const std::filesystem::path& directory) {
  auto synced = env_.SyncDirectory(ParentDirectory(directory));
  // To sync a directory one must be able to read it, and what lies above the root is not ours.
  const bool below_root = directory.native().size() > root_.size();
  if (!synced.ok() && synced.error().Is(ErrorCode::kDenied) && !below_root) return {};
  return synced;
}

// What lies above the root needs no name: nobody looks there once the root is remembered.
std::optional<std::string> DirectoryMaker::BelowRoot(const std::filesystem::path& directory) const {
  if (!directory.native().starts_with(root_)) return std::nullopt;
  return directory.native().substr(root_.size());
}

Result<void> DirectoryMaker::Ensure(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> missing;
  std::filesystem::path existing = directory;
  for (;;) {
    if (const auto name = BelowRoot(existing)) {
      MutexLock lock(mu_);
      if (durable_.contains(*name)) break;
    }
    const auto stat = env_.Stat(existing);
    if (stat.ok()) {
      if (stat.value().type != FileType::kDirectory) {
        return Error(ErrorCode::kInvalidArgument,
                     fmt::format("{} is not a directory", existing.string()));
      }
      // One directory at a time is created and synced (below), by all who do it here. So of those
      // that exist only the lowest can have been left unsynced, by somebody who died or failed.
      LS_TRY(SyncParentOf(existing));
      break;
    }
    if (!stat.error().Is(ErrorCode::kNotFound)) return stat.error();
    missing.push_back(existing);
    std::filesystem::path parent = ParentDirectory(existing);
    if (parent == existing) return stat.error();
    existing = std::move(parent);
  }
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    auto created = env_.CreateDirectory(*it, owner_);
    if (!created.ok() && !created.error().Is(ErrorCode::kAlreadyExists)) return created;
    LS_TRY(SyncParentOf(*it));
  }
  missing.push_back(directory);
  MutexLock lock(mu_);
  for (const std::filesystem::path& made : missing) {
    if (auto name = BelowRoot(made)) durable_.insert(*std::move(name));
  }
  return {};
}

void DirectoryMaker::Forget() {
  MutexLock lock(mu_);
  durable_.clear();
}

}  // namespace litestream
