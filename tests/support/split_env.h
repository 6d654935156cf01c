#pragma once

#include <filesystem>
#include <memory>
#include <utility>

#include "base/env.h"
#include "base/memory_env.h"

namespace litestream {

// The machine's files, but for one tree, which is in memory: it can be made to fail, and to lose
// what was not synced, while SQLite works on real files beside it.
class SplitEnv : public Env {
 public:
  SplitEnv(std::filesystem::path tree, MemoryEnv& memory)
      : tree_(std::move(tree)), memory_(memory) {}
  // Without events, which come in their own time, a database looks every monitor interval.
  void SetWatches(bool watches) { watches_ = watches; }

  Result<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                     const OpenOptions& options) override {
    return For(path).Open(path, options);
  }
  Result<FileStat> Stat(const std::filesystem::path& path) override { return For(path).Stat(path); }
  Result<void> Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return For(from).Rename(from, to);
  }
  Result<void> RenameNoReplace(const std::filesystem::path& from,
                               const std::filesystem::path& to) override {
    return For(from).RenameNoReplace(from, to);
  }
  Result<void> Remove(const std::filesystem::path& path) override { return For(path).Remove(path); }
  Result<void> RemoveTree(const std::filesystem::path& path) override {
    return For(path).RemoveTree(path);
  }
  Result<void> CreateDirectory(const std::filesystem::path& path, const FileOwner& owner) override {
    return For(path).CreateDirectory(path, owner);
  }
  Result<std::vector<DirectoryEntry>> List(const std::filesystem::path& path) override {
    return For(path).List(path);
  }
  Result<void> SyncDirectory(const std::filesystem::path& path) override {
    return For(path).SyncDirectory(path);
  }
  Result<std::unique_ptr<FileLock>> Lock(const std::filesystem::path& path,
                                         const FileOwner& owner) override {
    return For(path).Lock(path, owner);
  }
  Result<std::unique_ptr<FileWatch>> WatchFile(const std::filesystem::path& path,
                                               FileEventCallback callback) override {
    if (!watches_) return Error(ErrorCode::kUnsupported, "no events");
    return For(path).WatchFile(path, std::move(callback));
  }
  Result<std::unique_ptr<FileWatch>> WatchDirectory(const std::filesystem::path& path,
                                                    FileEventCallback callback) override {
    if (!watches_) return Error(ErrorCode::kUnsupported, "no events");
    return For(path).WatchDirectory(path, std::move(callback));
  }
  void Random(std::span<std::byte> out) override { memory_.Random(out); }
  std::string BootId() override { return memory_.BootId(); }
  const Clock& clock() const override { return memory_.clock(); }

 private:
  Env& For(const std::filesystem::path& path) {
    const bool inside = path.string().starts_with(tree_.string());
    return inside ? static_cast<Env&>(memory_) : Env::Real();
  }

  std::filesystem::path tree_;
  MemoryEnv& memory_;
  bool watches_ = true;
};

}  // namespace litestream
