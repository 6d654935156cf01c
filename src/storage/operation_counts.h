#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/sync.h"
#include "litestream/error.h"

namespace litestream {

enum class StorageOperation : unsigned char { kPut, kGet, kDelete, kList };
// "PUT", "GET", "DELETE", "LIST"
std::string_view ToString(StorageOperation operation);

// Upper bounds of what a duration is counted in; one more for what is longer.
inline constexpr std::array<double, 9> kDurationBucketSeconds = {0.01, 0.05, 0.1, 0.5, 1,
                                                                 5,    10,   30,  60};

// Of one kind of backend and one operation, since the start.
struct OperationTotals {
  std::uint64_t objects = 0;  // Of a delete every object, of the others every call.
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;
  std::chrono::nanoseconds time{0};
  // How many calls took up to the bound, and longer than the one before.
  std::array<std::uint64_t, kDurationBucketSeconds.size() + 1> buckets = {};
  std::map<ErrorCode, std::uint64_t> errors;
};

struct OperationCount {
  std::string replica_type;
  StorageOperation operation{};
  OperationTotals totals;
};

// One call that has ended.
struct OperationCall {
  StorageOperation operation{};
  std::uint64_t objects = 1;
  std::uint64_t bytes = 0;
  std::chrono::nanoseconds time{0};
};

// What all replicas of the process have done with their backends. Safe for concurrent calls.
class OperationCounts {
 public:
  void Add(std::string_view replica_type, const OperationCall& call);
  void AddError(std::string_view replica_type, StorageOperation operation, ErrorCode code);
  // What has happened at least once, by type and operation.
  std::vector<OperationCount> All() const;

 private:
  using Key = std::pair<std::string, StorageOperation>;
  mutable Mutex mu_{LockRank::kMetrics};
  std::map<Key, OperationTotals> totals_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
