#include "backend/gs/object.h"

#include <gtest/gtest.h>

#include "backend/gs/summed_source.h"
#include "format/names.h"

namespace litestream::gs {
namespace {

TEST(GsObject, OfALongList) {
  const auto page = ParseListPage(
      R"({"kind":"storage#objects","nextPageToken":"next","items":[
           {"name":"a","size":"18446744073709551615","timeCreated":"2026-01-02T03:04:05.678Z",
            "generation":"1767323045678901","crc32c":"4waSgw==",
            "metadata":{"litestream-timestamp":"2025-01-02T03:04:05.67Z"}},
           {"name":"b","size":"0","timeCreated":"2026-01-02T03:04:05Z",
            "metadata":{"litestream-timestamp":"yesterday"}},
           {"name":"c","metadata":null}]})");
  ASSERT_TRUE(page.ok()) << page.error().message();
  EXPECT_EQ(page.value().next_page_token, "next");
  const auto& objects = page.value().objects;
  ASSERT_EQ(objects.size(), 3U);
  EXPECT_EQ(objects[0].size_bytes, ~std::uint64_t{0});
  EXPECT_EQ(objects[0].generation, "1767323045678901");
  EXPECT_EQ(FormatTimestamp(objects[0].time_created), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(FormatTimestamp(objects[0].created_at), "2025-01-02T03:04:05.67Z");
  EXPECT_EQ(FormatTimestamp(objects[1].created_at), "2026-01-02T03:04:05Z");
  EXPECT_EQ(objects[2].size_bytes, 0U);
  EXPECT_EQ(objects[2].created_at, WallTime());
}

TEST(GsObject, AnEmptyListAndNoList) {
  EXPECT_TRUE(ParseListPage(R"({"kind":"storage#objects"})").ok());
  for (const char* text : {"", "null", "[]", "{\"items\":[{\"size\":\"1\"}]}",
                           "{\"items\":[{\"name\":\"a\",\"size\":\"-1\"}]}", "{\"items\":[1]}"}) {
    EXPECT_FALSE(ParseListPage(text).ok()) << text;
  }
}

TEST(GsObject, HowMuchIsPersisted) {
  EXPECT_EQ(ParsePersisted("").value(), 0U);
  EXPECT_EQ(ParsePersisted("bytes=0-262143").value(), 262144U);
  for (const char* text : {"bytes=1-5", "0-5", "bytes=0-", "bytes=0-5x", "bytes=0--1",
                           "bytes=0-18446744073709551615", "bytes=0-99999999999999999999"}) {
    EXPECT_FALSE(ParsePersisted(text).ok()) << text;
  }
}

TEST(GsObject, SumsOfHeaders) {
  EXPECT_EQ(Crc32cOfHeader("crc32c=4waSgw==,md5=x"), "4waSgw==");
  EXPECT_EQ(Crc32cOfHeader("md5=x, crc32c=4waSgw=="), "4waSgw==");
  EXPECT_EQ(Crc32cOfHeader("md5=x"), "");
  EXPECT_EQ(Crc32cOfHeader(""), "");
}

TEST(GsObject, OnlyAllOfAnObjectHasASum) {
  const http::Header hash{"X-Goog-Hash", "crc32c=4waSgw=="};
  const http::Header md5{"x-goog-hash", "md5=x"};
  const auto size_of = [](int status, const http::Headers& headers) {
    const auto sum = SumOfAnswer(status, headers);
    return sum ? static_cast<std::int64_t>(sum->size_bytes) : -1;
  };
  EXPECT_EQ(size_of(200, {md5, hash, {"Content-Length", "9"}}), 9);
  EXPECT_EQ(size_of(200, {hash, {"X-Goog-Stored-Content-Length", "9"}}), 9);
  EXPECT_EQ(size_of(206, {hash, {"Content-Range", "bytes 0-8/9"}, {"Content-Length", "9"}}), 9);
  EXPECT_EQ(size_of(206, {hash, {"Content-Range", "bytes 0-7/9"}}), -1);
  EXPECT_EQ(size_of(206, {hash, {"Content-Range", "bytes 1-8/9"}}), -1);
  EXPECT_EQ(size_of(206, {hash, {"Content-Range", "bytes 0-8/*"}}), -1);
  EXPECT_EQ(size_of(206, {hash}), -1);
  EXPECT_EQ(size_of(200, {md5, {"Content-Length", "9"}}), -1);
  EXPECT_EQ(size_of(416, {hash, {"Content-Length", "9"}}), -1);
}

}  // namespace
}  // namespace litestream::gs
