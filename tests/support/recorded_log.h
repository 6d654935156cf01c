#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/sync.h"

namespace litestream {

// Keeps what is logged from `level` on, one text per line: message, then the values.
class RecordedLog {
 public:
  explicit RecordedLog(LogLevel level) : sink_(std::make_shared<Sink>(level)) {}
  Logger logger() const { return Logger(sink_); }
  std::vector<std::string> lines() const { return sink_->Lines(); }
  // How many lines contain the text.
  int Count(std::string_view text) const {
    int count = 0;
    for (const std::string& line : lines()) count += line.find(text) == std::string::npos ? 0 : 1;
    return count;
  }

 private:
  class Sink final : public LogSink {
   public:
    explicit Sink(LogLevel level) : level_(level) {}
    bool Enabled(LogLevel level) const override { return level >= level_; }
    void Write(LogLevel /*level*/, std::string_view message, const LogFields& /*bound*/,
               const LogFields& fields) override {
      std::string line(message);
      for (const LogField& field : fields) {
        if (const auto* text = std::get_if<std::string>(&field.value)) line += " " + *text;
      }
      MutexLock lock(mu_);
      lines_.push_back(std::move(line));
    }
    std::vector<std::string> Lines() const {
      MutexLock lock(mu_);
      return lines_;
    }

   private:
    const LogLevel level_;
    mutable Mutex mu_{LockRank::kLog};
    std::vector<std::string> lines_ LS_GUARDED_BY(mu_);
  };
  std::shared_ptr<Sink> sink_;
};

}  // namespace litestream
