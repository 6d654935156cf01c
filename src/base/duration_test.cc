#include "base/duration.h"

#include <cstdint>
#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace litestream {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;

constexpr std::chrono::nanoseconds kLongest{std::numeric_limits<std::int64_t>::max()};
constexpr std::chrono::nanoseconds kShortest{std::numeric_limits<std::int64_t>::min()};

TEST(GoDuration, FormatAndParseBack) {
  const struct {
    std::chrono::nanoseconds duration;
    const char* text;
  } cases[] = {
      {0ns, "0s"},
      {1ns, "1ns"},
      {999ns, "999ns"},
      {1us, "1\u00b5s"},
      {1100ns, "1.1\u00b5s"},
      {2200us, "2.2ms"},
      {500ms, "500ms"},
      {999'999'999ns, "999.999999ms"},
      {1s, "1s"},
      {1500ms, "1.5s"},
      {3300ms, "3.3s"},
      {1s + 1ns, "1.000000001s"},
      {59s, "59s"},
      {1min, "1m0s"},
      {90s, "1m30s"},
      {4min + 5001ms, "4m5.001s"},
      {1h, "1h0m0s"},
      {5h + 6min + 7001ms, "5h6m7.001s"},
      {24h, "24h0m0s"},
      {8min + 1ns, "8m0.000000001s"},
      {-1500ms, "-1.5s"},
      {-1ns, "-1ns"},
      {kLongest, "2562047h47m16.854775807s"},
      {kShortest, "-2562047h47m16.854775808s"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(FormatGoDuration(c.duration), c.text);
    const auto back = ParseGoDuration(c.text);
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back.value().count(), c.duration.count());
  }
}

TEST(GoDuration, Parse) {
  const struct {
    const char* text;
    std::chrono::nanoseconds want;
  } cases[] = {
      {"0", 0ns},
      {"-0", 0ns},
      {"+0", 0ns},
      {"+5s", 5s},
      {"5.s", 5s},
      {".5s", 500ms},
      {"1.004s", 1004ms},
      {"12\u03bcs", 12us},
      {"12us", 12us},
      {"1h15m30.918273645s", 1h + 15min + 30'918'273'645ns},
      {"-1.5h", -90min},
      {"1s1s", 2s},
      {"30s2h", 2h + 30s},
      {"0.3333333333333333333h", 20min},
      {"0.100000000000000000000h", 6min},
      {"9223372036854775807ns", kLongest},
      {"-9223372036854775808ns", kShortest},
      {"0.9223372036854775807h", 55min + 20'413'933'267ns},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto got = ParseGoDuration(c.text);
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(got.value().count(), c.want.count());
  }
}

TEST(GoDuration, ParseErrorsInGosWords) {
  const struct {
    const char* text;
    const char* want;
  } cases[] = {
      {"", R"(time: invalid duration "")"},
      {"3", R"(time: missing unit in duration "3")"},
      {"-", R"(time: invalid duration "-")"},
      {"s", R"(time: invalid duration "s")"},
      {".", R"(time: invalid duration ".")"},
      {".s", R"(time: invalid duration ".s")"},
      {"+.s", R"(time: invalid duration "+.s")"},
      {"1d", R"(time: unknown unit "d" in duration "1d")"},
      {"1 s", R"(time: unknown unit " s" in duration "1 s")"},
      {"1s ", R"(time: unknown unit "s " in duration "1s ")"},
      {"1S", R"(time: unknown unit "S" in duration "1S")"},
      {"1\"", R"(time: unknown unit "\"" in duration "1\"")"},
      {"1\u00fc", R"(time: unknown unit "\xc3\xbc" in duration "1\xc3\xbc")"},
      {"9223372036854775808ns", R"(time: invalid duration "9223372036854775808ns")"},
      {"9223372036854775810ns", R"(time: invalid duration "9223372036854775810ns")"},
      {"99999999999999999999s", R"(time: invalid duration "99999999999999999999s")"},
      {"2562048h", R"(time: invalid duration "2562048h")"},
      {"-9223372036854775809ns", R"(time: invalid duration "-9223372036854775809ns")"},
      {"2562047h47m16.854775808s", R"(time: invalid duration "2562047h47m16.854775808s")"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto got = ParseGoDuration(c.text);
    ASSERT_FALSE(got.ok());
    EXPECT_TRUE(got.error().Is(ErrorCode::kInvalidArgument));
    EXPECT_EQ(got.error().message(), c.want);
  }
}

}  // namespace
}  // namespace litestream
