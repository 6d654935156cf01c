#pragma once

#include <string_view>

namespace litestream::sim {

// The bug that is switched on in simulate_mutants (mutants.py has the list). None: empty.
inline std::string_view active_mutant;

inline bool MutantOn(std::string_view name) {
  return !active_mutant.empty() && name == active_mutant;
}

}  // namespace litestream::sim
