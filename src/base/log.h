#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace litestream {

enum class LogLevel : unsigned char { kTrace, kDebug, kInfo, kWarn, kError };

// One attribute of a log line. A key may hold a group: "txid.replica".
struct LogField {
  using Value = std::variant<std::string, std::int64_t, std::uint64_t, double, bool,
                             std::chrono::nanoseconds>;
  std::string key;
  Value value;
  LogField(std::string k, std::string v) : key(std::move(k)), value(std::move(v)) {}
  LogField(std::string k, std::string_view v) : key(std::move(k)), value(std::string(v)) {}
  LogField(std::string k, const char* v) : key(std::move(k)), value(std::string(v)) {}
  LogField(std::string k, bool v) : key(std::move(k)), value(v) {}
  LogField(std::string k, int v) : key(std::move(k)), value(std::int64_t{v}) {}
  LogField(std::string k, std::int64_t v) : key(std::move(k)), value(v) {}
  LogField(std::string k, std::uint64_t v) : key(std::move(k)), value(v) {}
  LogField(std::string k, double v) : key(std::move(k)), value(v) {}
  template <typename Rep, typename Period>
  LogField(std::string k, std::chrono::duration<Rep, Period> v)
      : key(std::move(k)), value(std::chrono::duration_cast<std::chrono::nanoseconds>(v)) {}
};
using LogFields = std::vector<LogField>;

// Where log lines go. Safe for concurrent calls.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual bool Enabled(LogLevel level) const = 0;
  virtual void Write(LogLevel level, std::string_view message, const LogFields& bound,
                     const LogFields& fields) = 0;
};

// A sink with attributes bound to every line. Cheap to copy. Default: drops everything.
class Logger {
 public:
  Logger() = default;
  explicit Logger(std::shared_ptr<LogSink> sink) : sink_(std::move(sink)) {}
  [[nodiscard]] Logger With(LogFields more) const {
    Logger copy = *this;
    for (auto& f : more) copy.bound_.push_back(std::move(f));
    return copy;
  }
  void Log(LogLevel level, std::string_view message, const LogFields& fields) const {
    if (sink_ && sink_->Enabled(level)) sink_->Write(level, message, bound_, fields);
  }
  void Trace(std::string_view message, const LogFields& fields = {}) const {
    Log(LogLevel::kTrace, message, fields);
  }
  void Debug(std::string_view message, const LogFields& fields = {}) const {
    Log(LogLevel::kDebug, message, fields);
  }
  void Info(std::string_view message, const LogFields& fields = {}) const {
    Log(LogLevel::kInfo, message, fields);
  }
  void Warn(std::string_view message, const LogFields& fields = {}) const {
    Log(LogLevel::kWarn, message, fields);
  }
  void Error(std::string_view message, const LogFields& fields = {}) const {
    Log(LogLevel::kError, message, fields);
  }

 private:
  std::shared_ptr<LogSink> sink_;
  LogFields bound_;
};

enum class LogFormat : unsigned char { kText, kJson, kPretty };
// Writes whole lines to the descriptor (1 or 2). Formats: slog's text and JSON, and a short one for
// people, coloured on a terminal unless NO_COLOR is set.
std::shared_ptr<LogSink> MakeLogSink(int descriptor, LogLevel level, LogFormat format);

}  // namespace litestream
