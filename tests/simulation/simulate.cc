// Runs the simulator: see docs/testing.md.

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "tests/simulation/simulation.h"

int main(int argc, char** argv) {
  using litestream::sim::RunOptions;
  RunOptions options;
  std::uint64_t first = 1;
  std::uint64_t last = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--seed") first = last = std::strtoull(argv[++i], nullptr, 10);
    if (arg == "--seeds") {
      const char* range = argv[++i];
      first = std::strtoull(range, nullptr, 10);
      last = std::strtoull(std::strstr(range, "..") + 2, nullptr, 10);
    }
    if (arg == "--log") options.log = true;
    if (arg == "--events") options.trace_events = std::strtoull(argv[++i], nullptr, 10);
    if (arg == "--minutes") options.busy = std::chrono::minutes(std::atoi(argv[++i]));
  }
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    options.seed = seed;
    const auto begin = std::clock();
    const auto r = RunSimulation(options);
    const double cpu = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    std::printf("seed %" PRIu64 ": %.2f s cpu, %.0f s simulated, %" PRIu64 " events, %" PRIu64
                " commits, %" PRIu64 " files, %" PRIu64 " restores, %zu faults, hash %016" PRIx64
                " %s\n",
                seed, cpu, r.simulated_ns / 1e9, r.events, r.commits, r.stored_files, r.restores,
                r.faults.size(), r.hash, r.failure.c_str());
    if (first == last) std::printf("%s", r.trace.c_str());
  }
}
