#include "storage/operation_counts.h"

#include <algorithm>

namespace litestream {

std::string_view ToString(StorageOperation operation) {
  switch (operation) {
    case StorageOperation::kPut:
      return "PUT";
    case StorageOperation::kGet:
      return "GET";
    case StorageOperation::kDelete:
      return "DELETE";
    case StorageOperation::kList:
      break;
  }
  return "LIST";
}

void OperationCounts::Add(std::string_view replica_type, const OperationCall& call) {
  const double seconds = std::chrono::duration<double>(call.time).count();
  const auto bucket = static_cast<std::size_t>(
      std::ranges::lower_bound(kDurationBucketSeconds, seconds) - kDurationBucketSeconds.begin());
  MutexLock lock(mu_);
  OperationTotals& totals = totals_[Key(replica_type, call.operation)];
  totals.objects += call.objects;
  ++totals.calls;
  totals.bytes += call.bytes;
  totals.time += call.time;
  ++totals.buckets[bucket];
}

void OperationCounts::AddError(std::string_view replica_type, StorageOperation operation,
                               ErrorCode code) {
  MutexLock lock(mu_);
  ++totals_[Key(replica_type, operation)].errors[code];
}

std::vector<OperationCount> OperationCounts::All() const {
  MutexLock lock(mu_);
  std::vector<OperationCount> all;
  all.reserve(totals_.size());
  for (const auto& [key, totals] : totals_) {
    all.push_back({.replica_type = key.first, .operation = key.second, .totals = totals});
  }
  return all;
}

}  // namespace litestream
