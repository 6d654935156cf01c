#include "base/duration.h"

#include <array>
#include <cstdint>
#include <limits>
#include <optional>

#include <fmt/core.h>

namespace litestream {
namespace {

constexpr std::uint64_t kMicrosecond = 1'000;
constexpr std::uint64_t kMillisecond = 1'000'000;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kMinute = 60 * kSecond;
constexpr std::uint64_t kHour = 60 * kMinute;
// The magnitude of the most negative duration.
constexpr std::uint64_t kLimit = std::uint64_t{1} << 63U;

// value / unit without trailing zeros; the unit has so many of them: (1500, 1000, 3) is "1.5".
std::string Decimal(std::uint64_t value, std::uint64_t unit, int digits) {
  const std::uint64_t fraction = value % unit;
  std::string text = fmt::format("{}", value / unit);
  if (fraction == 0) return text;
  text += fmt::format(".{:0{}}", fraction, digits);
  text.resize(text.find_last_not_of('0') + 1);
  return text;
}

// Go's own quoting for these messages: anything but ASCII as \x bytes.
std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || byte < ' ') {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
  }
  return quoted + '"';
}

std::optional<std::uint64_t> UnitOf(std::string_view name) {
  struct Unit {
    std::string_view name;
    std::uint64_t nanoseconds;
  };
  constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                           {"us", kMicrosecond},
                                           {"\u00b5s", kMicrosecond},  // micro sign
                                           {"\u03bcs", kMicrosecond},  // Greek mu
                                           {"ms", kMillisecond},
                                           {"s", kSecond},
                                           {"m", kMinute},
                                           {"h", kHour}}};
  for (const Unit& unit : kUnits) {
    if (unit.name == name) return unit.nanoseconds;
  }
  return std::nullopt;
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// Takes the digits at the front of `text`; nullopt if the number is too large.
std::optional<std::uint64_t> TakeInteger(std::string_view& text) {
  std::uint64_t value = 0;
  for (; !text.empty() && IsDigit(text.front()); text.remove_prefix(1)) {
    if (value > kLimit / 10) return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(text.front() - '0');
    if (value > kLimit) return std::nullopt;
  }
  return value;
}

struct Fraction {
  std::uint64_t digits = 0;
  double scale = 1;
};

// Takes the digits behind a point; those that do not fit are dropped.
Fraction TakeFraction(std::string_view& text) {
  Fraction f;
  bool full = false;
  for (; !text.empty() && IsDigit(text.front()); text.remove_prefix(1)) {
    if (full || f.digits > (kLimit - 1) / 10) {
      full = true;
      continue;
    }
    f.digits = f.digits * 10 + static_cast<std::uint64_t>(text.front() - '0');
    f.scale *= 10;
  }
  return f;
}

// One number and its unit, from the front of `text`.
Result<std::uint64_t> TakeTerm(std::string_view& text, std::string_view whole) {
  const auto invalid = [whole](std::string_view what) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("time: {} duration {}", what, Quote(whole)));
  };
  const std::size_t before = text.size();
  const std::optional<std::uint64_t> integer = TakeInteger(text);
  if (!integer) return invalid("invalid");
  std::size_t digits = before - text.size();
  Fraction fraction;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    const std::size_t before_fraction = text.size();
    fraction = TakeFraction(text);
    digits += before_fraction - text.size();
  }
  if (digits == 0) return invalid("invalid");
  const std::string_view name = text.substr(0, text.find_first_of(".0123456789"));
  if (name.empty()) return invalid("missing unit in");
  text.remove_prefix(name.size());
  const std::optional<std::uint64_t> unit = UnitOf(name);
  if (!unit) return invalid(fmt::format("unknown unit {} in", Quote(name)));
  if (*integer > kLimit / *unit) return invalid("invalid");
  std::uint64_t value = *integer * *unit;
  value += static_cast<std::uint64_t>(static_cast<double>(fraction.digits) *
                                      (static_cast<double>(*unit) / fraction.scale));
  if (value > kLimit) return invalid("invalid");
  return value;
}

}  // namespace

std::string FormatGoDuration(std::chrono::nanoseconds duration) {
  const bool negative = duration.count() < 0;
  const auto bits = static_cast<std::uint64_t>(duration.count());
  const std::uint64_t n = negative ? 0 - bits : bits;
  std::string text = negative ? "-" : "";
  if (n == 0) return "0s";
  if (n < kMicrosecond) return text + fmt::format("{}ns", n);
  if (n < kMillisecond) return text + Decimal(n, kMicrosecond, 3) + "\u00b5s";
  if (n < kSecond) return text + Decimal(n, kMillisecond, 6) + "ms";
  if (n >= kHour) text += fmt::format("{}h", n / kHour);
  if (n >= kMinute) text += fmt::format("{}m", n % kHour / kMinute);
  return text + Decimal(n % kMinute, kSecond, 9) + "s";
}

Result<std::chrono::nanoseconds> ParseGoDuration(std::string_view text) {
  const Error invalid(ErrorCode::kInvalidArgument,
                      fmt::format("time: invalid duration {}", Quote(text)));
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return std::chrono::nanoseconds::zero();
  if (rest.empty()) return invalid;
  std::uint64_t sum = 0;
  while (!rest.empty()) {
    const auto term = TakeTerm(rest, text);
    if (!term.ok()) return term.error();
    sum += term.value();
    if (sum > kLimit) return invalid;
  }
  if (negative) return std::chrono::nanoseconds(static_cast<std::int64_t>(0 - sum));
  if (sum == kLimit) return invalid;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(sum));
}

}  // namespace litestream
