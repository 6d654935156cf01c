#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "litestream/clock.h"

namespace litestream::cli {

// A line on stderr that shows how far a long job is, how fast, and how long it will take. Shows
// nothing where stderr is no terminal. Not safe for concurrent calls.
class ProgressBar {
 public:
  // Borrows the clock.
  ProgressBar(std::string label, const Clock& clock);
  ~ProgressBar();  // Removes the line.
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Draws at most every kDrawInterval.
  void Update(std::uint64_t done_bytes, std::uint64_t total_bytes);

  static constexpr std::chrono::milliseconds kDrawInterval{100};

 private:
  std::string label_;
  bool terminal_;
  bool drawn_ = false;
  const Clock& clock_;
  MonoTime started_;
  MonoTime last_;
};

// The line itself: "restore [=====>    ]  50%  1.2 GB of 2.4 GB  310 MB/s  0:04 left".
std::string FormatProgress(const std::string& label, std::uint64_t done_bytes,
                           std::uint64_t total_bytes, std::chrono::milliseconds elapsed);

}  // namespace litestream::cli
