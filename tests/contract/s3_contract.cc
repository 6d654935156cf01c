#include <atomic>
#include <cstdlib>

#include <unistd.h>

#include "backend/s3/s3_client.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"
#include "tests/support/s3_test_server.h"

namespace litestream::contract {
namespace {

class S3Replica final : public ReplicaUnderTest {
 public:
  ~S3Replica() override { EXPECT_TRUE(Connect()->DeleteAll(Context::Background()).ok()); }

  std::unique_ptr<ReplicaClient> Connect() override {
    auto options = S3TestOptions();
    // A path that needs escaping wherever somebody forgot to.
    options.path = path_;
    auto client = MakeS3Client(options, S3TestShared());
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    const std::string key =
        path_ + "/" + LevelPrefix(ReplicaLayout::kHexLevel, level) + "/" + std::string(name);
    s3::Session session(S3TestOptions(), S3TestShared());
    return session
        .Do(Context::Background(),
            {.method = "PUT", .key = key, .body = std::make_shared<const std::string>(content)})
        .ok();
  }

 private:
  static inline std::atomic<int> count_ = 0;
  const std::string path_ =
      "/of 100%/a+b//é&<>'/" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
};

LS_CONTRACT(S3, Backend{.name = "s3",
                        .make = [] { return std::make_unique<S3Replica>(); },
                        .old_backups = true});

}  // namespace
}  // namespace litestream::contract
