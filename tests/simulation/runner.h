#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "tests/simulation/simulation.h"

namespace litestream::sim {

// What many runs add up to.
struct Summary {
  std::uint64_t seeds = 0;
  double busy_hours = 0;
  double simulated_hours = 0;
  double cpu_seconds = 0;
  std::uint64_t events = 0;
  std::uint64_t commits = 0;
  std::uint64_t stored_files = 0;
  std::uint64_t restores = 0;
  std::map<std::string, std::uint64_t> faults;    // By kind.
  std::map<std::uint64_t, std::string> failures;  // By seed.

  std::string Text() const;
};

struct ManyOptions {
  RunOptions run;
  std::uint64_t first_seed = 1;
  std::uint64_t last_seed = UINT64_MAX;
  double seconds = 0;  // Of real time, after which no run begins; 0: no limit.
  int jobs = 1;
  bool stop_at_failure = false;
  bool progress = false;
};

// Runs seeds in `jobs` processes side by side. (Each has its own SQLite.)
Summary RunMany(const ManyOptions& options);

// The smallest part of the faults of a failing run that still makes it fail in the same way.
// `runs`: how many runs that may take.
std::set<std::uint64_t> Minimise(RunOptions options, int runs);

}  // namespace litestream::sim
