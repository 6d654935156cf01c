#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "backend/s3/s3_client.h"
#include "base/test_dir.h"
#include "format/names.h"
#include "replica/plan.h"
#include "replica/restore.h"
#include "tests/contract/bodies.h"
#include "tests/support/golden.h"
#include "tests/support/s3_test_server.h"
#include "tests/support/sha256.h"

// Objects that stock Litestream wrote, put into a bucket as they were, and what they restore to.

namespace litestream {
namespace {

const Context kNever = Context::Background();

std::string Content(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Keys and metadata as listed; `path` replaces what is before the level.
void Store(const std::filesystem::path& folder, const nlohmann::json& objects) {
  s3::Session session(S3TestOptions(), S3TestShared());
  for (const auto& object : objects) {
    const std::string key = object["key"];
    const std::string time = object["metadata"]["litestream-timestamp"];
    const auto put = session.Do(
        kNever, {.method = "PUT",
                 .key = key,
                 .headers = {{"x-amz-meta-litestream-timestamp", time}},
                 .body = std::make_shared<const std::string>(Content(folder / object["file"]))});
    ASSERT_TRUE(put.ok()) << put.error().message();
  }
}

std::unique_ptr<ReplicaClient> Connect(const std::string& path) {
  auto options = S3TestOptions();
  options.path = path;
  return std::move(MakeS3Client(options, S3TestShared())).value();
}

// The SHA-256 of the restored database; the error's message without one.
std::string Restored(ReplicaClient& client, const std::optional<Txid>& txid,
                     const std::optional<WallTime>& before) {
  const TestDir directory;
  RestoreOptions options;
  options.output = directory / "db";
  const auto listing = ListReplica(kNever, client, /*exact_times=*/before.has_value());
  if (!listing.ok()) return listing.error().message();
  const auto plan = PlanRestore(listing.value(), {.txid = txid, .before = before});
  if (!plan.ok()) return plan.error().message();
  const auto report = Restore(kNever, Env::Real(), client, plan.value(), options);
  return report.ok() ? Sha256HexOfFile(options.output) : report.error().message();
}

TEST(S3Golden, EveryTxidAndTime) {
  const auto folder = GoldenDir() / "replica-s3-keys" / "levels";
  const auto facts = LoadJson(folder / "expected.json");
  ASSERT_NO_FATAL_FAILURE(Store(folder, facts["objects"]));
  const auto client = Connect("app/db");
  EXPECT_EQ(Restored(*client, std::nullopt, std::nullopt), facts["latest"]["sha256"]);
  int restored = 0;
  for (const auto& c : facts["txids"]) {
    SCOPED_TRACE(c["txid"]);
    const std::string got =
        Restored(*client, ParseTxid(c["txid"].get<std::string>()).value(), std::nullopt);
    if (c.contains("sha256")) {
      EXPECT_EQ(got, c["sha256"]);
      ++restored;
    } else {
      EXPECT_NE(got.size(), 64U) << "an error";
    }
  }
  for (const auto& c : facts["timestamps"]) {
    SCOPED_TRACE(c["timestamp"]);
    const std::string got =
        Restored(*client, std::nullopt, ParseTimestamp(c["timestamp"].get<std::string>()).value());
    if (c.contains("sha256")) {
      EXPECT_EQ(got, c["sha256"]);
      ++restored;
    } else {
      EXPECT_NE(got.size(), 64U) << "an error";
    }
  }
  EXPECT_GT(restored, 20);
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(S3Golden, EveryRoot) {
  const auto folder = GoldenDir() / "replica-s3-keys" / "roots";
  const auto facts = LoadJson(folder / "expected.json");
  int roots = 0;
  for (const auto& c : facts["cases"]) {
    if (!c.contains("objects") || c["objects"].empty()) continue;
    SCOPED_TRACE(c["about"]);
    const std::string key = c["objects"][0]["key"];
    const std::size_t level = key.find("/0000/");
    ASSERT_NE(level, key.npos) << key;
    ASSERT_NO_FATAL_FAILURE(Store(folder, c["objects"]));
    const auto client = Connect(key.substr(0, level));
    EXPECT_EQ(Restored(*client, std::nullopt, std::nullopt), c["source_sha256"]);
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
    ++roots;
  }
  EXPECT_GT(roots, 5);
}

}  // namespace
}  // namespace litestream
