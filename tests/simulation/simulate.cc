// Runs the simulator: docs/testing.md says how and what for.

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "tests/simulation/runner.h"

namespace litestream::sim {
namespace {

constexpr int kMinimiseRuns = 500;
constexpr std::size_t kShownEvents = 60;

const char* const kUsage =
    "simulate [flags]\n"
    "  --seed N          one run, with its last events if it fails\n"
    "  --seeds A..B      these runs\n"
    "  --fresh           seeds that nobody has seen; with a limit of time\n"
    "  --hours H         begin no run after so many hours of real time\n"
    "  --seconds S       the same in seconds\n"
    "  --jobs J          processes side by side (default: a core each; 1 for --seed)\n"
    "  --minutes M       busy minutes of each run (default 10)\n"
    "  --minimise        with --seed: leave out faults that are not needed to fail\n"
    "  --only K,K,...    with --seed: only these faults happen\n"
    "  --faults          with --seed: list the faults\n"
    "  --trace N         with --seed: print the last N events, failed or not\n"
    "  --log             the engine's debug log goes into the trace\n";

struct Flags {
  ManyOptions many;
  bool one = false;
  bool fresh = false;
  bool minimise = false;
  bool list_faults = false;
  std::size_t trace = 0;
};

std::set<std::uint64_t> ParseKeys(std::string_view text) {
  std::set<std::uint64_t> keys;
  while (!text.empty()) {
    const std::string one(text.substr(0, text.find(',')));
    keys.insert(std::strtoull(one.c_str(), nullptr, 16));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
  }
  return keys;
}

bool Parse(int argc, char** argv, Flags& flags) {
  ManyOptions& many = flags.many;
  many.jobs = static_cast<int>(std::thread::hardware_concurrency());
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    const auto value = [&]() -> const char* { return i + 1 < argc ? argv[++i] : ""; };
    const auto number = [&] { return std::strtoull(value(), nullptr, 10); };
    if (arg == "--seed") {
      flags.one = true;
      many.run.seed = number();
    } else if (arg == "--seeds") {
      char* rest = nullptr;
      many.first_seed = std::strtoull(value(), &rest, 10);
      many.last_seed = std::strtoull(rest + 2, nullptr, 10);
    } else if (arg == "--fresh") {
      flags.fresh = true;
    } else if (arg == "--hours") {
      many.seconds = std::strtod(value(), nullptr) * 3600;
    } else if (arg == "--seconds") {
      many.seconds = std::strtod(value(), nullptr);
    } else if (arg == "--jobs") {
      many.jobs = static_cast<int>(number());
    } else if (arg == "--minutes") {
      many.run.busy = std::chrono::minutes(number());
    } else if (arg == "--minimise") {
      flags.minimise = true;
    } else if (arg == "--only") {
      many.run.script = ParseKeys(value());
    } else if (arg == "--faults") {
      flags.list_faults = true;
    } else if (arg == "--trace") {
      flags.trace = number();
    } else if (arg == "--log") {
      many.run.log = true;
    } else {
      return false;
    }
  }
  return true;
}

std::string Command(const RunOptions& options) {
  std::string text =
      "simulate --seed " + std::to_string(options.seed) + " --minutes " +
      std::to_string(std::chrono::duration_cast<std::chrono::minutes>(options.busy).count());
  if (!options.script) return text;
  text += " --only ";
  char key[20];
  for (const std::uint64_t k : *options.script) {
    std::snprintf(key, sizeof key, "%" PRIx64 ",", k);
    text += key;
  }
  // An empty script is one, too.
  return options.script->empty() ? text + "0" : text;
}

int RunOne(const Flags& flags) {
  RunOptions options = flags.many.run;
  if (flags.minimise) options.script = Minimise(options, kMinimiseRuns);
  options.trace_events = std::max(flags.trace, kShownEvents);
  options.keep_trace = flags.trace > 0;
  const RunResult r = RunSimulation(options);
  std::fputs(r.trace.c_str(), stdout);
  for (const Fault& fault : r.faults) {
    if (!flags.list_faults && !flags.minimise) break;
    std::printf("%" PRIx64 " at %.6f %s: %s\n", fault.key, static_cast<double>(fault.at_ns) / 1e9,
                fault.who.c_str(), fault.what.c_str());
  }
  std::printf("seed %" PRIu64 ": %.0f s simulated, %" PRIu64 " events, %" PRIu64
              " commits, %" PRIu64 " files, %" PRIu64 " restores, %zu faults, hash %016" PRIx64
              "\n",
              r.seed, static_cast<double>(r.simulated_ns) / 1e9, r.events, r.commits,
              r.stored_files, r.restores, r.faults.size(), r.hash);
  if (r.failure.empty()) return 0;
  std::printf("FAILED: %s\nrepeat: %s\n", r.failure.c_str(), Command(options).c_str());
  return 1;
}

int RunSeveral(Flags flags) {
  ManyOptions& many = flags.many;
  if (flags.fresh) {
    std::random_device device;
    many.first_seed = (std::uint64_t{device()} << 16U) + 1'000'000;
    std::printf("fresh seeds from %" PRIu64 "\n", many.first_seed);
  }
  many.progress = true;
  const Summary sum = RunMany(many);
  std::fputs(sum.Text().c_str(), stdout);
  for (const auto& [seed, failure] : sum.failures) {
    std::printf("FAILED: seed %" PRIu64 ": %s\n", seed, failure.c_str());
  }
  if (sum.failures.empty()) return 0;
  // The shortest way to see what happened: the first one once more.
  flags.many.run.seed = sum.failures.begin()->first;
  if (flags.many.run.seed != 0) RunOne(flags);
  return 1;
}

}  // namespace
}  // namespace litestream::sim

int main(int argc, char** argv) {
  litestream::sim::Flags flags;
  if (!litestream::sim::Parse(argc, argv, flags)) {
    std::fputs(litestream::sim::kUsage, stderr);
    return 2;
  }
  return flags.one ? litestream::sim::RunOne(flags) : litestream::sim::RunSeveral(flags);
}
