#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/env.h"

namespace litestream {

// A file that is being written beside its final name, as "<name>.<process id>-<16 hex digits>.tmp".
// While it exists its writer holds a lock on it, so that others can tell it from one that a dead
// process left: process ids say nothing about other containers and hosts. Removed by the destructor
// unless it was published.
class TempFile {
 public:
  // Fails with kAlreadyExists never; with kNotFound if the directory is missing.
  static Result<std::unique_ptr<TempFile>> Create(Env& env, const std::filesystem::path& final_path,
                                                  const FileOwner& owner);
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  File& file() { return *file_; }

  // Gives it the final name; file() is closed. With `if_absent`, kAlreadyExists if there is one.
  // The caller has synced the file, and syncs the directory.
  Result<void> Publish(bool if_absent);

 private:
  TempFile(Env& env, std::filesystem::path final_path, std::filesystem::path path)
      : env_(env), final_path_(std::move(final_path)), path_(std::move(path)) {}

  Env& env_;
  const std::filesystem::path final_path_;
  const std::filesystem::path path_;
  std::unique_ptr<File> file_;
  std::unique_ptr<FileLock> lock_;  // None where the file system has no locks.
  bool published_ = false;
};

// Removes from `directory` what dead writers left: temporary files of ours that nobody has locked,
// and those of other versions ("<LTX name>.tmp", no lock) that nobody touched for a day. Whatever
// goes wrong leaves files in place, and is no error.
void SweepTempFiles(Env& env, const std::filesystem::path& directory);

enum class TempKind : unsigned char { kNone, kOurs, kOtherVersion };
TempKind ClassifyTempName(std::string_view name);

}  // namespace litestream
