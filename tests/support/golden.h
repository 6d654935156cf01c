#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace litestream {

// Files made by the reference implementation, with what it says about them. Its README.md explains
// the folders and their expected.json. Everything here reports trouble as a test failure, and then
// returns something empty.

// The environment variable LITESTREAM_GOLDEN, or ../shared/golden beside the source tree.
std::filesystem::path GoldenDir();

// The directories directly below GoldenDir() / section that hold an expected.json, by name.
std::vector<std::filesystem::path> GoldenCases(std::string_view section);

// For the caller: #include <nlohmann/json.hpp>
nlohmann::json LoadJson(const std::filesystem::path& path);

std::vector<std::byte> ReadWholeFile(const std::filesystem::path& path);
// Makes the directories above it, too.
void WriteWholeFile(const std::filesystem::path& path, std::span<const std::byte> bytes);
// Two digits a byte, as in expected.json.
std::vector<std::byte> BytesFromHex(std::string_view hex);

std::int64_t GetMtime(const std::filesystem::path& path);  // Nanoseconds since 1970.
void SetMtime(const std::filesystem::path& path, std::int64_t unix_nanoseconds);

// Copies a directory, so that it can be changed. Then every file named by `files` ([{"path",
// "mtime_ns"}], relative to the directory) gets its modification time, which a checkout does not
// keep.
void CopyTreeWithTimes(const std::filesystem::path& from, const std::filesystem::path& to,
                       const nlohmann::json& files);

// Damages a copy as one of expected.json's `variants` says. Modification times stay, but for those
// that the variant sets.
void ApplyVariant(const std::filesystem::path& root, const nlohmann::json& variant);

// The bytes after one of the `edits` of wal/damage or ltx-corrupt: cut, flip, or append.
std::vector<std::byte> ApplyEdit(std::span<const std::byte> bytes, const nlohmann::json& edit);

}  // namespace litestream
