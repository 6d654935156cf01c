#include "tests/support/writer/journal.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

namespace litestream::writer {

namespace {

struct Line {
  std::int64_t counter = 0;
  std::uint64_t checksum = 0;
};

std::optional<Line> ParseLine(const std::string& text) {
  Line line;
  unsigned long long checksum = 0;
  long long counter = 0;
  long long time = 0;
  if (std::sscanf(text.c_str(), "%lld %llx %lld", &counter, &checksum, &time) != 3) {
    return std::nullopt;
  }
  line.counter = counter;
  line.checksum = checksum;
  return line;
}

}  // namespace

Journal::Journal(const std::string& path) {
  std::uint64_t whole_bytes = 0;
  {
    std::ifstream in(path, std::ios::binary);
    std::string text;
    while (std::getline(in, text) && !in.eof()) {
      const auto line = ParseLine(text);
      if (!line) Fail(fmt::format("{}: not a journal line: {}", path, text));
      last_counter_ = line->counter;
      whole_bytes += text.size() + 1;
    }
  }
  constexpr int kMode = 0644;
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kMode);
  if (descriptor_ < 0 || ::ftruncate(descriptor_, static_cast<off_t>(whole_bytes)) != 0) {
    Fail(fmt::format("open {}: {}", path, std::strerror(errno)));
  }
}

Journal::~Journal() {
  ::close(descriptor_);
}

void Journal::Append(const State& state) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  char line[96];
  const int length = std::snprintf(
      line, sizeof line, "%lld %016llx %lld\n", static_cast<long long>(state.counter),
      static_cast<unsigned long long>(state.checksum),
      static_cast<long long>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()));
  if (::write(descriptor_, line, static_cast<std::size_t>(length)) != length) {
    Fail(fmt::format("write journal: {}", std::strerror(errno)));
  }
  last_counter_ = state.counter;
}

JournalLookup LookUp(const std::string& path, std::int64_t counter) {
  JournalLookup found;
  std::ifstream in(path, std::ios::binary);
  if (!in) Fail(fmt::format("open {}: {}", path, std::strerror(errno)));
  std::string text;
  while (std::getline(in, text) && !in.eof()) {
    const auto line = ParseLine(text);
    if (!line) Fail(fmt::format("{}: not a journal line: {}", path, text));
    found.last_counter = line->counter;
    if (line->counter == counter) found.checksum = line->checksum;
  }
  return found;
}

}  // namespace litestream::writer
