#include <map>
#include <set>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/file/file_client.h"
#include "base/test_dir.h"
#include "storage/layout.h"
#include "tests/contract/bodies.h"
#include "tests/support/golden.h"
#include "tests/support/sha256.h"

// Directories that the reference wrote, as this client sees them.

namespace litestream {
namespace {

const Context kNever = Context::Background();

struct Expected {
  std::uint64_t size_bytes = 0;
  std::string sha256;
  std::optional<std::int64_t> mtime_ns;
};

// Lists and reads every level of `root`; `expected` names its files as in `layout`.
void ExpectFiles(const std::filesystem::path& root, ReplicaLayout layout,
                 std::map<std::string, Expected> expected) {
  const auto client = MakeFileClient(Env::Real(), {.root = root, .owner = {}});
  for (int level = 0; level < kLevelCount; ++level) {
    const auto files = client->List(kNever, Level{static_cast<std::uint8_t>(level)}, {});
    ASSERT_TRUE(files.ok()) << files.error().message();
    for (const FileInfo& file : files.value()) {
      const std::string name = RelativePath(layout, file.id);
      SCOPED_TRACE(name);
      ASSERT_TRUE(expected.contains(name)) << "not there, or listed twice";
      const Expected want = expected[name];
      expected.erase(name);
      EXPECT_EQ(file.size_bytes, want.size_bytes);
      if (want.mtime_ns) {
        const NanoTime time{std::chrono::nanoseconds(*want.mtime_ns)};
        EXPECT_EQ(file.created_at, std::chrono::ceil<std::chrono::milliseconds>(time));
      }
      const auto content = contract::ReadFile(kNever, *client, file.id);
      ASSERT_TRUE(content.ok()) << content.error().message();
      EXPECT_EQ(Sha256Hex(std::as_bytes(std::span(content.value()))), want.sha256);
    }
  }
  EXPECT_TRUE(expected.empty()) << "not listed: " << expected.begin()->first;
}

TEST(FileClientGolden, EveryReplicaOfTheReference) {
  const auto cases = GoldenCases("replica-file");
  ASSERT_FALSE(cases.empty());
  for (const auto& folder : cases) {
    SCOPED_TRACE(folder.filename().string());
    const auto facts = LoadJson(folder / "expected.json");
    const TestDir copy;
    CopyTreeWithTimes(folder / "replica", copy.path(), facts["files"]);
    std::map<std::string, Expected> expected;
    for (const auto& file : facts["files"]) {
      expected[file["path"]] = {.size_bytes = file["size"],
                                .sha256 = file["sha256"],
                                .mtime_ns = file["mtime_ns"].get<std::int64_t>()};
    }
    ExpectFiles(copy.path(), ReplicaLayout::kLtxDecimal, std::move(expected));
  }
}

TEST(FileClientGolden, ACopyOfABucket) {
  const auto folder = GoldenDir() / "replica-s3-keys" / "levels";
  const auto facts = LoadJson(folder / "expected.json");
  const std::string prefix = "app/db/";
  std::map<std::string, Expected> expected;
  for (const auto& object : facts["objects"]) {
    const std::string key = object["key"];
    ASSERT_TRUE(key.starts_with(prefix)) << key;
    expected[key.substr(prefix.size())] = {
        .size_bytes = object["size"], .sha256 = object["sha256"], .mtime_ns = std::nullopt};
  }
  ASSERT_FALSE(expected.empty());
  ExpectFiles(folder / "objects" / prefix, ReplicaLayout::kHexLevel, std::move(expected));
}

}  // namespace
}  // namespace litestream
