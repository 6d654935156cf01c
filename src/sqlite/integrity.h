#pragma once

#include <filesystem>

#include "litestream/result.h"

namespace litestream {

// Runs PRAGMA integrity_check (or quick_check) on a complete database file that nobody uses. Opens
// it read-only and immutable, so that no -wal or -shm appears beside it.
//
// Errors: kCorruption (with all findings), and those of opening.
Result<void> CheckIntegrity(const std::filesystem::path& path, bool full);

}  // namespace litestream
