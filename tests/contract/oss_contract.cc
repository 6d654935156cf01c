#include <atomic>

#include <unistd.h>

#include "backend/oss/oss_client.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"
#include "tests/support/oss_test_server.h"

namespace litestream::contract {
namespace {

class OssReplica final : public ReplicaUnderTest {
 public:
  explicit OssReplica(std::string bucket) : bucket_(std::move(bucket)) {}
  ~OssReplica() override { EXPECT_TRUE(Connect()->DeleteAll(Context::Background()).ok()); }

  std::unique_ptr<ReplicaClient> Connect() override {
    auto client = MakeOssClient(Options(), OssTestShared());
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    const std::string key =
        path_ + "/" + LevelPrefix(ReplicaLayout::kHexLevel, level) + "/" + std::string(name);
    return OssTestSession(Options())
        ->Do(Context::Background(),
             {.method = "PUT", .key = key, .body = std::make_shared<const std::string>(content)})
        .ok();
  }

 private:
  oss::Options Options() const {
    auto options = OssTestOptions();
    options.bucket = bucket_;
    // A path that needs escaping wherever somebody forgot to.
    options.path = path_;
    return options;
  }

  static inline std::atomic<int> count_ = 0;
  const std::string bucket_;
  const std::string path_ =
      "of 100%/a+b//é&<>'/" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
};

LS_CONTRACT(Oss,
            Backend{.name = "oss",
                    .make = [] { return std::make_unique<OssReplica>(OssTestSetting("BUCKET")); },
                    .conditional_puts = false});

}  // namespace
}  // namespace litestream::contract
