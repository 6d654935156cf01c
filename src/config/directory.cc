#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "config/config.h"
#include "config/glob.h"
#include "config/paths.h"
#include "config/replica_resolve.h"

namespace litestream::config {
namespace {

constexpr std::string_view kSqliteMagic("SQLite format 3\0", 16);
constexpr std::string_view kMetaSuffix = "-litestream";

// Unreadable and short files are not databases.
bool IsDatabase(Env& env, const std::string& path) {
  const auto stat = env.Stat(path);
  if (!stat.ok() || stat.value().type != FileType::kRegular) return false;
  auto file = env.Open(path, {});
  if (!file.ok()) return false;
  std::array<std::byte, kSqliteMagic.size()> head{};
  const auto read = file.value()->ReadAt(head, 0);
  return read.ok() && read.value() == head.size() &&
         std::memcmp(head.data(), kSqliteMagic.data(), head.size()) == 0;
}

// Databases below `dir`, as paths relative to it, in lexical order. Linked directories are not
// followed, linked files are; our own state directories are skipped.
Result<void> Scan(Env& env, const DatabaseConfig& entry, const std::string& relative_dir,
                  std::vector<std::string>& out) {
  const std::string dir = relative_dir.empty() ? entry.dir : entry.dir + "/" + relative_dir;
  auto listed = LS_TRY(env.List(dir));
  std::sort(listed.begin(), listed.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  for (const DirectoryEntry& item : listed) {
    const std::string relative = relative_dir.empty() ? item.name : relative_dir + "/" + item.name;
    if (item.type == FileType::kDirectory) {
      if (entry.recursive && !item.name.ends_with(kMetaSuffix)) {
        LS_TRY(Scan(env, entry, relative, out));
      }
      continue;
    }
    const bool matches = LS_TRY(GlobMatch(entry.pattern, item.name));
    if (matches && IsDatabase(env, entry.dir + "/" + relative)) out.push_back(relative);
  }
  return {};
}

DatabaseConfig ForFile(const DatabaseConfig& entry, const std::string& relative) {
  DatabaseConfig database = entry;
  database.dir.clear();
  database.pattern.clear();
  database.meta_dir.clear();
  database.recursive = false;
  database.watch = false;
  database.path = entry.dir + "/" + relative;
  if (!entry.meta_dir.empty()) {
    database.meta_path = fmt::format("{}/{}{}", entry.meta_dir, relative, kMetaSuffix);
  } else if (!entry.meta_path.empty()) {
    database.meta_path = DefaultMetaPath(entry.meta_path + "/" + relative);
  }
  for (ReplicaConfig& replica : database.replicas) AppendToReplica(replica, relative);
  return database;
}

Result<std::vector<DatabaseConfig>> ExpandEntry(Env& env, const DatabaseConfig& entry,
                                                const Logger& log) {
  LS_TRY(CheckGlob(entry.pattern), "failed to scan directory {}", entry.dir);
  std::vector<std::string> found;
  LS_TRY(Scan(env, entry, "", found), "failed to scan directory {}", entry.dir);
  if (found.empty() && !entry.watch) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("no SQLite databases found in directory {} with pattern {}", entry.dir,
                             entry.pattern));
  }
  log.Info("found databases in directory", {{"dir", entry.dir},
                                            {"count", static_cast<std::int64_t>(found.size())},
                                            {"watch", entry.watch}});
  std::vector<DatabaseConfig> databases;
  databases.reserve(found.size());
  for (const std::string& relative : found) databases.push_back(ForFile(entry, relative));
  return databases;
}

}  // namespace

Result<std::vector<DatabaseConfig>> ExpandDirectories(Env& env, const Config& config,
                                                      const Logger& log) {
  std::vector<DatabaseConfig> out;
  for (const DatabaseConfig& entry : config.databases) {
    if (entry.dir.empty()) {
      out.push_back(entry);
      continue;
    }
    auto databases = LS_TRY(ExpandEntry(env, entry, log));
    for (DatabaseConfig& database : databases) out.push_back(std::move(database));
  }
  std::map<std::string, std::string> by_meta;
  for (const DatabaseConfig& database : out) {
    const auto inserted = by_meta.emplace(CleanPath(MetaPath(database)), database.path);
    if (inserted.second) continue;
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("meta-path collision: databases {} and {} would share meta-path {}, "
                             "causing replication state corruption",
                             inserted.first->second, database.path, inserted.first->first));
  }
  return out;
}

Result<DatabaseConfig> FindDatabase(const Config& config, std::string_view path) {
  const std::string wanted = LS_TRY(ExpandDatabasePath(path));
  for (const DatabaseConfig& entry : config.databases) {
    if (entry.path == wanted) return entry;
  }
  for (const DatabaseConfig& entry : config.databases) {
    if (entry.dir.empty() || !wanted.starts_with(entry.dir + "/")) continue;
    // The file itself may be gone: that is when a restore is wanted.
    const std::string relative = wanted.substr(entry.dir.size() + 1);
    const std::size_t slash = relative.rfind('/');
    if (slash != std::string::npos && !entry.recursive) continue;
    const std::string name = slash == std::string::npos ? relative : relative.substr(slash + 1);
    if (LS_TRY(GlobMatch(entry.pattern, name))) return ForFile(entry, relative);
  }
  return Error(ErrorCode::kNotFound, fmt::format("database not found in config: {}", wanted));
}

}  // namespace litestream::config
