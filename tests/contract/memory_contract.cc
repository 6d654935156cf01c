#include "storage/memory_client.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

class MemoryReplica final : public ReplicaUnderTest {
 public:
  std::unique_ptr<ReplicaClient> Connect() override { return MakeMemoryClient(store_); }
  bool PutForeign(Level, std::string_view, std::string_view) override { return false; }

 private:
  MemoryStore store_;
};

LS_CONTRACT(Memory,
            Backend{.name = "memory", .make = [] { return std::make_unique<MemoryReplica>(); }});

}  // namespace
}  // namespace litestream::contract
