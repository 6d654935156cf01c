#include <atomic>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "storage/old_backup.h"
#include "tests/contract/bodies.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

constexpr int kThreads = 6;

TEST_P(ContractTest, WithoutConditionalWritesSaysSo) {
  if (backend().conditional_puts) GTEST_SKIP() << "has conditional writes";
  EXPECT_EQ(CodeOf(client().PutObject(ctx_, "lock.json", "x", "")), ErrorCode::kUnsupported);
}

TEST_P(ObjectTest, AMissingObjectIsNotFound) {
  EXPECT_EQ(CodeOf(client().GetObject(ctx_, "lock.json")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(client().DeleteObject(ctx_, "lock.json", "tag")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(client().DeleteObject(ctx_, "lock.json", "")), ErrorCode::kNotFound);
}

TEST_P(ObjectTest, WrittenOnlyIfThereIsNone) {
  const std::string tag = Put("one", "");
  EXPECT_FALSE(tag.empty());
  EXPECT_EQ(CodeOf(client().PutObject(ctx_, "lock.json", "two", "")), ErrorCode::kAlreadyExists);
  const auto object = client().GetObject(ctx_, "lock.json");
  ASSERT_TRUE(object.ok()) << object.error().message();
  EXPECT_EQ(object.value().content, "one");
  EXPECT_EQ(object.value().tag, tag) << "PutObject and GetObject have to agree";
}

TEST_P(ObjectTest, WrittenOnlyIfTheTagIsStillThis) {
  EXPECT_EQ(CodeOf(client().PutObject(ctx_, "lock.json", "x", "some-tag")),
            ErrorCode::kAlreadyExists)
      << "the object with this tag is gone";
  const std::string first = Put("one", "");
  const std::string second = Put("two", first);
  EXPECT_NE(second, first);
  EXPECT_EQ(CodeOf(client().PutObject(ctx_, "lock.json", "three", first)),
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(Get(), "two");
  Put("three", second);
  EXPECT_EQ(Get(), "three");
}

TEST_P(ObjectTest, DeletedOnlyIfTheTagIsStillThis) {
  const std::string first = Put("one", "");
  const std::string second = Put("two", first);
  EXPECT_EQ(CodeOf(client().DeleteObject(ctx_, "lock.json", first)), ErrorCode::kAlreadyExists);
  EXPECT_EQ(Get(), "two");
  EXPECT_TRUE(client().DeleteObject(ctx_, "lock.json", second).ok());
  EXPECT_EQ(CodeOf(client().GetObject(ctx_, "lock.json")), ErrorCode::kNotFound);
  Put("three", "");
  EXPECT_TRUE(client().DeleteObject(ctx_, "lock.json", "").ok()) << "no tag: whatever it holds";
  EXPECT_EQ(CodeOf(client().GetObject(ctx_, "lock.json")), ErrorCode::kNotFound);
}

TEST_P(ObjectTest, AnyContentAndNoMixingWithFiles) {
  const std::string content = MakeContent(10'000, 1);
  const std::string tag = Put(content, "");
  EXPECT_TRUE(Get() == content);
  Put("", tag);
  EXPECT_EQ(Get(), "");
  const auto other = client().PutObject(ctx_, "check.json", "of its own", "");
  EXPECT_TRUE(other.ok()) << other.error().message();
  for (int level = 0; level < kLevelCount; ++level) EXPECT_EQ(Listed(level), "");
  Write(Id(0, 1, 1), "x");
  EXPECT_EQ(Get(), "");
}

TEST_P(ObjectTest, ACancelledCallDoesNothing) {
  const std::string tag = Put("one", "");
  std::stop_source stop;
  stop.request_stop();
  const Context cancelled(stop.get_token());
  EXPECT_EQ(CodeOf(client().GetObject(cancelled, "lock.json")), ErrorCode::kCancelled);
  EXPECT_EQ(CodeOf(client().PutObject(cancelled, "lock.json", "x", tag)), ErrorCode::kCancelled);
  EXPECT_EQ(CodeOf(client().DeleteObject(cancelled, "lock.json", tag)), ErrorCode::kCancelled);
  EXPECT_EQ(Get(), "one");
}

TEST_P(ObjectTest, OfManyThatCreateOneWins) {
  std::atomic<int> winners = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([this, i, &winners] {
        const auto put = replica().Connect()->PutObject(ctx_, "lock.json", std::to_string(i), "");
        if (put.ok()) {
          ++winners;
        } else {
          EXPECT_EQ(put.error().code(), ErrorCode::kAlreadyExists) << put.error().message();
        }
      });
    }
  }
  EXPECT_EQ(winners, 1);
}

// Each success adds one to the number in the object. A lost update would leave it too small.
TEST_P(ObjectTest, NoUpdateIsLost) {
  constexpr int kRounds = 20;
  Put("0", "");
  std::atomic<int> successes = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([this, &successes] {
        const auto client = replica().Connect();
        for (int round = 0; round < kRounds; ++round) {
          const auto object = client->GetObject(ctx_, "lock.json");
          if (!object.ok()) {
            ADD_FAILURE() << object.error().message();
            return;
          }
          const auto next = std::to_string(std::stoi(object.value().content) + 1);
          const auto put = client->PutObject(ctx_, "lock.json", next, object.value().tag);
          if (put.ok()) {
            ++successes;
          } else {
            EXPECT_EQ(put.error().code(), ErrorCode::kAlreadyExists) << put.error().message();
          }
        }
      });
    }
  }
  EXPECT_GE(successes, kRounds);
  EXPECT_EQ(Get(), std::to_string(successes));
}

TEST_P(ObjectTest, BackupsOfOldVersionsAreListedAndRead) {
  if (!backend().old_backups) {
    EXPECT_EQ(CodeOf(client().ListObjects(ctx_, "", 0)), ErrorCode::kUnsupported);
    EXPECT_EQ(CodeOf(client().OpenObject(ctx_, "x", {})), ErrorCode::kUnsupported);
    return;
  }
  EXPECT_FALSE(HasOldBackup(ctx_, client()).value()) << "nothing is there";
  const std::string generation = "generations/0123456789abcdef/";
  Write(Id(0, 1, 1), "x");
  Put("a lease", "");
  for (const char* name : {"wal/00000001_00001038.wal.lz4", "wal/00000000_00000000.wal.lz4",
                           "snapshots/00000001.snapshot.lz4", "wal/x"}) {
    ASSERT_TRUE(client().PutObject(ctx_, generation + name, std::string("of ") + name, "").ok());
  }
  EXPECT_TRUE(HasOldBackup(ctx_, client()).value());
  const auto found = ListOldBackup(ctx_, client());
  ASSERT_TRUE(found.ok()) << found.error().message();
  ASSERT_EQ(found.value().size(), 1U);
  const OldGeneration& old = found.value()[0];
  ASSERT_EQ(old.snapshots.size(), 1U);
  ASSERT_EQ(old.segments.size(), 2U);
  EXPECT_EQ(old.segments[1].offset_bytes, 0x1038U);
  const ObjectInfo& object = old.snapshots[0].object;
  EXPECT_EQ(object.size_bytes, std::string("of snapshots/00000001.snapshot.lz4").size());
  EXPECT_GT(object.modified_at, WallTime());
  const auto read = [&](const ByteRange& range) {
    auto source = client().OpenObject(ctx_, object.name, range);
    EXPECT_TRUE(source.ok()) << source.error().message();
    return ReadAll(ctx_, *source.value()).value();
  };
  EXPECT_EQ(read({}), "of snapshots/00000001.snapshot.lz4");
  EXPECT_EQ(read({.offset_bytes = 3, .length_bytes = 4}), "snap");
  EXPECT_EQ(CodeOf(client().OpenObject(ctx_, generation + "none", {})), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace litestream::contract
