#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace litestream {

// SHA-256 as 64 lower-case hex digits: how expected.json names content. For tests only.
std::string Sha256Hex(std::span<const std::byte> bytes);
// Of a whole file; a test failure and "" if it cannot be read.
std::string Sha256HexOfFile(const std::filesystem::path& path);

}  // namespace litestream
