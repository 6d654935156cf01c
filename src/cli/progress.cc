#include "cli/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>

#include "cli/table.h"

namespace litestream::cli {

ProgressBar::ProgressBar(std::string label, const Clock& clock)
    : label_(std::move(label)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      clock_(clock),
      started_(clock.Monotonic()),
      last_(started_) {}

ProgressBar::~ProgressBar() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
}

void ProgressBar::Update(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  if (!terminal_) return;
  const MonoTime now = clock_.Monotonic();
  if (now - last_ < kDrawInterval) return;
  last_ = now;
  drawn_ = true;
  const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - started_);
  fmt::print(stderr, "\r{}\x1b[K", FormatProgress(label_, done_bytes, total_bytes, elapsed));
  std::fflush(stderr);
}

std::string FormatProgress(const std::string& label, std::uint64_t done_bytes,
                           std::uint64_t total_bytes, std::chrono::milliseconds elapsed) {
  constexpr int kWidth = 30;
  const double share =
      total_bytes == 0
          ? 0
          : std::min(1.0, static_cast<double>(done_bytes) / static_cast<double>(total_bytes));
  const int filled = static_cast<int>(share * kWidth);
  std::string bar(static_cast<std::size_t>(filled), '=');
  if (filled < kWidth) bar += '>';
  bar.resize(kWidth, ' ');
  std::string line = fmt::format("{} [{}] {:3.0f}%  {} of {}", label, bar, share * 100,
                                 FormatBytes(done_bytes), FormatBytes(total_bytes));
  const double seconds = static_cast<double>(elapsed.count()) / 1000;
  if (seconds <= 0 || done_bytes == 0) return line;
  const double rate = static_cast<double>(done_bytes) / seconds;
  const auto left =
      std::llround(static_cast<double>(total_bytes - std::min(done_bytes, total_bytes)) / rate);
  line += fmt::format("  {}/s", FormatBytes(static_cast<std::uint64_t>(rate)));
  if (left >= 3600)
    return line + fmt::format("  {}:{:02}:{:02} left", left / 3600, left / 60 % 60, left % 60);
  return line + fmt::format("  {}:{:02} left", left / 60, left % 60);
}

}  // namespace litestream::cli
