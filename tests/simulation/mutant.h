#pragma once

#include <algorithm>
#include <string_view>

namespace litestream::sim {

// The bug that is switched on in simulate_mutants (mutants.py has the list), or some of them with +
// between their names. None: empty.
inline std::string_view active_mutant;

inline bool MutantOn(std::string_view name) {
  for (std::string_view rest = active_mutant; !rest.empty();) {
    const std::size_t end = std::min(rest.find('+'), rest.size());
    if (rest.substr(0, end) == name) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

}  // namespace litestream::sim
