#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "http/xml_reader.h"
#include "litestream/result.h"

namespace litestream::webdav {

// Our own property of a file: the time of its creation, RFC 3339.
inline constexpr std::string_view kOurNamespace = "https://litestream.io/ns/webdav";
inline constexpr std::string_view kCreatedAt = "created-at";

// What a server says of one resource (RFC 4918, 14.24). Properties that it does not have, or does
// not want to tell, are unset.
struct Resource {
  std::string href;
  int status = 0;  // Of the whole resource; 0 if it is said of each property.
  // The first status from 300 on of a property, and 0 if there is none.
  int property_status = 0;
  bool is_collection = false;
  std::optional<std::uint64_t> size_bytes;
  std::string last_modified;
  std::optional<std::string> created_at;  // Our property; "" in an answer to a PROPPATCH.
};

// Reads an answer of status 207 piece by piece, and gives each resource to `take`.
//
// Errors: kUnavailable (the answer is none, or was cut off), and those of `take`.
class MultistatusReader final : private http::XmlHandler {
 public:
  using Take = std::function<Result<void>(const Resource&)>;
  explicit MultistatusReader(Take take) : take_(std::move(take)), xml_(*this) {}

  Result<void> Feed(std::string_view piece);
  Result<void> Finish();

 private:
  Result<void> OnStart(const http::XmlName& name) override;
  Result<void> OnText(std::string_view text) override;
  Result<void> OnEnd(const http::XmlName& name) override;
  void EndProperty(const http::XmlName& name, std::string_view text);
  void EndProperties();

  const Take take_;
  http::XmlReader xml_;
  // Where we are: multistatus/response/propstat/prop/*; anything else is skipped.
  std::size_t depth_ = 0;
  std::size_t skip_from_ = 0;   // The depth of the outermost element that does not matter; 0: none.
  bool in_properties_ = false;  // <propstat>
  bool in_type_ = false;        // <resourcetype>
  std::string text_;
  Resource resource_;
  Resource properties_;  // Of this <propstat>, until its status is known.
};

// All of an answer.
Result<void> ReadMultistatus(std::string_view text, MultistatusReader::Take take);

// The number in "HTTP/1.1 200 OK"; 0 if there is none.
int StatusOfLine(std::string_view line);

}  // namespace litestream::webdav
