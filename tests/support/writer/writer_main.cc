// litestream-writer: writes to an SQLite database, and checks copies of it.
//
//   litestream-writer DB [--journal FILE] [--rate N] [--seconds S] [--count N] [...]
//   litestream-writer --check DB JOURNAL

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/support/writer/database.h"
#include "tests/support/writer/journal.h"
#include "tests/support/writer/workload.h"

namespace litestream::writer {
namespace {

constexpr std::string_view kUsage =
    R"(usage: litestream-writer DB [options]
       litestream-writer --check DB JOURNAL

  --journal FILE        a line for each commit: counter, checksum, time in ns
  --rate N              commits a second (default: as fast as possible)
  --count N --seconds S when to stop (default: on SIGTERM)
  --page-size N --auto-vacuum none|full|incremental --synchronous off|normal|full
  --autocheckpoint N    pages, 0: never (default 1000)
  --journal-size-limit N
  --keep-wal            no checkpoint when closing
  --seed N --rows N --row-bytes N --updates N    what a small transaction does
  --no-index            without it a small transaction writes fewer pages
  --large-every N --large-bytes N    now and then a large transaction
  --blob-every N --blob-bytes N      now and then one large value
  --shrink-every N      now and then delete half of the rows
  --keep-bytes N        delete old rows above this size
  --fill-bytes N        first fill the database to this size
  --vacuum-every N
  --checkpoint-every N --checkpoint-mode passive|full|restart|truncate|cycle
  --reader-every N --reader-seconds S
  --json                the summary as JSON

--check proves a copy: SQLite's integrity check, the sums inside, and that its counter and checksum
stand in the journal (or are those of the commit right behind its end). Prints the counter.
)";

volatile sig_atomic_t g_stop = 0;

class SignalStopper final : public Stopper {
 public:
  SignalStopper() {
    struct sigaction action = {};
    action.sa_handler = [](int) { g_stop = 1; };
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
  }
  bool stopped() const override { return g_stop != 0; }
  void WaitUntil(double at_seconds) const override {
    while (!stopped()) {
      const double left = at_seconds - MonotonicSeconds();
      if (left <= 0) return;
      // A signal cuts the nap short.
      timespec nap = {.tv_sec = static_cast<time_t>(left),
                      .tv_nsec = static_cast<long>(
                          (left - static_cast<double>(static_cast<time_t>(left))) * 1e9)};
      nanosleep(&nap, nullptr);
    }
  }
};

template <typename Number>
Number ParseNumber(const std::string& name, const std::string& text) {
  Number value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) {
    Fail(fmt::format("{}: not a number: {}", name, text));
  }
  return value;
}

CheckpointMode ParseMode(const std::string& text) {
  static const std::map<std::string, CheckpointMode> kModes = {
      {"passive", CheckpointMode::kPassive}, {"full", CheckpointMode::kFull},
      {"restart", CheckpointMode::kRestart}, {"truncate", CheckpointMode::kTruncate},
      {"cycle", CheckpointMode::kCycle},
  };
  const auto found = kModes.find(text);
  if (found == kModes.end()) Fail(fmt::format("no such checkpoint mode: {}", text));
  return found->second;
}

struct Arguments {
  Options options;
  bool json = false;
};

Arguments ParseArguments(const std::vector<std::string>& words) {
  Arguments arguments;
  Options& o = arguments.options;
  const std::map<std::string, std::int64_t*> integers = {
      {"--count", &o.count},
      {"--autocheckpoint", &o.autocheckpoint_pages},
      {"--journal-size-limit", &o.journal_size_limit},
      {"--rows", &o.rows},
      {"--row-bytes", &o.row_bytes},
      {"--updates", &o.updates},
      {"--large-every", &o.large_every},
      {"--large-bytes", &o.large_bytes},
      {"--blob-every", &o.blob_every},
      {"--blob-bytes", &o.blob_bytes},
      {"--shrink-every", &o.shrink_every},
      {"--keep-bytes", &o.keep_bytes},
      {"--fill-bytes", &o.fill_bytes},
      {"--vacuum-every", &o.vacuum_every},
      {"--checkpoint-every", &o.checkpoint_every},
      {"--reader-every", &o.reader_every},
  };
  const std::map<std::string, double*> reals = {{"--rate", &o.commits_per_second},
                                                {"--seconds", &o.seconds},
                                                {"--reader-seconds", &o.reader_seconds}};
  const std::map<std::string, std::string*> texts = {{"--journal", &o.journal},
                                                     {"--auto-vacuum", &o.auto_vacuum},
                                                     {"--synchronous", &o.synchronous}};
  const std::map<std::string, bool*> switches = {
      {"--keep-wal", &o.keep_wal}, {"--no-index", &o.no_index}, {"--json", &arguments.json}};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (const auto flag = switches.find(word); flag != switches.end()) {
      *flag->second = true;
      continue;
    }
    if (word.rfind("--", 0) != 0) {
      if (!o.database.empty()) Fail(fmt::format("two databases: {}", word));
      o.database = word;
      continue;
    }
    if (i + 1 == words.size()) Fail(fmt::format("{} needs a value", word));
    const std::string& value = words[++i];
    if (const auto n = integers.find(word); n != integers.end()) {
      *n->second = ParseNumber<std::int64_t>(word, value);
    } else if (const auto r = reals.find(word); r != reals.end()) {
      *r->second = ParseNumber<double>(word, value);
    } else if (const auto t = texts.find(word); t != texts.end()) {
      *t->second = value;
    } else if (word == "--page-size") {
      o.page_size = ParseNumber<int>(word, value);
    } else if (word == "--seed") {
      o.seed = ParseNumber<std::uint64_t>(word, value);
    } else if (word == "--checkpoint-mode") {
      o.checkpoint_mode = ParseMode(value);
    } else {
      Fail(fmt::format("no such option: {}\n{}", word, kUsage));
    }
  }
  if (o.database.empty()) Fail(std::string(kUsage));
  return arguments;
}

// Of sorted values; 0 if there are none.
double Percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto index = static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1));
  return sorted[index];
}

template <typename Number>
std::vector<double> SortedMicroseconds(const std::vector<Number>& nanoseconds) {
  std::vector<double> sorted;
  sorted.reserve(nanoseconds.size());
  for (const auto ns : nanoseconds) sorted.push_back(static_cast<double>(ns) / 1e3);
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

void PrintSummary(Workload& workload, double seconds, bool json) {
  const Latencies& all = workload.latencies();
  const auto commit = SortedMicroseconds(all.commit_ns);
  const auto transaction = SortedMicroseconds(all.transaction_ns);
  const auto large = SortedMicroseconds(all.large_transaction_ns);
  const char* format =
      json ? R"({{"counter": {}, "commits": {}, "seconds": {:.3f}, "large_commits": {},
 "wal_bytes": {}, "commit_us": {{"p50": {:.1f}, "p99": {:.1f}, "max": {:.1f}}},
 "transaction_us": {{"p50": {:.1f}, "p99": {:.1f}, "max": {:.1f}}},
 "large_us": {{"p50": {:.1f}, "max": {:.1f}}}}}
)"
           : "at {}: {} commits in {:.2f} s, {} of them large, {} bytes of WAL; microseconds:\n"
             "  commit       p50 {:.1f}  p99 {:.1f}  max {:.1f}\n"
             "  transaction  p50 {:.1f}  p99 {:.1f}  max {:.1f}\n"
             "  large        p50 {:.1f}  max {:.1f}\n";
  fmt::print(fmt::runtime(format), workload.state().counter, workload.commits(), seconds,
             all.large_commits, workload.wal_bytes(), Percentile(commit, 0.5),
             Percentile(commit, 0.99), Percentile(commit, 1), Percentile(transaction, 0.5),
             Percentile(transaction, 0.99), Percentile(transaction, 1), Percentile(large, 0.5),
             Percentile(large, 1));
}

int Write(const std::vector<std::string>& words) {
  const Arguments arguments = ParseArguments(words);
  const SignalStopper stopper;
  double seconds = 0;
  Workload workload(arguments.options);
  const double started = MonotonicSeconds();
  workload.Run(stopper);
  seconds = MonotonicSeconds() - started;
  PrintSummary(workload, seconds, arguments.json);
  return 0;
}

int Check(const std::string& path, const std::string& journal) {
  if (::access(path.c_str(), R_OK) != 0) {
    Fail(fmt::format("{}: {}", path, std::strerror(errno)));
  }
  Database db(path);
  const auto verdict = db.QueryTexts("PRAGMA integrity_check");
  if (verdict != std::vector<std::string>{"ok"}) {
    Fail(fmt::format("{}: integrity check: {}", path, verdict.empty() ? "no answer" : verdict[0]));
  }
  const State state = ReadState(db);
  const State rows = ScanRows(db);
  if (state.row_count != rows.row_count || state.row_sum != rows.row_sum ||
      state.data_bytes != rows.data_bytes) {
    Fail(
        fmt::format("{}: at {} the state row says {} rows, {} bytes, sum {:016x}, but there are "
                    "{} rows, {} bytes, sum {:016x}",
                    path, state.counter, state.row_count, state.data_bytes, state.row_sum,
                    rows.row_count, rows.data_bytes, rows.row_sum));
  }
  const JournalLookup found = LookUp(journal, state.counter);
  const bool in_flight = !found.checksum && state.counter == found.last_counter + 1;
  if (!found.checksum && !in_flight) {
    Fail(fmt::format("{}: at {}, which no line of {} has; its last is {}", path, state.counter,
                     journal, found.last_counter));
  }
  if (found.checksum && *found.checksum != state.checksum) {
    Fail(fmt::format("{}: at {} with checksum {:016x}, but the journal has {:016x}", path,
                     state.counter, state.checksum, *found.checksum));
  }
  fmt::print("{}\n", state.counter);
  return 0;
}

}  // namespace
}  // namespace litestream::writer

int main(int argc, char** argv) {
  using namespace litestream::writer;
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 3 && words[0] == "--check") return Check(words[1], words[2]);
  if (words.empty() || words[0] == "--check" || words[0] == "--help") {
    fmt::print("{}", kUsage);
    return words.empty() || words[0] == "--check" ? 2 : 0;
  }
  return Write(words);
}
