#pragma once

#include <cstdint>
#include <filesystem>

#include "litestream/result.h"

// What Env::Real() is made of, as far as tests want to reach it.
namespace litestream::posix {

// Rename that fails when `to` exists, for file systems that cannot do it in one step: link, then
// unlink. Not for directories.
Result<void> RenameByLink(const std::filesystem::path& from, const std::filesystem::path& to);

// Who may read a directory may also enter it: 0640 becomes 0750.
constexpr std::uint32_t DirectoryMode(std::uint32_t file_mode) {
  return file_mode | ((file_mode & 0444U) >> 2U);
}

}  // namespace litestream::posix
