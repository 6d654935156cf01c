#include "backend/webdav/multistatus.h"

#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

namespace litestream::webdav {
namespace {

std::vector<Resource> Read(std::string_view text) {
  std::vector<Resource> resources;
  const auto read = ReadMultistatus(text, [&](const Resource& resource) -> Result<void> {
    resources.push_back(resource);
    return {};
  });
  EXPECT_TRUE(read.ok()) << read.error().message();
  return resources;
}

ErrorCode CodeOf(std::string_view text) {
  const auto read = ReadMultistatus(text, [](const Resource&) { return Result<void>(); });
  return read.ok() ? ErrorCode::kInternal : read.error().code();
}

// What Apache 2.4 sends.
constexpr std::string_view kApache = R"(<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns1="https://litestream.io/ns/webdav" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:g0="DAV:" xmlns:g1="https://litestream.io/ns/webdav">
<D:href>/d/</D:href>
<D:propstat>
<D:prop>
<lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Sat, 28 Nov 2026 09:50:59 GMT</lp1:getlastmodified>
</D:prop>
<D:status>HTTP/1.1 200 OK</D:status>
</D:propstat>
<D:propstat>
<D:prop>
<g0:getcontentlength/>
<g1:created-at/>
</D:prop>
<D:status>HTTP/1.1 404 Not Found</D:status>
</D:propstat>
</D:response>
<D:response xmlns:lp1="DAV:" xmlns:ns1="https://litestream.io/ns/webdav">
<D:href>/d/a%20b</D:href>
<D:propstat>
<D:prop>
<lp1:resourcetype/>
<lp1:getcontentlength>6</lp1:getcontentlength>
<lp1:getlastmodified>Sat, 28 Nov 2026 09:50:59 GMT</lp1:getlastmodified>
<ns1:created-at>2026-01-02T03:04:05.678Z</ns1:created-at>
</D:prop>
<D:status>HTTP/1.1 200 OK</D:status>
</D:propstat>
</D:response>
</D:multistatus>
)";

TEST(MultistatusTest, AListOfApache) {
  const auto resources = Read(kApache);
  ASSERT_EQ(resources.size(), 2U);
  EXPECT_EQ(resources[0].href, "/d/");
  EXPECT_TRUE(resources[0].is_collection);
  EXPECT_FALSE(resources[0].size_bytes);
  EXPECT_FALSE(resources[0].created_at) << "the server says 404 of it";
  EXPECT_EQ(resources[0].property_status, 404);
  EXPECT_EQ(resources[1].href, "/d/a%20b");
  EXPECT_FALSE(resources[1].is_collection);
  EXPECT_EQ(resources[1].size_bytes, 6U);
  EXPECT_EQ(resources[1].last_modified, "Sat, 28 Nov 2026 09:50:59 GMT");
  EXPECT_EQ(resources[1].created_at, "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(resources[1].property_status, 0);
}

TEST(MultistatusTest, WhatIsNotAskedForDoesNotCount) {
  const auto resources = Read(R"(<multistatus xmlns="DAV:"><response><href> /a&amp;b </href>
    <propstat><prop><lockdiscovery><collection/><href>/x</href></lockdiscovery>
    <x:getcontentlength xmlns:x="other">7</x:getcontentlength>
    <y:created-at xmlns:y="other">no</y:created-at><getcontentlength>1x</getcontentlength>
    <getlastmodified><b>x</b></getlastmodified></prop><status>HTTP/2 200</status></propstat>
    <error><collection/></error><responsedescription>text</responsedescription></response>
    <response><href>/gone</href><status>HTTP/1.1 404 Not Found</status></response>
    <responsedescription>more</responsedescription></multistatus>)");
  ASSERT_EQ(resources.size(), 2U);
  EXPECT_EQ(resources[0].href, "/a&b");
  EXPECT_FALSE(resources[0].is_collection);
  EXPECT_FALSE(resources[0].size_bytes);
  EXPECT_FALSE(resources[0].created_at);
  EXPECT_EQ(resources[0].status, 0);
  EXPECT_EQ(resources[1].status, 404);
}

TEST(MultistatusTest, ARefusedProperty) {
  const auto resources = Read(R"(<D:multistatus xmlns:D="DAV:"><D:response><D:href>/d/a</D:href>
    <D:propstat><D:prop><created-at xmlns="https://litestream.io/ns/webdav"></created-at></D:prop>
    <D:status>HTTP/1.1 403 Forbidden</D:status></D:propstat></D:response></D:multistatus>)");
  ASSERT_EQ(resources.size(), 1U);
  EXPECT_FALSE(resources[0].created_at);
  EXPECT_EQ(resources[0].property_status, 403);
}

TEST(MultistatusTest, WhatIsNoneIsNoShortList) {
  for (std::size_t size = 0; size + 2 < kApache.size(); size += 7) {
    EXPECT_EQ(CodeOf(kApache.substr(0, size)), ErrorCode::kUnavailable) << size;
  }
  EXPECT_EQ(CodeOf("<html><body>Welcome</body></html>"), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf("<multistatus/>"), ErrorCode::kUnavailable) << "of no namespace";
  EXPECT_EQ(CodeOf(fmt::format("<multistatus xmlns=\"DAV:\"><response><href>{}</href></response>"
                               "</multistatus>",
                               std::string(20'000, 'x'))),
            ErrorCode::kUnavailable)
      << "a path that is too long";
}

TEST(MultistatusTest, StatusLines) {
  EXPECT_EQ(StatusOfLine("HTTP/1.1 200 OK"), 200);
  EXPECT_EQ(StatusOfLine("HTTP/2 404"), 404);
  for (const char* line : {"", "200", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 x00"}) {
    EXPECT_EQ(StatusOfLine(line), 0) << line;
  }
}

}  // namespace
}  // namespace litestream::webdav
