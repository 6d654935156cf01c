#include <filesystem>
#include <set>
#include <string>
#include <system_error>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/golden.h"
#include "tests/support/sha256.h"

namespace litestream {
namespace {

// The other golden tests mean nothing if the data is not what the reference wrote.
TEST(GoldenManifest, EveryFileIsAsRecordedAndNoneIsExtra) {
  const std::filesystem::path root = GoldenDir();
  const nlohmann::json manifest = LoadJson(root / "manifest.json");
  ASSERT_TRUE(manifest.is_object());
  std::set<std::string> recorded = {"README.md", "manifest.json"};
  std::uintmax_t total_size = 0;
  for (const auto& golden_case : manifest.at("cases")) {
    const std::filesystem::path dir = golden_case.at("case").get<std::string>();
    for (const auto& file : golden_case.at("files")) {
      const std::filesystem::path path = dir / file.at("path").get<std::string>();
      SCOPED_TRACE(path);
      EXPECT_TRUE(recorded.insert(path.string()).second) << "recorded twice";
      std::error_code error;
      const std::uintmax_t size = std::filesystem::file_size(root / path, error);
      ASSERT_FALSE(error) << error.message();
      EXPECT_EQ(size, file.at("size").get<std::uintmax_t>());
      EXPECT_EQ(Sha256HexOfFile(root / path), file.at("sha256").get<std::string>());
      total_size += size;
    }
  }
  EXPECT_EQ(recorded.size() - 2, manifest.at("file_count").get<std::size_t>());
  EXPECT_EQ(total_size, manifest.at("total_size").get<std::uintmax_t>());
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(root, error);
  for (; !error && it != std::filesystem::end(it); it.increment(error)) {
    if (it->is_directory(error)) continue;
    const std::string path = it->path().lexically_relative(root).string();
    EXPECT_TRUE(recorded.contains(path)) << path << " is not in the manifest";
  }
  EXPECT_FALSE(error) << error.message();
}

}  // namespace
}  // namespace litestream
