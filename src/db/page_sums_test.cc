// The table of page sums: what it keeps, and when it counts as none.

#include "db/page_sums.h"

#include <filesystem>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/env.h"
#include "format/page_sum.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

class PageSumsTest : public ::testing::Test {
 protected:
  std::filesystem::path Path() const { return dir_.path() / "pages.sum"; }
  std::unique_ptr<PageSums> Open() {
    auto opened = PageSums::Open(Env::Real(), Path(), {});
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }
  static PageSumsHeader Header(std::uint32_t pages) {
    return {.page_size = 4096, .page_count = pages, .txid = Txid{7}, .checksum = 1, .database = {}};
  }
  // Entries 1..pages, but for the lock page.
  static void Fill(PageSums& sums, std::uint32_t pages) {
    std::vector<PageSumEntry> entries;
    for (std::uint32_t i = 1; i <= pages; ++i) {
      if (Pgno{i} != LockPage(4096)) entries.push_back({Pgno{i}, i * 3ULL});
    }
    EXPECT_TRUE(sums.Set(entries).ok());
    EXPECT_TRUE(sums.Flush(Header(pages)).ok());
  }

  TempDir dir_;
};

TEST_F(PageSumsTest, KeepsWhatWasSet) {
  Fill(*Open(), 2000);
  const auto sums = Open();
  ASSERT_TRUE(sums->header());
  EXPECT_EQ(*sums->header(), Header(2000));
  for (const std::uint32_t page : {1U, 512U, 513U, 2000U}) {
    EXPECT_EQ(sums->Get(Pgno{page}).value(), page * 3ULL);
  }
  EXPECT_EQ(sums->Get(Pgno{2001}).value(), 0U);
}

// Missing entries would be taken for zeros, and every proof after that would be wrong.
TEST_F(PageSumsTest, ACutTableIsNone) {
  Fill(*Open(), 2000);
  const auto whole = std::filesystem::file_size(Path());
  for (const std::uintmax_t size : {whole - 1, whole - 8, whole / 2, std::uintmax_t{4096}}) {
    std::filesystem::resize_file(Path(), size);
    EXPECT_FALSE(Open()->header()) << size;
  }
}

TEST_F(PageSumsTest, TheLockPageAtTheEndHasNoEntry) {
  Fill(*Open(), LockPage(4096).value);
  EXPECT_TRUE(Open()->header());
}

}  // namespace
}  // namespace litestream
