#include <gtest/gtest.h>

#include "tests/contract/bodies.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

TEST_P(ContractTest, ReadsBackWhatWasWritten) {
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{100}, std::size_t{4096}, (std::size_t{1} << 20) - 1,
        std::size_t{1} << 20, (std::size_t{1} << 20) + 1, (std::size_t{9} << 20) + 12345}) {
    SCOPED_TRACE(size);
    const std::string content = MakeContent(size, size);
    for (const bool announced : {false, true}) {
      WriteOptions options;
      if (announced) options.size_bytes = size;
      Write(Id(9, 1, 7), content, options);
      EXPECT_TRUE(Read(Id(9, 1, 7)) == content);
      const auto files = List(kSnapshotLevel);
      ASSERT_EQ(files.size(), 1U);
      EXPECT_EQ(files[0].size_bytes, size);
    }
  }
}

TEST_P(ContractTest, ReadsABodyThatComesInDrops) {
  const std::string content = MakeContent(3000, 1);
  TextSource body(content, /*step_bytes=*/7);
  const auto info = client().Write(ctx_, Id(0, 1, 1), body, {.size_bytes = content.size()});
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_TRUE(Read(Id(0, 1, 1)) == content);
}

TEST_P(ContractTest, Ranges) {
  const std::string content = MakeContent(100'000, 2);
  Write(Id(0, 1, 1), content);
  const struct {
    const char* why;
    std::uint64_t offset;
    std::uint64_t length;
    std::size_t want;
  } cases[] = {
      {"all", 0, 0, 100'000},
      {"the header", 0, 100, 100},
      {"the tail", 100'000 - 32'768, 0, 32'768},
      {"in the middle", 500, 1000, 1000},
      {"one byte", 99'999, 1, 1},
      {"to exactly the end", 99'000, 1000, 1000},
      {"longer than the file", 99'000, 5000, 1000},
      {"longer than anything", 10, ~0ULL, 99'990},
      {"at the end", 100'000, 0, 0},
      {"at the end, with a length", 100'000, 10, 0},
      {"behind the end", 200'000, 0, 0},
      {"behind the end, with a length", 200'000, 10, 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto got = Read(Id(0, 1, 1), {.offset_bytes = c.offset, .length_bytes = c.length});
    ASSERT_EQ(got.size(), c.want);
    EXPECT_TRUE(got.empty() || got == content.substr(c.offset, c.want));
  }
}

TEST_P(ContractTest, TheEndStaysTheEnd) {
  Write(Id(0, 1, 1), "abc");
  const auto source = client().Open(ctx_, Id(0, 1, 1), {});
  ASSERT_TRUE(source.ok()) << source.error().message();
  std::array<std::byte, 10> buffer{};
  EXPECT_EQ(source.value()->Read(ctx_, std::span(buffer).first(0)).value(), 0U);
  ASSERT_EQ(ReadFull(ctx_, *source.value(), buffer).value(), 3U);
  EXPECT_EQ(source.value()->Read(ctx_, buffer).value(), 0U);
  EXPECT_EQ(source.value()->Read(ctx_, buffer).value(), 0U);
}

TEST_P(ContractTest, AMissingFileIsNotFound) {
  Write(Id(0, 1, 1), "x");
  for (const FileId& id : {Id(0, 2, 2), Id(0, 1, 2), Id(1, 1, 1), Id(9, 1, 1)}) {
    const auto source = client().Open(ctx_, id, {});
    ASSERT_FALSE(source.ok());
    EXPECT_EQ(source.error().code(), ErrorCode::kNotFound) << source.error().message();
  }
}

TEST_P(ContractTest, ASourceOutlivesItsClient) {
  const std::string content = MakeContent(2 << 20, 3);
  Write(Id(0, 1, 1), content);
  auto other = replica().Connect();
  auto source = other->Open(ctx_, Id(0, 1, 1), {});
  ASSERT_TRUE(source.ok()) << source.error().message();
  other.reset();
  const auto got = ReadAll(ctx_, *source.value());
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_TRUE(got.value() == content);
}

TEST_P(ContractTest, ManySourcesAtTheSameTime) {
  std::vector<std::unique_ptr<ByteSource>> sources;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    Write(Id(0, i, i), MakeContent(5000, i));
    auto source = client().Open(ctx_, Id(0, i, i), {.offset_bytes = i});
    ASSERT_TRUE(source.ok()) << source.error().message();
    sources.push_back(std::move(source).value());
  }
  for (std::uint64_t i = 20; i >= 1; --i) {
    const auto got = ReadAll(ctx_, *sources[i - 1], /*step_bytes=*/333);
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_TRUE(got.value() == MakeContent(5000, i).substr(i)) << i;
  }
}

TEST_P(ContractTest, DeletedFilesAreNotFound) {
  for (std::uint64_t i = 1; i <= 4; ++i) Write(Id(0, i, i), "x");
  Write(Id(1, 2, 2), "the same range on another level");
  const FileId ids[] = {Id(0, 2, 2), Id(0, 3, 3)};
  const auto deleted = client().Delete(ctx_, ids);
  ASSERT_TRUE(deleted.ok()) << deleted.error().message();
  for (const FileId& id : ids) {
    const auto source = client().Open(ctx_, id, {});
    ASSERT_FALSE(source.ok());
    EXPECT_EQ(source.error().code(), ErrorCode::kNotFound);
  }
  EXPECT_EQ(Listed(0), "1-1 4-4");
  EXPECT_EQ(Listed(1), "2-2");
}

TEST_P(ContractTest, DeletingWhatIsNotThereIsNoError) {
  EXPECT_TRUE(client().Delete(ctx_, {}).ok());
  const FileId ids[] = {Id(0, 7, 7), Id(0, 1, 1), Id(5, 7, 7)};
  EXPECT_TRUE(client().Delete(ctx_, ids).ok()) << "in an empty replica";
  Write(Id(0, 1, 1), "x");
  const auto deleted = client().Delete(ctx_, ids);
  EXPECT_TRUE(deleted.ok()) << deleted.error().message();
  EXPECT_EQ(Listed(0), "") << "the one that was there, between two that were not";
}

TEST_P(ContractTest, DeleteAll) {
  EXPECT_TRUE(client().DeleteAll(ctx_).ok()) << "in an empty replica";
  for (int level = 0; level < kLevelCount; ++level) Write(Id(level, 1, 1), "x");
  const auto deleted = client().DeleteAll(ctx_);
  ASSERT_TRUE(deleted.ok()) << deleted.error().message();
  for (int level = 0; level < kLevelCount; ++level) EXPECT_EQ(Listed(level), "");
  Write(Id(0, 1, 1), "again");
  EXPECT_EQ(Read(Id(0, 1, 1)), "again");
}

}  // namespace
}  // namespace litestream::contract
