#include "base/log.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/log_format.h"

namespace litestream {
namespace {

using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;

// Friday, 2026-02-06 09:05:03.041500000 UTC
constexpr std::chrono::sys_time<std::chrono::nanoseconds> kTime{
    std::chrono::nanoseconds(1'770'368'703'041'500'000)};

// The process's time zone for one test.
class TimeZone {
 public:
  explicit TimeZone(const char* name) {
    ::setenv("TZ", name, 1);
    ::tzset();
  }
  ~TimeZone() {
    ::unsetenv("TZ");
    ::tzset();
  }
};

std::string Format(LogFormat format, std::string_view message, const LogFields& fields,
                   const LogFields& bound = {}) {
  return FormatLogLine(format, false,
                       {.time = kTime,
                        .level = LogLevel::kInfo,
                        .message = message,
                        .bound = bound,
                        .fields = fields});
}

TEST(LogFormat, TimeInTheLocalZone) {
  const struct {
    const char* zone;
    std::chrono::nanoseconds more;
    const char* text;
    const char* json;
  } cases[] = {
      {"UTC", 0ns, "2026-02-06T09:05:03.041Z", "2026-02-06T09:05:03.0415Z"},
      {"UTC", 958'500'000ns, "2026-02-06T09:05:04.000Z", "2026-02-06T09:05:04Z"},
      {"UTC", 1ns, "2026-02-06T09:05:03.041Z", "2026-02-06T09:05:03.041500001Z"},
      {"XST-5:30", 0ns, "2026-02-06T14:35:03.041+05:30", "2026-02-06T14:35:03.0415+05:30"},
      {"XST+9:30", 0ns, "2026-02-05T23:35:03.041-09:30", "2026-02-05T23:35:03.0415-09:30"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.json);
    const TimeZone zone(c.zone);
    const LogFields none;
    const LogLine line{.time = kTime + c.more, .message = "m", .bound = none, .fields = none};
    EXPECT_EQ(FormatLogLine(LogFormat::kText, false, line),
              std::string("time=") + c.text + " level=INFO msg=m\n");
    EXPECT_EQ(FormatLogLine(LogFormat::kJson, false, line),
              std::string(R"({"time":")") + c.json + "\",\"level\":\"INFO\",\"msg\":\"m\"}\n");
  }
}

// What slog of Go 1.26 wrote for these strings, as message and as value.
TEST(LogFormat, Strings) {
  const TimeZone zone("UTC");
  const struct {
    std::string_view value;
    const char* text;
    const char* json;
  } cases[] = {
      {"plain", "plain", R"("plain")"},
      {"", R"("")", R"("")"},
      {"two words", R"("two words")", R"("two words")"},
      {"a=b", R"("a=b")", R"("a=b")"},
      {"q\"q", R"("q\"q")", R"("q\"q")"},
      {"back\\slash", R"(back\slash)", R"("back\\slash")"},
      {"back \\", R"("back \\")", R"("back \\")"},
      {"tab\t", R"("tab\t")", R"("tab\t")"},
      {"nl\n", R"("nl\n")", R"("nl\n")"},
      {std::string_view("\x00\x1f\x7f", 3), R"("\x00\x1f\x7f")", "\"\\u0000\\u001f\x7f\""},
      {"\a\b\f\r\v", R"("\a\b\f\r\v")", R"("\u0007\u0008\u000c\r\u000b")"},
      {"\u00fc", "\u00fc", "\"\u00fc\""},
      {"\u65e5\u672c", "\u65e5\u672c", "\"\u65e5\u672c\""},
      {"\u00a0", R"("\u00a0")", "\"\u00a0\""},
      {"\u00ad", R"("\u00ad")", "\"\u00ad\""},
      {"\ufeff", R"("\ufeff")", "\"\ufeff\""},
      {"\xff\xfe", R"("\xff\xfe")", R"("\ufffd\ufffd")"},
      {"\u2028", R"("\u2028")", R"("\u2028")"},
      {"\U0001f600", "\U0001f600", "\"\U0001f600\""},
      {"\U000e0001", R"("\U000e0001")", "\"\U000e0001\""},
      {"\ue000", R"("\ue000")", "\"\ue000\""},
      {"a\xc3", R"("a\xc3")", R"("a\ufffd")"},
      {"<&>", "<&>", R"("<&>")"},
      {"\U0001d173x", R"("\U0001d173x")", "\"\U0001d173x\""},
      {"\x7f", "\x7f", "\"\x7f\""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const LogFields fields = {{"k", c.value}};
    EXPECT_EQ(Format(LogFormat::kText, c.value, fields),
              std::string("time=2026-02-06T09:05:03.041Z level=INFO msg=") + c.text +
                  " k=" + c.text + "\n");
    EXPECT_EQ(Format(LogFormat::kJson, c.value, fields),
              std::string(R"({"time":"2026-02-06T09:05:03.0415Z","level":"INFO","msg":)") + c.json +
                  ",\"k\":" + c.json + "}\n");
  }
}

TEST(LogFormat, OtherValues) {
  const TimeZone zone("UTC");
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const struct {
    LogField field;
    const char* text;
    const char* json;
  } cases[] = {
      {{"k", -5}, "-5", "-5"},
      {{"k", std::numeric_limits<std::uint64_t>::max()},
       "18446744073709551615",
       "18446744073709551615"},
      {{"k", true}, "true", "true"},
      {{"k", false}, "false", "false"},
      {{"k", 90s}, "1m30s", "90000000000"},
      {{"k", 1500ns}, "1.5\u00b5s", "1500"},
      {{"k", -1s}, "-1s", "-1000000000"},
      {{"k", 0.0}, "0", "0"},
      {{"k", -0.0}, "-0", "-0"},
      {{"k", 1.0}, "1", "1"},
      {{"k", -2.25}, "-2.25", "-2.25"},
      {{"k", 100000.0}, "100000", "100000"},
      {{"k", 1e6}, "1e+06", "1000000"},
      {{"k", 1234567.0}, "1.234567e+06", "1234567"},
      {{"k", 1e20}, "1e+20", "100000000000000000000"},
      {{"k", 1e21}, "1e+21", "1e+21"},
      {{"k", 1.5e300}, "1.5e+300", "1.5e+300"},
      {{"k", 1e-4}, "0.0001", "0.0001"},
      {{"k", 1e-5}, "1e-05", "0.00001"},
      {{"k", 1e-7}, "1e-07", "1e-7"},
      {{"k", 5e-324}, "5e-324", "5e-324"},
      {{"k", 0.1}, "0.1", "0.1"},
      {{"k", 1.0 / 3}, "0.3333333333333333", "0.3333333333333333"},
      {{"k", 123456789.125}, "1.23456789125e+08", "123456789.125"},
      {{"k", kInfinity}, "+Inf", R"("!ERROR:json: unsupported value: +Inf")"},
      {{"k", -kInfinity}, "-Inf", R"("!ERROR:json: unsupported value: -Inf")"},
      {{"k", std::nan("")}, "NaN", R"("!ERROR:json: unsupported value: NaN")"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(Format(LogFormat::kText, "m", {c.field}),
              std::string("time=2026-02-06T09:05:03.041Z level=INFO msg=m k=") + c.text + "\n");
    EXPECT_EQ(Format(LogFormat::kJson, "m", {c.field}),
              std::string(R"({"time":"2026-02-06T09:05:03.0415Z","level":"INFO","msg":"m","k":)") +
                  c.json + "}\n");
  }
}

TEST(LogFormat, BoundFieldsFirstAndGroups) {
  const TimeZone zone("UTC");
  const LogFields bound = {{"system", "store"}, {"db", "a b.db"}};
  const LogFields fields = {{"txid.replica", "1"}, {"size", 7},    {"txid.db", "2"},
                            {"a.b.c", 1},          {"a.b.d", 2},   {"a.e", 3},
                            {"sp ace", 1},         {"q\"k", true}, {"", 3}};
  EXPECT_EQ(Format(LogFormat::kText, "replica sync", fields, bound),
            "time=2026-02-06T09:05:03.041Z level=INFO msg=\"replica sync\" system=store "
            "db=\"a b.db\" txid.replica=1 size=7 txid.db=2 a.b.c=1 a.b.d=2 a.e=3 \"sp ace\"=1 "
            "\"q\\\"k\"=true \"\"=3\n");
  EXPECT_EQ(Format(LogFormat::kJson, "replica sync", fields, bound),
            R"({"time":"2026-02-06T09:05:03.0415Z","level":"INFO","msg":"replica sync",)"
            R"("system":"store","db":"a b.db","txid":{"replica":"1","db":"2"},"size":7,)"
            R"("a":{"b":{"c":1,"d":2},"e":3},"sp ace":1,"q\"k":true,"":3})"
            "\n");
}

TEST(LogFormat, Levels) {
  const TimeZone zone("UTC");
  const struct {
    LogLevel level;
    const char* name;
    const char* brief;
    const char* painted;
  } cases[] = {
      {LogLevel::kTrace, "TRACE", "TRACE", "TRACE"},
      {LogLevel::kDebug, "DEBUG", "DBG", "DBG"},
      {LogLevel::kInfo, "INFO", "INF", "\033[92mINF\033[0m"},
      {LogLevel::kWarn, "WARN", "WRN", "\033[93mWRN\033[0m"},
      {LogLevel::kError, "ERROR", "ERR", "\033[91mERR\033[0m"},
  };
  const LogFields none;
  const LogFields one = {{"k", "v w"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const LogLine line{
        .time = kTime, .level = c.level, .message = "a \"b\"\n\033[", .bound = none, .fields = one};
    EXPECT_NE(FormatLogLine(LogFormat::kText, false, line)
                  .find(std::string(" level=") + c.name + " msg="),
              std::string::npos);
    EXPECT_NE(FormatLogLine(LogFormat::kJson, false, line)
                  .find(std::string(R"("level":")") + c.name + "\""),
              std::string::npos);
    EXPECT_EQ(FormatLogLine(LogFormat::kPretty, false, line),
              std::string("09:05:03 ") + c.brief + " a \"b\"\\n\\x1b[ k=\"v w\"\n");
    EXPECT_EQ(FormatLogLine(LogFormat::kPretty, true, line),
              std::string("\033[2m09:05:03\033[0m ") + c.painted +
                  " a \"b\"\\n\\x1b[ \033[2mk=\033[0m\"v w\"\n");
  }
}

TEST(LogSink, WritesWholeLinesAboveItsLevel) {
  std::array<int, 2> pipe = {};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const Logger logger =
      Logger(MakeLogSink(pipe[1], LogLevel::kInfo, LogFormat::kPretty)).With({{"db", "x"}});
  logger.Debug("hidden");
  logger.Info("one");
  logger.Error("two", {{"error", "disk full"}});
  ::close(pipe[1]);
  std::string got(1000, '\0');
  got.resize(static_cast<std::size_t>(::read(pipe[0], got.data(), got.size())));
  ::close(pipe[0]);
  EXPECT_EQ(got.substr(8, 14), " INF one db=x\n");
  EXPECT_EQ(got.substr(30), " ERR two db=x error=\"disk full\"\n");
  Logger().Info("no sink: dropped");
}

}  // namespace
}  // namespace litestream
