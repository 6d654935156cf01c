#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "db/database.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/process.h"

namespace litestream::sim {

// Looks at the local files of one replicator now and then: they are not more than they may be while
// nobody takes them, and none goes that a replica which is well is about to take.
class LocalWatch {
 public:
  LocalWatch(Process& process, const Plan& plan) : process_(process), plan_(plan) {}
  void Look(const DatabaseStatus& status);

 private:
  struct Replica {
    ReplicaState state = ReplicaState::kUnknown;
    Txid txid;
  };
  struct File {
    Txid txid;
    std::uint64_t size_bytes = 0;
    NanoTime modified_at;
  };
  std::vector<File> List() const;
  void CheckBytes(const DatabaseStatus& status, const std::vector<File>& files);
  void CheckTheWell(const DatabaseStatus& status, const std::vector<File>& files);

  Process& process_;
  const Plan& plan_;
  // Since then no replica took anything, no call failed, and the database was open.
  std::optional<std::int64_t> nobody_since_ns_;
  std::uint64_t faults_ = 0;
  // When it last looked.
  std::vector<Replica> replicas_;
  std::optional<TxidRange> range_;
};

}  // namespace litestream::sim
