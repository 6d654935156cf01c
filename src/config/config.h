#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "config/env_expand.h"
#include "litestream/result.h"

namespace litestream::config {

using std::chrono::nanoseconds;

// Replica keys that may also stand at the top of the file, as defaults for all replicas. Unset and
// "" are the same. docs/operating/configuration.md has their meaning.
struct ReplicaSettings {
  std::optional<nanoseconds> sync_interval;
  std::optional<nanoseconds> validation_interval;
  std::optional<std::int64_t> max_sync_ltx_files;
  std::optional<bool> auto_recover;
  std::string lease;  // auto required off

  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;
  std::string region;
  std::string bucket;
  std::string endpoint;
  std::optional<bool> force_path_style;
  std::optional<bool> sign_payload;
  std::optional<bool> require_content_md5;
  std::optional<bool> skip_verify;
  std::string storage_class;
  std::optional<std::uint64_t> part_size;
  std::optional<std::int64_t> concurrency;
  std::string sse_customer_algorithm;
  std::string sse_customer_key;
  std::string sse_customer_key_path;
  std::string sse_kms_key_id;
  std::optional<bool> sse_s3;
  std::optional<bool> requester_pays;
  std::string ca_file;
  std::optional<nanoseconds> stall_timeout;

  std::string account_name;
  std::string account_key;
  std::string sas_token;

  std::string host;
  std::string user;
  std::string password;
  std::string key_path;
  std::optional<bool> concurrent_writes;
  std::string host_key;

  std::string webdav_url;
  std::string webdav_username;
  std::string webdav_password;

  std::string jwt;
  std::string seed;
  std::string creds;
  std::string nkey;
  std::string username;
  std::string token;
  std::string domain;
  std::optional<bool> tls;
  std::vector<std::string> root_cas;
  std::string client_cert;
  std::string client_key;
  std::optional<std::int64_t> max_reconnects;
  std::optional<nanoseconds> reconnect_wait;
  std::optional<nanoseconds> timeout;

  std::vector<std::string> age_identities;
  std::vector<std::string> age_recipients;
};

// Where the copies of one database go. After loading, `url` has been taken apart into the other
// fields and `type` is set.
struct ReplicaConfig : ReplicaSettings {
  std::string type;  // file s3 gs abs sftp webdav nats oss
  std::string name;  // For people and the -replica flag; the type if none was given.
  std::string path;
  // file: the path as Litestream spells a URL on disk (percent-encoded), if that differs. An
  // existing replica is found under either.
  std::string encoded_path;
  std::string url;
  int line = 0;  // In the file; 0: not from a file.
};

struct DatabaseConfig {
  std::string path;  // Absolute; empty for a directory entry.
  std::string dir;   // Absolute: every database below it that matches `pattern`.
  std::string pattern;
  bool recursive = false;
  bool watch = false;
  std::string meta_path;  // Absolute; empty: beside the database.
  std::string meta_dir;
  nanoseconds monitor_interval = std::chrono::seconds(1);
  nanoseconds checkpoint_interval = std::chrono::minutes(1);
  nanoseconds busy_timeout = std::chrono::seconds(1);
  std::int64_t min_checkpoint_pages = 1'000;
  std::int64_t truncate_pages = 121'359;         // Negative: never.
  std::int64_t max_sync_wal_bytes = 64LL << 20;  // 0: no limit.
  std::uint64_t local_retention_bytes = 0;       // 0: of its size, and 1 GiB at least.
  bool restore_if_db_not_exists = false;
  std::optional<nanoseconds> snapshot_interval;
  std::optional<nanoseconds> snapshot_retention;
  std::vector<ReplicaConfig> replicas;  // At least one after loading.
  int line = 0;
};

struct SocketConfig {
  bool enabled = false;
  std::string path = "/var/run/litestream.sock";
  std::uint32_t permissions = 0600;
};

struct LoggingConfig {
  std::string level;  // As written.
  std::string type;   // "", text, json, pretty
  bool to_stderr = false;
  bool source = false;
};

// How many snapshots are kept beyond snapshot_retention: the newest of each of the last n hours,
// days, weeks and months that have one.
struct KeepConfig {
  std::int64_t hourly = 0;
  std::int64_t daily = 0;
  std::int64_t weekly = 0;
  std::int64_t monthly = 0;
};
inline constexpr std::int64_t kMaxKeptSnapshots = 100'000;

// What the process may do to all its replicas together. Unset: no limit.
struct LimitsConfig {
  std::optional<std::int64_t> uploads;            // At the same time.
  std::optional<std::uint64_t> upload_bandwidth;  // Bytes a second.
  std::optional<std::uint64_t> download_bandwidth;
  std::optional<std::int64_t> requests_per_second;
};
inline constexpr std::int64_t kMaxUploads = 64;
inline constexpr std::int64_t kMaxOpenDatabases = 1'000'000;
inline constexpr std::uint64_t kMinBandwidth = 1'000;
inline constexpr std::int64_t kMaxRequestsPerSecond = 1'000'000;

// A configuration file with every default filled in.
struct Config {
  std::string file;  // Its path; empty: from the command line.
  std::string addr;
  std::string mcp_addr;
  std::string exec;
  SocketConfig socket;
  std::vector<nanoseconds> levels = {std::chrono::seconds(30), std::chrono::minutes(5),
                                     std::chrono::hours(1)};  // Levels 1 to n.
  nanoseconds snapshot_interval = std::chrono::hours(24);
  nanoseconds snapshot_retention = std::chrono::hours(24);
  nanoseconds validation_interval{0};  // 0: off.
  nanoseconds l0_retention = std::chrono::minutes(5);
  nanoseconds l0_retention_check_interval = std::chrono::seconds(15);
  bool verify_compaction = false;
  bool retention_enabled = true;
  KeepConfig keep;
  LimitsConfig limits;
  std::int64_t max_open_databases = 100;        // 0: no limit.
  std::uint64_t park_max_bytes = 256ULL << 20;  // A larger database is never parked.
  std::string heartbeat_url;
  nanoseconds heartbeat_interval = std::chrono::minutes(5);
  nanoseconds shutdown_sync_timeout = std::chrono::seconds(30);
  nanoseconds shutdown_sync_interval = std::chrono::milliseconds(500);
  LoggingConfig logging;
  ReplicaSettings replica_defaults;
  std::vector<DatabaseConfig> databases;  // In the order of the file.

  // What a user should know about the file: keys of older versions, for instance.
  std::vector<std::string> warnings;
  // The line of every key that the file gives, by its dotted path ("snapshot.interval",
  // "dbs[0].replica.url").
  std::map<std::string, int, std::less<>> lines;
};

inline constexpr std::string_view kDefaultConfigPath = "/etc/litestream.yml";
inline constexpr std::chrono::seconds kDefaultSyncInterval{1};

struct LoadOptions {
  bool expand_environment = true;
  EnvironmentLookup lookup = LookupEnvironment;
};

// Reads, checks and completes a configuration file. `path` as the user gave it; empty: the
// environment's LITESTREAM_CONFIG, else kDefaultConfigPath.
//
// Errors: kNotFound ("config file not found: <path>"), kInvalidArgument; the message says file and
// line, and names all type errors and unknown keys at once.
Result<Config> LoadConfig(Env& env, std::string_view path, const LoadOptions& options);
// The same for text; `name` stands in messages.
Result<Config> ParseConfig(Env& env, std::string_view text, std::string_view name,
                           const LoadOptions& options);

// What `replicate DB URL...` runs with: a single database and the defaults.
Result<Config> ConfigFromArguments(Env& env, std::string_view database_path,
                                   const std::vector<std::string>& urls);
// A replica that is only a URL.
Result<ReplicaConfig> ReplicaFromUrl(Env& env, std::string_view url);

// The error for the first setting that asks for something this build does not do.
Result<void> CheckAvailable(const Config& config);

// What stands against replicating these (expanded) databases together: two that would write into
// the same replica, one file under two names, a directory replica that is no place of its own,
// values that cannot work.
Result<void> CheckForReplication(Env& env, const std::vector<DatabaseConfig>& databases);

// Names the place of a replica whose URL has been taken apart; two replicas with one name would
// write the same objects.
std::string PlaceOf(const ReplicaConfig& replica);

// The entries with every directory entry replaced by one entry for each database that is there
// now. Directories are read at this moment.
//
// Errors: kInvalidArgument (a malformed pattern; a database that two entries cover), kNotFound
// (nothing in a directory that is not watched); of reading a directory.
Result<std::vector<DatabaseConfig>> ExpandDirectories(Env& env, const Config& config,
                                                      const Logger& log);

// --- For the databases that a directory entry with `watch` finds later. ---
// What the entry makes of the file at `path`, which is below its directory.
DatabaseConfig DatabaseBelow(const DatabaseConfig& entry, std::string_view path);
// Whether a path is below the entry's directory, and the entry is for such files.
bool IsBelow(const DatabaseConfig& entry, std::string_view path);
// Whether an entry's pattern matches a file's name (the last part of its path).
bool MatchesPattern(const DatabaseConfig& entry, std::string_view name);
// The directories of file replicas: no database is looked for in them.
std::set<std::string> ReplicaDirectories(const Config& config);
// kAlreadyExists if an entry before `entry`, which is one of `config`, covers that path, too. The
// message names both.
Result<void> CheckFirstToCover(const Config& config, const DatabaseConfig& entry,
                               std::string_view path);

// The database with that path (expanded as in the file), also below directory entries. kNotFound
// ("database not found in config: <path>").
Result<DatabaseConfig> FindDatabase(const Config& config, std::string_view path);

// <meta-path>, or the default beside the database.
std::string MetaPath(const DatabaseConfig& database);

LogLevel ParseLogLevel(std::string_view text);

}  // namespace litestream::config
