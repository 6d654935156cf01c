#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/usage.h"
#include "config/paths.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The reset command clears local Litestream state for a database.\n\n"
    "This is useful for recovering from corrupted or missing LTX files. The reset\n"
    "removes local LTX files and the table of page checksums from the metadata\n"
    "directory, forcing Litestream to read the whole database on the next sync. The\n"
    "database file itself and its replicas are not modified.\n\n"
    "Usage:\n\n"
    "\tlitestream reset [arguments] <path>\n\n"
    "Arguments:\n\n"
    "\t-config PATH\n"
    "\t    Specifies the configuration file, which may move the metadata directory\n"
    "\t    of the database. Defaults to $LITESTREAM_CONFIG, else /etc/litestream.yml;\n"
    "\t    without a file, the directory beside the database is meant.\n\n"  //
    LITESTREAM_USAGE_NO_EXPAND
    "\t-dry-run\n"
    "\t    Print the local LTX files that would be removed without deleting them.\n\n"
    "Examples:\n\n"
    "\t# Reset local state for a specific database\n"
    "\tlitestream reset /path/to/database.db\n\n"
    "\t# Preview local files that would be removed\n"
    "\tlitestream reset -dry-run /path/to/database.db\n\n"
    "\t# Reset using a specific configuration file\n"
    "\tlitestream reset -config /etc/litestream.yml /path/to/database.db\n\n";

// What is derived from the LTX files goes with them, and what is known of the replicas.
bool IsDerived(std::string_view name) {
  return name == "pages.sum" || name == "position" || name.starts_with("catalogue-");
}

Result<std::string> FindMetaPath(Env& env, const ConfigFlags& flags, const std::string& path) {
  auto config = flags.Load(env);
  // Without -config the default file counts, if there is one.
  if (!config.ok() && config.error().Is(ErrorCode::kNotFound) && !flags.given()) {
    return config::DefaultMetaPath(path);
  }
  if (!config.ok()) return std::move(config).error().Wrap("cannot read config");
  const auto database = config::FindDatabase(config.value(), path);
  return database.ok() ? config::MetaPath(database.value()) : config::DefaultMetaPath(path);
}

// All files below a directory, in lexical order.
Result<void> ListFiles(Env& env, const std::string& directory, std::vector<std::string>& out) {
  auto entries = LS_TRY(env.List(directory));
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  for (const DirectoryEntry& entry : entries) {
    const std::string path = directory + "/" + entry.name;
    if (entry.type == FileType::kDirectory) {
      LS_TRY(ListFiles(env, path, out));
    } else {
      out.push_back(path);
    }
  }
  return {};
}

// Keeps replication away. Nobody who replicates has been here if there is no lock file.
Result<std::unique_ptr<FileLock>> LockState(Env& env, const std::string& path,
                                            const std::string& meta) {
  const std::string file = meta + "/lock";
  if (!LS_TRY(Exists(env, file))) return std::unique_ptr<FileLock>();
  auto lock = env.Lock(file, {});
  if (lock.ok() || !lock.error().Is(ErrorCode::kAlreadyExists)) return lock;
  return Error(
      ErrorCode::kAlreadyExists,
      fmt::format("a running litestream replicates {} (it holds {}); stop it first", path, file));
}

Result<int> DryRun(Env& env, const std::string& path, const std::string& meta) {
  const std::string ltx = meta + "/ltx";
  std::vector<std::string> files;
  if (LS_TRY(Exists(env, ltx), "dry run failed")) {
    LS_TRY(ListFiles(env, ltx, files), "dry run failed");
  }
  fmt::print("Dry run: local Litestream state would be reset for: {}\n", path);
  fmt::print("Would remove: {}\n", ltx);
  if (files.empty()) {
    fmt::print("No local LTX files would be removed.\n");
    return 0;
  }
  fmt::print("Files that would be removed:\n");
  for (const std::string& file : files) fmt::print("  {}\n", file);
  fmt::print("No files were removed.\n");
  return 0;
}

}  // namespace

Result<int> RunReset(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  bool dry_run = false;
  flags.Bool("dry-run", &dry_run);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  if (flags.positional().empty()) {
    return UsageError("database path required", "litestream reset /path/to/db");
  }
  if (flags.positional().size() > 1) {
    return Error(ErrorCode::kInvalidArgument, "too many arguments");
  }
  if (flags.positional().front().empty()) {
    return UsageError("database path required", "litestream reset /path/to/db");
  }
  const std::string path = LS_TRY(config::ExpandDatabasePath(flags.positional().front()));
  const std::string meta = LS_TRY(FindMetaPath(call.env, config_flags, path));
  if (!LS_TRY(Exists(call.env, path), "cannot access database")) {
    return Error(ErrorCode::kNotFound, fmt::format("database does not exist: {}", path));
  }
  if (!LS_TRY(Exists(call.env, meta), "reset failed")) {
    fmt::print("No local state to reset for {}\nMeta directory does not exist: {}\n", path, meta);
    return 0;
  }
  if (dry_run) return DryRun(call.env, path, meta);

  const std::unique_ptr<FileLock> lock = LS_TRY(LockState(call.env, path, meta), "reset failed");
  const std::string ltx = meta + "/ltx";
  fmt::print("Resetting local Litestream state for: {}\n", path);
  fmt::print("Removing: {}\n", ltx);
  std::fflush(stdout);  // The log does not go through stdio.
  const Logger log =
      MakeLogger({}, "", false).With({{"db", std::filesystem::path(path).filename().string()}});
  log.Info("resetting local litestream state", {{"meta_path", meta}, {"ltx_dir", ltx}});
  for (const DirectoryEntry& entry : LS_TRY(call.env.List(meta), "reset failed")) {
    if (!IsDerived(entry.name)) continue;
    auto removed = call.env.Remove(fmt::format("{}/{}", meta, entry.name));
    if (!removed.ok() && !removed.error().Is(ErrorCode::kNotFound)) {
      return std::move(removed).error().Wrap("reset failed");
    }
  }
  LS_TRY(call.env.RemoveTree(ltx), "reset failed");
  log.Info("local state reset complete, next sync will create fresh snapshot");
  fmt::print("Reset complete. Next replication sync will create a fresh snapshot.\n");
  return 0;
}

}  // namespace litestream::cli
