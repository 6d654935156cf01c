#pragma once

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "cloud/bucket_session.h"
#include "http/xml.h"
#include "litestream/clock.h"
#include "tests/contract/bodies.h"

// What the tests of servers with buckets share.
namespace litestream::contract {

// An hour slow: servers refuse that.
class SlowClock final : public Clock {
 public:
  WallTime Now() const override { return Clock::Real().Now() - std::chrono::hours(1); }
  MonoTime Monotonic() const override { return Clock::Real().Monotonic(); }
  void Wait(const std::stop_token& stop, std::chrono::nanoseconds duration) const override {
    Clock::Real().Wait(stop, duration);
  }
};

// Uploads in parts that were begun in the bucket and neither completed nor aborted.
inline std::size_t OpenUploads(cloud::BucketSession& session) {
  const auto answer = session.Do(Context::Background(), {.query = {{"uploads", ""}}});
  EXPECT_TRUE(answer.ok()) << answer.error().message();
  const auto root = http::ParseXml(answer.value().body);
  EXPECT_TRUE(root.ok());
  return static_cast<std::size_t>(
      std::ranges::count(root.value().children, std::string("Upload"), &http::XmlElement::name));
}

// Written in parts with and without a known size, read, listed with its time.
inline void ExpectLargeFile(ReplicaClient& client, const std::string& content) {
  const Context ctx = Context::Background();
  for (const bool known : {false, true}) {
    const auto info = WriteFile(
        ctx, client, Id(9, 1, 1), content,
        {.created_at = WallTime(std::chrono::milliseconds(1'767'323'045'670)),
         .size_bytes = known ? std::optional<std::uint64_t>(content.size()) : std::nullopt});
    ASSERT_TRUE(info.ok()) << info.error().message();
    const auto all = ReadFile(ctx, client, Id(9, 1, 1));
    ASSERT_TRUE(all.ok()) << all.error().message();
    EXPECT_TRUE(all.value() == content);
  }
  const auto files = client.List(ctx, kSnapshotLevel, {.exact_times = true});
  ASSERT_TRUE(files.ok()) << files.error().message();
  ASSERT_EQ(files.value().size(), 1U);
  EXPECT_EQ(files.value()[0].size_bytes, content.size());
  EXPECT_EQ(files.value()[0].created_at.time_since_epoch().count(), 1'767'323'045'670);
  const auto again = WriteFile(ctx, client, Id(9, 1, 1), content, {.if_absent = true});
  EXPECT_TRUE(!again.ok() && again.error().Is(ErrorCode::kAlreadyExists));
}

// A body that fails in its third part.
inline void ExpectFailedUploadLeavesNothing(ReplicaClient& client, cloud::BucketSession& session) {
  const Context ctx = Context::Background();
  TextThenSource broken(MakeContent(13 << 20, 1),
                        [] { return Error(ErrorCode::kIo, "the disk is gone"); });
  const auto failed = client.Write(ctx, Id(9, 1, 1), broken, {});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kIo);
  EXPECT_EQ(OpenUploads(session), 0U);
  EXPECT_EQ(client.List(ctx, kSnapshotLevel, {}).value().size(), 0U);
}

inline void ExpectPaths(
    std::initializer_list<const char*> paths,
    const std::function<std::unique_ptr<ReplicaClient>(const char* path)>& connect) {
  const Context ctx = Context::Background();
  for (const char* path : paths) {
    SCOPED_TRACE(path);
    const auto client = connect(path);
    ASSERT_TRUE(WriteFile(ctx, *client, Id(0, 1, 1), path).ok());
    EXPECT_EQ(ReadFile(ctx, *client, Id(0, 1, 1)).value(), path);
    EXPECT_EQ(client->List(ctx, kLevel0, {}).value().size(), 1U);
    ASSERT_TRUE(client->DeleteAll(ctx).ok());
    EXPECT_EQ(client->List(ctx, kLevel0, {}).value().size(), 0U);
  }
}

}  // namespace litestream::contract
