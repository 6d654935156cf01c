#include "http/date.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

namespace litestream::http {
namespace {

constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
constexpr std::string_view kDays = "SunMonTueWedThuFriSat";

}  // namespace

WallTime ParseDate(std::string_view text) {
  if (text.size() != 29) return {};
  const auto number = [&](std::size_t at, std::size_t size) {
    int value = -1;
    const char* const end = text.data() + at + size;
    return std::from_chars(text.data() + at, end, value).ptr == end ? value : -1;
  };
  const std::size_t month = kMonths.find(text.substr(8, 3));
  const int day = number(5, 2);
  const int year = number(12, 4);
  const int hour = number(17, 2);
  const int minute = number(20, 2);
  const int second = number(23, 2);
  if (month == std::string_view::npos || month % 3 != 0 || day < 1 || year < 1970 || hour < 0 ||
      minute < 0 || second < 0) {
    return {};
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return {};
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second);
}

std::string FormatDate(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(time - day));
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                     kDays.substr(std::chrono::weekday(day).c_encoding() * 3, 3),
                     static_cast<unsigned>(date.day()),
                     kMonths.substr((static_cast<unsigned>(date.month()) - 1) * 3, 3),
                     static_cast<int>(date.year()), clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count());
}

std::chrono::nanoseconds RetryAfter(const Headers& headers, WallTime now) {
  constexpr std::chrono::hours kLongest{24};  // A year 9999 has too many nanoseconds.
  const std::string value = HeaderValue(headers, "retry-after");
  if (value.empty()) return std::chrono::nanoseconds::zero();
  int seconds = 0;
  const char* const end = value.data() + value.size();
  if (std::from_chars(value.data(), end, seconds).ptr == end && seconds >= 0) {
    return std::min<std::chrono::seconds>(std::chrono::seconds(seconds), kLongest);
  }
  const WallTime at = ParseDate(value);
  if (at <= now) return std::chrono::nanoseconds::zero();
  return std::min<WallTime::duration>(at - now, kLongest);
}

}  // namespace litestream::http
