#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "litestream/result.h"

namespace litestream::config {

// Text forms of sizes, numbers and booleans, as Go programs and YAML 1.1 write them.

// "10MiB", "6.5 mb", "6,291,456", "1G": K, M, ... are powers of 1000, Ki, Mi, ... of 1024.
Result<std::uint64_t> ParseSize(std::string_view text);

enum class IntegerError : unsigned char { kSyntax, kRange };
struct IntegerResult {
  std::int64_t value = 0;
  std::optional<IntegerError> error;
};
// Go's strconv.ParseInt with base 0: "0x1f", "0o17", "017", "0b11", "1_000", a sign.
IntegerResult ParseInteger(std::string_view text);

// true: "y yes on true", false: "n no off false", each in lower case, capitalised or upper case.
std::optional<bool> ParseYamlBool(std::string_view text);

}  // namespace litestream::config
