#pragma once

#include <filesystem>
#include <set>
#include <utility>

#include "base/env.h"
#include "base/sync.h"

namespace litestream {

// The directory that holds `path`; also for "x", "." and "..".
std::filesystem::path ParentDirectory(const std::filesystem::path& path);

// Sees to it that a replica's directories exist and that a power failure does not take them away
// again, with what was acknowledged inside. Remembers what it did. Safe for concurrent calls.
class DirectoryMaker {
 public:
  DirectoryMaker(Env& env, std::filesystem::path root, const FileOwner& owner)
      : env_(env), root_(std::move(root)), owner_(owner) {}

  // `directory` is the root or below it.
  Result<void> Ensure(const std::filesystem::path& directory);
  // Somebody may have removed them: the next Ensure looks again.
  void Forget();

 private:
  Result<void> SyncParentOf(const std::filesystem::path& directory);

  Env& env_;
  const std::filesystem::path root_;
  const FileOwner owner_;
  Mutex mu_{LockRank::kStorage};
  std::set<std::filesystem::path> durable_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
