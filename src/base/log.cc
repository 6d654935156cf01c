#include "base/log.h"

#include <cerrno>
#include <cstdlib>
#include <string>

#include <poll.h>
#include <unistd.h>

#include "base/log_format.h"

namespace litestream {
namespace {

// How long a reader that has stopped reading may hold up a line on a descriptor in non-blocking
// mode (which whoever shares a terminal or pipe with us may have set), before it is dropped.
constexpr int kPatienceMs = 1000;

bool WantsColour(int descriptor) {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(descriptor) != 0 && (no_color == nullptr || *no_color == '\0');
}

// A line is one write, so lines of several threads and processes do not mix. What cannot be
// written is dropped: there is nobody to tell.
void WriteLine(int descriptor, std::string_view line) {
  while (!line.empty()) {
    const ssize_t n = ::write(descriptor, line.data(), line.size());
    if (n > 0) {
      line.remove_prefix(static_cast<std::size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      pollfd waiting{.fd = descriptor, .events = POLLOUT, .revents = 0};
      if (::poll(&waiting, 1, kPatienceMs) == 0) return;
    } else if (n == 0 || errno != EINTR) {
      return;
    }
  }
}

class DescriptorSink final : public LogSink {
 public:
  DescriptorSink(int descriptor, LogLevel level, LogFormat format)
      : descriptor_(descriptor),
        level_(level),
        format_(format),
        colour_(format == LogFormat::kPretty && WantsColour(descriptor)) {}

  bool Enabled(LogLevel level) const override { return level >= level_; }

  void Write(LogLevel level, std::string_view message, const LogFields& bound,
             const LogFields& fields) override {
    const LogLine line{.time = std::chrono::system_clock::now(),
                       .level = level,
                       .message = message,
                       .bound = bound,
                       .fields = fields};
    WriteLine(descriptor_, FormatLogLine(format_, colour_, line));
  }

 private:
  const int descriptor_;
  const LogLevel level_;
  const LogFormat format_;
  const bool colour_;
};

}  // namespace

std::shared_ptr<LogSink> MakeLogSink(int descriptor, LogLevel level, LogFormat format) {
  return std::make_shared<DescriptorSink>(descriptor, level, format);
}

}  // namespace litestream
