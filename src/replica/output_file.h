#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/env.h"
#include "base/temp_file.h"
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
  // What a killed restore of the same output left behind goes first: it may be as large.
  static Result<std::unique_ptr<OutputFile>> Create(Env& env, const std::filesystem::path& path,
                                                    bool replace, std::uint64_t size_bytes);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Gone when this is destroyed before Publish.
  File& file() { return temporary_->file(); }
  const std::filesystem::path& temporary_path() const { return temporary_->path(); }

  // Gives the synced file its name. Before that, what is in the way goes; the removals are made
  // durable first, so that no crash leaves the new database beside an old WAL. Call Sync of the
  // file before.
  Result<void> Publish();

 private:
  OutputFile(Env& env, std::filesystem::path path, bool replace);
  void SweepDead(const std::string& stem);
  Result<void> RemoveSidecars();

  Env& env_;
  const std::filesystem::path path_;
  const std::filesystem::path directory_;
  const bool replace_;
  std::unique_ptr<TempFile> temporary_;
};

}  // namespace litestream
