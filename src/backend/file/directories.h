#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "base/env.h"
#include "base/sync.h"

namespace litestream {

// The directory that holds `path`; also for "x", "." and "..".
std::filesystem::path ParentDirectory(const std::filesystem::path& path);

// Sees to it that a replica's directories exist and that a power failure does not take them away
// again, with what was acknowledged inside. Remembers what it did. Safe for concurrent calls.
class DirectoryMaker {
 public:
  // Borrows `root`, absolute or not, without a slash at its end.
  DirectoryMaker(Env& env, const std::string& root, const FileOwner& owner)
      : env_(env), root_(root), owner_(owner) {}

  // `directory` is the root or below it.
  Result<void> Ensure(const std::filesystem::path& directory);
  // Somebody may have removed them: the next Ensure looks again.
  void Forget();

 private:
  Result<void> SyncParentOf(const std::filesystem::path& directory);
  std::optional<std::string> BelowRoot(const std::filesystem::path& directory) const;

  Env& env_;
  const std::string& root_;
  const FileOwner owner_;
  Mutex mu_{LockRank::kStorage};
  // What follows the root in their names.
  std::set<std::string> durable_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
