#include <atomic>

#include <unistd.h>

#include "backend/webdav/resources.h"
#include "backend/webdav/webdav_client.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"
#include "tests/support/webdav_test_server.h"

namespace litestream::contract {
namespace {

class WebdavReplica final : public ReplicaUnderTest {
 public:
  explicit WebdavReplica(webdav::Options options) : options_(std::move(options)) {
    options_.path =
        "of 100%/a+b//é&<>'#?/" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
  }
  ~WebdavReplica() override { EXPECT_TRUE(Connect()->DeleteAll(Context::Background()).ok()); }

  std::unique_ptr<ReplicaClient> Connect() override {
    auto client = MakeWebdavClient(options_, WebdavTestHttp());
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    const Context ctx = Context::Background();
    const webdav::Location location = webdav::MakeLocation(options_).value();
    webdav::Session session(options_, location, WebdavTestHttp());
    webdav::Collections collections(session);
    const std::string folder = location.root + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/";
    return collections.Ensure(ctx, folder + "0000000000000003-0000000000000003.ltx/").ok() &&
           session
               .Do(ctx, {.method = "PUT",
                         .path = folder + std::string(name),
                         .body = std::make_shared<const std::string>(content)})
               .ok();
  }

 private:
  static inline std::atomic<int> count_ = 0;
  webdav::Options options_;
};

// A list has no pages.
constexpr int kManyFiles = 150;

LS_CONTRACT(ApacheBasic,
            Backend{.name = "apache_basic",
                    .make = [] { return std::make_unique<WebdavReplica>(ApacheOptions("/basic")); },
                    .exact_if_absent = false,
                    .conditional_puts = false,
                    .many_files = kManyFiles});
LS_CONTRACT(ApacheDigest,
            Backend{
                .name = "apache_digest",
                .make = [] { return std::make_unique<WebdavReplica>(ApacheOptions("/digest")); },
                .exact_if_absent = false,
                .conditional_puts = false,
                .many_files = kManyFiles});
LS_CONTRACT(Rclone, Backend{.name = "rclone",
                            .make = [] { return std::make_unique<WebdavReplica>(RcloneOptions()); },
                            .conditional_puts = false,
                            .many_files = kManyFiles});

}  // namespace
}  // namespace litestream::contract
