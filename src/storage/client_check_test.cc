#include "storage/client_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/memory_client.h"
#include "tests/contract/bodies.h"

namespace litestream {
namespace {

using ::testing::HasSubstr;

const Context kNever = Context::Background();

const CheckStep& StepOf(const std::vector<CheckStep>& steps, std::string_view name) {
  const auto found = std::ranges::find(steps, name, &CheckStep::name);
  EXPECT_NE(found, steps.end()) << name;
  return *found;
}

class ClientCheckTest : public ::testing::Test {
 protected:
  bool IsEmpty() {
    return inner_->List(kNever, kLevel0, {}).value().empty() &&
           !inner_->GetObject(kNever, "lock.json").ok();
  }
  MemoryStore store_;
  const std::unique_ptr<ReplicaClient> inner_ = MakeMemoryClient(store_);
};

TEST_F(ClientCheckTest, AGoodPlace) {
  const auto steps = CheckClient(kNever, *inner_);
  EXPECT_TRUE(AllGood(steps));
  EXPECT_EQ(steps.size(), 7U);
  for (const CheckStep& step : steps) EXPECT_EQ(step.outcome, CheckOutcome::kGood) << step.name;
  EXPECT_TRUE(IsEmpty());
}

// Does one thing in a wrong way.
class Liar final : public contract::ForwardingClient {
 public:
  enum class Lie {
    kNone,
    kNoWrite,
    kReplaces,
    kShortList,
    kWrongPart,
    kOpenLease,
    kNoLease,
    kKeeps
  };
  Liar(ReplicaClient& inner, Lie lie) : ForwardingClient(inner), lie_(lie) {}

  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override {
    if (lie_ == Lie::kNoWrite) return Error(ErrorCode::kDenied, "may not write");
    WriteOptions changed = options;
    if (lie_ == Lie::kReplaces) changed.if_absent = false;
    return ForwardingClient::Write(ctx, id, body, changed);
  }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override {
    if (lie_ == Lie::kShortList) return std::vector<FileInfo>();
    return ForwardingClient::List(ctx, level, options);
  }
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override {
    ByteRange changed = range;
    if (lie_ == Lie::kWrongPart && range.length_bytes > 0) changed.offset_bytes = 0;
    return ForwardingClient::Open(ctx, id, changed);
  }
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override {
    if (lie_ == Lie::kNoLease) return Error(ErrorCode::kUnsupported, "no conditional writes");
    if (lie_ != Lie::kOpenLease) return ForwardingClient::PutObject(ctx, name, content, tag);
    static_cast<void>(ForwardingClient::DeleteObject(ctx, name, ""));
    return ForwardingClient::PutObject(ctx, name, content, "");
  }
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override {
    if (lie_ == Lie::kKeeps) return {};
    return ForwardingClient::Delete(ctx, ids);
  }

 private:
  const Lie lie_;
};

TEST_F(ClientCheckTest, WhatIsWrongIsSaidAndNothingStays) {
  const struct {
    Liar::Lie lie;
    const char* step;
    CheckOutcome outcome;
    const char* what;
  } cases[] = {
      {Liar::Lie::kNone, "write", CheckOutcome::kGood, ""},
      {Liar::Lie::kNoWrite, "write", CheckOutcome::kFailed, "may not write"},
      {Liar::Lie::kNoWrite, "read", CheckOutcome::kNotTried, ""},
      {Liar::Lie::kReplaces, "write once", CheckOutcome::kFailed, "must not be"},
      {Liar::Lie::kShortList, "list", CheckOutcome::kFailed, "0 files are listed"},
      {Liar::Lie::kWrongPart, "read", CheckOutcome::kFailed, "not that part"},
      {Liar::Lie::kOpenLease, "conditional write", CheckOutcome::kFailed, "could be taken"},
      {Liar::Lie::kNoLease, "conditional write", CheckOutcome::kUnsupported, "no conditional"},
      {Liar::Lie::kKeeps, "delete", CheckOutcome::kFailed, "says it has deleted"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.step) + ": " + c.what);
    Liar liar(*inner_, c.lie);
    const auto steps = CheckClient(kNever, liar);
    const CheckStep& step = StepOf(steps, c.step);
    EXPECT_EQ(step.outcome, c.outcome) << step.what;
    EXPECT_THAT(step.what, HasSubstr(c.what));
    EXPECT_EQ(AllGood(steps), c.lie == Liar::Lie::kNone || c.lie == Liar::Lie::kNoLease);
    EXPECT_TRUE(IsEmpty());
  }
}

TEST_F(ClientCheckTest, NothingStaysWhenTheTimeIsOver) {
  std::stop_source stop;
  class Stopping final : public contract::ForwardingClient {
   public:
    Stopping(ReplicaClient& inner, std::stop_source& stop) : ForwardingClient(inner), stop_(stop) {}
    Result<std::vector<FileInfo>> List(const Context& ctx, Level, const ListOptions&) override {
      stop_.request_stop();
      return ctx.Check().error();
    }

   private:
    std::stop_source& stop_;
  } client(*inner_, stop);
  const Context ctx(stop.get_token());
  EXPECT_FALSE(AllGood(CheckClient(ctx, client)));
  EXPECT_TRUE(IsEmpty());
}

}  // namespace
}  // namespace litestream
