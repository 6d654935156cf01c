#include "db/holdings.h"

#include "base/file_stream.h"
#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

FileInfo Level0(std::uint64_t txid) {
  return {.id = {kLevel0, {Txid{txid}, Txid{txid}}}, .size_bytes = 100, .created_at = {}};
}

Catalogue Of(const FileInfo& file) {
  Catalogue catalogue;
  catalogue.Add(file);
  return catalogue;
}

std::optional<Catalogue> Known(Holdings& holdings) {
  return holdings.Look(Context::Background()).value();
}

TEST(Holdings, UnknownUntilListed) {
  Holdings holdings;
  EXPECT_FALSE(Known(holdings));
  holdings.Add(Level0(1));
  EXPECT_FALSE(Known(holdings));
  ASSERT_TRUE(holdings.Learn(Of(Level0(1)), holdings.changes()));
  holdings.Add(Level0(2));
  holdings.Remove(Level0(1).id);
  EXPECT_EQ(Known(holdings), Of(Level0(2)));
}

// A listing tells nothing certain of what was done while it was under way.
TEST(Holdings, ListingThatSomethingCameBetween) {
  using Change = void (*)(Holdings&);
  const Change changes[] = {
      [](Holdings& h) { h.Add(Level0(2)); },
      [](Holdings& h) { h.Remove(Level0(1).id); },
      [](Holdings& h) { h.Doubt(Level0(2).id); },
      [](Holdings& h) { h.Forget(); },
  };
  for (const Change change : changes) {
    Holdings holdings;
    const std::uint64_t before = holdings.changes();
    change(holdings);
    EXPECT_FALSE(holdings.Learn(Of(Level0(1)), before));
    EXPECT_FALSE(Known(holdings));
  }
}

// Two processes on one state directory: the mark of one never goes with what the other knew.
TEST(Holdings, FileOfAnotherProcessIsNotOurs) {
  const TempDir dir;
  const Context& ctx = Context::Background();
  const auto in_file = [&](Holdings& holdings) {
    holdings.KeepIn(
        std::make_shared<CatalogueFile>(Env::Real(), dir.path() / "catalogue", FileOwner{}),
        "place");
  };
  const auto mark = [](const char* tag) { return LeaseMark{.generation = 1, .tag = tag}; };
  Holdings one;
  Holdings other;
  in_file(one);
  in_file(other);
  ASSERT_TRUE(one.Learn(Of(Level0(1)), one.changes()));
  ASSERT_TRUE(one.Save(ctx, Txid{1}, 7, mark("of one")).ok());
  Catalogue more = Of(Level0(1));
  more.Add({.id = {Level{1}, {Txid{1}, Txid{1}}}, .size_bytes = 100, .created_at = {}});
  ASSERT_TRUE(other.Learn(more, other.changes()));
  ASSERT_TRUE(other.Save(ctx, Txid{1}, 7, mark("of the other")).ok());
  ASSERT_TRUE(one.has_old_mark(mark("of one, later")));
  ASSERT_TRUE(one.Save(ctx, Txid{1}, 7, mark("of one, later")).ok());
  EXPECT_FALSE(Known(one));
  Holdings heir;
  in_file(heir);
  const auto recalled = heir.Recall(ctx, Txid{1}, 7);
  ASSERT_TRUE(recalled.ok() && recalled.value());
  EXPECT_EQ(recalled.value()->lease.tag, "of the other");
  EXPECT_EQ(recalled.value()->catalogue, more);
}

class HoldingsTest : public DbFixture, protected ReplicaHost {
 protected:
  std::filesystem::path LocalPath(Txid) const override { return {}; }
  void RequestRebase(Txid) override { ++rebases_; }
  void RequestFull() override {}
  std::uint64_t DatabaseBytes() const override { return 0; }

  int rebases_ = 0;
};

// Local files of another history may have the names of the last one's: nothing may be made of the
// two together.
TEST_F(HoldingsTest, AnotherChainMakesThemUnknownAtOnce) {
  Holdings holdings;
  const ReplicaOptions replica = ReplicaIn(store_);
  Fence fence(Env::Real(), *replica.client, holdings, LeaseMode::kAuto, log_);
  Uploader uploader(Env::Real(), scheduler_, *this, fence, holdings, replica, log_);
  uploader.Offer({.range = TxidRange{Txid{1}, Txid{1}}, .last_full = Txid{1}, .chain = 1});
  ASSERT_TRUE(holdings.Learn(Of(Level0(1)), holdings.changes()));
  uploader.Offer({.range = TxidRange{Txid{1}, Txid{2}}, .last_full = Txid{1}, .chain = 1});
  EXPECT_TRUE(Known(holdings));
  const std::uint64_t listing_begun = holdings.changes();
  uploader.Offer({.chain = 2});
  EXPECT_FALSE(Known(holdings));
  EXPECT_FALSE(holdings.Learn(Of(Level0(1)), listing_begun));
}

// A database that is opened while the replica is listed may be further than it was.
TEST_F(HoldingsTest, AnotherChainWhileItListsIsNotBehind) {
  Holdings holdings;
  const ReplicaOptions replica = ReplicaIn(store_);
  const auto body = MakeFileSource(
      Env::Real().Open(dir_.path() / "body", {.write = true, .create = true}).value());
  ASSERT_TRUE(replica.client->Write(ctx_, Level0(2).id, *body, {.size_bytes = 0}).ok());
  Fence fence(Env::Real(), *replica.client, holdings, LeaseMode::kAuto, log_);
  Uploader uploader(Env::Real(), scheduler_, *this, fence, holdings, replica, log_);
  uploader.Offer({.range = TxidRange{Txid{1}, Txid{1}}, .chain = 1});
  store_.SetFaults([&](StorageCall call, const FileId&) {
    if (call == StorageCall::kList) {
      uploader.Offer({.range = TxidRange{Txid{2}, Txid{2}}, .chain = 2});
    }
    return StorageFault();
  });
  (void)uploader.Drain(ctx_, 1).ok();
  EXPECT_EQ(rebases_, 0);
  store_.SetFaults(nullptr);
  uploader.Offer({.range = TxidRange{Txid{1}, Txid{1}}, .chain = 3});
  (void)uploader.Drain(ctx_, 1).ok();
  EXPECT_EQ(rebases_, 1);
}

}  // namespace
}  // namespace litestream
