#include "base/log_format.h"

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <utility>

#include <fmt/core.h>

#include "base/duration.h"
#include "base/utf8.h"

namespace litestream {
namespace {

constexpr std::string_view kColourOff = "\033[0m";
constexpr std::string_view kFaint = "\033[2m";

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

std::string_view LevelName(LogLevel level) {
  constexpr std::array<std::string_view, 5> kNames = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};
  return kNames[static_cast<std::size_t>(level)];
}

std::string_view ShortLevelName(LogLevel level) {
  constexpr std::array<std::string_view, 5> kNames = {"TRACE", "DBG", "INF", "WRN", "ERR"};
  return kNames[static_cast<std::size_t>(level)];
}

std::string_view LevelColour(LogLevel level) {
  constexpr std::array<std::string_view, 5> kColours = {"", "", "\033[92m", "\033[93m", "\033[91m"};
  return kColours[static_cast<std::size_t>(level)];
}

struct LocalTime {
  std::tm tm = {};
  long nanoseconds = 0;
};

LocalTime ToLocal(std::chrono::sys_time<std::chrono::nanoseconds> time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t t = seconds.time_since_epoch().count();
  LocalTime local;
  ::localtime_r(&t, &local.tm);
  local.nanoseconds = (time - seconds).count();
  return local;
}

// "2006-01-02T15:04:05" + fraction + "Z" or "+07:00"
std::string Rfc3339(const LocalTime& t, std::string_view fraction) {
  std::string text =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}", t.tm.tm_year + 1900, t.tm.tm_mon + 1,
                  t.tm.tm_mday, t.tm.tm_hour, t.tm.tm_min, t.tm.tm_sec, fraction);
  const long minutes = t.tm.tm_gmtoff / 60;
  if (minutes == 0) return text + 'Z';
  const long size = minutes < 0 ? -minutes : minutes;
  return text + fmt::format("{}{:02}:{:02}", minutes < 0 ? '-' : '+', size / 60, size % 60);
}

std::string Rfc3339Millis(const LocalTime& t) {
  return Rfc3339(t, fmt::format(".{:03}", t.nanoseconds / 1'000'000));
}

std::string Rfc3339Nanos(const LocalTime& t) {
  if (t.nanoseconds == 0) return Rfc3339(t, "");
  std::string fraction = fmt::format(".{:09}", t.nanoseconds);
  fraction.resize(fraction.find_last_not_of('0') + 1);
  return Rfc3339(t, fraction);
}

std::string Shortest(double value, std::chars_format format) {
  std::array<char, 400> buffer;  // Longer than any double.
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format);
  return {buffer.data(), end.ptr};
}

// strconv.FormatFloat(value, 'g', -1, 64)
std::string TextFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::string scientific = Shortest(value, std::chars_format::scientific);
  int exponent = 0;
  const char* digits = scientific.data() + scientific.find('e') + 1;
  if (*digits == '+') ++digits;
  std::from_chars(digits, scientific.data() + scientific.size(), exponent);
  if (exponent < -4 || exponent >= 6) return scientific;
  return Shortest(value, std::chars_format::fixed);
}

// As encoding/json: large and small numbers with an exponent without leading zero.
std::string JsonFloat(double value) {
  if (!std::isfinite(value)) {
    return fmt::format(R"("!ERROR:json: unsupported value: {}")", TextFloat(value));
  }
  const double size = std::abs(value);
  if (size == 0 || (size >= 1e-6 && size < 1e21)) {
    return Shortest(value, std::chars_format::fixed);
  }
  std::string text = Shortest(value, std::chars_format::scientific);
  if (text.size() >= 4 && text.substr(text.size() - 4, 3) == "e-0") text.erase(text.size() - 2, 1);
  return text;
}

// --- Text ---

bool NeedsQuotes(std::string_view text) {
  if (text.empty()) return true;
  while (!text.empty()) {
    const Utf8Character c = DecodeUtf8(text);
    // Go leaves the backslash and DEL alone here.
    if (!c.valid || c.code == ' ' || c.code == '=' || c.code == '"') return true;
    if (!IsPrintable(c.code) && c.code != 0x7f) return true;
    text.remove_prefix(c.size_bytes);
  }
  return false;
}

void AppendEscape(std::string& out, const Utf8Character& c, std::string_view bytes) {
  constexpr std::string_view kNamed = "\a\b\f\n\r\t\v";
  constexpr std::string_view kNames = "abfnrtv";
  const auto first = static_cast<unsigned char>(bytes.front());
  if (!c.valid) {
    out += fmt::format("\\x{:02x}", first);
  } else if (const auto i = kNamed.find(bytes); i != std::string_view::npos && bytes.size() == 1) {
    out += '\\';
    out += kNames[i];
  } else if (c.code < ' ' || c.code == 0x7f) {
    out += fmt::format("\\x{:02x}", first);
  } else if (c.code < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c.code));
  } else {
    out += fmt::format("\\U{:08x}", static_cast<std::uint32_t>(c.code));
  }
}

// The inside of what strconv.Quote makes.
void AppendEscaped(std::string& out, std::string_view text, bool quoted) {
  while (!text.empty()) {
    const Utf8Character c = DecodeUtf8(text);
    const std::string_view bytes = text.substr(0, c.size_bytes);
    if (!c.valid || !IsPrintable(c.code)) {
      AppendEscape(out, c, bytes);
    } else {
      if (quoted && (c.code == '"' || c.code == '\\')) out += '\\';
      out += bytes;
    }
    text.remove_prefix(c.size_bytes);
  }
}

void AppendText(std::string& out, std::string_view text) {
  if (!NeedsQuotes(text)) {
    out += text;
    return;
  }
  out += '"';
  AppendEscaped(out, text, true);
  out += '"';
}

void AppendTextValue(std::string& out, const LogField::Value& value) {
  std::visit(Overloaded{
                 [&out](const std::string& v) { AppendText(out, v); },
                 [&out](bool v) { out += v ? "true" : "false"; },
                 [&out](double v) { out += TextFloat(v); },
                 [&out](std::chrono::nanoseconds v) { out += FormatGoDuration(v); },
                 [&out](std::int64_t v) { out += fmt::format("{}", v); },
                 [&out](std::uint64_t v) { out += fmt::format("{}", v); },
             },
             value);
}

void AppendTextFields(std::string& out, const LogFields& fields, bool faint) {
  for (const LogField& field : fields) {
    out += ' ';
    if (faint) out += kFaint;
    AppendText(out, field.key);
    out += '=';
    if (faint) out += kColourOff;
    AppendTextValue(out, field.value);
  }
}

std::string TextLine(const LogLine& line) {
  std::string out = fmt::format("time={} level={} msg=", Rfc3339Millis(ToLocal(line.time)),
                                LevelName(line.level));
  AppendText(out, line.message);
  AppendTextFields(out, line.bound, false);
  AppendTextFields(out, line.fields, false);
  return out;
}

std::string PrettyLine(const LogLine& line, bool colour) {
  const LocalTime t = ToLocal(line.time);
  const std::string clock =
      fmt::format("{:02}:{:02}:{:02}", t.tm.tm_hour, t.tm.tm_min, t.tm.tm_sec);
  std::string out;
  const auto add = [&out, colour](std::string_view paint, std::string_view text) {
    const bool painted = colour && !paint.empty();
    if (painted) out += paint;
    out += text;
    if (painted) out += kColourOff;
    out += ' ';
  };
  add(kFaint, clock);
  add(LevelColour(line.level), ShortLevelName(line.level));
  AppendEscaped(out, line.message, false);
  AppendTextFields(out, line.bound, colour);
  AppendTextFields(out, line.fields, colour);
  return out;
}

// --- JSON ---

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const Utf8Character c = DecodeUtf8(text);
    if (!c.valid) {
      out += "\\ufffd";
    } else if (c.code == '"' || c.code == '\\') {
      out += '\\';
      out += text.front();
    } else if (c.code == '\n' || c.code == '\r' || c.code == '\t') {
      out += c.code == '\n' ? "\\n" : c.code == '\r' ? "\\r" : "\\t";
    } else if (c.code < ' ' || c.code == 0x2028 || c.code == 0x2029) {
      out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c.code));
    } else {
      out += text.substr(0, c.size_bytes);
    }
    text.remove_prefix(c.size_bytes);
  }
  out += '"';
}

void AppendJsonValue(std::string& out, const LogField::Value& value) {
  std::visit(Overloaded{
                 [&out](const std::string& v) { AppendJsonString(out, v); },
                 [&out](bool v) { out += v ? "true" : "false"; },
                 [&out](double v) { out += JsonFloat(v); },
                 [&out](std::chrono::nanoseconds v) { out += fmt::format("{}", v.count()); },
                 [&out](std::int64_t v) { out += fmt::format("{}", v); },
                 [&out](std::uint64_t v) { out += fmt::format("{}", v); },
             },
             value);
}

struct Member {
  std::string_view key;
  const LogField::Value* value = nullptr;
};

// Each with a comma in front. Those of one group are gathered where its first one stands.
void AppendJsonMembers(std::string& out, std::vector<Member> members) {
  while (!members.empty()) {
    const Member first = members.front();
    const std::size_t dot = first.key.find('.');
    out += ',';
    if (dot == std::string_view::npos) {
      AppendJsonString(out, first.key);
      out += ':';
      AppendJsonValue(out, *first.value);
      members.erase(members.begin());
      continue;
    }
    const std::string_view prefix = first.key.substr(0, dot + 1);
    std::vector<Member> group;
    std::vector<Member> others;
    for (const Member& m : members) {
      if (m.key.starts_with(prefix)) {
        group.push_back({.key = m.key.substr(dot + 1), .value = m.value});
      } else {
        others.push_back(m);
      }
    }
    std::string inside;
    AppendJsonMembers(inside, std::move(group));
    AppendJsonString(out, first.key.substr(0, dot));
    out += ":{";
    out += std::string_view(inside).substr(1);
    out += '}';
    members = std::move(others);
  }
}

std::string JsonLine(const LogLine& line) {
  std::string out = fmt::format(R"({{"time":"{}","level":"{}","msg":)",
                                Rfc3339Nanos(ToLocal(line.time)), LevelName(line.level));
  AppendJsonString(out, line.message);
  std::vector<Member> members;
  for (const LogFields* fields : {&line.bound, &line.fields}) {
    for (const LogField& f : *fields) members.push_back({.key = f.key, .value = &f.value});
  }
  AppendJsonMembers(out, std::move(members));
  out += '}';
  return out;
}

}  // namespace

std::string FormatLogLine(LogFormat format, bool colour, const LogLine& line) {
  std::string out;
  switch (format) {
    case LogFormat::kText:
      out = TextLine(line);
      break;
    case LogFormat::kJson:
      out = JsonLine(line);
      break;
    case LogFormat::kPretty:
      out = PrettyLine(line, colour);
      break;
  }
  out += '\n';
  return out;
}

}  // namespace litestream
