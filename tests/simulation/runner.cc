#include "tests/simulation/runner.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sstream>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace litestream::sim {
namespace {

using Steady = std::chrono::steady_clock;

constexpr double kNsPerHour = 3'600e9;
// Failures of one kind begin alike.
constexpr std::size_t kKindBytes = 12;

double CpuSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// One line: numbers, kinds of faults with their counts, and the failure.
std::string ToLine(const RunResult& r, double cpu_seconds) {
  std::map<std::string, std::uint64_t> kinds;
  for (const Fault& fault : r.faults) ++kinds[fault.what];
  std::string line =
      fmt::format("{} {} {} {} {} {} {} {} {}", r.seed, cpu_seconds, r.busy_ns, r.simulated_ns,
                  r.events, r.commits, r.stored_files, r.restores, kinds.size());
  for (const auto& [kind, count] : kinds) {
    std::string word = kind;
    std::ranges::replace(word, ' ', '_');
    line += fmt::format(" {} {}", word, count);
  }
  std::string failure = r.failure;
  std::ranges::replace(failure, '\n', ' ');
  return line + "|" + failure + "\n";
}

void AddLine(Summary& sum, const std::string& line) {
  const std::size_t bar = line.find('|');
  std::istringstream in(line.substr(0, bar));
  std::uint64_t seed = 0;
  double cpu = 0;
  double busy_ns = 0;
  double simulated_ns = 0;
  std::uint64_t events = 0;
  std::uint64_t commits = 0;
  std::uint64_t files = 0;
  std::uint64_t restores = 0;
  std::size_t kinds = 0;
  in >> seed >> cpu >> busy_ns >> simulated_ns >> events >> commits >> files >> restores >> kinds;
  ++sum.seeds;
  sum.cpu_seconds += cpu;
  sum.busy_hours += busy_ns / kNsPerHour;
  sum.simulated_hours += simulated_ns / kNsPerHour;
  sum.events += events;
  sum.commits += commits;
  sum.stored_files += files;
  sum.restores += restores;
  for (std::size_t i = 0; i < kinds; ++i) {
    std::string kind;
    std::uint64_t count = 0;
    in >> kind >> count;
    std::ranges::replace(kind, '_', ' ');
    sum.faults[kind] += count;
  }
  if (bar + 1 < line.size()) sum.failures[seed] = line.substr(bar + 1);
}

// A child that runs every jobs-th seed and writes a line for each.
int StartWorker(const ManyOptions& options, int index, Steady::time_point end) {
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const pid_t pid = ::fork();
  if (pid < 0) std::abort();
  if (pid > 0) {
    ::close(ends[1]);
    return ends[0];
  }
  ::close(ends[0]);
  RunOptions run = options.run;
  const auto step = static_cast<std::uint64_t>(options.jobs);
  std::uint64_t seed = options.first_seed + static_cast<std::uint64_t>(index);
  for (; seed <= options.last_seed; seed += step) {
    if (options.seconds > 0 && Steady::now() >= end) break;
    run.seed = seed;
    const double before = CpuSeconds();
    const RunResult result = RunSimulation(run);
    const std::string line = ToLine(result, CpuSeconds() - before);
    if (::write(ends[1], line.data(), line.size()) < 0) break;
    if (options.stop_at_failure && !result.failure.empty()) break;
    if (seed > UINT64_MAX - step) break;
  }
  std::_Exit(0);
}

// On a terminal one line that changes, elsewhere a line now and then.
class Progress {
 public:
  explicit Progress(bool show) : show_(show), terminal_(::isatty(STDERR_FILENO) != 0) {}
  void Tick(const Summary& sum) {
    const auto now = Steady::now();
    if (!show_ || now < next_) return;
    next_ = now + (terminal_ ? std::chrono::seconds(1) : std::chrono::seconds(60));
    Print(sum);
  }
  // At once: whoever watches a run of hours wants to look at it now.
  void Failure(const std::string& line) {
    const std::size_t bar = line.find('|');
    if (!show_ || bar + 1 >= line.size()) return;
    const std::string seed = line.substr(0, line.find(' '));
    std::fprintf(stderr, "%sseed %s: %s\n", terminal_ ? "\r" : "", seed.c_str(),
                 line.c_str() + bar + 1);
  }
  void End(const Summary& sum) {
    if (show_ && terminal_) Print(sum);
    if (show_ && terminal_) std::fputc('\n', stderr);
  }

 private:
  void Print(const Summary& sum) const {
    std::fprintf(stderr, "%s%llu seeds, %.1f busy hours, %llu commits, %zu failures%s",
                 terminal_ ? "\r" : "", static_cast<unsigned long long>(sum.seeds), sum.busy_hours,
                 static_cast<unsigned long long>(sum.commits), sum.failures.size(),
                 terminal_ ? " " : "\n");
  }

  const bool show_;
  const bool terminal_;
  Steady::time_point next_;
};

}  // namespace

std::string Summary::Text() const {
  std::string text = fmt::format(
      "seeds                {}\n"
      "simulated time       {:.1f} hours, {:.1f} of them busy\n"
      "cpu time             {:.1f} s ({:.0f} busy hours in a cpu hour)\n"
      "calls and events     {}\n"
      "commits              {}\n"
      "stored files checked {}\n"
      "restores compared    {}\n"
      "failures             {}\n",
      seeds, simulated_hours, busy_hours, cpu_seconds,
      cpu_seconds > 0 ? busy_hours * 3600 / cpu_seconds : 0.0, events, commits, stored_files,
      restores, failures.size());
  for (const auto& [kind, count] : faults) text += fmt::format("  {:<18} {}\n", kind, count);
  return text;
}

Summary RunMany(const ManyOptions& options) {
  Summary sum;
  const auto end = Steady::now() + std::chrono::duration_cast<Steady::duration>(
                                       std::chrono::duration<double>(options.seconds));
  std::vector<pollfd> pipes;
  std::vector<std::string> pending;
  for (int i = 0; i < options.jobs; ++i) {
    pipes.push_back({.fd = StartWorker(options, i, end), .events = POLLIN, .revents = 0});
    pending.emplace_back();
  }
  Progress progress(options.progress);
  auto open = pipes.size();
  while (open > 0) {
    if (::poll(pipes.data(), pipes.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < pipes.size(); ++i) {
      if (pipes[i].fd < 0 || pipes[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = ::read(pipes[i].fd, buffer, sizeof buffer);
      if (got <= 0) {
        ::close(pipes[i].fd);
        pipes[i].fd = -1;
        --open;
        continue;
      }
      pending[i].append(buffer, static_cast<std::size_t>(got));
      for (std::size_t at = 0; (at = pending[i].find('\n')) != std::string::npos;) {
        AddLine(sum, pending[i].substr(0, at));
        progress.Failure(pending[i].substr(0, at));
        pending[i].erase(0, at + 1);
      }
      progress.Tick(sum);
    }
  }
  // A worker that died in the middle is a failure of the simulator or of memory safety.
  for (int i = 0; i < options.jobs; ++i) {
    int status = 0;
    if (::wait(&status) > 0 && status != 0) {
      sum.failures[0] = fmt::format("a worker ended with status {}", status);
    }
  }
  progress.End(sum);
  return sum;
}

std::set<std::uint64_t> Minimise(RunOptions options, int runs) {
  options.script.reset();
  const RunResult whole = RunSimulation(options);
  const std::string kind = whole.failure.substr(0, kKindBytes);
  std::vector<std::uint64_t> keys;
  for (const Fault& fault : whole.faults) keys.push_back(fault.key);
  const auto fails_without = [&](std::size_t from, std::size_t to) {
    std::set<std::uint64_t> rest(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(from));
    rest.insert(keys.begin() + static_cast<std::ptrdiff_t>(to), keys.end());
    options.script = rest;
    --runs;
    return RunSimulation(options).failure.substr(0, kKindBytes) == kind;
  };
  // Ever smaller pieces are left out, as long as it goes on failing.
  for (std::size_t piece = keys.size(); piece > 0; piece /= 2) {
    for (std::size_t from = 0; from < keys.size() && runs > 0;) {
      const std::size_t to = std::min(from + piece, keys.size());
      if (fails_without(from, to)) {
        keys.erase(keys.begin() + static_cast<std::ptrdiff_t>(from),
                   keys.begin() + static_cast<std::ptrdiff_t>(to));
      } else {
        from = to;
      }
    }
  }
  return {keys.begin(), keys.end()};
}

}  // namespace litestream::sim
