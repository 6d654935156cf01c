#include "base/temp_file.h"

#include <chrono>

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/memory_env.h"

namespace litestream {
namespace {

TEST(TempFileStem, WhoseTheyAre) {
  const struct {
    const char* name;
    const char* want;
  } cases[] = {
      {"a.ltx.123-0123456789abcdef.tmp", "a.ltx"},
      {"lock.json.1-0123456789abcdef.tmp", "lock.json"},
      {".db.1-0123456789abcdef.tmp", ".db"},
      {"a.ltx.tmp", ""},
      {"a.ltx", ""},
      {"a.ltx.123-0123456789abcdef", ""},
      {"a.ltx.123-0123456789abcde.tmp", ""},
      {"a.ltx.123-0123456789ABCDEF.tmp", ""},
      {"a.ltx.x-0123456789abcdef.tmp", ""},
      {"a.ltx.-0123456789abcdef.tmp", ""},
      {"a.ltx.123.4567.tmp", ""},
      {".1-0123456789abcdef.tmp", ""},
      {".tmp", ""},
      {"", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(TempFileStem(c.name), c.want);
  }
}

class TempFileTest : public ::testing::Test {
 protected:
  std::unique_ptr<TempFile> Make() {
    auto made = TempFile::Create(env_, "/x", FileOwner{});
    EXPECT_TRUE(made.ok());
    return made.ok() ? std::move(made).value() : nullptr;
  }
  std::size_t Entries() { return env_.List("/").value().size(); }

  ManualClock clock_;
  MemoryEnv env_{clock_, 1};
};

TEST_F(TempFileTest, IsGoneUnlessPublished) {
  const auto published = Make();
  { const auto dropped = Make(); }
  EXPECT_EQ(TempFileStem(published->path().filename().string()), "x");
  ASSERT_TRUE(published->Publish("/final", /*if_absent=*/true).ok());
  EXPECT_EQ(Entries(), 1U);
  EXPECT_TRUE(env_.Stat("/final").ok());
  EXPECT_EQ(Make()->Publish("/final", /*if_absent=*/true).error().code(),
            ErrorCode::kAlreadyExists);
}

TEST_F(TempFileTest, OnlyADeadWritersFileIsRemoved) {
  const auto alive = Make();
  EXPECT_FALSE(RemoveDeadTempFile(env_, alive->path()));
  const std::filesystem::path dead = "/x.1-0123456789abcdef.tmp";
  ASSERT_TRUE(env_.Open(dead, {.write = true, .create = true}).ok());
  EXPECT_TRUE(RemoveDeadTempFile(env_, dead));
  EXPECT_EQ(Entries(), 1U);
}

}  // namespace
}  // namespace litestream
