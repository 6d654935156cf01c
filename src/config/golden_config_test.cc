// Every file of golden/config: the verdict and the databases must be those of the reference, but
// for the differences listed here.

#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "config/config.h"
#include "tests/support/golden.h"
#include "tests/support/temp_dir.h"

namespace litestream::config {
namespace {

using nlohmann::json;

// What we do otherwise, knowingly.
struct Difference {
  const char* name;
  const char* says;  // Part of our error; empty: accepted, whatever databases there are.
  const char* why;
};

constexpr const char* kYamlWords = "the parser's own words; line and cause are there";
constexpr const char* kTypeWords = "we name the key, the value and what would be right";

constexpr Difference kFileDifferences[] = {
    {"unknown-keys.yml", "unknown key \"chekpoint-interval\"", "unknown keys are errors"},
    {"wrong-case.yml", "did you mean \"dbs\"", "unknown keys are errors"},
    {"duplicate-key.yml", "the key dbs is given a second time",
     "the first list of databases would not be replicated, silently"},
    {"same-path-twice.yml", "is listed twice", "both would write the same state directory"},
    {"duration-number.yml", "has no unit", "10 would be 10 nanoseconds"},
    {"bad-type-two-documents.yml", "a second document", "it would be ignored silently"},
    {"env-structure.yml", "f.yml:", "a variable is a value, never structure"},
    {"env-yaml-break.yml", "", "a variable's value cannot break the file"},
    {"env-braces.yml", "", "an open brace does not swallow the following lines"},
    {"global-bucket-with-url.yml", "",
     "the URL names its bucket; the global one is for the others"},
    {"bad-db-two-replicas.yml", "", "a database has any number of replicas"},
    {"bad-replica-gcs-type.yml", "", "gcs is the name of gs in v0.3"},
    {"bad-replica-gcs-url.yml", "", "gcs is the name of gs in v0.3"},
    {"bad-replica-unknown-scheme.yml", "unknown replica type in config: \"tape\"",
     "we name the scheme"},
    {"bad-replica-age-recipients.yml", "age encryption is not", "says the same"},
    {"bad-replica-age-identities.yml", "age encryption is not", "says the same"},
    {"bad-global-age.yml", "age encryption is not", "says the same"},
    {"bad-replica-sse-key-path-missing.yml", "cannot read sse-customer-key-path \"$TMP/none\"",
     "the system's words"},
    {"bad-replica-part-size-word.yml", "invalid size format: \"abc\"", "we show the value"},
    {"bad-replica-part-size-negative.yml", "invalid size format: \"-5\"", "we show the value"},
    {"bad-replica-part-size-two-dots.yml", "invalid size format: \"1.2.3MB\"", "we show the value"},
    {"dir.yml", "", "the databases of a directory are listed"},
    {"dir-recursive.yml", "", "the databases of a directory are listed"},
    {"dir-url.yml", "", "the databases of a directory are listed"},
    {"dir-meta-dir.yml", "", "meta-dir belongs to a directory; the reference loses it"},
    {"dir-meta-path.yml", "", "the databases of a directory are listed"},
    {"dir-no-match.yml", "no SQLite databases found in directory $TMP/dbs with pattern *.none",
     "as at the start of replicate"},
    {"dir-missing.yml", "failed to scan directory $TMP/none", "as at the start of replicate"},
    {"dir-bad-pattern.yml", "failed to scan directory $TMP/dbs: syntax error in pattern",
     "as at the start of replicate"},
    {"bad-type-duration-word.yml", "l0-retention: \"abc\" is not a duration", kTypeWords},
    {"bad-type-duration-no-unit.yml", "l0-retention: \"10\" is not a duration", kTypeWords},
    {"bad-type-duration-days.yml", "snapshot.interval: \"1d\" is not a duration", kTypeWords},
    {"bad-type-duration-blank.yml", "snapshot.interval: \"1 h\" is not a duration", kTypeWords},
    {"bad-type-int-quoted.yml", ":3: dbs[0].min-checkpoint-page-count: \"500\" is not a whole",
     kTypeWords},
    {"bad-type-int-word.yml", ":3: dbs[0].min-checkpoint-page-count: \"many\" is not a whole",
     kTypeWords},
    {"bad-type-bool-word.yml", "verify-compaction: \"maybe\" is not true or false", kTypeWords},
    {"bad-type-list-for-map.yml", "socket: a list is not a map", kTypeWords},
    {"bad-type-map-for-list.yml", "dbs: a map is not a list", kTypeWords},
    {"bad-type-string-for-list.yml", "dbs: \"x\" is not a list", kTypeWords},
    {"bad-type-list-for-string.yml", "addr: a list is not a text", kTypeWords},
    {"bad-type-null-db.yml", ":2: dbs[0]: an empty element", "the reference crashes"},
    {"bad-type-null-level.yml", ":2: levels[0]: an empty element", "the reference crashes"},
    {"bad-type-null-replica-element.yml", ":4: dbs[0].replicas[0]: an empty element",
     "the reference crashes"},
    {"bad-type-logging-type.yml", "logging.type: must be text, json or pretty (got xml)",
     "the reference crashes"},
    {"bad-type-two-errors.yml", ":2: verify-compaction: \"maybe\" is not", kTypeWords},
    {"bad-type-syntax-bracket.yml", "f.yml:", kYamlWords},
    {"bad-type-syntax-indent.yml", "f.yml:3: yaml:", kYamlWords},
    {"bad-type-syntax-tab.yml", "f.yml:2: yaml:", kYamlWords},
    {"bad-type-top-level-list.yml", "f.yml:1: the file must be a map", kYamlWords},
    {"bad-type-top-level-string.yml", "f.yml:1: the file must be a map", kYamlWords},
    {"bad-type-unknown-alias.yml", "f.yml:1: yaml:", kYamlWords},
    {"bad-type-invalid-utf8.yml", "f.yml:1: yaml: invalid UTF-8", kYamlWords},
};

constexpr Difference kUrlDifferences[] = {
    {"s3://127.0.0.1:9000/path", "bucket required for s3 replica",
     "the reference takes 127 for the bucket"},
    {"nats://127.0.0.1:9", "bucket required for NATS replica",
     "the reference takes . for the bucket"},
    {"file://", "file replica path required", "the reference takes the working directory"},
    {"host:8080", "replica url scheme required: host:8080",
     "the reference takes the working directory"},
    {"s3:bucket/path", "replica url scheme required: s3:bucket/path",
     "the reference takes the working directory"},
    {"://x", "replica url scheme required", "other words"},
    {"tape://x", "unknown replica type in config: \"tape\"", "we name the scheme"},
    {"http://h/x", "unknown replica type in config: \"http\"", "we name the scheme"},
};

template <std::size_t kCount>
const Difference* Find(const Difference (&table)[kCount], const std::string& name) {
  for (const Difference& difference : table) {
    if (name == difference.name) return &difference;
  }
  return nullptr;
}

std::string Replace(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

class GoldenConfigTest : public ::testing::Test {
 protected:
  GoldenConfigTest() : before_(std::filesystem::current_path()) {
    tmp_ = std::filesystem::canonical(dir_.path()).string();
    std::filesystem::current_path(tmp_);
  }
  ~GoldenConfigTest() override { std::filesystem::current_path(before_); }

  std::string WithTmp(const std::string& text) const { return Replace(text, "$TMP", tmp_); }

  // The databases as `databases -json` lists them, or the error.
  Result<json> Databases(const json& entry, std::string_view text) const {
    std::map<std::string, std::string, std::less<>> variables = {{"TMP", tmp_}};
    if (entry.contains("env")) {
      for (const auto& [name, value] : entry["env"].items()) variables[name] = value;
    }
    LoadOptions options;
    options.lookup = [&](std::string_view name) {
      const auto found = variables.find(name);
      return found == variables.end() ? std::string() : found->second;
    };
    options.expand_environment = !entry.contains("args");  // The only one is -no-expand-env.
    auto config = ParseConfig(Env::Real(), text, "f.yml", options);
    if (!config.ok()) return std::move(config).error();
    auto databases = ExpandDirectories(Env::Real(), config.value(), Logger());
    if (!databases.ok()) return std::move(databases).error();
    json out = json::array();
    for (const auto& database : databases.value()) {
      out.push_back(
          {{"path", Replace(database.path, tmp_, "$TMP")}, {"replica", database.replicas[0].type}});
    }
    return out;
  }

  void MakeDatabases(const json& entry) const {
    std::filesystem::remove_all(tmp_ + "/dbs");
    if (!entry.contains("existing_databases")) return;
    for (const std::string name : entry["existing_databases"]) {
      const std::filesystem::path path = tmp_ + "/" + name;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path, std::ios::binary) << std::string_view("SQLite format 3\0", 16);
    }
  }

  // `accepted` and `error` of the reference against our result.
  void Check(const json& entry, const Difference* difference, const Result<json>& got) const {
    const bool accepted = difference == nullptr ? entry["accepted"].get<bool>()
                                                : std::string_view(difference->says).empty();
    ASSERT_EQ(got.ok(), accepted) << (got.ok() ? got.value().dump() : got.error().message());
    if (accepted && difference == nullptr && entry.contains("databases")) {
      EXPECT_EQ(got.value(), entry["databases"]);
    }
    if (accepted) return;
    std::string says = difference != nullptr ? difference->says : entry["error"].get<std::string>();
    EXPECT_NE(got.error().message().find(WithTmp(says)), std::string::npos)
        << got.error().message() << "\nwanted: " << says;
  }

  TempDir dir_;
  std::filesystem::path before_;
  std::string tmp_;
};

TEST_F(GoldenConfigTest, Files) {
  const auto dir = GoldenDir() / "config";
  const json expected = LoadJson(dir / "expected.json");
  ASSERT_GT(expected["files"].size(), 150U);
  for (const json& entry : expected["files"]) {
    const std::string name = entry["file"];
    SCOPED_TRACE(name);
    MakeDatabases(entry);
    const auto bytes = ReadWholeFile(dir / name);
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    Check(entry, Find(kFileDifferences, name), Databases(entry, text));
  }
  for (const Difference& difference : kFileDifferences) {
    EXPECT_TRUE(std::filesystem::exists(dir / difference.name)) << difference.name;
  }
}

// The attributes of "replicating to", as the reference logs them, of a replica with that URL.
std::map<std::string, std::string> Attributes(const std::string& line) {
  std::map<std::string, std::string> out;
  std::size_t at = 0;
  while (at < line.size()) {
    const std::size_t equals = line.find('=', at);
    const bool quoted = line[equals + 1] == '"';
    const std::size_t end = quoted ? line.find('"', equals + 2) : line.find(' ', equals);
    const std::size_t from = equals + (quoted ? 2 : 1);
    const std::size_t stop = end == std::string::npos ? line.size() : end;
    out[line.substr(at, equals - at)] = line.substr(from, stop - from);
    at = stop + (quoted ? 2 : 1);
  }
  return out;
}

TEST_F(GoldenConfigTest, Urls) {
  const json expected = LoadJson(GoldenDir() / "config" / "expected.json");
  ASSERT_GT(expected["urls"].size(), 40U);
  for (const json& entry : expected["urls"]) {
    const std::string url = entry["url"];
    SCOPED_TRACE(url);
    const Difference* const difference = Find(kUrlDifferences, url);
    const auto replica = ReplicaFromUrl(Env::Real(), WithTmp(url));
    Check(entry, difference, replica.ok() ? Result<json>(json()) : Result<json>(replica.error()));
    if (!replica.ok()) continue;
    EXPECT_EQ(replica.value().type, entry["type"].get<std::string>());
    if (difference != nullptr || entry["replicating_to"].empty()) continue;
    const auto want = Attributes(entry["replicating_to"][0].get<std::string>());
    // What the reference says of its own peculiar spellings.
    std::string path = want.contains("path") ? WithTmp(want.at("path")) : "";
    const ReplicaConfig& got = replica.value();
    if (path == "." && got.type != "s3") path.clear();
    EXPECT_EQ(got.encoded_path.empty() ? got.path : got.encoded_path, path);
    if (want.contains("bucket")) {
      EXPECT_EQ(got.bucket, want.at("bucket"));
    }
    if (want.contains("region")) {
      EXPECT_EQ(got.region, want.at("region"));
    }
    if (want.contains("endpoint")) {
      EXPECT_EQ(Replace(got.endpoint, "https://s3.f", "s3.f"), want.at("endpoint"))
          << "we complete the scheme of s3.filebase.com and s3.fr-par.scw.cloud here";
    }
  }
}

}  // namespace
}  // namespace litestream::config
