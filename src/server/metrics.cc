#include "server/metrics.h"

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <utility>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "base/free_memory.h"
#include "server/process_metrics.h"
#include "sqlite/connection.h"

namespace litestream {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// The page of so many takes megabytes.
constexpr std::size_t kManyDatabases = 500;

// A moment: what all pieces of one page are made from.
struct Scene {
  std::vector<DatabaseStatus> databases;
  std::vector<OperationCount> operations;
  ProcessMetrics process;
  MonoTime now;
};
using Fill = std::function<void(MetricFamily& family, const Scene& scene)>;

struct Metric {
  const char* name;
  const char* help;
  MetricType type;
  Fill fill;
};

void Add(MetricFamily& family, Labels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(std::move(metric));
}

double Seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

double Seconds(WallTime time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

template <typename T>
std::optional<double> ToDouble(const std::optional<T>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

// --- Of a database. ---

// A series for each database for which there is a value.
template <typename Value>
Fill PerDatabase(Value value) {
  return [value](MetricFamily& family, const Scene& scene) {
    family.metric.reserve(scene.databases.size());
    for (const DatabaseStatus& database : scene.databases) {
      const std::optional<double> found = value(database);
      if (found) Add(family, {{"db", database.path.string()}}, *found);
    }
  };
}

Fill Number(std::uint64_t DatabaseStatus::*field) {
  return PerDatabase([field](const DatabaseStatus& d) { return static_cast<double>(d.*field); });
}

Fill Flag(bool DatabaseStatus::*field) {
  return PerDatabase([field](const DatabaseStatus& d) { return d.*field ? 1.0 : 0.0; });
}

template <typename Value>
Fill PerMode(Value value) {
  return [value](MetricFamily& family, const Scene& scene) {
    for (const DatabaseStatus& database : scene.databases) {
      for (std::size_t i = 0; i < database.checkpoints_by_mode.size(); ++i) {
        const auto& made = database.checkpoints_by_mode[i];
        if (made.count == 0 && made.errors == 0) continue;
        const auto mode = ToString(static_cast<CheckpointMode>(i));
        Add(family, {{"db", database.path.string()}, {"mode", std::string(mode)}}, value(made));
      }
    }
  };
}

double BadSources(const DatabaseStatus& database) {
  double sum = 0;
  for (const ReplicaStatus& replica : database.replicas) {
    sum += static_cast<double>(replica.upkeep.bad_sources);
  }
  return sum;
}

void FillLevel0(MetricFamily& family, const Scene& scene) {
  for (const DatabaseStatus& database : scene.databases) {
    UpkeepStatus::Level0 sum;
    for (const ReplicaStatus& replica : database.replicas) {
      const UpkeepStatus::Level0& level0 = replica.upkeep.level0;
      sum.known = sum.known || level0.known;
      sum.removed += level0.removed;
      sum.not_merged += level0.not_merged;
      sum.kept += level0.kept;
    }
    if (!sum.known) continue;
    const std::string path = database.path.string();
    Add(family, {{"db", path}, {"status", "eligible"}}, sum.removed);
    Add(family, {{"db", path}, {"status", "not_compacted"}}, sum.not_merged);
    Add(family, {{"db", path}, {"status", "too_recent"}}, sum.kept);
  }
}

std::vector<Metric> DatabaseMetrics() {
  using D = DatabaseStatus;
  using C = DatabaseStatus::Checkpoints;
  constexpr auto kCounter = MetricType::Counter;
  constexpr auto kGauge = MetricType::Gauge;
  return {
      {"litestream_db_size", "The size of the database as last captured, in bytes", kGauge,
       Number(&D::database_bytes)},
      {"litestream_wal_size", "The end of what is captured of the WAL, in bytes", kGauge,
       Number(&D::wal_bytes)},
      {"litestream_total_wal_bytes", "Bytes of the WAL that were captured", kCounter,
       Number(&D::captured_wal_bytes)},
      {"litestream_txid", "The last captured transaction", kGauge,
       PerDatabase([](const D& d) { return static_cast<double>(d.txid.value); })},
      {"litestream_sync_count", "Captures, failed ones included", kCounter, Number(&D::syncs)},
      {"litestream_sync_error_count", "Captures that failed", kCounter, Number(&D::errors)},
      {"litestream_sync_seconds", "Time spent in captures", kCounter,
       PerDatabase([](const D& d) { return Seconds(d.sync_time); })},
      {"litestream_disk_full", "1 while captures fail for lack of space", kGauge,
       Flag(&D::disk_full)},
      {"litestream_checkpoint_count", "Checkpoints by mode", kCounter,
       PerMode([](const C& c) { return static_cast<double>(c.count); })},
      {"litestream_checkpoint_error_count", "Failed checkpoints by mode", kCounter,
       PerMode([](const C& c) { return static_cast<double>(c.errors); })},
      {"litestream_checkpoint_seconds", "Time spent in checkpoints by mode", kCounter,
       PerMode([](const C& c) { return Seconds(c.time); })},
      {"litestream_compaction_verify_error_count",
       "Merges that found a file damaged, missing or not fitting", kCounter,
       PerDatabase(BadSources)},
      {"litestream_l0_retention_files_total",
       "Files of level 0 when retention last looked, all replicas together", kGauge, FillLevel0},
      {"litestream_checkpoint_blocked", "1 while readers keep checkpoints from completing", kGauge,
       Flag(&D::checkpoint_blocked)},
      {"litestream_parked", "1 while the database is closed and only watched", kGauge,
       PerDatabase([](const D& d) { return d.state == DatabaseState::kParked ? 1.0 : 0.0; })},
      {"litestream_last_capture_timestamp_seconds",
       "When everything that is committed was last found captured", kGauge,
       PerDatabase([](const D& d) {
         return d.last_capture ? std::optional(Seconds(*d.last_capture)) : std::nullopt;
       })},
      {"litestream_scrub_passes_total", "Finished comparisons of the whole database", kCounter,
       PerDatabase([](const D& d) { return static_cast<double>(d.scrub.passes); })},
      {"litestream_scrub_pages_total", "Pages compared with what was captured", kCounter,
       PerDatabase([](const D& d) { return static_cast<double>(d.scrub.pages); })},
      {"litestream_scrub_differences_total", "Pages that were not what was captured", kCounter,
       PerDatabase([](const D& d) { return static_cast<double>(d.scrub.differences); })},
      {"litestream_scrub_last_pass_timestamp_seconds", "When a comparison was last finished",
       kGauge, PerDatabase([](const D& d) {
         return d.scrub.last_pass ? std::optional(Seconds(*d.scrub.last_pass)) : std::nullopt;
       })},
  };
}

// --- Of a replica. ---

// A second replica of the same name is NAME-2, and so on.
std::string ReplicaLabel(const DatabaseStatus& database, std::size_t index) {
  const std::string& name = database.replicas[index].name;
  const auto same = std::count_if(database.replicas.begin(),
                                  database.replicas.begin() + static_cast<std::ptrdiff_t>(index),
                                  [&](const ReplicaStatus& other) { return other.name == name; });
  return same == 0 ? name : name + "-" + std::to_string(same + 1);
}

template <typename Value>
Fill PerReplica(Value value) {
  return [value](MetricFamily& family, const Scene& scene) {
    for (const DatabaseStatus& database : scene.databases) {
      for (std::size_t i = 0; i < database.replicas.size(); ++i) {
        const ReplicaStatus& replica = database.replicas[i];
        const std::optional<double> found = value(scene, database, replica);
        if (!found) continue;
        Add(family,
            {{"db", database.path.string()},
             {"replica", ReplicaLabel(database, i)},
             {"replica_type", replica.type}},
            *found);
      }
    }
  };
}

// Everything that is captured is on the replica.
bool IsLevel(const DatabaseStatus& database, const ReplicaStatus& replica) {
  return replica.state == ReplicaState::kInSync && replica.txid >= database.txid;
}

// Until when it is known that the replica leads to the very state of the database.
std::optional<double> ProvenTime(const DatabaseStatus& database, const ReplicaStatus& replica) {
  if (replica.proven == Txid{}) return std::nullopt;
  std::optional<WallTime> time = replica.last_success;
  const bool now = IsLevel(database, replica) && replica.proven == replica.txid;
  if (now && database.last_capture > time) time = database.last_capture;
  return time ? std::optional(Seconds(*time)) : std::nullopt;
}

std::vector<Metric> ReplicaMetrics() {
  using D = DatabaseStatus;
  using R = ReplicaStatus;
  constexpr auto kCounter = MetricType::Counter;
  constexpr auto kGauge = MetricType::Gauge;
  const auto number = [](auto value) {
    return PerReplica([value](const Scene&, const D&, const R& r) -> std::optional<double> {
      return static_cast<double>(value(r));
    });
  };
  const auto time = [](auto value) {
    return PerReplica([value](const Scene&, const D&, const R& r) -> std::optional<double> {
      const std::optional<WallTime> found = value(r);
      return found ? std::optional(Seconds(*found)) : std::nullopt;
    });
  };
  return {
      {"litestream_replica_txid", "The last transaction on the replica", kGauge,
       number([](const R& r) { return r.txid.value; })},
      {"litestream_replica_lag_seconds",
       "How long the oldest captured transaction waits to be on the replica; 0: none waits", kGauge,
       PerReplica([](const Scene& scene, const D&, const R& r) -> std::optional<double> {
         return r.behind_since ? std::max(0.0, Seconds(scene.now - *r.behind_since)) : 0.0;
       })},
      {"litestream_replica_failing", "1 while uploads fail", kGauge,
       number([](const R& r) { return r.state == ReplicaState::kFailing; })},
      {"litestream_replica_last_sync_timestamp_seconds",
       "When an upload last made the replica level with the database", kGauge,
       time([](const R& r) { return r.last_success; })},
      {"litestream_last_proven_txid",
       "The newest transaction on the replica whose proof continues what is before it", kGauge,
       number([](const R& r) { return r.proven.value; })},
      {"litestream_last_proven_timestamp_seconds",
       "When the database was last known to be what the replica provably leads to", kGauge,
       PerReplica([](const Scene&, const D& d, const R& r) { return ProvenTime(d, r); })},
      {"litestream_replica_snapshot_timestamp_seconds", "When the newest snapshot was made", kGauge,
       time([](const R& r) { return r.upkeep.newest_snapshot; })},
      {"litestream_replica_uploaded_files_total", "Files that capture made and that went up",
       kCounter, number([](const R& r) { return r.uploaded_files; })},
      {"litestream_replica_uploaded_bytes_total", "Their bytes", kCounter,
       number([](const R& r) { return r.uploaded_bytes; })},
      {"litestream_upkeep_written_files_total", "Merged files and snapshots that were written",
       kCounter, number([](const R& r) { return r.upkeep.written_files; })},
      {"litestream_upkeep_removed_files_total", "Files that retention removed", kCounter,
       number([](const R& r) { return r.upkeep.removed_files; })},
  };
}

// --- Of the backends and the process. ---

Labels OperationLabels(const OperationCount& count) {
  return {{"replica_type", count.replica_type},
          {"operation", std::string(ToString(count.operation))}};
}

void FillDurations(MetricFamily& family, const Scene& scene) {
  for (const OperationCount& count : scene.operations) {
    const OperationTotals& totals = count.totals;
    ClientMetric metric;
    metric.label = OperationLabels(count);
    metric.histogram.sample_count = totals.calls;
    metric.histogram.sample_sum = Seconds(totals.time);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < kDurationBucketSeconds.size(); ++i) {
      below += totals.buckets[i];
      metric.histogram.bucket.push_back({below, kDurationBucketSeconds[i]});
    }
    family.metric.push_back(std::move(metric));
  }
}

std::vector<Metric> OperationMetrics() {
  const auto per_operation = [](auto value) {
    return [value](MetricFamily& family, const Scene& scene) {
      for (const OperationCount& count : scene.operations) {
        const std::uint64_t found = value(count.totals);
        if (found > 0) Add(family, OperationLabels(count), static_cast<double>(found));
      }
    };
  };
  return {
      {"litestream_replica_operation_total",
       "Operations of replicas on their storage; deletes are counted by object",
       MetricType::Counter, per_operation([](const OperationTotals& t) { return t.objects; })},
      {"litestream_replica_operation_bytes", "Bytes that went over", MetricType::Counter,
       per_operation([](const OperationTotals& t) { return t.bytes; })},
      {"litestream_replica_operation_duration_seconds", "How long calls took",
       MetricType::Histogram, FillDurations},
      {"litestream_replica_operation_errors_total",
       "Calls that failed; not_found and already_exists are often normal answers",
       MetricType::Counter,
       [](MetricFamily& family, const Scene& scene) {
         for (const OperationCount& count : scene.operations) {
           for (const auto& [code, errors] : count.totals.errors) {
             Labels labels = OperationLabels(count);
             std::string text(ToString(code));
             std::ranges::replace(text, ' ', '_');
             labels.push_back({"code", std::move(text)});
             Add(family, std::move(labels), static_cast<double>(errors));
           }
         }
       }},
  };
}

std::vector<Metric> ProcessFamilies() {
  using P = ProcessMetrics;
  const auto one = [](auto value) {
    return [value](MetricFamily& family, const Scene& scene) {
      const std::optional<double> found = value(scene.process);
      if (found) Add(family, {}, *found);
    };
  };
  constexpr auto kGauge = MetricType::Gauge;
  return {
      {"process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
       MetricType::Counter, one([](const P& p) { return p.cpu_seconds; })},
      {"process_open_fds", "Number of open file descriptors.", kGauge,
       one([](const P& p) { return ToDouble(p.open_files); })},
      {"process_max_fds", "Maximum number of open file descriptors.", kGauge,
       one([](const P& p) { return p.max_open_files; })},
      {"process_virtual_memory_bytes", "Virtual memory size in bytes.", kGauge,
       one([](const P& p) { return ToDouble(p.virtual_bytes); })},
      {"process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.",
       kGauge, one([](const P& p) { return p.max_virtual_bytes; })},
      {"process_resident_memory_bytes", "Resident memory size in bytes.", kGauge,
       one([](const P& p) { return ToDouble(p.resident_bytes); })},
      {"process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
       kGauge, one([](const P& p) { return p.start_time_seconds; })},
  };
}

const std::vector<Metric>& AllMetrics() {
  static const std::vector<Metric> all = [] {
    std::vector<Metric> metrics = DatabaseMetrics();
    for (auto more : {ReplicaMetrics(), OperationMetrics(), ProcessFamilies()}) {
      std::ranges::move(more, std::back_inserter(metrics));
    }
    return metrics;
  }();
  return all;
}

Scene Look(const MetricsSources& sources) {
  Scene scene;
  scene.databases = sources.databases();
  if (sources.operations) scene.operations = sources.operations->All();
  scene.process = ReadProcessMetrics(sources.env);
  scene.now = sources.env.clock().Monotonic();
  return scene;
}

}  // namespace

HttpPage MetricsPage(const MetricsSources& sources) {
  // Shared, because a function object can be copied.
  auto scene = std::make_shared<const Scene>(Look(sources));
  HttpPage page;
  page.content_type = "text/plain; version=0.0.4; charset=utf-8";
  page.next_piece = [scene = std::move(scene), next = std::size_t{0}](std::string& out) mutable {
    const std::vector<Metric>& metrics = AllMetrics();
    while (out.empty() && next < metrics.size()) {
      const Metric& metric = metrics[next++];
      MetricFamily family{.name = metric.name, .help = metric.help, .type = metric.type};
      metric.fill(family, *scene);
      // Without a series there is nothing to say.
      if (family.metric.empty()) continue;
      std::ostringstream text;
      prometheus::TextSerializer().Serialize(text, {std::move(family)});
      out = std::move(text).str();
    }
    if (!out.empty() || !scene) return;
    const bool many = scene->databases.size() >= kManyDatabases;
    scene.reset();
    if (many) ReturnFreeMemory();
  };
  return page;
}

}  // namespace litestream
