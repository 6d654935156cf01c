#include "storage/client_check.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/ltx.h"

namespace litestream {
namespace {

constexpr std::size_t kBodyBytes = 100'000;
constexpr std::size_t kPartOffset = 70'001;
constexpr std::size_t kPartBytes = 1'000;
constexpr std::chrono::seconds kCleanUpTime{30};
constexpr FileId kFile{.level = kLevel0, .txids = {.min = Txid{1}, .max = Txid{1}}};
constexpr std::string_view kLeaseName = "lock.json";

class Body final : public ByteSource {
 public:
  explicit Body(const std::string& text) : left_(text) {}
  Result<std::size_t> Read(const Context&, std::span<std::byte> out) override {
    const std::size_t count = std::min(out.size(), left_.size());
    if (count > 0) std::memcpy(out.data(), left_.data(), count);
    left_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view left_;
};

Error Wrong(std::string message) {
  return {ErrorCode::kCorruption, std::move(message)};
}

class Check {
 public:
  Check(const Context& ctx, ReplicaClient& client)
      : ctx_(ctx), client_(client), created_at_(ctx.clock().Now() - std::chrono::hours(1)) {
    // Where the server's times are coarse the exact one is read from the header.
    const LtxHeader header{.page_size = 4096,
                           .commit_pages = 1,
                           .txids = kFile.txids,
                           .timestamp_ms = created_at_.time_since_epoch().count()};
    const auto bytes = FormatLtxHeader(header);
    content_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    // No two blocks alike, so that a part from elsewhere is noticed.
    while (content_.size() < kBodyBytes) content_ += fmt::format("{:016x}", content_.size());
    content_.resize(kBodyBytes);
  }

  std::vector<CheckStep> Run();

 private:
  using Step = Result<void> (Check::*)();
  // Returns whether it is good. Does nothing but note the step unless `wanted`.
  bool Try(std::string_view name, Step step, bool wanted);
  Result<void> Write();
  Result<void> List();
  Result<void> Read();
  Result<void> WriteOnce();
  Result<void> Lease();
  Result<void> Delete();
  Result<void> CleanUp();
  Result<std::string> Content(const ByteRange& range);
  Result<std::vector<FileInfo>> Files();

  const Context& ctx_;
  ReplicaClient& client_;
  const WallTime created_at_;
  std::string content_;
  std::vector<CheckStep> steps_;
};

bool Check::Try(std::string_view name, Step step, bool wanted) {
  CheckStep& noted = steps_.emplace_back();
  noted.name = name;
  if (!wanted) return false;
  const MonoTime began = ctx_.clock().Monotonic();
  const auto result = (this->*step)();
  noted.took = ctx_.clock().Monotonic() - began;
  noted.outcome = CheckOutcome::kGood;
  if (result.ok()) return true;
  noted.what = result.error().message();
  noted.outcome = result.error().Is(ErrorCode::kUnsupported) ? CheckOutcome::kUnsupported
                                                             : CheckOutcome::kFailed;
  return false;
}

std::vector<CheckStep> Check::Run() {
  const bool written = Try("write", &Check::Write, true);
  Try("list", &Check::List, written);
  Try("read", &Check::Read, written);
  Try("write once", &Check::WriteOnce, written);
  Try("conditional write", &Check::Lease, written);
  Try("delete", &Check::Delete, written);
  Try("clean up", &Check::CleanUp, true);
  // Only leases can be done without.
  for (CheckStep& step : steps_) {
    if (step.outcome == CheckOutcome::kUnsupported && step.name != "conditional write") {
      step.outcome = CheckOutcome::kFailed;
    }
  }
  return std::move(steps_);
}

Result<void> Check::Write() {
  Body body(content_);
  const auto info = LS_TRY(
      client_.Write(ctx_, kFile, body, {.created_at = created_at_, .size_bytes = content_.size()}));
  if (info.size_bytes == content_.size()) return {};
  return Wrong(fmt::format("{} bytes were stored instead of {}", info.size_bytes, content_.size()));
}

Result<std::vector<FileInfo>> Check::Files() {
  return client_.List(ctx_, kLevel0, {.exact_times = true});
}

Result<void> Check::List() {
  const auto files = LS_TRY(Files());
  if (files.size() != 1 || files[0].id != kFile) {
    return Wrong(fmt::format("{} files are listed after one was written", files.size()));
  }
  if (files[0].size_bytes != content_.size()) {
    return Wrong(fmt::format("the list says {} bytes, {} were written", files[0].size_bytes,
                             content_.size()));
  }
  if (files[0].created_at == created_at_) return {};
  return Wrong("the time of creation is not kept: restores to a moment in time would be wrong");
}

Result<std::string> Check::Content(const ByteRange& range) {
  const auto source = LS_TRY(client_.Open(ctx_, kFile, range));
  std::string content(kBodyBytes + 1, '\0');
  const std::size_t count = LS_TRY(
      ReadFull(ctx_, *source, std::as_writable_bytes(std::span(content.data(), content.size()))));
  content.resize(count);
  return content;
}

Result<void> Check::Read() {
  if (LS_TRY(Content({})) != content_) return Wrong("what is read is not what was written");
  const ByteRange part{.offset_bytes = kPartOffset, .length_bytes = kPartBytes};
  if (LS_TRY(Content(part)) == content_.substr(kPartOffset, kPartBytes)) return {};
  return Wrong("a part that is read is not that part");
}

Result<void> Check::WriteOnce() {
  const std::string other = "not this";
  Body body(other);
  const auto info =
      client_.Write(ctx_, kFile, body,
                    {.created_at = created_at_, .size_bytes = other.size(), .if_absent = true});
  if (info.ok()) return Wrong("a file was replaced that must not be");
  if (!info.error().Is(ErrorCode::kAlreadyExists)) return info.error();
  if (LS_TRY(Content({})) == content_) return {};
  return Wrong("a write that was refused has changed the file");
}

Result<void> Check::Lease() {
  const std::string first = LS_TRY(client_.PutObject(ctx_, kLeaseName, "{\"owner\":\"one\"}", ""));
  const auto again = client_.PutObject(ctx_, kLeaseName, "{\"owner\":\"two\"}", "");
  if (again.ok()) return Wrong("a lease that another has could be taken");
  if (!again.error().Is(ErrorCode::kAlreadyExists)) return again.error();
  LS_TRY(client_.PutObject(ctx_, kLeaseName, "{\"owner\":\"one again\"}", first), "renew");
  const auto late = client_.PutObject(ctx_, kLeaseName, "{\"owner\":\"two\"}", first);
  if (late.ok()) return Wrong("a lease that has changed since could be renewed");
  if (!late.error().Is(ErrorCode::kAlreadyExists)) return late.error();
  const TaggedObject lease = LS_TRY(client_.GetObject(ctx_, kLeaseName));
  if (lease.content != "{\"owner\":\"one again\"}") return Wrong("a lease reads as another one");
  LS_TRY(client_.DeleteObject(ctx_, kLeaseName, lease.tag), "give up");
  return {};
}

Result<void> Check::Delete() {
  LS_TRY(client_.Delete(ctx_, std::span(&kFile, 1)));
  if (!LS_TRY(Files()).empty()) {
    return Wrong("a file is listed that the server says it has deleted; retention would not work");
  }
  const auto source = client_.Open(ctx_, kFile, {});
  if (source.ok()) return Wrong("a file can be read that the server says it has deleted");
  if (!source.error().Is(ErrorCode::kNotFound)) return source.error();
  return {};
}

// With a time of its own: the check may have ended because there was none left.
Result<void> Check::CleanUp() {
  const Clock& clock = ctx_.clock();
  const Context ctx({}, clock.Monotonic() + kCleanUpTime, clock);
  LS_TRY(client_.DeleteAll(ctx), "objects may be left in {}", client_.Describe());
  return {};
}

}  // namespace

std::string_view ToString(CheckOutcome outcome) {
  switch (outcome) {
    case CheckOutcome::kGood:
      return "ok";
    case CheckOutcome::kUnsupported:
      return "not supported";
    case CheckOutcome::kFailed:
      return "failed";
    case CheckOutcome::kNotTried:
      return "not tried";
  }
  return "?";
}

std::vector<CheckStep> CheckClient(const Context& ctx, ReplicaClient& client) {
  return Check(ctx, client).Run();
}

bool AllGood(const std::vector<CheckStep>& steps) {
  return std::ranges::all_of(steps, [](const CheckStep& step) {
    return step.outcome == CheckOutcome::kGood || step.outcome == CheckOutcome::kUnsupported;
  });
}

}  // namespace litestream
