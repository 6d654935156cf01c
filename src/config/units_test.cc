#include "config/units.h"

#include <limits>

#include <gtest/gtest.h>

namespace litestream::config {
namespace {

TEST(Units, Size) {
  const struct {
    const char* text;
    std::optional<std::uint64_t> want;
    const char* error;
  } cases[] = {
      {"6291456", 6291456, ""},
      {"6MiB", 6291456, ""},
      {"6MB", 6000000, ""},
      {"6.5 MiB", 6815744, ""},
      {"6,291,456", 6291456, ""},
      {"6mib", 6291456, ""},
      {"1G", 1000000000, ""},
      {"1Gi", 1073741824, ""},
      {" 10 MB ", 10000000, ""},
      {"7b", 7, ""},
      {"0", 0, ""},
      {"1.9", 1, ""},
      {"", std::nullopt, "empty size string"},
      {"  ", std::nullopt, "empty size string"},
      {"abc", std::nullopt, "invalid size format"},
      {"-5", std::nullopt, "invalid size format"},
      {"1.2.3MB", std::nullopt, "invalid size format"},
      {"5XB", std::nullopt, "unhandled size name: xb"},
      {"5MiBs", std::nullopt, "unhandled size name: mibs"},
      {"9999999E", std::nullopt, "too large: 9999999E"},
      {"10E", std::nullopt, "exceeds maximum allowed value"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto got = ParseSize(c.text);
    ASSERT_EQ(got.ok(), c.want.has_value());
    if (got.ok()) {
      EXPECT_EQ(got.value(), *c.want);
    } else {
      EXPECT_NE(got.error().message().find(c.error), std::string::npos) << got.error().message();
    }
  }
}

TEST(Units, Integer) {
  constexpr auto kSyntax = IntegerError::kSyntax;
  constexpr auto kRange = IntegerError::kRange;
  const struct {
    const char* text;
    std::int64_t want;
    std::optional<IntegerError> error;
  } cases[] = {
      {"0", 0, {}},
      {"42", 42, {}},
      {"-42", -42, {}},
      {"+7", 7, {}},
      {"0x1F", 31, {}},
      {"0600", 384, {}},
      {"0o600", 384, {}},
      {"0b101", 5, {}},
      {"1_000", 1000, {}},
      {"0x_ff", 255, {}},
      {"9223372036854775807", std::numeric_limits<std::int64_t>::max(), {}},
      {"-9223372036854775808", std::numeric_limits<std::int64_t>::min(), {}},
      {"9223372036854775808", 0, kRange},
      {"99999999999999999999", 0, kRange},
      {"", 0, kSyntax},
      {"-", 0, kSyntax},
      {"--1", 0, kSyntax},
      {"x", 0, kSyntax},
      {"1x", 0, kSyntax},
      {"0x", 0, kSyntax},
      {"08", 0, kSyntax},
      {"1__0", 0, kSyntax},
      {"1_", 0, kSyntax},
      {"_1", 0, kSyntax},
      {"1.5", 0, kSyntax},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const IntegerResult got = ParseInteger(c.text);
    EXPECT_EQ(got.error, c.error);
    if (!got.error) {
      EXPECT_EQ(got.value, c.want);
    }
  }
}

TEST(Units, YamlBool) {
  for (const char* const text : {"y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True"}) {
    EXPECT_EQ(ParseYamlBool(text), true) << text;
  }
  for (const char* const text : {"n", "N", "no", "No", "NO", "off", "Off", "false", "FALSE"}) {
    EXPECT_EQ(ParseYamlBool(text), false) << text;
  }
  for (const char* const text : {"", "maybe", "yEs", "1", "0", "t"}) {
    EXPECT_EQ(ParseYamlBool(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace litestream::config
