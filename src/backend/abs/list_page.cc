#include "backend/abs/list_page.h"

#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/date.h"
#include "http/headers.h"
#include "http/xml.h"

namespace litestream::abs {
namespace {

// Names of metadata keep their case, and are compared without it.
std::string MetadataOf(const http::XmlElement& blob, std::string_view name) {
  const http::XmlElement* const metadata = blob.Find("Metadata");
  if (metadata == nullptr) return {};
  for (const http::XmlElement& element : metadata->children) {
    if (http::LowerCase(element.name) == name) return element.text;
  }
  return {};
}

Result<ListedBlob> ParseBlob(const http::XmlElement& blob) {
  ListedBlob listed{.name = blob.TextOf("Name")};
  const http::XmlElement none;
  const http::XmlElement* const found = blob.Find("Properties");
  const http::XmlElement& properties = found == nullptr ? none : *found;
  const std::string size = properties.TextOf("Content-Length");
  const char* const end = size.data() + size.size();
  if (size.empty() || std::from_chars(size.data(), end, listed.size_bytes).ptr != end) {
    return Error(ErrorCode::kUnavailable, fmt::format("{} has no size", http::Shown(listed.name)));
  }
  listed.modified_at = http::ParseDate(properties.TextOf("Last-Modified"));
  listed.created_at = http::ParseDate(properties.TextOf("Creation-Time"));
  if (listed.created_at == WallTime()) listed.created_at = listed.modified_at;
  const auto ours = ParseTimestamp(MetadataOf(blob, kTimestampName));
  if (ours.ok()) listed.created_at = ours.value();
  listed.is_directory = properties.TextOf("ResourceType") == "directory" ||
                        MetadataOf(blob, "hdi_isfolder") == "true";
  return listed;
}

}  // namespace

Result<ListPage> ParseListPage(std::string_view xml) {
  const auto root = http::ParseXml(xml);
  if (!root.ok() || root.value().name != "EnumerationResults" ||
      root.value().Find("Blobs") == nullptr) {
    return Error(ErrorCode::kUnavailable, "the answer is no list");
  }
  ListPage page{.blobs = {}, .next_marker = root.value().TextOf("NextMarker")};
  for (const http::XmlElement& element : root.value().Find("Blobs")->children) {
    if (element.name == "Blob") page.blobs.push_back(LS_TRY(ParseBlob(element)));
  }
  return page;
}

}  // namespace litestream::abs
