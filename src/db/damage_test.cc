// A damaged file at the end of a replica: said, and not built upon.

#include <algorithm>
#include <filesystem>

#include "tests/support/byte_streams.h"
#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

enum class Damage : unsigned char { kEmpty, kHalf, kHeader };

class DamageTest : public DbFixture, public ::testing::WithParamInterface<Damage> {
 protected:
  static FileId Id(std::uint64_t txid) {
    return {.level = kLevel0, .txids = {Txid{txid}, Txid{txid}}};
  }

  // Damages a file of the replica.
  void DamageFile(const FileId& id) {
    const auto client = MakeMemoryClient(store_);
    auto source = client->Open(ctx_, id, {});
    ASSERT_TRUE(source.ok());
    std::vector<std::byte> bytes(1 << 20);
    bytes.resize(ReadFull(ctx_, *source.value(), bytes).value());
    if (GetParam() == Damage::kEmpty) bytes.clear();
    if (GetParam() == Damage::kHalf) bytes.resize(60);
    if (GetParam() == Damage::kHeader) std::fill_n(bytes.begin(), 8, std::byte{0xff});
    testing::SpanSource body(bytes);
    ASSERT_TRUE(client->Write(ctx_, id, body, {}).ok());
  }
};

// With what we hold here, without anything new, and after the local state was lost.
TEST_P(DamageTest, TheNewestFileIsNotBuiltUpon) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  Sync();
  for (const bool more : {true, false}) {
    for (const bool state_lost : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "more " << more << ", state lost " << state_lost);
      Write(app, 1);
      const Txid txid = Sync();
      Stop();
      DamageFile(Id(txid.value));
      if (state_lost) std::filesystem::remove_all(Meta());
      if (state_lost) OutliveLease();
      if (more) Write(app, 1);
      Sync();
      ExpectRestores();
      Write(app, 1);
      Sync();
      ExpectRestores();
    }
  }
}

TEST_P(DamageTest, ItHealsInTheBackgroundToo) {
  SqliteApp app(Path());
  CreateTable(app, 1);
  const Txid txid = Sync();
  Stop();
  DamageFile(Id(txid.value));
  Run(std::chrono::minutes(2));
  Write(app, 1);
  Run(std::chrono::minutes(2));
  ExpectRestores();
}

INSTANTIATE_TEST_SUITE_P(All, DamageTest,
                         ::testing::Values(Damage::kEmpty, Damage::kHalf, Damage::kHeader));

}  // namespace
}  // namespace litestream
