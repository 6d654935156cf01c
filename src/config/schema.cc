#include "config/schema.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/core.h>

namespace litestream::config {
namespace {

// Calls visit(key, pointer to member) for every setting that a replica can inherit.
template <typename Visit>
void VisitSettings(Visit&& visit) {
  using S = ReplicaSettings;
  visit("sync-interval", &S::sync_interval);
  visit("validation-interval", &S::validation_interval);
  visit("max-sync-ltx-files", &S::max_sync_ltx_files);
  visit("auto-recover", &S::auto_recover);
  visit("lease", &S::lease);
  visit("access-key-id", &S::access_key_id);
  visit("secret-access-key", &S::secret_access_key);
  visit("session-token", &S::session_token);
  visit("region", &S::region);
  visit("bucket", &S::bucket);
  visit("endpoint", &S::endpoint);
  visit("force-path-style", &S::force_path_style);
  visit("sign-payload", &S::sign_payload);
  visit("require-content-md5", &S::require_content_md5);
  visit("skip-verify", &S::skip_verify);
  visit("storage-class", &S::storage_class);
  visit("part-size", &S::part_size);
  visit("concurrency", &S::concurrency);
  visit("sse-customer-algorithm", &S::sse_customer_algorithm);
  visit("sse-customer-key", &S::sse_customer_key);
  visit("sse-customer-key-path", &S::sse_customer_key_path);
  visit("sse-kms-key-id", &S::sse_kms_key_id);
  visit("sse-s3", &S::sse_s3);
  visit("requester-pays", &S::requester_pays);
  visit("ca-file", &S::ca_file);
  visit("stall-timeout", &S::stall_timeout);
  visit("account-name", &S::account_name);
  visit("account-key", &S::account_key);
  visit("sas-token", &S::sas_token);
  visit("host", &S::host);
  visit("user", &S::user);
  visit("password", &S::password);
  visit("key-path", &S::key_path);
  visit("concurrent-writes", &S::concurrent_writes);
  visit("host-key", &S::host_key);
  visit("webdav-url", &S::webdav_url);
  visit("webdav-username", &S::webdav_username);
  visit("webdav-password", &S::webdav_password);
  visit("jwt", &S::jwt);
  visit("seed", &S::seed);
  visit("creds", &S::creds);
  visit("nkey", &S::nkey);
  visit("username", &S::username);
  visit("token", &S::token);
  visit("domain", &S::domain);
  visit("tls", &S::tls);
  visit("root-cas", &S::root_cas);
  visit("client-cert", &S::client_cert);
  visit("client-key", &S::client_key);
  visit("max-reconnects", &S::max_reconnects);
  visit("reconnect-wait", &S::reconnect_wait);
  visit("timeout", &S::timeout);
}

void ReadField(MapReader& map, std::string_view key, std::optional<std::uint64_t>& out) {
  map.ReadSize(key, out);
}
template <typename T>
void ReadField(MapReader& map, std::string_view key, T& out) {
  map.Read(key, out);
}

template <typename T>
bool IsUnset(const std::optional<T>& value) {
  return !value.has_value();
}
bool IsUnset(const std::string& value) {
  return value.empty();
}
bool IsUnset(const std::vector<std::string>& value) {
  return value.empty();
}

// Dotted path of an element: dbs[0].
std::string ElementPath(std::string_view list, std::size_t index) {
  return fmt::format("{}[{}]", list, index);
}

// `item` of `list`. The parser does not say where an empty element stands, only the list.
bool CheckMapElement(Decoder& decoder, const YamlNode& list, const YamlNode& item,
                     std::string_view path) {
  if (item.kind == YamlNode::Kind::kMap) return true;
  const bool empty = item.kind == YamlNode::Kind::kNull;
  decoder.Problem(empty ? list.line : item.line, path,
                  empty ? "an empty element of the list" : "not a map of keys and values");
  return false;
}

// Reads the whole file.
class Reader {
 public:
  Reader(Decoder& decoder, RawConfig& out) : decoder_(decoder), out_(out) {}

  void ReadTop(const YamlNode& root);

 private:
  void Warn(int line, std::string_view path, std::string_view what) {
    out_.config.warnings.push_back(fmt::format("{}{}: {}", decoder_.Position(line), path, what));
  }
  void ReadSections(MapReader& top);
  void ReadKeep(const YamlNode& node, const std::string& path);
  void ReadLimits(const YamlNode& node, const std::string& path);
  void ReadLevels(MapReader& top);
  void ReadSettings(MapReader& map, ReplicaSettings& out);
  void ReadDatabase(const YamlNode& node, const std::string& path);
  void ReadDatabaseLegacy(MapReader& map);
  void ReadReplicas(MapReader& map, DatabaseConfig& database);
  ReplicaConfig ReadReplica(const YamlNode& node, const std::string& path);
  void ReadReplicaLegacy(MapReader& map);

  Decoder& decoder_;
  RawConfig& out_;
};

void Reader::ReadTop(const YamlNode& root) {
  if (root.kind == YamlNode::Kind::kNull) return;
  if (root.kind != YamlNode::Kind::kMap) {
    decoder_.Problem(root.line, "", "the file must be a map of keys and values (dbs: ...)");
    return;
  }
  MapReader top(decoder_, root, "");
  Config& config = out_.config;
  // A place for anchors: x and x-<anything>.
  for (const YamlEntry& entry : root.entries) {
    if (entry.key == "x" || entry.key.substr(0, 2) == "x-") top.Allow(entry.key);
  }
  top.Read("addr", config.addr);
  top.Read("mcp-addr", config.mcp_addr);
  top.Read("exec", config.exec);
  top.Read("l0-retention", config.l0_retention);
  top.Read("l0-retention-check-interval", config.l0_retention_check_interval);
  top.Read("verify-compaction", config.verify_compaction);
  top.Read("heartbeat-url", config.heartbeat_url);
  top.Read("heartbeat-interval", config.heartbeat_interval);
  top.Read("shutdown-sync-timeout", config.shutdown_sync_timeout);
  top.Read("shutdown-sync-interval", config.shutdown_sync_interval);
  top.Read("max-open-databases", config.max_open_databases);
  if (config.max_open_databases < 0 || config.max_open_databases > kMaxOpenDatabases) {
    decoder_.Problem(top.LineOf("max-open-databases"), "max-open-databases",
                     fmt::format("must be a number from 1 to {}, or 0 for no limit (got {})",
                                 kMaxOpenDatabases, config.max_open_databases));
  }
  std::optional<std::uint64_t> park_max_bytes;
  top.ReadSize("park-max-size", park_max_bytes);
  if (park_max_bytes) config.park_max_bytes = *park_max_bytes;
  ReadLevels(top);
  ReadSections(top);
  ReadSettings(top, config.replica_defaults);
  if (const YamlNode* const list = top.List("dbs")) {
    for (std::size_t i = 0; i < list->items.size(); ++i) {
      const std::string path = ElementPath("dbs", i);
      if (CheckMapElement(decoder_, *list, list->items[i], path))
        ReadDatabase(list->items[i], path);
    }
  }
  top.Finish();
}

void Reader::ReadSections(MapReader& top) {
  Config& config = out_.config;
  if (const YamlNode* const node = top.Map("socket")) {
    MapReader map(decoder_, *node, "socket");
    map.Read("enabled", config.socket.enabled);
    map.Read("path", config.socket.path);
    std::int64_t permissions = config.socket.permissions;
    map.Read("permissions", permissions);
    if (permissions < 0 || permissions > 07777) {
      decoder_.Problem(map.LineOf("permissions"), "socket.permissions",
                       "not permission bits (write them in octal, like 0600)");
    } else {
      config.socket.permissions = static_cast<std::uint32_t>(permissions);
    }
    map.Finish();
  }
  if (const YamlNode* const node = top.Map("snapshot")) {
    MapReader map(decoder_, *node, "snapshot");
    map.Read("interval", config.snapshot_interval);
    map.Read("retention", config.snapshot_retention);
    map.Finish();
  }
  if (const YamlNode* const node = top.Map("validation")) {
    MapReader map(decoder_, *node, "validation");
    map.Read("interval", config.validation_interval);
    map.Finish();
  }
  if (const YamlNode* const node = top.Map("retention")) {
    MapReader map(decoder_, *node, "retention");
    map.Read("enabled", config.retention_enabled);
    if (const YamlNode* const keep = map.Map("keep")) ReadKeep(*keep, map.PathOf("keep"));
    map.Finish();
  }
  if (const YamlNode* const node = top.Map("limits")) ReadLimits(*node, "limits");
  if (const YamlNode* const node = top.Map("logging")) {
    MapReader map(decoder_, *node, "logging");
    map.Read("level", config.logging.level);
    map.Read("type", config.logging.type);
    map.Read("stderr", config.logging.to_stderr);
    map.Read("source", config.logging.source);
    map.Finish();
  }
}

void Reader::ReadKeep(const YamlNode& node, const std::string& path) {
  MapReader map(decoder_, node, path);
  KeepConfig& keep = out_.config.keep;
  const std::pair<std::string_view, std::int64_t*> tiers[] = {{"hourly", &keep.hourly},
                                                              {"daily", &keep.daily},
                                                              {"weekly", &keep.weekly},
                                                              {"monthly", &keep.monthly}};
  for (const auto& [key, count] : tiers) {
    map.Read(key, *count);
    if (*count >= 0 && *count <= kMaxKeptSnapshots) continue;
    decoder_.Problem(map.LineOf(key), map.PathOf(key),
                     fmt::format("must be a number of snapshots from 0 to {} (got {})",
                                 kMaxKeptSnapshots, *count));
  }
  map.Finish();
}

void Reader::ReadLimits(const YamlNode& node, const std::string& path) {
  MapReader map(decoder_, node, path);
  LimitsConfig& limits = out_.config.limits;
  const std::tuple<std::string_view, std::optional<std::int64_t>*, std::int64_t> counts[] = {
      {"uploads", &limits.uploads, kMaxUploads},
      {"requests-per-second", &limits.requests_per_second, kMaxRequestsPerSecond}};
  for (const auto& [key, count, most] : counts) {
    map.Read(key, *count);
    if (!*count || (**count >= 1 && **count <= most)) continue;
    decoder_.Problem(map.LineOf(key), map.PathOf(key),
                     fmt::format("must be a number from 1 to {} (got {})", most, **count));
  }
  const std::pair<std::string_view, std::optional<std::uint64_t>*> bandwidths[] = {
      {"upload-bandwidth", &limits.upload_bandwidth},
      {"download-bandwidth", &limits.download_bandwidth}};
  for (const auto& [key, bandwidth] : bandwidths) {
    map.ReadSize(key, *bandwidth);
    if (!*bandwidth || **bandwidth >= kMinBandwidth) continue;
    decoder_.Problem(map.LineOf(key), map.PathOf(key),
                     fmt::format("must be at least {} bytes a second (like 500KB); without the key "
                                 "there is no limit (got {})",
                                 kMinBandwidth, **bandwidth));
  }
  map.Finish();
}

void Reader::ReadLevels(MapReader& top) {
  if (!top.Has("levels")) return;
  const YamlNode* const list = top.List("levels");
  out_.config.levels.clear();  // null means none.
  if (list == nullptr) return;
  for (std::size_t i = 0; i < list->items.size(); ++i) {
    const std::string path = ElementPath("levels", i);
    const YamlNode& item = list->items[i];
    if (!CheckMapElement(decoder_, *list, item, path)) continue;
    decoder_.NoteLine(path, item.line);
    MapReader map(decoder_, item, path);
    nanoseconds interval{0};
    map.Read("interval", interval);
    map.Finish();
    out_.config.levels.push_back(interval);
  }
}

void Reader::ReadSettings(MapReader& map, ReplicaSettings& out) {
  VisitSettings([&](std::string_view key, auto member) { ReadField(map, key, out.*member); });
  const std::string& lease = out.lease;
  if (!lease.empty() && lease != "auto" && lease != "required" && lease != "off") {
    decoder_.Problem(map.LineOf("lease"), map.PathOf("lease"),
                     fmt::format("must be auto, required or off (got {})", lease));
  }
  if (const YamlNode* const node = map.Map("age")) {
    MapReader age(decoder_, *node, map.PathOf("age"));
    age.Read("identities", out.age_identities);
    age.Read("recipients", out.age_recipients);
    age.Finish();
  }
}

void Reader::ReadDatabase(const YamlNode& node, const std::string& path) {
  MapReader map(decoder_, node, path);
  DatabaseConfig database;
  database.line = node.line;
  map.Read("path", database.path);
  map.Read("dir", database.dir);
  map.Read("pattern", database.pattern);
  map.Read("recursive", database.recursive);
  map.Read("watch", database.watch);
  map.Read("meta-path", database.meta_path);
  map.Read("meta-dir", database.meta_dir);
  map.Read("monitor-interval", database.monitor_interval);
  map.Read("checkpoint-interval", database.checkpoint_interval);
  map.Read("busy-timeout", database.busy_timeout);
  map.Read("min-checkpoint-page-count", database.min_checkpoint_pages);
  std::int64_t truncate_pages = 0;
  map.Read("truncate-page-n", truncate_pages);
  if (truncate_pages != 0) database.truncate_pages = truncate_pages;
  map.Read("max-sync-wal-bytes", database.max_sync_wal_bytes);
  std::optional<std::uint64_t> local_retention_bytes;
  map.ReadSize("local-retention-bytes", local_retention_bytes);
  database.local_retention_bytes = local_retention_bytes.value_or(0);
  map.Read("restore-if-db-not-exists", database.restore_if_db_not_exists);
  if (const YamlNode* const snapshot = map.Map("snapshot")) {
    MapReader reader(decoder_, *snapshot, map.PathOf("snapshot"));
    reader.Read("interval", database.snapshot_interval);
    reader.Read("retention", database.snapshot_retention);
    reader.Finish();
  }
  ReadReplicas(map, database);
  ReadDatabaseLegacy(map);
  map.Finish();
  out_.config.databases.push_back(std::move(database));
}

void Reader::ReadDatabaseLegacy(MapReader& map) {
  constexpr std::pair<std::string_view, std::string_view> kLegacy[] = {
      {"max-checkpoint-page-count",
       "has no effect any more: checkpoints never block writers; truncate-page-n bounds the WAL"},
      {"upstream", "was a key of v0.4 betas and has no effect"},
      {"shadow-retention-count", "was a key of v0.4 betas and has no effect"},
      {"monitor-delay-interval", "was a key of v0.4 betas and has no effect; see monitor-interval"},
  };
  for (const auto& legacy : kLegacy) {
    map.Allow(legacy.first);
    if (map.Has(legacy.first)) {
      Warn(map.LineOf(legacy.first), map.PathOf(legacy.first), legacy.second);
    }
  }
}

void Reader::ReadReplicas(MapReader& map, DatabaseConfig& database) {
  const YamlNode* const single = map.Map("replica");
  const YamlNode* const list = map.List("replicas");
  if (single != nullptr) {
    database.replicas.push_back(ReadReplica(*single, map.PathOf("replica")));
  }
  if (list == nullptr) return;
  if (single != nullptr) {
    decoder_.Problem(map.LineOf("replicas"), map.PathOf("replicas"),
                     "cannot specify 'replica' and 'replicas' on a database");
  }
  for (std::size_t i = 0; i < list->items.size(); ++i) {
    const std::string path = ElementPath(map.PathOf("replicas"), i);
    if (!CheckMapElement(decoder_, *list, list->items[i], path)) continue;
    database.replicas.push_back(ReadReplica(list->items[i], path));
  }
}

ReplicaConfig Reader::ReadReplica(const YamlNode& node, const std::string& path) {
  MapReader map(decoder_, node, path);
  ReplicaConfig replica;
  replica.line = node.line;
  map.Read("type", replica.type);
  map.Read("name", replica.name);
  map.Read("path", replica.path);
  map.Read("url", replica.url);
  ReadReplicaLegacy(map);
  ReadSettings(map, replica);
  map.Finish();
  return replica;
}

void Reader::ReadReplicaLegacy(MapReader& map) {
  std::optional<nanoseconds> value;
  map.Read("retention", value);
  if (value) {
    out_.legacy_retention = std::max(*value, out_.legacy_retention.value_or(*value));
    Warn(map.LineOf("retention"), map.PathOf("retention"),
         "is a key of v0.3; taken as snapshot.retention for all databases. Set that instead");
  }
  value.reset();
  map.Read("snapshot-interval", value);
  if (value) {
    out_.legacy_snapshot_interval =
        std::min(*value, out_.legacy_snapshot_interval.value_or(*value));
    Warn(map.LineOf("snapshot-interval"), map.PathOf("snapshot-interval"),
         "is a key of v0.3; taken as snapshot.interval for all databases. Set that instead");
  }
  if (map.Has("validation-interval")) {
    Warn(map.LineOf("validation-interval"), map.PathOf("validation-interval"),
         "has no effect on a replica; set validation.interval instead");
  }
  value.reset();
  map.Read("retention-check-interval", value);
  if (value) {
    Warn(map.LineOf("retention-check-interval"), map.PathOf("retention-check-interval"),
         "is a key of v0.3 and has no effect: retention runs after each snapshot");
  }
}

}  // namespace

RawConfig DecodeConfig(Decoder& decoder, const YamlNode& root) {
  RawConfig out;
  Reader(decoder, out).ReadTop(root);
  return out;
}

void InheritSettings(ReplicaConfig& child, const ReplicaSettings& parent) {
  const bool has_url = !child.url.empty();
  VisitSettings([&](std::string_view key, auto member) {
    if (has_url && (key == "bucket" || key == "host")) return;
    if (IsUnset(child.*member)) child.*member = parent.*member;
  });
  if (child.age_identities.empty()) child.age_identities = parent.age_identities;
  if (child.age_recipients.empty()) child.age_recipients = parent.age_recipients;
}

}  // namespace litestream::config
