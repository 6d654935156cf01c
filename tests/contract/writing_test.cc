#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "tests/contract/bodies.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

constexpr int kWriters = 8;
constexpr int kFiles = 10;  // Of each.
constexpr std::size_t kSize = 50'000;

TEST_P(ContractTest, WritingAgainReplaces) {
  Write(Id(0, 1, 1), MakeContent(5000, 1));
  Write(Id(0, 1, 1), MakeContent(3000, 2));
  EXPECT_EQ(Listed(0), "1-1");
  EXPECT_TRUE(Read(Id(0, 1, 1)) == MakeContent(3000, 2));
  EXPECT_EQ(List(kLevel0)[0].size_bytes, 3000U);
}

TEST_P(ContractTest, IfAbsentDoesNotReplace) {
  Write(Id(0, 1, 1), "first", {.if_absent = true});
  const auto second = WriteFile(ctx_, client(), Id(0, 1, 1), "second", {.if_absent = true});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kAlreadyExists) << second.error().message();
  EXPECT_EQ(Read(Id(0, 1, 1)), "first");
  Write(Id(0, 1, 2), "the same min is another file", {.if_absent = true});
  EXPECT_EQ(Listed(0), "1-1 1-2");
}

TEST_P(ContractTest, OfManyWritersIfAbsentOneWins) {
  std::atomic<int> winners = 0;
  std::atomic<int> losers = 0;
  std::mutex mu;
  std::set<int> won;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kWriters; ++i) {
      threads.emplace_back([this, i, &winners, &losers, &mu, &won] {
        const auto client = replica().Connect();
        const auto info =
            WriteFile(ctx_, *client, Id(0, 1, 1),
                      MakeContent(70'000, static_cast<std::uint64_t>(i)), {.if_absent = true});
        if (info.ok()) {
          ++winners;
          const std::lock_guard lock(mu);
          won.insert(i);
        } else if (info.error().Is(ErrorCode::kAlreadyExists)) {
          ++losers;
        } else {
          ADD_FAILURE() << info.error().message();
        }
      });
    }
  }
  EXPECT_EQ(winners + losers, kWriters);
  EXPECT_GE(winners, 1);
  EXPECT_LE(winners, backend().exact_if_absent ? 1 : kWriters);
  const std::string content = Read(Id(0, 1, 1));
  EXPECT_TRUE(std::ranges::any_of(won, [&](int i) {
    return content == MakeContent(70'000, static_cast<std::uint64_t>(i));
  })) << "not what a winner wrote";
}

TEST_P(ContractTest, ConcurrentWritersAndReaders) {
  std::jthread reader([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      for (int level = 0; level < 2; ++level) {
        for (const FileInfo& file : List(Level{static_cast<std::uint8_t>(level)})) {
          EXPECT_EQ(file.size_bytes, kSize) << "a file that is not whole";
          EXPECT_TRUE(Read(file.id) == MakeContent(kSize, file.id.txids.min.value));
        }
      }
      std::this_thread::yield();
    }
  });
  {
    std::vector<std::jthread> writers;
    for (int w = 0; w < kWriters; ++w) {
      writers.emplace_back([this, w] {
        for (int i = 0; i < kFiles; ++i) {
          const auto txid = static_cast<std::uint64_t>(w * kFiles + i + 1);
          Write(Id(w % 2, txid, txid), MakeContent(kSize, txid));
        }
      });
    }
  }
  reader.request_stop();
  reader.join();
  EXPECT_EQ(List(Level{0}).size() + List(Level{1}).size(),
            static_cast<std::size_t>(kWriters * kFiles));
}

TEST_P(ContractTest, WritersOfTheSameFileDoNotMix) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back(
        [this, i] { Write(Id(0, 1, 1), MakeContent(200'000, static_cast<std::uint64_t>(i))); });
  }
  threads.clear();
  const std::string content = Read(Id(0, 1, 1));
  bool whole = false;
  for (int i = 0; i < kWriters; ++i) {
    whole = whole || content == MakeContent(200'000, static_cast<std::uint64_t>(i));
  }
  EXPECT_TRUE(whole);
  EXPECT_EQ(Listed(0), "1-1");
}

TEST_P(ContractTest, ABodyThatFailsLeavesNothing) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{3} << 20}) {
    SCOPED_TRACE(size);
    for (const bool announced : {false, true}) {
      WriteOptions options;
      if (announced) options.size_bytes = size + 10;
      TextThenSource body(MakeContent(size, 1),
                          [] { return Error(ErrorCode::kIo, "the disk of the database died"); });
      const auto info = client().Write(ctx_, Id(0, 1, 1), body, options);
      ASSERT_FALSE(info.ok());
      EXPECT_EQ(info.error().code(), ErrorCode::kIo) << info.error().message();
      EXPECT_NE(info.error().message().find("the disk of the database died"), std::string::npos);
      EXPECT_EQ(Listed(0), "");
      EXPECT_FALSE(client().Open(ctx_, Id(0, 1, 1), {}).ok());
    }
  }
  Write(Id(0, 1, 1), "the next attempt");
  EXPECT_EQ(Read(Id(0, 1, 1)), "the next attempt");
}

TEST_P(ContractTest, ABodyThatFailsKeepsWhatWasThere) {
  Write(Id(0, 1, 1), "before");
  TextThenSource body(MakeContent(3 << 20, 1), [] { return Error(ErrorCode::kIo, "died"); });
  EXPECT_FALSE(client().Write(ctx_, Id(0, 1, 1), body, {}).ok());
  EXPECT_EQ(Read(Id(0, 1, 1)), "before");
}

TEST_P(ContractTest, ABodyOfAnotherSizeLeavesNothing) {
  const struct {
    const char* why;
    std::size_t size;
    std::uint64_t announced;
  } cases[] = {
      {"shorter", 99, 100},
      {"longer", 101, 100},
      {"nothing", 0, 100},
      {"something instead of nothing", 1, 0},
      {"large and shorter", (2 << 20) - 1, 2 << 20},
      {"large and longer", (2 << 20) + 1, 2 << 20},
      {"larger than a buffer", 3 << 20, 100},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto info =
        WriteFile(ctx_, client(), Id(0, 1, 1), MakeContent(c.size, 1), {.size_bytes = c.announced});
    ASSERT_FALSE(info.ok());
    EXPECT_EQ(info.error().code(), ErrorCode::kCorruption) << info.error().message();
    EXPECT_EQ(Listed(0), "");
  }
}

TEST_P(ContractTest, ACancelledCallDoesNothing) {
  Write(Id(0, 1, 1), "x");
  std::stop_source stop;
  stop.request_stop();
  const Context cancelled(stop.get_token());
  const Context late(std::stop_token(), Clock::Real().Monotonic() - std::chrono::seconds(1));
  const struct {
    const char* why;
    const Context& ctx;
    ErrorCode want;
  } cases[] = {{"cancelled", cancelled, ErrorCode::kCancelled},
               {"too late", late, ErrorCode::kTimeout}};
  const auto code = [](const auto& result) {
    return result.ok() ? ErrorCode::kInternal : result.error().code();
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const FileId ids[] = {Id(0, 1, 1)};
    TextSource body("y");
    EXPECT_EQ(code(client().List(c.ctx, kLevel0, {})), c.want);
    EXPECT_EQ(code(client().Open(c.ctx, ids[0], {})), c.want);
    EXPECT_EQ(code(client().Write(c.ctx, Id(0, 2, 2), body, {})), c.want);
    EXPECT_EQ(code(client().Delete(c.ctx, ids)), c.want);
    EXPECT_EQ(code(client().DeleteAll(c.ctx)), c.want);
    const auto source = client().Open(ctx_, ids[0], {});
    ASSERT_TRUE(source.ok());
    std::array<std::byte, 1> buffer{};
    EXPECT_EQ(code(source.value()->Read(c.ctx, buffer)), c.want);
  }
  EXPECT_EQ(Listed(0), "1-1");
}

TEST_P(ContractTest, CancelledWhileTheBodyFlows) {
  std::stop_source stop;
  TextThenSource body(MakeContent(3 << 20, 1), [&stop] {
    stop.request_stop();
    return std::size_t{0};  // The body is whole; the caller wants it no more.
  });
  const auto info = client().Write(Context(stop.get_token()), Id(0, 1, 1), body, {});
  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.error().code(), ErrorCode::kCancelled) << info.error().message();
  EXPECT_EQ(Listed(0), "");
}

}  // namespace
}  // namespace litestream::contract
