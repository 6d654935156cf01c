#include <memory>

#include "storage/counted_client.h"
#include "storage/memory_client.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

// To be counted changes nothing.
class CountedReplica final : public ReplicaUnderTest {
 public:
  std::unique_ptr<ReplicaClient> Connect() override {
    return MakeCountedClient(MakeMemoryClient(store_), counts_);
  }
  bool PutForeign(Level, std::string_view, std::string_view) override { return false; }

 private:
  MemoryStore store_;
  std::shared_ptr<OperationCounts> counts_ = std::make_shared<OperationCounts>();
};

LS_CONTRACT(Counted,
            Backend{.name = "counted", .make = [] { return std::make_unique<CountedReplica>(); }});

}  // namespace
}  // namespace litestream::contract
