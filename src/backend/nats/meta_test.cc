#include "backend/nats/meta.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "backend/nats/running_digest.h"

namespace litestream::nats {
namespace {

WallTime At(std::int64_t milliseconds) {
  return WallTime(std::chrono::milliseconds(milliseconds));
}

TEST(NatsMetaTest, WhatIsWritten) {
  ObjectMeta meta{.name = "ltx/0/a.ltx",
                  .nuid = "0123456789abcdefABCDEF",
                  .size_bytes = 131'073,
                  .chunks = 2,
                  .digest = "SHA-256=abc",
                  .created_at = At(1'767'323'045'670),
                  .chunk_bytes = 131'072,
                  .runs = {{.index = 0, .sequence = 17, .count = 2}}};
  EXPECT_EQ(
      FormatMeta(meta, "b"),
      R"({"bucket":"b","chunks":2,"digest":"SHA-256=abc","headers":{"Litestream-Chunks":)"
      R"(["131072 0:17+2"],"Litestream-Timestamp":["2026-01-02T03:04:05.67Z"]},)"
      R"("mtime":"0001-01-01T00:00:00Z","name":"ltx/0/a.ltx",)"
      R"("nuid":"0123456789abcdefABCDEF","options":{"max_chunk_size":131072},"size":131073})");
  const auto parsed = ParseMeta(FormatMeta(meta, "b"));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed.value().name, meta.name);
  EXPECT_EQ(parsed.value().nuid, meta.nuid);
  EXPECT_EQ(parsed.value().size_bytes, meta.size_bytes);
  EXPECT_EQ(parsed.value().chunks, meta.chunks);
  EXPECT_EQ(parsed.value().digest, meta.digest);
  EXPECT_EQ(parsed.value().created_at, meta.created_at);
  EXPECT_EQ(parsed.value().chunk_bytes, meta.chunk_bytes);
  EXPECT_EQ(parsed.value().runs, meta.runs);
  EXPECT_FALSE(parsed.value().deleted);
}

TEST(NatsMetaTest, ADeletedOne) {
  EXPECT_EQ(FormatMeta({.name = "n", .nuid = "u", .deleted = true}, "b"),
            R"({"bucket":"b","chunks":0,"deleted":true,"mtime":"0001-01-01T00:00:00Z","name":"n",)"
            R"("nuid":"u","options":{"max_chunk_size":131072},"size":0})");
  EXPECT_TRUE(ParseMeta(R"({"name":"n","deleted":true})").value().deleted);
}

// As nats.go writes it.
TEST(NatsMetaTest, OfAnotherClient) {
  const auto meta = ParseMeta(
      R"({"name":"ltx/0/0000000000000001-0000000000000001.ltx","headers":{"Litestream-Timestamp":)"
      R"(["2026-01-02T05:04:05.5+02:00"]},"options":{"max_chunk_size":131072},"bucket":"b",)"
      R"("nuid":"V9QdNJeRaTVTJqKy5ahvFd","size":513,"mtime":"0001-01-01T00:00:00Z","chunks":2,)"
      R"("digest":"SHA-256=x"})");
  ASSERT_TRUE(meta.ok()) << meta.error().message();
  EXPECT_EQ(meta.value().created_at, At(1'767'323'045'500));
  EXPECT_EQ(meta.value().chunk_bytes, 0U) << "chunks may have any size";
  EXPECT_TRUE(meta.value().runs.empty());
}

TEST(NatsMetaTest, WhatIsMalformed) {
  for (const char* text :
       {"", "{", "[]", "7", R"({"name":"","nuid":"u","size":1,"chunks":1})",
        R"({"name":"n","size":1,"chunks":1})", R"({"name":"n","nuid":"u","size":1})",
        R"({"name":"n","nuid":"u","size":-1,"chunks":1})",
        R"({"name":"n","nuid":"u","size":1.5,"chunks":1})",
        R"({"name":"n","nuid":"u","size":1,"chunks":0})",
        R"({"name":"n","nuid":"u","size":0,"chunks":1})",
        R"({"name":"n","nuid":"u","size":1,"chunks":2})",
        R"({"name":"n","nuid":"a.>","size":1,"chunks":1})",
        R"({"name":"n","nuid":"*","size":1,"chunks":1})"}) {
    SCOPED_TRACE(text);
    const auto meta = ParseMeta(text);
    ASSERT_FALSE(meta.ok());
    EXPECT_EQ(meta.error().code(), ErrorCode::kCorruption);
  }
}

TEST(NatsMetaTest, WhereChunksAre) {
  const struct {
    const char* why;
    const char* text;
    std::size_t runs;  // 0: it counts as absent.
  } cases[] = {
      {"one run", "10 0:5+4", 1},
      {"two", "10 0:5+2 2:9+2", 2},
      {"one was left out", "10 0:5+1 3:9+1", 2},
      {"nothing", "", 0},
      {"no runs", "10", 0},
      {"no runs behind a space", "10 ", 0},
      {"chunks of no bytes", "0 0:5+4", 0},
      {"another size of chunks", "11 0:5+4", 1},
      {"too few of that size", "5 0:5+4", 0},
      {"not the first", "10 1:5+3", 0},
      {"no chunks in it", "10 0:5+0", 0},
      {"more than there are", "10 0:5+5", 0},
      {"behind the last one", "10 0:5+3 3:8+2", 0},
      {"indexes go back", "10 0:5+2 1:9+2", 0},
      {"sequences go back", "10 0:5+2 2:6+2", 0},
      {"sequence 0", "10 0:0+4", 0},
      {"a sequence beyond all", "10 0:18446744073709551615+4", 0},
      {"a number beyond all", "10 0:99999999999999999999+4", 0},
      {"a word", "10 0:x+4", 0},
      {"something behind it", "10 0:5+4x", 0},
      {"two spaces", "10 0:5+2  2:9+2", 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto meta = ParseMeta(fmt::format(R"({{"name":"n","nuid":"u","size":35,"chunks":4,)"
                                            R"("headers":{{"Litestream-Chunks":["{}"]}}}})",
                                            c.text));
    ASSERT_TRUE(meta.ok()) << meta.error().message();
    EXPECT_EQ(meta.value().runs.size(), c.runs);
    EXPECT_EQ(meta.value().chunk_bytes > 0, c.runs > 0);
  }
}

TEST(NatsMetaTest, ManyRunsAreThinnedOut) {
  std::vector<ChunkRun> runs;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    runs.push_back({.index = i, .sequence = 1 + 2 * i, .count = 1});
  }
  ThinOut(runs);
  EXPECT_LE(runs.size(), kMaxRuns);
  EXPECT_GT(runs.size(), kMaxRuns / 2 - 1);
  EXPECT_EQ(runs.front().index, 0U);
  EXPECT_GT(runs.back().index, 900U);
}

TEST(NatsMetaTest, NamesInSubjects) {
  EXPECT_EQ(Base64Url("ltx/0/a?>"), "bHR4LzAvYT8-");
  EXPECT_EQ(Base64Url("ab"), "YWI=");
  EXPECT_EQ(FromBase64Url("bHR4LzAvYT8-"), "ltx/0/a?>");
  EXPECT_EQ(FromBase64Url("_w=="), "\xff");
  EXPECT_EQ(FromBase64Url("/w=="), std::nullopt) << "the other alphabet";
  EXPECT_EQ(FromBase64Url("YWI"), std::nullopt) << "no padding";
}

TEST(NatsMetaTest, Answers) {
  EXPECT_EQ(ParsePublishAck(R"({"stream":"OBJ_b", "seq":2,"duplicate": true})").value().sequence,
            2U);
  EXPECT_TRUE(
      ParsePublishAck(R"({"stream":"OBJ_b", "seq":2,"duplicate": true})").value().duplicate);
  for (const char* text : {"", "{}", "+OK", R"({"stream":"s","seq":0})", R"({"seq":1})"}) {
    EXPECT_FALSE(ParsePublishAck(text).ok()) << text;
  }
  const auto error = ParseApiError(
      R"({"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"},"seq":0})");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->err_code, 10071);
  EXPECT_EQ(error->description, "wrong last sequence: 4");
  EXPECT_FALSE(ParseApiError(R"({"error":7})"));
  const auto message =
      ParseStoredMessage(R"({"type":"t","message":{"subject":"$O.b.M.x","seq":5,"hdrs":"TkFUUw==",)"
                         R"("data":"eyJhIjoyfQ==",)"
                         R"("time":"2026-01-02T03:04:05.670502088Z"}})");
  ASSERT_TRUE(message.ok()) << message.error().message();
  EXPECT_EQ(message.value().data, R"({"a":2})");
  EXPECT_EQ(message.value().sequence, 5U);
  EXPECT_EQ(message.value().stored_at, At(1'767'323'045'670));
  EXPECT_FALSE(ParseStoredMessage(R"({"message":{"seq":5,"data":"?"}})").ok());
  EXPECT_FALSE(ParseStoredMessage(R"({"message":[]})").ok());
  const auto page = ParseSubjectPage(R"({"total":7,"config":{"allow_direct":true},)"
                                     R"("state":{"subjects":{"$O.b.M.x":1,"$O.b.M.y":2}}})");
  ASSERT_TRUE(page.ok()) << page.error().message();
  EXPECT_EQ(page.value().total, 7U);
  EXPECT_TRUE(page.value().direct);
  EXPECT_EQ(page.value().subjects.at("$O.b.M.y"), 2U);
  EXPECT_TRUE(ParseSubjectPage(R"({"state":{}})").value().subjects.empty());
  EXPECT_FALSE(ParseSubjectPage(R"({"state":{"subjects":["x"]}})").ok());
  EXPECT_FALSE(ParseSubjectPage("{}").ok());
}

TEST(NatsMetaTest, Digests) {
  RunningDigest empty;
  EXPECT_EQ(empty.Take(), "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=");
  RunningDigest digest;
  digest.Add("a");
  digest.Add("bc");
  EXPECT_EQ(digest.Take(), "SHA-256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=");
}

}  // namespace
}  // namespace litestream::nats
