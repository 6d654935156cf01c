#include "backend/webdav/multistatus.h"

#include <charconv>
#include <utility>

#include "base/try.h"

namespace litestream::webdav {
namespace {

using http::XmlName;

constexpr std::string_view kDav = "DAV:";
constexpr std::size_t kMaxTextBytes = 16 * 1024;  // A path, the longest of what we want to know.
// Depths of what is known: <multistatus>, <response>, <propstat> and others, <prop>, a property.
constexpr std::size_t kResponseDepth = 2;
constexpr std::size_t kPropstatDepth = 3;
constexpr std::size_t kPropDepth = 4;
constexpr std::size_t kPropertyDepth = 5;

bool Is(const XmlName& name, std::string_view local) {
  return name.space == kDav && name.local == local;
}

bool IsOurs(const XmlName& name) {
  return name.space == kOurNamespace && name.local == kCreatedAt;
}

bool IsWanted(const XmlName& name) {
  return IsOurs(name) || Is(name, "resourcetype") || Is(name, "getcontentlength") ||
         Is(name, "getlastmodified");
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

std::optional<std::uint64_t> ParseSize(std::string_view text) {
  std::uint64_t size = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, size);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return size;
}

// What cannot be read may be whole the next time.
Result<void> Unreadable(Result<void> read) {
  if (read.ok() || !read.error().Is(ErrorCode::kCorruption)) return read;
  return Error(ErrorCode::kUnavailable,
               "the answer is no multistatus of WebDAV: " + read.error().message());
}

}  // namespace

Result<void> MultistatusReader::Feed(std::string_view piece) {
  return Unreadable(xml_.Feed(piece));
}

Result<void> MultistatusReader::Finish() {
  return Unreadable(xml_.Finish());
}

Result<void> MultistatusReader::OnStart(const XmlName& name) {
  ++depth_;
  text_.clear();
  if (skip_from_ != 0) return {};
  bool known = false;
  if (depth_ == 1) {
    if (!Is(name, "multistatus")) return Error(ErrorCode::kCorruption, "it begins otherwise");
    known = true;
  } else if (depth_ == kResponseDepth) {
    known = Is(name, "response");
    resource_ = {};
  } else if (depth_ == kPropstatDepth) {
    in_properties_ = Is(name, "propstat");
    properties_ = {};
    known = in_properties_ || Is(name, "href") || Is(name, "status");
  } else if (depth_ == kPropDepth) {
    known = in_properties_ && (Is(name, "prop") || Is(name, "status"));
  } else if (depth_ == kPropertyDepth) {
    known = IsWanted(name);
    in_type_ = Is(name, "resourcetype");
  } else if (in_type_ && Is(name, "collection")) {
    properties_.is_collection = true;
  }
  if (!known) skip_from_ = depth_;
  return {};
}

Result<void> MultistatusReader::OnText(std::string_view text) {
  // Between tags there may be any number of spaces; around what is wanted they do not count.
  if (skip_from_ != 0 || (text_.empty() && Trimmed(text).empty())) return {};
  if (text_.size() + text.size() > kMaxTextBytes) {
    return Error(ErrorCode::kCorruption, "a text that is too long");
  }
  text_ += text;
  return {};
}

void MultistatusReader::EndProperty(const XmlName& name, std::string_view text) {
  if (IsOurs(name)) {
    properties_.created_at = std::string(text);
  } else if (Is(name, "getcontentlength")) {
    properties_.size_bytes = ParseSize(text);
  } else if (Is(name, "getlastmodified")) {
    properties_.last_modified = text;
  }
}

void MultistatusReader::EndProperties() {
  const int status = properties_.status;
  if (status >= 300 && resource_.property_status == 0) resource_.property_status = status;
  if (status < 200 || status >= 300) return;
  resource_.is_collection |= properties_.is_collection;
  if (properties_.size_bytes) resource_.size_bytes = properties_.size_bytes;
  if (!properties_.last_modified.empty()) resource_.last_modified = properties_.last_modified;
  if (properties_.created_at) resource_.created_at = properties_.created_at;
}

Result<void> MultistatusReader::OnEnd(const XmlName& name) {
  const std::size_t depth = depth_--;
  const std::string own = std::exchange(text_, {});
  const std::string_view text = Trimmed(own);
  if (skip_from_ != 0) {
    if (skip_from_ == depth) skip_from_ = 0;
    return {};
  }
  if (depth == kPropertyDepth) {
    EndProperty(name, text);
  } else if (depth == kPropDepth) {
    if (Is(name, "status")) properties_.status = StatusOfLine(text);
  } else if (depth == kPropstatDepth) {
    if (in_properties_) {
      EndProperties();
    } else if (Is(name, "href")) {
      resource_.href = text;
    } else {
      resource_.status = StatusOfLine(text);
    }
    in_properties_ = false;
  } else if (depth == kResponseDepth) {
    return take_(resource_);
  }
  return {};
}

Result<void> ReadMultistatus(std::string_view text, MultistatusReader::Take take) {
  MultistatusReader reader(std::move(take));
  LS_TRY(reader.Feed(text));
  return reader.Finish();
}

int StatusOfLine(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (!line.starts_with("HTTP/") || space == std::string_view::npos) return 0;
  int status = 0;
  const std::string_view digits = line.substr(space + 1, 3);
  const char* const end = digits.data() + digits.size();
  if (std::from_chars(digits.data(), end, status).ptr != end || status < 100) return 0;
  return status;
}

}  // namespace litestream::webdav
