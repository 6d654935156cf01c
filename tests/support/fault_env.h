#pragma once

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/env.h"

namespace litestream::testing {

// The files of another Env, with a say in every call: `before` may make it fail. Syncs are left
// out, so that thousands of runs take no time; the call is still asked about.
class FaultEnv final : public Env {
 public:
  using Hook = std::function<Result<void>(const char* call, const std::filesystem::path& path)>;

  explicit FaultEnv(Env& base) : base_(base) {}
  // Called from any thread. Unset: nothing fails.
  void SetHook(Hook hook) { hook_ = std::move(hook); }
  // As if the machine had been started anew. Before anybody uses it.
  void SetBootId(std::string id) { boot_id_ = std::move(id); }
  // Writes of nothing but zeros leave holes, and no space is reserved.
  void SetSparse(bool sparse) { sparse_ = sparse; }

  Result<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                     const OpenOptions& options) override {
    if (auto r = Ask("open", path); !r.ok()) return r.error();
    auto file = base_.Open(path, options);
    if (!file.ok()) return file;
    return std::unique_ptr<File>(new FaultFile(*this, path, std::move(file).value()));
  }
  Result<FileStat> Stat(const std::filesystem::path& path) override {
    if (auto r = Ask("stat", path); !r.ok()) return r.error();
    return base_.Stat(path);
  }
  Result<void> Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    if (auto r = Ask("rename", to); !r.ok()) return r;
    return base_.Rename(from, to);
  }
  Result<void> RenameNoReplace(const std::filesystem::path& from,
                               const std::filesystem::path& to) override {
    if (auto r = Ask("rename", to); !r.ok()) return r;
    return base_.RenameNoReplace(from, to);
  }
  Result<void> Remove(const std::filesystem::path& path) override {
    if (auto r = Ask("remove", path); !r.ok()) return r;
    return base_.Remove(path);
  }
  Result<void> RemoveTree(const std::filesystem::path& path) override {
    if (auto r = Ask("remove", path); !r.ok()) return r;
    return base_.RemoveTree(path);
  }
  Result<void> CreateDirectory(const std::filesystem::path& path, const FileOwner& owner) override {
    if (auto r = Ask("mkdir", path); !r.ok()) return r;
    return base_.CreateDirectory(path, owner);
  }
  Result<std::vector<DirectoryEntry>> List(const std::filesystem::path& path) override {
    return base_.List(path);
  }
  Result<void> SyncDirectory(const std::filesystem::path& path) override {
    return Ask("sync directory", path);
  }
  Result<std::unique_ptr<FileLock>> Lock(const std::filesystem::path& path,
                                         const FileOwner& owner) override {
    return base_.Lock(path, owner);
  }
  Result<std::unique_ptr<FileWatch>> WatchFile(const std::filesystem::path& path,
                                               FileEventCallback callback) override {
    if (auto r = Ask("watch", path); !r.ok()) return r.error();
    return base_.WatchFile(path, std::move(callback));
  }
  Result<std::unique_ptr<FileWatch>> WatchDirectory(const std::filesystem::path& path,
                                                    FileEventCallback callback) override {
    if (auto r = Ask("watch", path); !r.ok()) return r.error();
    return base_.WatchDirectory(path, std::move(callback));
  }
  void Random(std::span<std::byte> out) override { base_.Random(out); }
  std::string BootId() override { return boot_id_.empty() ? base_.BootId() : boot_id_; }
  const Clock& clock() const override { return base_.clock(); }

 private:
  class FaultFile final : public File {
   public:
    FaultFile(FaultEnv& env, std::filesystem::path path, std::unique_ptr<File> base)
        : env_(env), path_(std::move(path)), base_(std::move(base)) {}
    Result<std::size_t> ReadAt(std::span<std::byte> out, std::uint64_t offset_bytes) override {
      if (auto r = env_.Ask("read", path_); !r.ok()) return r.error();
      return base_->ReadAt(out, offset_bytes);
    }
    Result<void> WriteAt(std::span<const std::byte> bytes, std::uint64_t offset_bytes) override {
      if (auto r = env_.Ask("write", path_); !r.ok()) return r;
      if (env_.sparse_ &&
          std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{}; })) {
        return {};
      }
      return base_->WriteAt(bytes, offset_bytes);
    }
    Result<void> Truncate(std::uint64_t size_bytes) override {
      if (auto r = env_.Ask("truncate", path_); !r.ok()) return r;
      return base_->Truncate(size_bytes);
    }
    Result<void> Allocate(std::uint64_t size_bytes) override {
      if (auto r = env_.Ask("allocate", path_); !r.ok()) return r;
      return env_.sparse_ ? Result<void>() : base_->Allocate(size_bytes);
    }
    Result<void> Sync() override { return env_.Ask("sync", path_); }
    Result<void> SyncData() override { return env_.Ask("sync", path_); }
    void StartWriteback(std::uint64_t, std::uint64_t) override {}
    Result<FileStat> Stat() override { return base_->Stat(); }
    Result<void> SetModified(NanoTime at) override { return base_->SetModified(at); }

   private:
    FaultEnv& env_;
    const std::filesystem::path path_;
    const std::unique_ptr<File> base_;
  };

  Result<void> Ask(const char* call, const std::filesystem::path& path) {
    return hook_ ? hook_(call, path) : Result<void>();
  }

  Env& base_;
  std::string boot_id_;  // Empty: that of the base.
  Hook hook_;
  bool sparse_ = false;
};

}  // namespace litestream::testing
