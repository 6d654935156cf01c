#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/env.h"
#include "litestream/result.h"

namespace litestream {

// A database file that is being made: under a name of its own, until it is complete.
//
// Files that SQLite would take for part of the new database (`-wal`, `-shm`, `-journal`) and the
// follower's `-txid` are in the way like the database itself: an old WAL beside a new database is
// replayed over it.
class OutputFile {
 public:
  // kAlreadyExists if something is in the way and must not be replaced, or is a directory.
  static Result<void> CheckFree(Env& env, const std::filesystem::path& path, bool replace);

  // Makes the missing directories (for the user only) and the temporary file with `size_bytes`
  // zeros, for which space is reserved. A file that will be replaced passes on its owner and mode.
  static Result<std::unique_ptr<OutputFile>> Create(Env& env, const std::filesystem::path& path,
                                                    bool replace, std::uint64_t size_bytes);
  // Removes the temporary file unless it was published.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  File& file() { return *file_; }
  const std::filesystem::path& temporary_path() const { return temporary_path_; }

  // Gives the synced file its name. Before that, what is in the way goes; the removals are made
  // durable first, so that no crash leaves the new database beside an old WAL. Call Sync of the
  // file before.
  Result<void> Publish();

 private:
  OutputFile(Env& env, std::filesystem::path path, bool replace);
  Result<void> RemoveSidecars();

  Env& env_;
  const std::filesystem::path path_;
  const std::filesystem::path directory_;
  const bool replace_;
  std::filesystem::path temporary_path_;
  std::unique_ptr<File> file_;
  bool created_ = false;
};

}  // namespace litestream
