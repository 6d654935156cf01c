#include "format/names.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

namespace litestream {
namespace {

WallTime AtMs(std::int64_t ms) {
  return WallTime(std::chrono::milliseconds(ms));
}

TEST(Names, Hex64) {
  const struct {
    const char* why;
    std::string text;
    std::optional<std::uint64_t> want;
  } cases[] = {
      {"zero", "0000000000000000", 0},
      {"one", "0000000000000001", 1},
      {"all digits", "0123456789abcdef", 0x0123456789abcdef},
      {"upper case", "0123456789ABCDEF", 0x0123456789abcdef},
      {"mixed case", "aAbBcCdDeEfF0123", 0xaabbccddeeff0123},
      {"largest", "ffffffffffffffff", UINT64_MAX},
      {"empty", "", std::nullopt},
      {"one digit less", "000000000000001", std::nullopt},
      {"one digit more", "00000000000000001", std::nullopt},
      {"prefix", "0x00000000000001", std::nullopt},
      {"sign", "+000000000000001", std::nullopt},
      {"negative", "-000000000000001", std::nullopt},
      {"underscore", "0000_00000000001", std::nullopt},
      {"space in front", " 000000000000001", std::nullopt},
      {"space behind", "000000000000001 ", std::nullopt},
      {"the letter behind f", "000000000000000g", std::nullopt},
      {"the capital behind F", "000000000000000G", std::nullopt},
      {"before 0", "000000000000000/", std::nullopt},
      {"behind 9", "000000000000000:", std::nullopt},
      {"before a", "000000000000000`", std::nullopt},
      {"before A", "000000000000000@", std::nullopt},
      {"a zero byte", std::string(15, '0') + '\0', std::nullopt},
      {"not ASCII", "00000000000000\xc3\xa4", std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto value = ParseHex64(c.text);
    const auto txid = ParseTxid(c.text);
    ASSERT_EQ(value.ok(), c.want.has_value());
    ASSERT_EQ(txid.ok(), c.want.has_value());
    if (!c.want.has_value()) {
      EXPECT_EQ(value.error().code(), ErrorCode::kInvalidArgument);
      EXPECT_EQ(txid.error().code(), ErrorCode::kInvalidArgument);
      continue;
    }
    EXPECT_EQ(value.value(), *c.want);
    EXPECT_EQ(txid.value(), Txid{*c.want});
    std::string lower = c.text;
    std::ranges::transform(lower, lower.begin(), [](unsigned char ch) { return std::tolower(ch); });
    EXPECT_EQ(FormatHex64(*c.want), lower);
    EXPECT_EQ(FormatTxid(Txid{*c.want}), lower);
  }
}

TEST(Names, TxidErrorsAreThoseOfTheReference) {
  EXPECT_EQ(ParseTxid("1").error().message(), "invalid formatted transaction id length: \"1\"");
  EXPECT_EQ(ParseTxid("000000000000000x").error().message(),
            "invalid transaction id format: \"000000000000000x\"");
}

TEST(Names, LtxFilename) {
  const struct {
    const char* why;
    std::string name;
    std::optional<TxidRange> want;
  } cases[] = {
      {"one transaction", "0000000000000001-0000000000000001.ltx", TxidRange{Txid{1}, Txid{1}}},
      {"a range", "00000000000000ab-0000000000000cde.ltx", TxidRange{Txid{0xab}, Txid{0xcde}}},
      {"ids out of order", "0000000000000002-0000000000000001.ltx", TxidRange{Txid{2}, Txid{1}}},
      {"largest", "ffffffffffffffff-ffffffffffffffff.ltx",
       TxidRange{Txid{UINT64_MAX}, Txid{UINT64_MAX}}},
      {"zero", "0000000000000000-0000000000000000.ltx", TxidRange{}},
      {"upper case in min", "000000000000000A-000000000000000a.ltx", std::nullopt},
      {"upper case in max", "000000000000000a-000000000000000A.ltx", std::nullopt},
      {"upload in progress", "0000000000000001-0000000000000001.ltx.tmp", std::nullopt},
      {"other extension", "0000000000000001-0000000000000001.lty", std::nullopt},
      {"extension in capitals", "0000000000000001-0000000000000001.LTX", std::nullopt},
      {"no dot", "0000000000000001-0000000000000001xltx", std::nullopt},
      {"no extension", "0000000000000001-0000000000000001", std::nullopt},
      {"other separator", "0000000000000001_0000000000000001.ltx", std::nullopt},
      {"short ids", "d-d.ltx", std::nullopt},
      {"short min", "000000000000001-00000000000000001.ltx", std::nullopt},
      {"something in front", "x0000000000000001-0000000000000001.ltx", std::nullopt},
      {"a path", "0/0000000000000001-0000000000000001.ltx", std::nullopt},
      {"a line end behind", "0000000000000001-0000000000000001.ltx\n", std::nullopt},
      {"just the extension", ".ltx", std::nullopt},
      {"empty", "", std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(ParseLtxFilename(c.name), c.want);
    if (c.want.has_value()) {
      EXPECT_EQ(FormatLtxFilename(*c.want), c.name);
    }
  }
}

// The order of names is the order of (min, max).
TEST(Names, LtxFilenamesSortAsTheirNumbers) {
  std::mt19937_64 random(1);
  std::vector<TxidRange> ranges;
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t min = random() >> (random() % 64);
    ranges.push_back({Txid{min}, Txid{random() >> (random() % 64)}});
    ranges.push_back({Txid{min}, Txid{min}});
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i - 1] == ranges[i]) continue;
    EXPECT_LT(FormatLtxFilename(ranges[i - 1]), FormatLtxFilename(ranges[i]));
    EXPECT_EQ(ParseLtxFilename(FormatLtxFilename(ranges[i])), ranges[i]);
  }
}

TEST(Names, FormatTimestamps) {
  const struct {
    std::int64_t ms;
    const char* nano;
    const char* seconds;
    const char* millis;
  } cases[] = {
      {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"},
      {1, "1970-01-01T00:00:00.001Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.001Z"},
      {100, "1970-01-01T00:00:00.1Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.100Z"},
      {120, "1970-01-01T00:00:00.12Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.120Z"},
      {1000, "1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z", "1970-01-01T00:00:01.000Z"},
      {-1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999Z"},
      {951827696789, "2000-02-29T12:34:56.789Z", "2000-02-29T12:34:56Z",
       "2000-02-29T12:34:56.789Z"},
      {1795258434850, "2026-11-21T10:53:54.85Z", "2026-11-21T10:53:54Z",
       "2026-11-21T10:53:54.850Z"},
      {253402300799999, "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z",
       "9999-12-31T23:59:59.999Z"},
      {-62167219200000, "0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.nano);
    EXPECT_EQ(FormatTimestamp(AtMs(c.ms)), c.nano);
    EXPECT_EQ(FormatTimestampSeconds(AtMs(c.ms)), c.seconds);
    EXPECT_EQ(FormatTimestampMillis(AtMs(c.ms)), c.millis);
    for (const char* text : {c.nano, c.millis}) {
      const auto parsed = ParseTimestamp(text);
      ASSERT_TRUE(parsed.ok()) << parsed.error().message();
      EXPECT_EQ(parsed.value(), AtMs(c.ms));
    }
  }
}

// What a header can hold, and the parser cannot read.
TEST(Names, FormatTimestampsOfAnyYear) {
  const struct {
    std::int64_t ms;
    const char* want;
  } cases[] = {
      {253402300800000, "10000-01-01T00:00:00Z"},
      {-62167219200001, "-0001-12-31T23:59:59.999Z"},
      {INT64_MAX, "292278994-08-17T07:12:55.807Z"},
      {INT64_MIN, "-292275055-05-16T16:47:04.192Z"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(FormatTimestamp(AtMs(c.ms)), c.want);
    EXPECT_FALSE(ParseTimestamp(c.want).ok()) << c.want;
  }
}

TEST(Names, ParseTimestamp) {
  const struct {
    const char* text;
    std::optional<std::int64_t> want_ms;
  } cases[] = {
      {"2000-01-01T00:00:00Z", 946684800000},
      {"2000-01-01T00:00:00+02:00", 946684800000 - 7200000},
      {"2000-01-01T00:00:00-02:30", 946684800000 + 9000000},
      {"2000-01-01T00:00:00+00:00", 946684800000},
      {"2000-01-01T00:00:00-00:00", 946684800000},
      {"2000-01-01T00:00:00+24:60", 946684800000 - 90000000},  // Go lets these pass, too.
      {"2000-01-01T0:00:00Z", 946684800000},
      {"2000-01-01T7:00:00.5+01:00", 946684800000 + 21600500},
      // A fraction of any length, cut to milliseconds.
      {"2000-01-01T00:00:00.1Z", 946684800100},
      {"2000-01-01T00:00:00.12Z", 946684800120},
      {"2000-01-01T00:00:00.123Z", 946684800123},
      {"2000-01-01T00:00:00.1239Z", 946684800123},
      {"2000-01-01T00:00:00,5Z", 946684800500},
      {"2000-01-01T00:00:00.0009Z", 946684800000},
      {"2000-01-01T00:00:00.999999999Z", 946684800999},
      {"2000-01-01T00:00:00.99999999999999999999Z", 946684800999},
      // Days.
      {"2000-02-29T00:00:00Z", 951782400000},
      {"2001-02-29T00:00:00Z", std::nullopt},
      {"1900-02-29T00:00:00Z", std::nullopt},
      {"2000-04-31T00:00:00Z", std::nullopt},
      {"2000-00-01T00:00:00Z", std::nullopt},
      {"2000-13-01T00:00:00Z", std::nullopt},
      {"2000-01-00T00:00:00Z", std::nullopt},
      {"2000-01-32T00:00:00Z", std::nullopt},
      // Times.
      {"2000-01-01T23:59:59Z", 946771199000},
      {"2000-01-01T24:00:00Z", std::nullopt},
      {"2000-01-01T00:60:00Z", std::nullopt},
      {"2000-01-01T00:00:60Z", std::nullopt},
      {"2000-01-01T:00:00Z", std::nullopt},
      {"2000-01-01T000:00:00Z", std::nullopt},
      {"2000-01-01T00:0:00Z", std::nullopt},
      {"2000-01-01T00:00:0Z", std::nullopt},
      {"2000-01-01T00:00Z", std::nullopt},
      {"2000-01-01T00:00:00.Z", std::nullopt},
      {"2000-01-01T00:00:00.", std::nullopt},
      {"2000-01-01T00:00:00..5Z", std::nullopt},
      {"2000-01-01T00:00:00.5", std::nullopt},
      // Separators and zones.
      {"2000-01-01t00:00:00Z", std::nullopt},
      {"2000-01-01T00:00:00z", std::nullopt},
      {"2000-01-01 00:00:00Z", std::nullopt},
      {"2000-01-01T00:00:00", std::nullopt},
      {"2000-01-01T00:00:00+0200", std::nullopt},
      {"2000-01-01T00:00:00+02", std::nullopt},
      {"2000-01-01T00:00:00+2:00", std::nullopt},
      {"2000-01-01T00:00:00+02:0", std::nullopt},
      {"2000-01-01T00:00:00+25:00", std::nullopt},
      {"2000-01-01T00:00:00+00:61", std::nullopt},
      {"2000-01-01T00:00:00*02:00", std::nullopt},
      {"2000-01-01T00:00:00+02:00Z", std::nullopt},
      {"2000-01-01T00:00:00ZZ", std::nullopt},
      {"2000-01-01T00:00:00 Z", std::nullopt},
      {"2000-01-01T00:00:00Z ", std::nullopt},
      {" 2000-01-01T00:00:00Z", std::nullopt},
      {"2000-01-01", std::nullopt},
      {"2000/01/01T00:00:00Z", std::nullopt},
      {"20000101T000000Z", std::nullopt},
      {"200-01-01T00:00:00Z", std::nullopt},
      {"20000-01-01T00:00:00Z", std::nullopt},
      {"+2000-01-01T00:00:00Z", std::nullopt},
      {"-200-01-01T00:00:00Z", std::nullopt},
      {"2000-1-01T00:00:00Z", std::nullopt},
      {"2000-01-1T00:00:00Z", std::nullopt},
      {"now", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto time = ParseTimestamp(c.text);
    ASSERT_EQ(time.ok(), c.want_ms.has_value());
    if (c.want_ms.has_value()) {
      EXPECT_EQ(time.value(), AtMs(*c.want_ms));
    } else {
      EXPECT_EQ(time.error().code(), ErrorCode::kInvalidArgument);
    }
  }
}

// Any 64 bits can stand in a file. As Go writes them.
TEST(Names, TimestampsBeyondFourDigitYears) {
  EXPECT_EQ(FormatTimestamp(AtMs(253402300800000)), "10000-01-01T00:00:00Z");
  EXPECT_EQ(FormatTimestamp(AtMs(-62167219200001)), "-0001-12-31T23:59:59.999Z");
  EXPECT_EQ(FormatTimestamp(AtMs(INT64_MAX)), "292278994-08-17T07:12:55.807Z");
  EXPECT_EQ(FormatTimestamp(AtMs(INT64_MIN)), "-292275055-05-16T16:47:04.192Z");
  // An offset can lead out of the years that can be written.
  EXPECT_EQ(FormatTimestampMillis(ParseTimestamp("0000-01-01T00:00:00+02:30").value()),
            "-0001-12-31T21:30:00.000Z");
}

// Every day of a cycle of the calendar, counted by hand.
TEST(Names, TimestampsOfAllDays) {
  const auto is_leap = [](int y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; };
  std::int64_t days = -135'140;  // 1600-01-01.
  for (int year = 1600; year < 2005; ++year) {
    const int lengths[] = {31, is_leap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (int month = 1; month <= 12; ++month) {
      for (int day = 1; day <= lengths[month - 1]; ++day, ++days) {
        const std::string text = fmt::format("{:04}-{:02}-{:02}T00:00:00Z", year, month, day);
        ASSERT_EQ(FormatTimestamp(AtMs(days * 86'400'000)), text);
        const auto parsed = ParseTimestamp(text);
        ASSERT_TRUE(parsed.ok()) << text;
        ASSERT_EQ(parsed.value(), AtMs(days * 86'400'000));
      }
    }
  }
}

}  // namespace
}  // namespace litestream
