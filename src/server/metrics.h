#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/env.h"
#include "db/database.h"
#include "server/http_listener.h"
#include "storage/operation_counts.h"

namespace litestream {

// Where the numbers come from. Asked when somebody fetches the page; between that nothing is kept.
struct MetricsSources {
  Env& env;
  std::function<std::vector<DatabaseStatus>()> databases;
  std::shared_ptr<const OperationCounts> operations;
};

inline constexpr std::string_view kMetricsPath = "/metrics";

// The page of all metrics in the text format 0.0.4 of Prometheus: docs/operating/metrics.md. One
// piece is one metric with all its series.
//
// What the databases say is of one moment. Series of a database are there as long as it is.
HttpPage MetricsPage(const MetricsSources& sources);

}  // namespace litestream
