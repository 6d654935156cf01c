#pragma once

#include <filesystem>
#include <optional>
#include <set>

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
  Result<std::filesystem::path> FindTop();

  Env& env_;
  const std::filesystem::path root_;
  const FileOwner owner_;
  Mutex mu_{LockRank::kStorage};
  std::set<std::filesystem::path> durable_ LS_GUARDED_BY(mu_);
  // The lowest directory that certainly was there before us. Kept after a failure: what was created
  // but not synced must be synced the next time, though it exists then.
  std::optional<std::filesystem::path> top_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
