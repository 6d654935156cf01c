#include "config/paths.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include <fmt/core.h>
#include <pwd.h>
#include <unistd.h>

#include "base/try.h"

namespace litestream::config {
namespace {

Result<std::string> HomeDirectory(std::string_view path) {
  std::vector<char> buffer(16 * 1024);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr || found->pw_dir == nullptr || *found->pw_dir == '\0') {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("cannot expand path {}, no home directory available", path));
  }
  return std::string(found->pw_dir);
}

}  // namespace

std::string CleanPath(std::string_view path) {
  const bool rooted = !path.empty() && path.front() == '/';
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == ".." && !parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (part != ".." || !rooted) {
      parts.push_back(part);
    }
  }
  std::string out = rooted ? "/" : "";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += '/';
    out += parts[i];
  }
  return out.empty() ? "." : out;
}

Result<std::string> AbsolutePath(std::string_view path) {
  if (!path.empty() && path.front() == '/') return CleanPath(path);
  std::error_code code;
  const auto current = std::filesystem::current_path(code);
  if (code) {
    return Error(ErrorCode::kIo,
                 fmt::format("make {} absolute: working directory: {}", path, code.message()));
  }
  return CleanPath(current.string() + "/" + std::string(path));
}

Result<std::string> ExpandPath(std::string_view path) {
  if (path != "~" && path.substr(0, 2) != "~/") return AbsolutePath(path);
  return CleanPath(LS_TRY(HomeDirectory(path)) + "/" + std::string(path.substr(1)));
}

Result<std::string> ExpandDatabasePath(std::string_view path) {
  for (const std::string_view prefix : {"sqlite3://", "sqlite://"}) {
    if (path.substr(0, prefix.size()) != prefix) continue;
    path.remove_prefix(prefix.size());
    break;
  }
  return ExpandPath(path);
}

std::string DefaultMetaPath(std::string_view database_path) {
  const std::size_t slash = database_path.rfind('/');
  const bool has_directory = slash != std::string_view::npos;
  const std::string_view directory = has_directory ? database_path.substr(0, slash + 1) : "";
  const std::string_view file = has_directory ? database_path.substr(slash + 1) : database_path;
  return fmt::format("{}.{}-litestream", directory, file);
}

}  // namespace litestream::config
