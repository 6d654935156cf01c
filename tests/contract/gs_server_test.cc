#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backend/gs/gs_client.h"
#include "tests/contract/bodies.h"
#include "tests/support/gs_test_server.h"

// What the contract says nothing about, against the server.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::HasSubstr;

const Context kNever = Context::Background();

std::unique_ptr<ReplicaClient> Connect(const gs::Options& options) {
  auto client = MakeGsClient(options, GsTestShared());
  EXPECT_TRUE(client.ok()) << client.error().message();
  return std::move(client).value();
}

gs::Options At(const std::string& name) {
  auto options = GsTestOptions();
  options.path = name + std::to_string(::getpid());
  options.retry.attempts = 1;
  return options;
}

TEST(GsServer, BodiesAroundTheSizeOfAChunk) {
  auto options = At("chunks");
  options.chunk_bytes = 4 * gs::kChunkUnit;
  const auto client = Connect(options);
  const std::size_t chunk = options.chunk_bytes;
  for (const std::size_t size : {std::size_t{1}, chunk - 1, chunk, chunk + 1, 2 * chunk,
                                 2 * chunk + 1, 5 * chunk, 17 * chunk + 3}) {
    SCOPED_TRACE(size);
    const std::string content = MakeContent(size, size);
    for (const bool known : {false, true}) {
      const auto info =
          WriteFile(kNever, *client, Id(9, 1, 1), content,
                    {.created_at = WallTime(std::chrono::milliseconds(1'767'323'045'670)),
                     .size_bytes = known ? std::optional<std::uint64_t>(size) : std::nullopt});
      ASSERT_TRUE(info.ok()) << info.error().message();
      EXPECT_EQ(info.value().size_bytes, size);
      const auto all = ReadFile(kNever, *client, Id(9, 1, 1));
      ASSERT_TRUE(all.ok()) << all.error().message();
      EXPECT_TRUE(all.value() == content);
    }
    const auto files = client->List(kNever, kSnapshotLevel, {});
    ASSERT_TRUE(files.ok()) << files.error().message();
    ASSERT_EQ(files.value().size(), 1U);
    EXPECT_EQ(files.value()[0].size_bytes, size);
    EXPECT_EQ(files.value()[0].created_at.time_since_epoch().count(), 1'767'323'045'670);
    const auto again = WriteFile(kNever, *client, Id(9, 1, 1), content, {.if_absent = true});
    EXPECT_TRUE(!again.ok() && again.error().Is(ErrorCode::kAlreadyExists));
  }
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(GsServer, ABodyOfAnotherSizeIsNotStored) {
  auto options = At("size");
  options.chunk_bytes = gs::kChunkUnit;
  const auto client = Connect(options);
  for (const std::size_t size : {100U, 1'000'000U}) {
    for (const std::int64_t off : {-1, 1}) {
      const auto info = WriteFile(
          kNever, *client, Id(9, 1, 1), MakeContent(size, 1),
          {.size_bytes = static_cast<std::uint64_t>(static_cast<std::int64_t>(size) + off)});
      ASSERT_FALSE(info.ok());
      EXPECT_EQ(info.error().code(), ErrorCode::kCorruption) << info.error().message();
    }
  }
  EXPECT_EQ(client->List(kNever, kSnapshotLevel, {}).value().size(), 0U);
}

TEST(GsServer, EverySpellingOfThePath) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "ltx/0/"},         {".", "ltx/0/"},
      {"db/", "db/ltx/0/"},   {"/db", "/db/ltx/0/"},
      {"a//b", "a/b/ltx/0/"}, {"a/./b/../c", "a/c/ltx/0/"},
      {"/", "/ltx/0/"},       {"a b/%2F+", "a b/%2F+/ltx/0/"},
      {"é", "é/ltx/0/"}};
  auto root_options = GsTestOptions();
  const auto bucket = Connect(root_options);
  for (const auto& [path, folder] : cases) {
    SCOPED_TRACE(path);
    auto options = GsTestOptions();
    options.path = path;
    const auto client = Connect(options);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), path).ok());
    const auto read = ReadFile(kNever, *client, Id(0, 1, 1));
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ(read.value(), path);
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 1U);
    const auto stored = bucket->ListObjects(kNever, folder, 0);
    ASSERT_TRUE(stored.ok()) << stored.error().message();
    EXPECT_EQ(stored.value().size(), 1U);
    ASSERT_TRUE(client->DeleteAll(kNever).ok());
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 0U);
  }
}

TEST(GsServer, AReplicaAtTheTopLeavesAloneWhatIsNotItsOwn) {
  auto options = GsTestOptions();
  const auto top = Connect(options);
  const auto other = Connect(At("other"));
  ASSERT_TRUE(WriteFile(kNever, *other, Id(0, 1, 1), "other").ok());
  ASSERT_TRUE(WriteFile(kNever, *top, Id(0, 1, 1), "top").ok());
  ASSERT_TRUE(top->PutObject(kNever, "lock.json", "{}", "").ok());
  ASSERT_TRUE(top->DeleteAll(kNever).ok());
  EXPECT_EQ(top->List(kNever, kLevel0, {}).value().size(), 0U);
  EXPECT_TRUE(top->GetObject(kNever, "lock.json").error().Is(ErrorCode::kNotFound));
  EXPECT_EQ(ReadFile(kNever, *other, Id(0, 1, 1)).value(), "other");
  EXPECT_TRUE(other->DeleteAll(kNever).ok());
}

TEST(GsServer, AMissingBucketIsNoMissingFile) {
  auto options = At("wrong");
  options.bucket = "missing";
  const auto client = Connect(options);
  const Error errors[] = {
      client->List(kNever, kLevel0, {}).error(),
      ReadFile(kNever, *client, Id(0, 1, 1)).error(),
      WriteFile(kNever, *client, Id(0, 1, 1), "x").error(),
      WriteFile(kNever, *client, Id(0, 1, 1), MakeContent(9 << 20, 1)).error(),
      client->Delete(kNever, std::vector{Id(0, 1, 1)}).error(),
      client->GetObject(kNever, "lock.json").error(),
      client->PutObject(kNever, "lock.json", "x", "").error(),
  };
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.message();
    EXPECT_THAT(error.message(), HasSubstr("create the bucket, or correct its name"));
  }
}

}  // namespace
}  // namespace litestream
