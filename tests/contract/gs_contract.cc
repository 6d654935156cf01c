#include <atomic>

#include <unistd.h>

#include "backend/gs/gs_client.h"
#include "backend/gs/upload.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"
#include "tests/support/gs_test_server.h"

namespace litestream::contract {
namespace {

class GsReplica final : public ReplicaUnderTest {
 public:
  ~GsReplica() override { EXPECT_TRUE(Connect()->DeleteAll(Context::Background()).ok()); }

  std::unique_ptr<ReplicaClient> Connect() override {
    auto options = GsTestOptions();
    // A path that needs escaping wherever somebody forgot to.
    options.path = path_;
    auto client = MakeGsClient(options, GsTestShared());
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    gs::Session session(GsTestOptions(), GsTestShared());
    const gs::UploadTarget target{
        .key =
            path_ + "/" + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/" + std::string(name),
        .created_at = {},
        .cache_control = {},
        .generation = {},
        .size_bytes = {}};
    return gs::UploadWhole(Context::Background(), session, target,
                           std::make_shared<const std::string>(content))
        .ok();
  }

 private:
  static inline std::atomic<int> count_ = 0;
  const std::string path_ =
      "of 100%/a+b/é&<>'\"?#/" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
};

LS_CONTRACT(Gs, Backend{.name = "gs",
                        .make = [] { return std::make_unique<GsReplica>(); },
                        .old_backups = true});

}  // namespace
}  // namespace litestream::contract
