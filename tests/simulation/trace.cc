#include "tests/simulation/trace.h"

#include <algorithm>

#include <fmt/core.h>

namespace litestream::sim {

std::string Trace::Last(std::size_t most) const {
  std::string text;
  const std::uint64_t kept = std::min<std::uint64_t>({most, events_.size(), count_});
  for (std::uint64_t i = count_ - kept; i < count_; ++i) {
    const Event& e = events_[i % events_.size()];
    text += fmt::format("{:>16.6f}  {:<14} {:<14} {}", static_cast<double>(e.at_ns) / 1e9,
                        e.who.data(), e.what.data(), e.text.data());
    if (e.a != 0 || e.b != 0) text += fmt::format(" {} {}", e.a, e.b);
    text += '\n';
  }
  return text;
}

}  // namespace litestream::sim
