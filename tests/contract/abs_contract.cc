#include <atomic>

#include <unistd.h>

#include "backend/abs/abs_client.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"
#include "tests/support/abs_test_server.h"

namespace litestream::contract {
namespace {

class AbsReplica final : public ReplicaUnderTest {
 public:
  ~AbsReplica() override { EXPECT_TRUE(Connect()->DeleteAll(Context::Background()).ok()); }

  std::unique_ptr<ReplicaClient> Connect() override {
    auto options = AbsTestOptions();
    options.path = path_;
    auto client = MakeAbsClient(options, AbsTestShared());
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    const auto options = AbsTestOptions();
    abs::Session session(options, abs::MakeAddress(options).value(), AbsTestShared());
    return session
        .Do(Context::Background(),
            {.method = "PUT",
             .blob = path_ + "/" + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/" +
                     std::string(name),
             .headers = {{"x-ms-blob-type", "BlockBlob"}},
             .body = std::make_shared<const std::string>(content)})
        .ok();
  }

 private:
  static inline std::atomic<int> count_ = 0;
  // Needs escaping wherever somebody forgot to.
  const std::string path_ =
      "of 100%/a+b/é&<>'/" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
};

LS_CONTRACT(Abs, Backend{.name = "abs",
                         .make = [] { return std::make_unique<AbsReplica>(); },
                         .old_backups = true});

}  // namespace
}  // namespace litestream::contract
