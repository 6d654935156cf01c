#include <filesystem>
#include <fstream>

#include "backend/file/file_client.h"
#include "base/test_dir.h"
#include "storage/layout.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

class FileReplica final : public ReplicaUnderTest {
 public:
  std::unique_ptr<ReplicaClient> Connect() override {
    // A name that needs escaping wherever somebody forgot to, and parents that do not exist.
    return MakeFileClient(Env::Real(), {.root = Root(), .owner = {}});
  }

  bool PutForeign(Level level, std::string_view name, std::string_view content) override {
    const auto directory = Root() / LevelPrefix(ReplicaLayout::kLtxDecimal, level);
    std::filesystem::create_directories(directory);
    std::ofstream(directory / name) << content;
    std::filesystem::create_directories(directory / "0000000000000003-0000000000000003.ltx");
    return true;
  }

 private:
  std::filesystem::path Root() const { return directory_ / "backup of 100%" / "d+é"; }

  const TestDir directory_;
};

// A directory is not read in pages, and each file costs two fsyncs.
LS_CONTRACT(File, Backend{.name = "file",
                          .make = [] { return std::make_unique<FileReplica>(); },
                          .old_backups = true,
                          .many_files = 150});

}  // namespace
}  // namespace litestream::contract
