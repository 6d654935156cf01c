#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/checker.h"
#include "tests/simulation/model.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/store.h"
#include "tests/simulation/world.h"

namespace litestream::sim {

struct RunOptions {
  std::uint64_t seed = 1;
  Nanos busy{std::chrono::minutes(10)};           // How long there is work and trouble.
  std::optional<std::set<std::uint64_t>> script;  // Only these faults happen.
  std::size_t trace_events = 4000;
  bool keep_trace = false;  // Also of a run that did not fail.
  bool log = false;         // The engine's debug log goes into the trace.
};

struct RunResult {
  std::uint64_t seed = 0;
  std::string failure;  // Empty: all is well.
  std::string trace;    // The last events, if it failed.
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  std::int64_t simulated_ns = 0;
  std::int64_t busy_ns = 0;
  std::uint64_t commits = 0;
  std::uint64_t stored_files = 0;
  std::uint64_t restores = 0;
  std::vector<Fault> faults;
};

// One run: a machine with applications and a replicator, a store, a restorer, and trouble as the
// seed's plan has it; then quiet, in which everything must catch up; then silence, in which nothing
// may be asked of the store.
RunResult RunSimulation(const RunOptions& options);

}  // namespace litestream::sim
