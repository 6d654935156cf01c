#include <atomic>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "backend/sftp/sftp_client.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"
#include "tests/support/sftp_test_server.h"

namespace litestream::contract {
namespace {

class SftpReplica final : public ReplicaUnderTest {
 public:
  explicit SftpReplica(std::string server) : server_(std::move(server)) {}
  ~SftpReplica() override { EXPECT_TRUE(Connect()->DeleteAll(Context::Background()).ok()); }

  std::unique_ptr<ReplicaClient> Connect() override {
    auto options = SftpTestOptions(server_);
    options.path = SftpTestPath(server_, name_);
    auto client = MakeSftpClient(options, SftpTestShared());
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    const auto path = SftpTestRoot(server_) / name_ /
                      LevelPrefix(ReplicaLayout::kLtxDecimal, level) / std::string(name);
    std::ofstream(path) << content;
    return std::filesystem::exists(path);
  }

 private:
  static inline std::atomic<int> count_ = 0;
  const std::string server_;
  const std::string name_ =
      "of 100%/a+b//é&<>'/" + std::to_string(::getpid()) + "-" + std::to_string(++count_);
};

Backend At(const std::string& server) {
  return {.name = server,
          .make = [server] { return std::make_unique<SftpReplica>(server); },
          // Of what is no LTX file, as here; else it is in the header.
          .time_resolution = std::chrono::seconds(1),
          .conditional_puts = server == "sshd",
          .old_backups = true,
          // rclone reads the whole directory again for each request.
          .many_files = server != "rclone" ? 1005 : 205};
}

LS_CONTRACT(Sftp, At("sshd"), At("plain"), At("rclone"));

}  // namespace
}  // namespace litestream::contract
