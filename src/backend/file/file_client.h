#pragma once

#include <filesystem>
#include <memory>

#include "base/env.h"
#include "litestream/replica_client.h"

namespace litestream {

struct FileClientOptions {
  std::filesystem::path root;
  // New files and directories. Directories get the mode with x where r is. The database's owner and
  // mode, when it is known; else only the user's.
  FileOwner owner;
};

// A replica in a directory. Writes <root>/ltx/<level>/<name>; reads that, and
// <root>/<level as %04x>/<name> as well (a copied bucket). A file is written under a temporary
// name, gets its times, is synced and renamed, and its directory synced. Temporary files that a
// dead process left are removed at the first write. created_at is the file's modification time, so
// a copy of the directory has to keep it (`cp -a`, `rsync -t`).
//
// The tag of a small object is a checksum of its content; conditional writes exclude each other by
// a lock file below the root. DeleteAll removes what is in the root and leaves the root itself,
// which may be a mount point or a link.
std::unique_ptr<ReplicaClient> MakeFileClient(Env& env, const FileClientOptions& options);

}  // namespace litestream
