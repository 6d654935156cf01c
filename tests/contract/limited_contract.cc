#include <memory>

#include "storage/limited_client.h"
#include "storage/memory_client.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

// Limits change when things happen and nothing else. They are so wide here that nobody waits long,
// and so narrow that bodies pass in pieces.
class LimitedReplica final : public ReplicaUnderTest {
 public:
  std::unique_ptr<ReplicaClient> Connect() override {
    return MakeLimitedClient(MakeMemoryClient(store_), limiter_);
  }
  bool PutForeign(Level, std::string_view, std::string_view) override { return false; }

 private:
  MemoryStore store_;
  std::shared_ptr<Limiter> limiter_ =
      std::make_shared<Limiter>(LimitOptions{.upload_bytes_per_second = 1'000'000'000,
                                             .download_bytes_per_second = 1'000'000'000,
                                             .requests_per_second = 1'000'000});
};

LS_CONTRACT(Limited,
            Backend{.name = "limited", .make = [] { return std::make_unique<LimitedReplica>(); }});

}  // namespace
}  // namespace litestream::contract
