#include "config/config.h"

#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/memory_env.h"
#include "base/test_dir.h"

namespace litestream::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

Result<Config> Parse(std::string_view text,
                     const std::map<std::string, std::string, std::less<>>& variables = {}) {
  LoadOptions options;
  options.lookup = [&](std::string_view name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
  return ParseConfig(Env::Real(), text, "f.yml", options);
}

// A file with one database, and more lines before it.
std::string With(std::string_view more) {
  return std::string(more) + "dbs:\n  - path: /db\n    replica: {path: /r}\n";
}

TEST(Config, Defaults) {
  const auto got = Parse(With(""));
  ASSERT_TRUE(got.ok()) << got.error().message();
  const Config& config = got.value();
  EXPECT_EQ(config.levels, (std::vector<nanoseconds>{seconds(30), minutes(5), hours(1)}));
  EXPECT_EQ(config.snapshot_interval, hours(24));
  EXPECT_EQ(config.l0_retention, minutes(5));
  EXPECT_EQ(config.shutdown_sync_timeout, seconds(30));
  EXPECT_EQ(config.shutdown_sync_interval, milliseconds(500));
  EXPECT_TRUE(config.retention_enabled);
  EXPECT_EQ(config.socket.permissions, 0600U);
  ASSERT_EQ(config.databases.size(), 1U);
  const DatabaseConfig& database = config.databases[0];
  EXPECT_EQ(database.monitor_interval, seconds(1));
  EXPECT_EQ(database.min_checkpoint_pages, 1000);
  EXPECT_EQ(database.truncate_pages, 121359);
  EXPECT_EQ(database.max_sync_wal_bytes, 67108864);
  EXPECT_EQ(MetaPath(database), "/.db-litestream");
  ASSERT_EQ(database.replicas.size(), 1U);
  EXPECT_EQ(database.replicas[0].type, "file");
  EXPECT_EQ(database.replicas[0].name, "file");
  EXPECT_EQ(database.replicas[0].sync_interval, seconds(1));
  EXPECT_TRUE(config.warnings.empty());
}

// R32: 0 does not switch the brake off that bounds the WAL; a negative number does.
TEST(Config, R32TruncatePages) {
  const struct {
    const char* value;
    std::int64_t want;
  } cases[] = {{"0", 121359}, {"500", 500}, {"-1", -1}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.value);
    const auto got = Parse(std::string("dbs:\n  - path: /db\n    truncate-page-n: ") + c.value +
                           "\n    replica: {path: /r}\n");
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(got.value().databases[0].truncate_pages, c.want);
  }
}

TEST(Config, EverythingThatIsWrongIsSaidAtOnce) {
  const auto got = Parse(
      "l0-retention: abc\n"
      "verify-compaction: maybe\n"
      "retension: {enabled: true}\n"
      "dbs:\n"
      "  - path: /db\n"
      "    chekpoint-interval: 1s\n"
      "    replica: {path: /r, sync-interval: 5}\n");
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().message(),
            "f.yml:1: l0-retention: \"abc\" is not a duration (like 500ms, 30s, 5m, 1h30m)\n"
            "f.yml:2: verify-compaction: \"maybe\" is not true or false\n"
            "f.yml:3: unknown key \"retension\"; did you mean \"retention\"?\n"
            "f.yml:6: dbs[0]: unknown key \"chekpoint-interval\"; did you mean "
            "\"checkpoint-interval\"?\n"
            "f.yml:7: dbs[0].replica.sync-interval: 5 has no unit; write 5s for seconds or 5ns for "
            "nanoseconds");
}

TEST(Config, Lease) {
  const auto got = Parse(
      "lease: required\n"
      "dbs:\n"
      "  - path: /a\n"
      "    replicas: [{path: /r1}, {path: /r2, lease: off}, {path: /r3, lease: auto}]\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  const auto& replicas = got.value().databases[0].replicas;
  EXPECT_EQ(replicas[0].lease, "required");
  EXPECT_EQ(replicas[1].lease, "off");
  EXPECT_EQ(replicas[2].lease, "auto");
  const auto wrong = Parse("lease: of\ndbs:\n  - path: /a\n    replica: {path: /r, lease: yes}\n");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message(),
            "f.yml:1: lease: must be auto, required or off (got of)\n"
            "f.yml:4: dbs[0].replica.lease: must be auto, required or off (got yes)");
}

TEST(Config, UnknownKeys) {
  const struct {
    const char* text;
    const char* says;
  } cases[] = {
      {"DBs: []\n", "f.yml:1: unknown key \"DBs\"; did you mean \"dbs\"?"},
      {"dbs: []\nnonsense: 1\n", "f.yml:2: unknown key \"nonsense\""},
      {"logging:\n  colour: red\n", "f.yml:2: logging: unknown key \"colour\""},
      {"socket: {premissions: 1}\n", "did you mean \"permissions\"?"},
      {"dbs:\n  - path: /db\n    replica:\n      path: /r\n      retension: 1h\n",
       "f.yml:5: dbs[0].replica: unknown key \"retension\"; did you mean \"retention\"?"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto got = Parse(c.text);
    ASSERT_FALSE(got.ok());
    EXPECT_NE(got.error().message().find(c.says), std::string::npos) << got.error().message();
  }
}

TEST(Config, VariablesNeverChangeTheStructure) {
  const auto got = Parse(
      "dbs:\n"
      "  - path: ${DIR}/db\n"
      "    replica: {path: ${DIR}/r, secret-access-key: $SECRET, sync-interval: $PACE}\n"
      "    busy-timeout: $UNSET\n",
      {{"DIR", "/d"}, {"SECRET", "a: b, c: {d} # e"}, {"PACE", " 7s\n"}});
  ASSERT_TRUE(got.ok()) << got.error().message();
  const DatabaseConfig& database = got.value().databases[0];
  EXPECT_EQ(database.path, "/d/db");
  EXPECT_EQ(database.replicas[0].path, "/d/r");
  EXPECT_EQ(database.replicas[0].secret_access_key, "a: b, c: {d} # e");
  EXPECT_EQ(database.replicas[0].sync_interval, seconds(7));
  EXPECT_EQ(database.busy_timeout, seconds(1)) << "empty is as if it were not there";
}

TEST(Config, Inheritance) {
  const auto got = Parse(
      "region: global\n"
      "bucket: global\n"
      "skip-verify: true\n"
      "part-size: 10MiB\n"
      "sync-interval: 7s\n"
      "dbs:\n"
      "  - path: /a\n"
      "    replica: {type: s3}\n"
      "  - path: /b\n"
      "    replica: {url: 's3://own/p', region: own, skip-verify: false, sync-interval: 3s}\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  const ReplicaConfig& first = got.value().databases[0].replicas[0];
  EXPECT_EQ(first.region, "global");
  EXPECT_EQ(first.bucket, "global");
  EXPECT_EQ(first.skip_verify, true);
  EXPECT_EQ(first.part_size, 10485760U);
  EXPECT_EQ(first.sync_interval, seconds(7));
  const ReplicaConfig& second = got.value().databases[1].replicas[0];
  EXPECT_EQ(second.region, "own");
  EXPECT_EQ(second.bucket, "own") << "the URL names it";
  EXPECT_EQ(second.path, "p");
  EXPECT_EQ(second.skip_verify, false) << "the replica's own word counts";
  EXPECT_EQ(second.sync_interval, seconds(3));
}

TEST(Config, Retention) {
  const auto got = Parse(
      "snapshot: {interval: 12h, retention: 168h}\n"
      "levels: [{interval: 10s}, {interval: 1h}]\n"
      "l0-retention: 0s\n"
      "retention: {enabled: false, keep: {daily: 7, monthly: 12}}\n"
      "dbs: [{path: /db, replica: {path: /r}}]\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  const Config& config = got.value();
  EXPECT_EQ(config.snapshot_interval, std::chrono::hours(12));
  EXPECT_EQ(config.snapshot_retention, std::chrono::hours(168));
  EXPECT_EQ(config.levels, (std::vector<nanoseconds>{seconds(10), std::chrono::hours(1)}));
  EXPECT_EQ(config.l0_retention, seconds(0)) << "R49: never removed";
  EXPECT_FALSE(config.retention_enabled);
  EXPECT_EQ(config.keep.hourly, 0);
  EXPECT_EQ(config.keep.daily, 7);
  EXPECT_EQ(config.keep.weekly, 0);
  EXPECT_EQ(config.keep.monthly, 12);

  const struct {
    const char* text;
    const char* says;
  } mistakes[] = {
      {"retention:\n  keep: {daily: -1}\n",
       "f.yml:2: retention.keep.daily: must be a number of snapshots from 0 to 100000 (got -1)"},
      {"retention: {keep: {weekly: 100001}}\n", "(got 100001)"},
      {"retention: {keep: {yearly: 1}}\n", "retention.keep: unknown key \"yearly\""},
      {"retention: {keep: 7}\n", "retention.keep"},
      {"l0-retention: -1s\n", "l0-retention: l0 retention must not be negative (got -1s)"},
      {"snapshot: {retention: 0s}\n",
       "snapshot.retention: snapshot retention must be greater than 0 (got 0s)"},
  };
  for (const auto& c : mistakes) {
    SCOPED_TRACE(c.text);
    const auto wrong = Parse(c.text);
    ASSERT_FALSE(wrong.ok());
    EXPECT_NE(wrong.error().message().find(c.says), std::string::npos) << wrong.error().message();
  }
}

TEST(Config, OpenDatabases) {
  const auto none = Parse(With(""));
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none.value().max_open_databases, 100);
  EXPECT_EQ(none.value().park_max_bytes, 256U << 20);
  const auto some = Parse(With("max-open-databases: 10\npark-max-size: 1MiB\n"));
  ASSERT_TRUE(some.ok()) << some.error().message();
  EXPECT_EQ(some.value().max_open_databases, 10);
  EXPECT_EQ(some.value().park_max_bytes, 1U << 20);
  const auto wrong = Parse(With("max-open-databases: -1\n"));
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message().find("max-open-databases: must be a number from 1 to"),
            std::string::npos)
      << wrong.error().message();
}

TEST(Config, Limits) {
  const auto got =
      Parse(With("limits: {uploads: 4, upload-bandwidth: 5MB, download-bandwidth: 1MiB, "
                 "requests-per-second: 50}\n"));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got.value().limits.uploads, 4);
  EXPECT_EQ(got.value().limits.upload_bandwidth, 5'000'000U);
  EXPECT_EQ(got.value().limits.download_bandwidth, 1U << 20);
  EXPECT_EQ(got.value().limits.requests_per_second, 50);
  for (const char* const nothing : {"", "limits:\n", "limits: {uploads: }\n"}) {
    const auto none = Parse(With(nothing));
    ASSERT_TRUE(none.ok());
    EXPECT_FALSE(none.value().limits.uploads);
    EXPECT_FALSE(none.value().limits.upload_bandwidth);
    EXPECT_FALSE(none.value().limits.download_bandwidth);
    EXPECT_FALSE(none.value().limits.requests_per_second);
  }

  const struct {
    const char* text;
    const char* says;
  } mistakes[] = {
      {"limits:\n  uploads: 0\n", "f.yml:2: limits.uploads: must be a number from 1 to 64 (got 0)"},
      {"limits: {uploads: 65}\n", "(got 65)"},
      {"limits: {requests-per-second: -1}\n", "a number from 1 to 1000000"},
      {"limits: {requests-per-second: 1.5s}\n", "is not a whole number"},
      {"limits: {upload-bandwidth: 0}\n",
       "limits.upload-bandwidth: must be at least 1000 bytes a second (like 500KB); without the "
       "key "
       "there is no limit (got 0)"},
      {"limits: {download-bandwidth: 999}\n", "limits.download-bandwidth: must be at least 1000"},
      {"limits: {download-bandwidth: fast}\n", "limits.download-bandwidth"},
      {"limits: {bandwidth: 1MB}\n", "limits: unknown key \"bandwidth\""},
      {"limits: {upload-bandwith: 1MB}\n", "did you mean \"upload-bandwidth\"?"},
      {"limits: 7\n", "limits: \"7\" is not a map"},
  };
  for (const auto& c : mistakes) {
    SCOPED_TRACE(c.text);
    const auto wrong = Parse(c.text);
    ASSERT_FALSE(wrong.ok());
    EXPECT_NE(wrong.error().message().find(c.says), std::string::npos) << wrong.error().message();
  }
}

TEST(Config, SeveralReplicas) {
  const auto got = Parse(
      "dbs:\n"
      "  - path: /db\n"
      "    replicas:\n"
      "      - path: /r1\n"
      "      - {path: /r2, name: near}\n"
      "      - {url: 'file:///r%203', sync-interval: 5s}\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  const auto& replicas = got.value().databases[0].replicas;
  ASSERT_EQ(replicas.size(), 3U);
  EXPECT_EQ(replicas[0].name, "file");
  EXPECT_EQ(replicas[1].name, "near");
  EXPECT_EQ(replicas[2].name, "file-2");
  EXPECT_EQ(replicas[2].path, "/r 3");
  EXPECT_EQ(replicas[2].encoded_path, "/r%203");
  EXPECT_EQ(replicas[2].sync_interval, seconds(5));
}

TEST(Config, WebdavReplicas) {
  const auto got = Parse(
      "webdav-username: everybody\n"
      "dbs:\n"
      "  - path: /db\n"
      "    replicas:\n"
      "      - url: webdavs://me:p%40ss@h:8443/a%20b/c?skip-verify=true\n"
      "      - {url: 'webdav://h', name: bare}\n"
      "      - {type: webdav, webdav-url: 'http://h/dav', path: x, webdav-password: secret}\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  const auto& replicas = got.value().databases[0].replicas;
  ASSERT_EQ(replicas.size(), 3U);
  EXPECT_EQ(replicas[0].webdav_url, "https://h:8443");
  EXPECT_EQ(replicas[0].path, "/a b/c");
  EXPECT_EQ(replicas[0].webdav_username, "everybody") << "what the file says goes first";
  EXPECT_EQ(replicas[0].webdav_password, "p@ss");
  EXPECT_TRUE(replicas[0].skip_verify.value_or(false));
  EXPECT_EQ(replicas[1].webdav_url, "http://h");
  EXPECT_EQ(replicas[1].path, "");
  EXPECT_EQ(replicas[2].path, "x");
  EXPECT_EQ(replicas[2].webdav_password, "secret");
  EXPECT_FALSE(replicas[2].skip_verify);
  const std::pair<const char*, const char*> refused[] = {
      {"{url: 'webdav://h/x', path: y}", "cannot specify url & path for webdav replica"},
      {"{url: 'webdav://h/x', webdav-url: 'http://h'}",
       "cannot specify url & webdav-url for webdav replica"},
      {"{type: webdav, path: x}", "webdav-url required for webdav replica"},
      {"{url: 'webdav:///x'}", "webdav-url required for webdav replica"},
  };
  for (const auto& [replica, says] : refused) {
    const auto bad = Parse(fmt::format("dbs: [{{path: /db, replica: {}}}]\n", replica));
    ASSERT_FALSE(bad.ok()) << replica;
    EXPECT_NE(bad.error().message().find(says), std::string::npos) << bad.error().message();
  }
}

TEST(Config, LegacyKeysWarnAndGoOn) {
  const auto got = Parse(
      "dbs:\n"
      "  - path: /db\n"
      "    max-checkpoint-page-count: 20000\n"
      "    replicas:\n"
      "      - {path: /a, retention: 72h, snapshot-interval: 4h, retention-check-interval: 2h}\n"
      "      - {url: 'gcs://b/p', retention: 24h, validation-interval: 6h}\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got.value().snapshot_retention, hours(72));
  EXPECT_EQ(got.value().snapshot_interval, hours(4));
  EXPECT_EQ(got.value().databases[0].replicas[1].type, "gs");
  EXPECT_EQ(got.value().warnings.size(), 6U);
  EXPECT_NE(got.value().warnings[0].find("f.yml:5: dbs[0].replicas[0].retention: "),
            std::string::npos)
      << got.value().warnings[0];
}

TEST(Config, TwoKeysForOneDoorWarn) {
  const auto got = Parse(
      "dbs:\n"
      "  - path: /db\n"
      "    replicas:\n"
      "      - {url: 'abs://a@c/one', account-key: hush}\n"
      "      - {url: 'abs://a@c/two', account-key: hush, sas-token: hush}\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  ASSERT_EQ(got.value().warnings.size(), 1U);
  EXPECT_EQ(got.value().warnings[0], "f.yml:5: account-key is not used: sas-token goes before it");
}

TEST(Config, NullsKeepDefaults) {
  const auto got =
      Parse(With("snapshot:\nl0-retention:\nlevels:\nsocket:\nheartbeat-interval: ~\n"));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got.value().snapshot_interval, hours(24));
  EXPECT_EQ(got.value().l0_retention, minutes(5));
  EXPECT_TRUE(got.value().levels.empty()) << "no levels is what it says";
  EXPECT_EQ(got.value().heartbeat_interval, minutes(5));
}

TEST(Config, Refused) {
  const struct {
    const char* why;
    std::string text;
    const char* says;
  } cases[] = {
      {"the same database twice",
       "dbs:\n  - {path: /a, replica: {path: /r}}\n  - {path: /b/../a, replica: {path: /s}}\n",
       "f.yml:3: the database /a is listed twice (first in line 2)"},
      {"two replicas in one place",
       "dbs:\n  - path: /a\n    replicas: [{path: /r}, {url: 'file:///r'}]\n", "the same place"},
      {"permissions in decimal", With("socket: {permissions: 99999}\n"), "permission bits"},
      {"logging type", With("logging: {type: xml}\n"),
       "f.yml:1: logging.type: must be text, json or pretty (got xml)"},
      {"a list of lists", "dbs: [[1]]\n", "f.yml:1: dbs[0]: not a map"},
      {"empty element", "dbs:\n  -\n", "dbs[0]: an empty element"},
      {"url with a typo", "dbs: [{path: /a, replica: {url: 's3:bucket/path'}}]\n",
       "replica url scheme required"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto got = Parse(c.text);
    ASSERT_FALSE(got.ok());
    EXPECT_NE(got.error().message().find(c.says), std::string::npos) << got.error().message();
  }
}

TEST(Config, Availability) {
  const struct {
    const char* why;
    std::string text;
    const char* says;  // Empty: nothing stands against it.
  } cases[] = {
      {"plain", With(""), ""},
      {"metrics", With("addr: ':9090'\n"), ""},
      {"metrics without port", With("addr: localhost\n"),
       "must specify port for bind address: \"localhost\""},
      {"socket", With("socket: {enabled: true}\n"), "socket.enabled is not available"},
      {"socket off", With("socket: {enabled: false, path: /x}\n"), ""},
      {"levels", With("levels: [{interval: 1m}]\n"), ""},
      {"nine levels",
       With("levels: [{interval: 1s}, {interval: 1s}, {interval: 1s}, {interval: 1s}, {interval: "
            "1s}, {interval: 1s}, {interval: 1s}, {interval: 1s}, {interval: 1s}]\n"),
       "compaction level cannot exceed 8"},
      {"tiers", With("retention: {keep: {daily: 7}}\n"), ""},
      {"retention without tiers", With("retention: {enabled: false, keep: }\n"), ""},
      {"snapshot of a database",
       "dbs:\n  - path: /a\n    snapshot: {interval: 1h}\n    replica: {path: /r}\n", ""},
      {"a bucket", "dbs: [{path: /a, replica: {url: 's3://b/p'}}]\n", ""},
      {"a bucket of Google", "dbs: [{path: /a, replica: {url: 'gs://b/p'}}]\n", ""},
      {"watch", "dbs:\n  - dir: /a\n    pattern: '*'\n    watch: true\n    replica: {path: /r}\n",
       ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto config = Parse(c.text);
    ASSERT_TRUE(config.ok()) << config.error().message();
    const auto got = CheckAvailable(config.value());
    EXPECT_EQ(got.ok(), std::string_view(c.says).empty());
    if (!got.ok()) {
      EXPECT_NE(got.error().message().find(c.says), std::string::npos) << got.error().message();
    }
  }
}

TEST(Config, ReplicationNeedsOwnPlaces) {
  ManualClock clock;
  MemoryEnv env(clock, 1);
  for (const char* const path : {"/d", "/d/.a-litestream"}) {
    ASSERT_TRUE(env.CreateDirectory(path, {}).ok());
  }
  for (const char* const path : {"/d/a", "/d/b"}) {
    ASSERT_TRUE(env.Open(path, {.write = true, .create = true}).ok());
  }
  const struct {
    const char* why;
    const char* text;
    const char* says;
  } cases[] = {
      {"their own", "[{path: /d/a, replica: {path: /r/a}}, {path: /d/b, replica: {path: /r/b}}]",
       ""},
      {"beside the database", "[{path: /d/a, replica: {path: /d}}]", ""},
      {"not made yet", "[{path: /none/a, replica: {path: /d/new}}]", ""},
      {"the same", "[{path: /d/a, replica: {path: /r}}, {path: /d/b, replica: {path: /r}}]",
       "/d/a and /d/b have the same file replica (/r)"},
      {"containers of two accounts",
       "[{path: /d/a, replica: {url: 'abs://one@c/p'}}, {path: /d/b, replica: {url: "
       "'abs://two@c/p'}}]",
       ""},
      {"one container, in two spellings",
       "[{path: /d/a, replica: {url: 'abs://one@c/p'}}, {path: /d/b, replica: {type: abs, bucket: "
       "c, path: p, endpoint: 'https://one.blob.core.windows.net'}}]",
       "/d/a and /d/b have the same abs replica (p)"},
      {"everything", "[{path: /d/a, replica: {path: /}}]", "/d/a: the replica is \"/\""},
      {"the database", "[{path: /d/a, replica: {path: /d/a}}]",
       "/d/a: the replica /d/a is the database /d/a; it needs a directory of its own"},
      {"another database",
       "[{path: /d/a, replica: {path: /d/b}}, {path: /d/b, replica: {path: /r}}]",
       "/d/a: the replica /d/b is the database /d/b"},
      {"the local state", "[{path: /d/a, replica: {path: /d/.a-litestream}}]",
       "is the local state of /d/a (/d/.a-litestream)"},
      {"within the local state", "[{path: /new/a, replica: {path: /new/.a-litestream/x/y}}]",
       "/new/a: the replica /new/.a-litestream/x/y lies in the local state of /new/a"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto config = Parse(std::string("dbs: ") + c.text);
    ASSERT_TRUE(config.ok()) << config.error().message();
    const auto got = CheckForReplication(env, config.value().databases);
    EXPECT_EQ(got.ok(), std::string_view(c.says).empty());
    if (got.ok()) continue;
    EXPECT_NE(got.error().message().find(c.says), std::string::npos) << got.error().message();
  }
}

// By whatever name: what counts is the file.
TEST(Config, LinksDoNotHideWhatIsTheSame) {
  const TestDir dir;
  const std::string root = dir.path().string();
  std::filesystem::create_directories(root + "/.a-litestream");
  std::ofstream(root + "/a") << "x";
  std::filesystem::create_symlink("a", root + "/link");
  std::filesystem::create_directory(root + "/r");
  std::filesystem::create_directory_symlink("r", root + "/r2");
  std::filesystem::create_directory_symlink(".a-litestream", root + "/state");
  std::ofstream(root + "/b") << "x";
  const auto check = [&](const std::string& a, const std::string& ra, const std::string& b,
                         const std::string& rb) {
    const auto entry = [&](const std::string& path, const std::string& replica) {
      return "  - {path: " + root + "/" + path + ", replica: {path: " + root + "/" + replica +
             "}}\n";
    };
    const auto config = Parse("dbs:\n" + entry(a, ra) + entry(b, rb));
    EXPECT_TRUE(config.ok());
    const auto got = CheckForReplication(Env::Real(), config.value().databases);
    return got.ok() ? "" : got.error().message();
  };
  EXPECT_EQ(check("a", "r", "b", "s"), "");
  EXPECT_EQ(check("a", "r", "link", "s"),
            root + "/a and " + root +
                "/link are the same file; list it once, with as many replicas "
                "as needed");
  EXPECT_NE(check("a", "r", "b", "r2").find("have the same file replica"), std::string::npos);
  EXPECT_NE(check("a", "state/x", "b", "s").find("lies in the local state"), std::string::npos);
}

TEST(Config, FromArguments) {
  const auto got = ConfigFromArguments(Env::Real(), "/db", {"file:///r1", "/r2"});
  ASSERT_TRUE(got.ok()) << got.error().message();
  ASSERT_EQ(got.value().databases[0].replicas.size(), 2U);
  EXPECT_EQ(got.value().databases[0].replicas[0].path, "/r1");
  EXPECT_EQ(got.value().databases[0].replicas[1].path, "/r2");
  EXPECT_EQ(got.value().databases[0].replicas[1].sync_interval, seconds(1));
  EXPECT_TRUE(CheckAvailable(got.value()).ok());
  // A misspelt URL must not become a directory of that name.
  for (const char* const url : {"s3:bucket/x", "s3//bucket", "file:/r", "r", ""}) {
    const auto refused = ConfigFromArguments(Env::Real(), "/db", {url});
    ASSERT_FALSE(refused.ok()) << url;
    EXPECT_NE(refused.error().message().find("replica url scheme required"), std::string::npos);
  }
}

TEST(Config, OssUrls) {
  const struct {
    const char* url;
    const char* bucket;
    const char* path;
    const char* region;
    const char* endpoint;
  } cases[] = {
      {"oss://bkt/a/b", "bkt", "a/b", "", ""},
      {"oss://bkt/", "bkt", "", "", ""},
      {"oss://bkt", "bkt", ".", "", ""},
      {"oss://bkt.oss-cn-beijing.aliyuncs.com/a", "bkt", "a", "cn-beijing",
       "https://oss-cn-beijing.aliyuncs.com"},
      {"oss://bkt.oss-cn-beijing-internal.aliyuncs.com/a", "bkt", "a", "cn-beijing",
       "https://oss-cn-beijing-internal.aliyuncs.com"},
      {"oss://bkt.oss-accelerate.aliyuncs.com/a?region=cn-beijing", "bkt", "a", "cn-beijing",
       "https://oss-accelerate.aliyuncs.com"},
      {"oss://bkt/a?endpoint=127.0.0.1:9000", "bkt", "a", "", "http://127.0.0.1:9000"},
      {"oss://bkt/a?endpoint=oss-us-west-1.aliyuncs.com", "bkt", "a", "",
       "https://oss-us-west-1.aliyuncs.com"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.url);
    const auto replica = ReplicaFromUrl(Env::Real(), c.url);
    ASSERT_TRUE(replica.ok()) << replica.error().message();
    EXPECT_EQ(replica.value().bucket, c.bucket);
    EXPECT_EQ(replica.value().path, c.path);
    EXPECT_EQ(replica.value().region, c.region);
    EXPECT_EQ(replica.value().endpoint, c.endpoint);
  }
}

TEST(Config, LogLevels) {
  EXPECT_EQ(ParseLogLevel("trace"), LogLevel::kTrace);
  EXPECT_EQ(ParseLogLevel("Warning"), LogLevel::kWarn);
  EXPECT_EQ(ParseLogLevel("ERROR"), LogLevel::kError);
  EXPECT_EQ(ParseLogLevel(""), LogLevel::kInfo);
  EXPECT_EQ(ParseLogLevel("loud"), LogLevel::kInfo);
}

}  // namespace
}  // namespace litestream::config
