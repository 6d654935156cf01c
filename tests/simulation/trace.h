#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/types.h"
#include "tests/simulation/random.h"

namespace litestream::sim {

// What happened, for people and to prove that two runs are the same: a hash over everything, and
// the last events.
class Trace {
 public:
  struct Event {
    std::int64_t at_ns = 0;  // Since the start.
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::array<char, 16> who = {};
    std::array<char, 16> what = {};
    std::array<char, 48> text = {};
  };

  explicit Trace(std::size_t keep) : events_(keep) {}

  void Add(std::int64_t at_ns, std::string_view who, std::string_view what, std::string_view text,
           std::uint64_t a = 0, std::uint64_t b = 0) {
    Event& e = events_[count_ % events_.size()];
    ++count_;
    e.at_ns = at_ns;
    e.a = a;
    e.b = b;
    Copy(e.who, who);
    Copy(e.what, what);
    // The end of a path says more than its beginning.
    if (text.size() >= e.text.size()) text = text.substr(text.size() - e.text.size() + 1);
    Copy(e.text, text);
    std::uint64_t h = hash_;
    h = Mix(h, static_cast<std::uint64_t>(at_ns));
    h = Mix(h, HashOf(who) + 31 * HashOf(what) + 961 * HashOf(text));
    hash_ = Mix(h, a ^ (b << 32U));
  }

  std::uint64_t hash() const { return hash_; }
  std::uint64_t count() const { return count_; }
  // The last `most` events as lines, oldest first.
  std::string Last(std::size_t most) const;

 private:
  template <std::size_t kSize>
  static void Copy(std::array<char, kSize>& to, std::string_view from) {
    const std::size_t n = from.size() < kSize - 1 ? from.size() : kSize - 1;
    std::memcpy(to.data(), from.data(), n);
    to[n] = '\0';
  }

  std::vector<Event> events_;
  std::uint64_t count_ = 0;
  std::uint64_t hash_ = 0;
};

}  // namespace litestream::sim
