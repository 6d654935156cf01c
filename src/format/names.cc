#include "format/names.h"

#include <chrono>

#include <fmt/core.h>

namespace litestream {
namespace {

constexpr std::size_t kHexDigits = 16;
constexpr std::string_view kExtension = ".ltx";

int HexDigit(char c, bool upper_allowed) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (upper_allowed && c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::uint64_t> ParseHex(std::string_view text, bool upper_allowed) {
  if (text.size() != kHexDigits) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    const int digit = HexDigit(c, upper_allowed);
    if (digit < 0) return std::nullopt;
    value = (value << 4) | static_cast<std::uint64_t>(digit);
  }
  return value;
}

// The fields of a time in UTC, in the Gregorian calendar; year 0 is 1 BC. A header can hold times
// that std::chrono::year cannot.
struct CivilTime {
  std::int64_t year = 0;
  int month = 0;
  int day = 0;
  std::int64_t hour = 0;
  std::int64_t minute = 0;
  std::int64_t second = 0;
  std::int64_t millisecond = 0;
};

// Any 64 bits can stand in an LTX header, and std::chrono::year holds 16.
CivilTime ToCivil(WallTime time) {
  constexpr std::int64_t kMsPerDay = 86'400'000;
  constexpr std::int64_t kDaysPerEra = 146'097;      // 400 years.
  constexpr std::int64_t kDaysBefore1970 = 719'468;  // Since March 1st of the year 0.
  std::int64_t days = time.time_since_epoch().count() / kMsPerDay;
  std::int64_t ms = time.time_since_epoch().count() % kMsPerDay;
  if (ms < 0) {
    ms += kMsPerDay;
    --days;
  }
  days += kDaysBefore1970;
  // Years that begin in March, so that a leap day comes last.
  const std::int64_t era = (days >= 0 ? days : days - (kDaysPerEra - 1)) / kDaysPerEra;
  const int day_of_era = static_cast<int>(days - era * kDaysPerEra);
  const int year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int month_from_march = (5 * day_of_year + 2) / 153;
  const int month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {.year = era * 400 + year_of_era + (month <= 2 ? 1 : 0),
          .month = month,
          .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
          .hour = ms / 3'600'000,
          .minute = ms / 60'000 % 60,
          .second = ms / 1'000 % 60,
          .millisecond = ms % 1'000};
}

std::string FormatToSeconds(const CivilTime& t) {
  return fmt::format("{}{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", t.year < 0 ? "-" : "",
                     t.year < 0 ? -t.year : t.year, t.month, t.day, t.hour, t.minute, t.second);
}

// Reads a timestamp from front to back.
class TimeParser {
 public:
  explicit TimeParser(std::string_view text) : text_(text) {}

  bool Parse(WallTime& out) {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    if (!Digits(4, year) || !Take('-') || !Digits(2, month) || !Take('-') || !Digits(2, day)) {
      return false;
    }
    if (!Take('T') || !Hour(hour) || !Take(':') || !Digits(2, minute) || !Take(':') ||
        !Digits(2, second)) {
      return false;
    }
    int milliseconds = 0;
    std::int64_t offset_minutes = 0;
    if (!Fraction(milliseconds) || !Zone(offset_minutes) || !text_.empty()) return false;
    if (hour > 23 || minute > 59 || second > 59) return false;
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (!date.ok()) return false;
    out = std::chrono::sys_days(date) + std::chrono::hours(hour) +
          std::chrono::minutes(minute - offset_minutes) + std::chrono::seconds(second) +
          std::chrono::milliseconds(milliseconds);
    return true;
  }

 private:
  bool Take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }
  bool Digits(std::size_t count, int& value) {
    if (text_.size() < count) return false;
    value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!IsDigit(text_[i])) return false;
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(count);
    return true;
  }
  // One or two digits.
  bool Hour(int& hour) {
    const bool two = text_.size() > 1 && IsDigit(text_[1]);
    return Digits(two ? 2 : 1, hour);
  }
  bool Fraction(int& milliseconds) {
    if (!Take('.') && !Take(',')) return true;
    int digits = 0;
    for (; !text_.empty() && IsDigit(text_.front()); text_.remove_prefix(1), ++digits) {
      if (digits < 3) milliseconds = milliseconds * 10 + (text_.front() - '0');
    }
    for (int i = digits; i < 3; ++i) milliseconds *= 10;
    return digits > 0;
  }
  bool Zone(std::int64_t& offset_minutes) {
    if (Take('Z')) return true;
    const bool negative = !text_.empty() && text_.front() == '-';
    if (!Take('+') && !Take('-')) return false;
    int hours = 0, minutes = 0;
    if (!Digits(2, hours) || !Take(':') || !Digits(2, minutes)) return false;
    if (hours > 24 || minutes > 60) return false;
    offset_minutes = (hours * 60 + minutes) * (negative ? -1 : 1);
    return true;
  }

  std::string_view text_;
};

}  // namespace

std::string FormatHex64(std::uint64_t value) {
  return fmt::format("{:016x}", value);
}

Result<std::uint64_t> ParseHex64(std::string_view text) {
  if (text.size() != kHexDigits) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\": must be 16 hex digits", text));
  }
  const auto value = ParseHex(text, /*upper_allowed=*/true);
  if (!value) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\": not a hex number", text));
  }
  return *value;
}

std::string FormatTxid(Txid txid) {
  return FormatHex64(txid.value);
}

Result<Txid> ParseTxid(std::string_view text) {
  if (text.size() != kHexDigits) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("invalid formatted transaction id length: \"{}\"", text));
  }
  const auto value = ParseHex(text, /*upper_allowed=*/true);
  if (!value) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("invalid transaction id format: \"{}\"", text));
  }
  return Txid{*value};
}

std::string FormatLtxFilename(const TxidRange& range) {
  return fmt::format("{:016x}-{:016x}.ltx", range.min.value, range.max.value);
}

std::optional<TxidRange> ParseLtxFilename(std::string_view name) {
  if (name.size() != 2 * kHexDigits + 1 + kExtension.size() || name[kHexDigits] != '-' ||
      !name.ends_with(kExtension)) {
    return std::nullopt;
  }
  const auto min = ParseHex(name.substr(0, kHexDigits), /*upper_allowed=*/false);
  const auto max = ParseHex(name.substr(kHexDigits + 1, kHexDigits), /*upper_allowed=*/false);
  if (!min || !max) return std::nullopt;
  return TxidRange{Txid{*min}, Txid{*max}};
}

std::string FormatTimestamp(WallTime time) {
  const CivilTime t = ToCivil(time);
  std::string text = FormatToSeconds(t);
  if (t.millisecond != 0) {
    std::string fraction = fmt::format(".{:03}", t.millisecond);
    while (fraction.back() == '0') fraction.pop_back();
    text += fraction;
  }
  return text + "Z";
}

std::string FormatTimestampSeconds(WallTime time) {
  return FormatToSeconds(ToCivil(time)) + "Z";
}

std::string FormatTimestampMillis(WallTime time) {
  const CivilTime t = ToCivil(time);
  return FormatToSeconds(t) + fmt::format(".{:03}Z", t.millisecond);
}

Result<WallTime> ParseTimestamp(std::string_view text) {
  WallTime time;
  if (!TimeParser(text).Parse(time)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("\"{}\": not an RFC 3339 time such as 2000-01-01T00:00:00Z", text));
  }
  return time;
}

}  // namespace litestream
