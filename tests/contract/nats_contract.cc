#include <atomic>

#include <unistd.h>

#include "backend/nats/nats_client.h"
#include "backend/nats/upload.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"
#include "tests/support/nats_test_server.h"

namespace litestream::contract {
namespace {

class NatsReplica final : public ReplicaUnderTest {
 public:
  NatsReplica() {
    // Held, or each test would connect anew.
    static const auto connection = [] {
      auto held = NatsTestConnections().Get(NatsTestOptions().server);
      MakeNatsBucket(NatsTestOptions());
      return held;
    }();
    EXPECT_NE(connection, nullptr);
  }
  ~NatsReplica() override { EXPECT_TRUE(Connect()->DeleteAll(Context::Background()).ok()); }

  std::unique_ptr<ReplicaClient> Connect() override {
    auto client = MakeNatsClient(Options(), NatsTestConnections());
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    const auto options = Options();
    nats::Bucket bucket(options, NatsTestConnections().Get(options.server));
    const Context ctx = Context::Background();
    TextSource body{std::string(content)};
    const auto meta = nats::UploadChunks(
        ctx, bucket,
        path_ + "/" + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/" + std::string(name),
        body, content.size());
    EXPECT_TRUE(meta.ok()) << meta.error().message();
    return meta.ok() && nats::Commit(ctx, bucket, meta.value(), std::nullopt).ok();
  }

 private:
  nats::Options Options() const {
    auto options = NatsTestOptions();
    options.path = path_;
    return options;
  }

  static inline std::atomic<int> count_ = 0;
  const std::string path_ =
      "of 100%/a+b/é&<>'\"\\/" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
};

LS_CONTRACT(Nats, Backend{.name = "nats", .make = [] { return std::make_unique<NatsReplica>(); }});

}  // namespace
}  // namespace litestream::contract
