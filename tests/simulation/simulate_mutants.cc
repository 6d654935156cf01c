// Switches one planted bug on after the other and says after how many seeds it was found.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "tests/simulation/mutant.h"
#include "tests/simulation/runner.h"

namespace litestream::sim {
namespace {

struct Mutant {
  std::string_view name;
  std::string_view what;
};
constexpr Mutant kMutants[] = {
#include "mutants/mutants.inc"
};

}  // namespace
}  // namespace litestream::sim

// simulate_mutants [--seeds N] [--minutes M] [NAME...]
// simulate_mutants --seed K [--minutes M] [--trace N] NAME    one run, with its last events
int main(int argc, char** argv) {
  using litestream::sim::kMutants;
  litestream::sim::ManyOptions options;
  options.stop_at_failure = true;
  options.last_seed = 200;
  std::set<std::string_view> only;
  bool one = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--seeds" && i + 1 < argc) {
      options.last_seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (arg == "--seed" && i + 1 < argc) {
      one = true;
      options.run.seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (arg == "--trace" && i + 1 < argc) {
      options.run.trace_events = std::strtoull(argv[++i], nullptr, 10);
    } else if (arg == "--minutes" && i + 1 < argc) {
      options.run.busy = std::chrono::minutes(std::atoi(argv[++i]));
    } else {
      only.insert(arg);
    }
  }
  int missed = 0;
  for (const auto& mutant : kMutants) {
    if (!only.empty() && !only.contains(mutant.name)) continue;
    litestream::sim::active_mutant = mutant.name;
    if (one) {
      options.run.keep_trace = options.run.log = true;
      const auto result = RunSimulation(options.run);
      std::printf("%s%s\n", result.trace.c_str(), result.failure.c_str());
      return result.failure.empty() ? 0 : 1;
    }
    const auto sum = RunMany(options);
    const bool found = !sum.failures.empty();
    if (!found) ++missed;
    std::printf("%-26s %4llu seeds %7.1f s  %s\n", std::string(mutant.name).c_str(),
                static_cast<unsigned long long>(sum.seeds), sum.cpu_seconds,
                found ? sum.failures.begin()->second.substr(0, 110).c_str() : "NOT FOUND");
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}
