#include "backend/abs/list_page.h"

#include <gtest/gtest.h>

#include "format/names.h"

namespace litestream::abs {
namespace {

std::string Page(std::string_view blobs, std::string_view marker = "") {
  return "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?>"
         "<EnumerationResults ServiceEndpoint=\"https://a.blob.core.windows.net/\" "
         "ContainerName=\"c\"><Prefix>db/</Prefix><Blobs>" +
         std::string(blobs) + "</Blobs><NextMarker>" + std::string(marker) +
         "</NextMarker></EnumerationResults>";
}

std::string Blob(std::string_view metadata, std::string_view properties = "") {
  return "<Blob><Name>db/x &amp; y</Name><Properties>"
         "<Creation-Time>Fri, 02 Jan 2026 03:04:05 GMT</Creation-Time>"
         "<Last-Modified>Fri, 02 Jan 2026 03:04:06 GMT</Last-Modified>"
         "<Content-Length>12</Content-Length>" +
         std::string(properties) + "</Properties>" + std::string(metadata) + "</Blob>";
}

TEST(AbsListPage, Times) {
  const struct {
    const char* why;
    const char* metadata;
    const char* created_at;
  } cases[] = {
      {"ours",
       "<Metadata><litestreamtimestamp>2025-01-01T00:00:00.123Z</litestreamtimestamp>"
       "</Metadata>",
       "2025-01-01T00:00:00.123Z"},
      {"case does not count",
       "<Metadata><a>b</a><LitestreamTimestamp>2025-01-01T00:00:00Z</LitestreamTimestamp>"
       "</Metadata>",
       "2025-01-01T00:00:00.000Z"},
      {"of older versions", "<Metadata/>", "2026-01-02T03:04:05.000Z"},
      {"no metadata at all", "", "2026-01-02T03:04:05.000Z"},
      {"no time", "<Metadata><litestreamtimestamp>soon</litestreamtimestamp></Metadata>",
       "2026-01-02T03:04:05.000Z"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto page = ParseListPage(Page(Blob(c.metadata), "m&amp;1"));
    ASSERT_TRUE(page.ok()) << page.error().message();
    EXPECT_EQ(page.value().next_marker, "m&1");
    ASSERT_EQ(page.value().blobs.size(), 1U);
    const ListedBlob& blob = page.value().blobs[0];
    EXPECT_EQ(blob.name, "db/x & y");
    EXPECT_EQ(blob.size_bytes, 12U);
    EXPECT_EQ(FormatTimestampMillis(blob.created_at), c.created_at);
    EXPECT_EQ(FormatTimestampMillis(blob.modified_at), "2026-01-02T03:04:06.000Z");
    EXPECT_FALSE(blob.is_directory);
  }
}

TEST(AbsListPage, DirectoriesOfAHierarchicalNamespace) {
  const auto page = ParseListPage(
      Page(Blob("", "<ResourceType>directory</ResourceType>") +
           Blob("<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>") + Blob("")));
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page.value().blobs[0].is_directory);
  EXPECT_TRUE(page.value().blobs[1].is_directory);
  EXPECT_FALSE(page.value().blobs[2].is_directory);
}

TEST(AbsListPage, AnEmptyOneMayHaveAMarker) {
  const auto page = ParseListPage(Page("", "next"));
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page.value().blobs.empty());
  EXPECT_EQ(page.value().next_marker, "next");
}

TEST(AbsListPage, WhatIsNone) {
  const std::string whole = Page(Blob(""));
  for (const std::string& text :
       {std::string(), whole.substr(0, whole.size() - 5), std::string("<html></html>"),
        std::string("<EnumerationResults/>"), Page("<Blob><Name>x</Name><Properties/></Blob>"),
        Page("<Blob><Name>x</Name><Properties><Content-Length>1x</Content-Length></Properties>"
             "</Blob>")}) {
    SCOPED_TRACE(text);
    const auto page = ParseListPage(text);
    ASSERT_FALSE(page.ok());
    EXPECT_EQ(page.error().code(), ErrorCode::kUnavailable);
  }
}

}  // namespace
}  // namespace litestream::abs
