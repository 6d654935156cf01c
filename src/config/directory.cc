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

// Reads a directory for an entry.
class Scanner {
 public:
  Scanner(Env& env, const DatabaseConfig& entry, const std::set<std::string>& replicas)
      : env_(env), entry_(entry), replicas_(replicas) {}

  // Databases below the directory, as paths relative to it, in lexical order. Linked directories
  // are not followed, linked files are; our own state directories and replicas are skipped.
  Result<std::vector<std::string>> Run() {
    LS_TRY(Scan(""));
    return std::move(found_);
  }

 private:
  Result<void> Scan(const std::string& relative_dir) {
    const std::string dir = relative_dir.empty() ? entry_.dir : entry_.dir + "/" + relative_dir;
    auto listed = LS_TRY(env_.List(dir));
    std::sort(listed.begin(), listed.end(),
              [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
    for (const DirectoryEntry& item : listed) {
      const std::string relative =
          relative_dir.empty() ? item.name : relative_dir + "/" + item.name;
      if (item.type == FileType::kDirectory) {
        const bool ours =
            item.name.ends_with(kMetaSuffix) || replicas_.contains(dir + "/" + item.name);
        if (entry_.recursive && !ours) LS_TRY(Scan(relative));
        continue;
      }
      const bool matches = LS_TRY(GlobMatch(entry_.pattern, item.name));
      if (matches && IsDatabase(env_, entry_.dir + "/" + relative)) found_.push_back(relative);
    }
    return {};
  }

  Env& env_;
  const DatabaseConfig& entry_;
  const std::set<std::string>& replicas_;
  std::vector<std::string> found_;
};

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
                                                const std::set<std::string>& replicas,
                                                const Logger& log) {
  LS_TRY(CheckGlob(entry.pattern), "failed to scan directory {}", entry.dir);
  const std::vector<std::string> found =
      LS_TRY(Scanner(env, entry, replicas).Run(), "failed to scan directory {}", entry.dir);
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

// Whether the entry is for the database at `path`, if there is one.
Result<bool> Covers(const DatabaseConfig& entry, std::string_view path) {
  if (entry.dir.empty()) return entry.path == path;
  if (!path.starts_with(entry.dir + "/")) return false;
  std::string_view rest = path.substr(entry.dir.size() + 1);
  for (std::size_t slash = rest.find('/'); slash != std::string_view::npos;
       slash = rest.find('/')) {
    if (!entry.recursive || rest.substr(0, slash).ends_with(kMetaSuffix)) return false;
    rest.remove_prefix(slash + 1);
  }
  return GlobMatch(entry.pattern, rest);
}

Error CoveredTwice(const Config& config, ErrorCode code, std::string_view path,
                   const DatabaseConfig& first, const DatabaseConfig& second) {
  const auto name = [&config](const DatabaseConfig& entry) {
    const std::string what = entry.dir.empty()
                                 ? fmt::format("path: {}", entry.path)
                                 : fmt::format("dir: {}, pattern: {}", entry.dir, entry.pattern);
    return entry.line == 0 ? what : fmt::format("{}:{}: {}", config.file, entry.line, what);
  };
  return Error(code, fmt::format("two entries cover the database {} ({}; {}): give it one entry, "
                                 "with as many replicas as needed",
                                 path, name(first), name(second)));
}

// The set of an entry and the files that are in it: which entry has a file first.
class CoveredOnce {
 public:
  explicit CoveredOnce(const Config& config) : config_(config) {}
  Result<void> Add(const DatabaseConfig& entry, const std::string& path) {
    const auto inserted = first_.emplace(path, &entry);
    if (inserted.second) return {};
    return CoveredTwice(config_, ErrorCode::kInvalidArgument, path, *inserted.first->second, entry);
  }
  // A path that a watched directory would find as soon as something is there.
  Result<void> AddPath(const DatabaseConfig& entry) {
    for (const DatabaseConfig& other : config_.databases) {
      if (!other.watch || !LS_TRY(Covers(other, entry.path))) continue;
      return CoveredTwice(config_, ErrorCode::kInvalidArgument, entry.path, entry, other);
    }
    return Add(entry, entry.path);
  }

 private:
  const Config& config_;
  std::map<std::string, const DatabaseConfig*> first_;
};

}  // namespace

Result<std::vector<DatabaseConfig>> ExpandDirectories(Env& env, const Config& config,
                                                      const Logger& log) {
  std::vector<DatabaseConfig> out;
  CoveredOnce covered(config);
  const std::set<std::string> replicas = ReplicaDirectories(config);
  for (const DatabaseConfig& entry : config.databases) {
    if (entry.dir.empty()) {
      LS_TRY(covered.AddPath(entry));
      out.push_back(entry);
      continue;
    }
    auto databases = LS_TRY(ExpandEntry(env, entry, replicas, log));
    for (DatabaseConfig& database : databases) {
      LS_TRY(covered.Add(entry, database.path));
      out.push_back(std::move(database));
    }
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
    // The file itself may be gone: that is when a restore is wanted.
    if (!entry.dir.empty() && LS_TRY(Covers(entry, wanted))) return DatabaseBelow(entry, wanted);
  }
  return Error(ErrorCode::kNotFound, fmt::format("database not found in config: {}", wanted));
}

DatabaseConfig DatabaseBelow(const DatabaseConfig& entry, std::string_view path) {
  return ForFile(entry, std::string(path.substr(entry.dir.size() + 1)));
}

bool IsBelow(const DatabaseConfig& entry, std::string_view path) {
  const auto covers = Covers(entry, path);
  return !entry.dir.empty() && covers.ok() && covers.value();
}

bool MatchesPattern(const DatabaseConfig& entry, std::string_view name) {
  const auto matches = GlobMatch(entry.pattern, name);
  return matches.ok() && matches.value();
}

std::set<std::string> ReplicaDirectories(const Config& config) {
  std::set<std::string> directories;
  for (const DatabaseConfig& entry : config.databases) {
    for (const ReplicaConfig& replica : entry.replicas) {
      if (replica.type == "file") directories.insert(replica.path);
    }
  }
  return directories;
}

Result<void> CheckFirstToCover(const Config& config, const DatabaseConfig& entry,
                               std::string_view path) {
  for (const DatabaseConfig& other : config.databases) {
    if (&other == &entry) break;
    if (!LS_TRY(Covers(other, path))) continue;
    return CoveredTwice(config, ErrorCode::kAlreadyExists, path, other, entry);
  }
  return {};
}

}  // namespace litestream::config
