#include "backend/file/directories.h"

#include <algorithm>
#include <vector>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream {

std::filesystem::path ParentDirectory(const std::filesystem::path& path) {
  if (path.filename() == "." || path.filename() == "..") return path / "..";
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

namespace {

// Reading a directory is needed to sync it, and a stranger above our root may not let us.
Result<void> SyncIfReadable(Env& env, const std::filesystem::path& directory, bool is_stranger) {
  auto synced = env.SyncDirectory(directory);
  if (!synced.ok() && is_stranger && synced.error().Is(ErrorCode::kDenied)) return {};
  return synced;
}

}  // namespace

// The root's parent, or above that the nearest directory that exists.
Result<std::filesystem::path> DirectoryMaker::FindTop() {
  const auto root = env_.Stat(root_);
  if (root.ok() && root.value().type != FileType::kDirectory) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("{} is not a directory", root_.string()));
  }
  std::filesystem::path top = ParentDirectory(root_);
  while (!LS_TRY(Exists(env_, top))) {
    std::filesystem::path parent = ParentDirectory(top);
    if (parent == top) break;
    top = std::move(parent);
  }
  return top;
}

Result<void> DirectoryMaker::Ensure(const std::filesystem::path& directory) {
  std::set<std::filesystem::path> durable;
  std::optional<std::filesystem::path> top;
  {
    MutexLock lock(mu_);
    if (durable_.contains(directory)) return {};
    durable = durable_;
    top = top_;
  }
  if (!top) {
    top = LS_TRY(FindTop());
    MutexLock lock(mu_);
    if (!top_) top_ = top;
  }

  // From `directory` up to the first one that is known to last.
  std::vector<std::filesystem::path> made;
  for (auto p = directory; p != *top && !durable.contains(p); p = ParentDirectory(p)) {
    made.push_back(p);
  }
  for (auto it = made.rbegin(); it != made.rend(); ++it) {
    auto created = env_.CreateDirectory(*it, owner_);
    if (created.ok() || created.error().Is(ErrorCode::kAlreadyExists)) continue;
    return std::move(created).error();
  }
  const std::filesystem::path root_parent = ParentDirectory(root_);
  for (const auto& p : made) {
    const auto parent = ParentDirectory(p);
    const bool is_stranger = parent == *top || parent == root_parent;
    LS_TRY(SyncIfReadable(env_, parent, is_stranger));
  }
  MutexLock lock(mu_);
  durable_.insert(made.begin(), made.end());
  return {};
}

void DirectoryMaker::Forget() {
  MutexLock lock(mu_);
  durable_.clear();
  top_.reset();
}

}  // namespace litestream
