#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include "base/env.h"

namespace litestream {

// A file that is being written under a name of its own, "<stem>.<process id>-<16 hex digits>.tmp",
// until it is whole. While it exists its writer holds a lock on it, so that others can tell it from
// one that a dead process left: process ids say nothing about other containers and hosts. Removed
// by the destructor unless it was published.
class TempFile {
 public:
  // `stem` is in the directory of the final name. Fails with kAlreadyExists never; with kNotFound
  // if the directory is missing.
  static Result<std::unique_ptr<TempFile>> Create(Env& env, const std::filesystem::path& stem,
                                                  const FileOwner& owner);
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  File& file() { return *file_; }
  const std::filesystem::path& path() const { return path_; }

  // Gives it the final name; file() is closed. With `if_absent`, kAlreadyExists if there is one.
  // The caller has synced the file, and syncs the directory.
  Result<void> Publish(const std::filesystem::path& final_path, bool if_absent);

 private:
  TempFile(Env& env, std::filesystem::path path) : env_(env), path_(std::move(path)) {}

  Env& env_;
  const std::filesystem::path path_;
  std::unique_ptr<File> file_;
  std::unique_ptr<FileLock> lock_;  // None where the file system has no locks.
  bool published_ = false;
};

// The file name of the stem, if `name` is that of a temporary file; else empty.
std::string_view TempFileStem(std::string_view name);

// Removes a temporary file that a dead writer left. False if it stays: its writer lives, or nobody
// can tell.
bool RemoveDeadTempFile(Env& env, const std::filesystem::path& path);

}  // namespace litestream
