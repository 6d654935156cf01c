#include "replica/page_index.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "storage/memory_client.h"
#include "tests/support/model_replica.h"

namespace litestream {
namespace {

using testing::ModelReplica;

class PageIndexTest : public ::testing::Test {
 protected:
  PageIndexTest() : client_(MakeMemoryClient(store_)) {}

  // Opens the plan for everything.
  std::vector<PlannedFile> OpenAll() {
    const auto listing = ListReplica(ctx_, *client_, false);
    const auto plan = PlanRestore(listing.value(), {});
    EXPECT_TRUE(plan.ok());
    std::atomic<std::uint64_t> read_bytes = 0;
    auto files = OpenPlannedFiles(ctx_, *client_, plan.value(), 2, read_bytes);
    EXPECT_TRUE(files.ok()) << files.error().message();
    return std::move(files).value();
  }
  std::vector<Piece> Pieces(PageIndex& index) {
    std::vector<Piece> pieces;
    const auto run = index.Run(ctx_, [&](Piece piece) -> Result<void> {
      pieces.push_back(std::move(piece));
      return {};
    });
    EXPECT_TRUE(run.ok()) << run.error().message();
    return pieces;
  }

  MemoryStore store_;
  std::unique_ptr<ReplicaClient> client_;
  Context ctx_ = Context::Background();
};

// The rules that every list of pieces must keep. Returns the file of each wanted page.
std::map<std::uint32_t, std::size_t> CheckPieces(const std::vector<Piece>& pieces,
                                                 const std::vector<PlannedFile>& files, bool whole,
                                                 const PieceLimits& limits) {
  std::map<std::uint32_t, std::size_t> owner;
  std::vector<std::uint64_t> end(files.size(), kLtxHeaderSize);
  std::vector<std::size_t> ordinal(files.size());
  for (const Piece& piece : pieces) {
    EXPECT_EQ(piece.ordinal, ordinal[piece.file]++);
    EXPECT_LE(piece.frames.size(), limits.frames);
    if (piece.frames.size() > 1) {
      EXPECT_LE(piece.size_bytes, limits.piece_bytes + kLtxEndMarkerSize);
    }
    if (whole) {
      EXPECT_EQ(piece.offset_bytes, end[piece.file]);
    }
    EXPECT_GE(piece.offset_bytes, end[piece.file]);
    end[piece.file] = piece.offset_bytes + piece.size_bytes;
    std::uint64_t at = piece.offset_bytes;
    for (const PieceFrame& frame : piece.frames) {
      EXPECT_GE(frame.offset_bytes, at);
      EXPECT_LE(frame.offset_bytes - at, limits.hole_bytes);
      at = frame.offset_bytes + frame.size_bytes;
      if (!whole) {
        EXPECT_TRUE(frame.wanted);
      }
      if (frame.wanted) {
        EXPECT_TRUE(owner.emplace(frame.pgno, piece.file).second) << "twice: " << frame.pgno;
      }
    }
    EXPECT_EQ(at + (piece.has_end_marker ? kLtxEndMarkerSize : 0), end[piece.file]);
  }
  if (whole) {
    for (std::size_t i = 0; i < files.size(); ++i) EXPECT_EQ(end[i], files[i].tail.index_offset);
  }
  return owner;
}

TEST_F(PageIndexTest, NewestVersionOfEveryPageWhateverTheLimits) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ModelReplica model(seed, 512, 60);
    model.CommitRandomly(8, 200);
    ASSERT_TRUE(client_->DeleteAll(ctx_).ok());
    for (std::uint64_t t = 1; t <= 8; ++t) model.Put(*client_, 0, t, t, {});
    const auto files = OpenAll();
    const auto& newest = model.at(Txid{8});
    auto& rng = model.rng();
    for (const bool whole : {true, false}) {
      const PieceLimits limits{.piece_bytes = 200 + rng() % 4000,
                               .hole_bytes = rng() % 2 == 0 ? 0 : rng() % 600,
                               .frames = 1 + rng() % 50,
                               .stripe_pages = static_cast<std::uint32_t>(1 + rng() % 250)};
      PageIndex index(*client_, files, whole, limits);
      const auto owner = CheckPieces(Pieces(index), files, whole, limits);
      EXPECT_FALSE(index.missing());
      EXPECT_EQ(owner.size(), newest.pages.size());
      for (const auto& entry : owner) {
        const std::uint32_t pgno = entry.first;
        std::size_t file = 7;
        while (!model.at(Txid{file + 1}).changed.contains(pgno)) --file;
        EXPECT_EQ(entry.second, file) << "page " << pgno;
      }
    }
  }
}

TEST_F(PageIndexTest, FirstMissingPageInAnyStripe) {
  ModelReplica model(50, 512, 60);
  model.Commit(4, 0);
  model.Commit(100, 0);
  model.Put(*client_, 0, 1, 1, {});
  for (const std::uint32_t page : {5U, 64U, 65U, 100U}) {
    SCOPED_TRACE(page);
    model.Put(*client_, 0, 2, 2, {.without = {page}});
    const auto files = OpenAll();
    for (const std::uint32_t stripe_pages : {7U, 64U, 100U, 1000U}) {
      PageIndex index(*client_, files, true, {.stripe_pages = stripe_pages});
      Pieces(index);
      EXPECT_EQ(index.missing(), Pgno{page});
    }
  }
}

TEST_F(PageIndexTest, IndexThatIsNotHeldIsReadInBlocks) {
  ModelReplica model(51, 512, 8);
  model.Commit(30000, 0);
  model.Put(*client_, 0, 1, 1, {});
  auto files = OpenAll();
  ASSERT_GT(files[0].tail.index_bytes, kHeldBytesPerFile);
  PageIndex index(*client_, files, true, {});
  EXPECT_EQ(CheckPieces(Pieces(index), files, true, {}).size(), 30000U);
  EXPECT_EQ(index.read_bytes(), files[0].tail.index_bytes);
}

TEST_F(PageIndexTest, ErrorsOfEmitEndTheRun) {
  ModelReplica model(52, 512, 8);
  model.Commit(100, 0);
  model.Put(*client_, 0, 1, 1, {});
  const auto files = OpenAll();
  PageIndex index(*client_, files, true, {.frames = 10});
  int calls = 0;
  const auto run = index.Run(ctx_, [&](Piece) -> Result<void> {
    if (++calls < 3) return {};
    return Error(ErrorCode::kNoSpace, "full");
  });
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code(), ErrorCode::kNoSpace);
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace litestream
