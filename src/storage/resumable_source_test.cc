#include "storage/resumable_source.h"

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "storage/memory_client.h"
#include "tests/contract/bodies.h"

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadAll;

// What one connection does, counted from its Open.
struct Connection {
  std::size_t bytes = SIZE_MAX;              // So many come,
  std::optional<Error> then = std::nullopt;  // and then this, or else the end.
  std::optional<Error> open = std::nullopt;  // Not even opened.
};

// Cuts the connections of the file below; the last entry of `plan` holds for all that follow.
class CuttingClient final : public contract::ForwardingClient {
 public:
  CuttingClient(std::string content, std::vector<Connection> plan)
      : ForwardingClient(*this), content_(std::move(content)), plan_(std::move(plan)) {}

  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId&,
                                           const ByteRange& range) override {
    LS_TRY(ctx.Check());
    ranges.push_back(range);
    const Connection now = plan_[std::min(ranges.size(), plan_.size()) - 1];
    if (now.open) return *now.open;
    const std::size_t begin = std::min<std::size_t>(range.offset_bytes, content_.size());
    std::string text = content_.substr(begin, range.length_bytes).substr(0, now.bytes);
    return std::make_unique<contract::TextThenSource>(std::move(text),
                                                      [then = now.then]() -> Result<std::size_t> {
                                                        if (then) return *then;
                                                        return std::size_t{0};
                                                      });
  }

  std::vector<ByteRange> ranges;  // Of every Open.

 private:
  const std::string content_;
  const std::vector<Connection> plan_;
};

Error Cut() {
  return {ErrorCode::kUnavailable, "connection reset"};
}

class ResumableSourceTest : public ::testing::Test {
 protected:
  const ManualClock clock_;
  const Context ctx_{std::stop_token(), std::nullopt, clock_};
};

TEST_F(ResumableSourceTest, OpensLazilyAndOnce) {
  CuttingClient client(MakeContent(10'000, 1), {{}});
  const auto source = MakeResumableSource(client, Id(0, 1, 1), 0, 10'000);
  EXPECT_TRUE(client.ranges.empty());
  EXPECT_TRUE(ReadAll(ctx_, *source, /*step_bytes=*/999).value() == MakeContent(10'000, 1));
  ASSERT_EQ(client.ranges.size(), 1U) << "the end is known, nobody has to ask for it";
  EXPECT_EQ(client.ranges[0].offset_bytes, 0U);
  EXPECT_EQ(client.ranges[0].length_bytes, 10'000U) << "no more than is wanted";
}

TEST_F(ResumableSourceTest, NothingExpectedOpensNothing) {
  CuttingClient client("x", {{}});
  EXPECT_EQ(ReadAll(ctx_, *MakeResumableSource(client, Id(0, 1, 1), 0, 0)).value(), "");
  EXPECT_TRUE(client.ranges.empty());
}

TEST_F(ResumableSourceTest, GoesOnWhereTheConnectionBroke) {
  const std::string content = MakeContent(10'000, 2);
  const struct {
    const char* why;
    std::vector<Connection> plan;
    std::vector<std::uint64_t> offsets;
  } cases[] = {
      {"an error in the middle", {{.bytes = 4000, .then = Cut()}, {}}, {0, 4000}},
      {"an early end", {{.bytes = 4000}, {}}, {0, 4000}},
      {"an error before the first byte", {{.bytes = 0, .then = Cut()}, {}}, {0, 0}},
      {"the first open fails", {{.open = Cut()}, {}}, {0, 0}},
      {"a reopen fails", {{.bytes = 4000}, {.open = Cut()}, {}}, {0, 4000, 4000}},
      {"all at once",
       {{.open = Cut()}, {.bytes = 3000}, {.bytes = 10, .then = Cut()}, {.bytes = 1}, {}},
       {0, 0, 3000, 3010, 3011}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    CuttingClient client(content, c.plan);
    const auto got = ReadAll(ctx_, *MakeResumableSource(client, Id(0, 1, 1), 0, content.size()));
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_TRUE(got.value() == content);
    ASSERT_EQ(client.ranges.size(), c.offsets.size());
    for (std::size_t i = 0; i < c.offsets.size(); ++i) {
      EXPECT_EQ(client.ranges[i].offset_bytes, c.offsets[i]);
      EXPECT_EQ(client.ranges[i].length_bytes, content.size() - c.offsets[i]);
    }
  }
}

TEST_F(ResumableSourceTest, APartOfTheFile) {
  const std::string content = MakeContent(10'000, 3);
  CuttingClient client(content, {{.bytes = 100}, {.bytes = 100}, {}});
  const auto got = ReadAll(ctx_, *MakeResumableSource(client, Id(0, 1, 1), 500, 1000));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_TRUE(got.value() == content.substr(500, 1000));
  EXPECT_EQ(client.ranges[2].offset_bytes, 700U);
  EXPECT_EQ(client.ranges[2].length_bytes, 800U);
}

// Each connection gives a few bytes: without progress that counts it would go on for ever.
TEST_F(ResumableSourceTest, GivesUpWithoutEnoughProgress) {
  CuttingClient client(MakeContent(1'000'000, 4), {{.bytes = 7, .then = Cut()}});
  const auto source = MakeResumableSource(client, Id(2, 0xa, 0xb), 0, 1'000'000);
  const auto got = ReadAll(ctx_, *source);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(got.error().message(),
            "max retries exceeded reading ltx file (level=2, min=000000000000000a, "
            "max=000000000000000b, offset=35, 999965 bytes missing): connection reset");
  EXPECT_EQ(client.ranges.size(), static_cast<std::size_t>(kResumeAttempts));
  const auto again = ReadAll(ctx_, *source);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().message(), got.error().message()) << "the error stays";
  EXPECT_EQ(client.ranges.size(), static_cast<std::size_t>(kResumeAttempts));
}

TEST_F(ResumableSourceTest, ProgressGivesTheAttemptsBack) {
  // 12 broken connections, far more than the attempts, but each brings something.
  const std::string content = MakeContent(12 * kResumeProgressBytes, 5);
  CuttingClient client(content, {{.bytes = kResumeProgressBytes, .then = Cut()}});
  const auto got = ReadAll(ctx_, *MakeResumableSource(client, Id(0, 1, 1), 0, content.size()));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_TRUE(got.value() == content);
  EXPECT_EQ(client.ranges.size(), 12U);
}

TEST_F(ResumableSourceTest, AShorterFileIsCorrupt) {
  CuttingClient client(MakeContent(9'000, 6), {{}});
  const auto got = ReadAll(ctx_, *MakeResumableSource(client, Id(0, 1, 1), 0, 10'000));
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kCorruption);
  EXPECT_NE(got.error().message().find("offset=9000, 1000 bytes missing"), std::string::npos)
      << got.error().message();
}

TEST_F(ResumableSourceTest, WhatAnotherAttemptCannotMend) {
  for (const ErrorCode code :
       {ErrorCode::kNotFound, ErrorCode::kCancelled, ErrorCode::kDenied, ErrorCode::kCorruption,
        ErrorCode::kInvalidArgument, ErrorCode::kUnsupported}) {
    SCOPED_TRACE(ToString(code));
    const Error error(code, "no");
    for (const std::vector<Connection>& plan :
         {std::vector<Connection>{{.open = error}, {}},
          std::vector<Connection>{{.bytes = 10, .then = error}, {}},
          std::vector<Connection>{{.bytes = 10}, {.open = error}, {}}}) {
      CuttingClient client(MakeContent(100, 7), plan);
      const auto source = MakeResumableSource(client, Id(0, 1, 1), 0, 100);
      for (int i = 0; i < 2; ++i) {
        const auto got = ReadAll(ctx_, *source);
        ASSERT_FALSE(got.ok()) << "also the second time";
        EXPECT_EQ(got.error().code(), code);
      }
      EXPECT_EQ(client.ranges.size(), plan.size() - 1);
    }
  }
}

TEST_F(ResumableSourceTest, CancelledBetweenTheAttempts) {
  std::stop_source stop;
  const Context ctx(stop.get_token());
  CuttingClient client(MakeContent(100, 8), {{.bytes = 10, .then = Cut()}});
  const auto source = MakeResumableSource(client, Id(0, 1, 1), 0, 100);
  std::array<std::byte, 10> buffer{};
  ASSERT_EQ(source->Read(ctx, buffer).value(), 10U);
  stop.request_stop();
  for (const Context& now : {ctx, Context::Background()}) {
    const auto got = source->Read(now, buffer);
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code(), ErrorCode::kCancelled) << "also the second time";
  }
  EXPECT_EQ(client.ranges.size(), 1U);
}

TEST_F(ResumableSourceTest, WaitsBetweenTheAttempts) {
  CuttingClient client(MakeContent(100, 9), {{.open = Cut()}});
  const MonoTime begun = clock_.Monotonic();
  EXPECT_FALSE(ReadAll(ctx_, *MakeResumableSource(client, Id(0, 1, 1), 0, 100)).ok());
  EXPECT_GT(clock_.Monotonic() - begun, std::chrono::milliseconds(10));
  EXPECT_LE(clock_.Monotonic() - begun, std::chrono::milliseconds(250 + 500 + 1000 + 2000));
}

// The nth call fails, for every n, before and after it was done: the bytes are the same.
TEST_F(ResumableSourceTest, EveryCallMayFail) {
  const std::string content = MakeContent(100'000, 10);
  MemoryStore store;
  const auto client = MakeMemoryClient(store);
  ASSERT_TRUE(contract::WriteFile(ctx_, *client, Id(0, 1, 1), content).ok());
  for (const StorageFault fault : {StorageFault::kFailBefore, StorageFault::kFailAfter}) {
    for (int n = 1;; ++n) {
      SCOPED_TRACE(n);
      int calls = 0;
      store.SetFaults([&calls, n, fault](StorageCall, const FileId&) {
        return ++calls == n ? fault : StorageFault::kNone;
      });
      const auto source = MakeResumableSource(*client, Id(0, 1, 1), 0, content.size());
      const auto got = ReadAll(ctx_, *source, /*step_bytes=*/9'999);
      ASSERT_TRUE(got.ok()) << got.error().message();
      EXPECT_TRUE(got.value() == content);
      if (calls < n) break;
    }
  }
}

}  // namespace
}  // namespace litestream
