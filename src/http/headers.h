#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace litestream::http {

struct Header {
  std::string name;
  std::string value;
  friend bool operator==(const Header&, const Header&) = default;
};
using Headers = std::vector<Header>;

std::string LowerCase(std::string_view text);
// The first header with that name, whatever its case; null if there is none.
const std::string* FindHeader(const Headers& headers, std::string_view name);
// Its value; "" if there is none.
std::string HeaderValue(const Headers& headers, std::string_view name);
// "Name: value" without its line end, spaces around the value cut off. False if it is no header.
bool ParseHeader(std::string_view line, Header& out);

}  // namespace litestream::http
