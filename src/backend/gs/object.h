#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream::gs {

// The metadata in which stock Litestream keeps the timestamp of an LTX file.
inline constexpr std::string_view kTimestampKey = "litestream-timestamp";

// An object as lists and the answers to uploads show it.
struct Object {
  std::string name;
  std::string generation;  // A number; it is another one after each write.
  std::uint64_t size_bytes = 0;
  std::string crc32c;     // Base64; "" where it was not asked for.
  WallTime time_created;  // The epoch if it is not there.
  WallTime created_at;    // Of kTimestampKey, else time_created.
};
// kUnavailable if it is none.
Result<Object> ParseObject(std::string_view json);

struct ListPage {
  std::vector<Object> objects;
  std::string next_page_token;  // "" at the end.
};
// kUnavailable if it is none: what was cut off must not be taken for a short list.
Result<ListPage> ParseListPage(std::string_view json);

// Of "bytes=0-N" how many bytes that is; 0 for "". kUnavailable if it is neither.
Result<std::uint64_t> ParsePersisted(std::string_view range);

// The sum in "crc32c=...,md5=..."; "" if there is none. Headers may come more than once.
std::string Crc32cOfHeader(std::string_view value);

}  // namespace litestream::gs
