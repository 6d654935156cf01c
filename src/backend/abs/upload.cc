#include "backend/abs/upload.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include <fmt/core.h>

#include "base/env.h"
#include "base/try.h"
#include "cloud/part_upload.h"
#include "http/digest.h"

namespace litestream::abs {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// Blocks of an unknown number are twice as large after so many, three times after twice as many.
// 50,000 of them are 3 TiB.
constexpr std::uint64_t kGrowEvery = 1000;
constexpr std::uint64_t kGrowTo = 64 * kMiB;
// Azure wants all ids of a blob to be equally long, those of an unfinished upload among them: as
// long as stock Litestream's.
constexpr std::size_t kIdBytes = 64;
constexpr std::size_t kAttemptBytes = 16;

http::Header Checksum(std::string_view body) {
  return {"Content-MD5", http::Base64(http::Md5(body))};
}

std::string RandomAttempt() {
  std::array<std::byte, kAttemptBytes> random;
  Env::Real().Random(random);
  return {reinterpret_cast<const char*>(random.data()), random.size()};
}

class Blocks final : public cloud::PartSink {
 public:
  Blocks(Session& session, const UploadTarget& target) : session_(session), target_(target) {}

  std::uint64_t PieceBytes(std::uint64_t number) const override {
    return BlockBytes(session_.options().block_bytes, target_.size_bytes, number);
  }
  Result<void> PutWhole(const Context& ctx, cloud::Piece whole) override;
  Result<void> Begin(const Context&) override { return {}; }
  // Waits for others if too much is under way.
  Result<void> Add(const Context& ctx, cloud::Piece piece, bool is_last) override;
  Result<void> Complete(const Context& ctx) override;
  // There is nothing to abort an upload with; blocks that are on their way are not waited for.
  void Abort() override { under_way_.clear(); }

 private:
  Result<void> FinishFirst(const Context& ctx);
  std::size_t Limit(std::size_t block_bytes) const;
  // A request that makes the blob.
  Call MakesBlob(cloud::Piece body) const;

  Session& session_;
  const UploadTarget& target_;
  // Ids of its own: blocks of another attempt must not get in.
  const std::string attempt_ = RandomAttempt();
  std::uint64_t count_ = 0;  // That were begun.
  std::deque<cloud::PendingCall> under_way_;
};

Call Blocks::MakesBlob(cloud::Piece body) const {
  Call call{.method = "PUT", .blob = target_.blob, .headers = target_.headers};
  call.headers.push_back(Checksum(*body));
  if (target_.if_absent) call.headers.push_back({"If-None-Match", "*"});
  call.body = std::move(body);
  return call;
}

Result<void> Blocks::PutWhole(const Context& ctx, cloud::Piece whole) {
  Call call = MakesBlob(std::move(whole));
  call.headers.push_back({"x-ms-blob-type", "BlockBlob"});
  LS_TRY(session_.Do(ctx, call));
  return {};
}

std::size_t Blocks::Limit(std::size_t block_bytes) const {
  const int wanted = std::max(1, session_.options().concurrency.value_or(kConcurrency));
  // Two more are read meanwhile.
  const std::uint64_t fit = kMaxUploadBytes / std::max<std::size_t>(1, block_bytes);
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1,
                                                            std::max<std::uint64_t>(fit, 3) - 2));
}

Result<void> Blocks::Add(const Context& ctx, cloud::Piece piece, bool) {
  while (under_way_.size() >= Limit(piece->size())) LS_TRY(FinishFirst(ctx));
  if (++count_ > kMaxBlocks) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("abs: {}: more than {} blocks; set a larger part-size", target_.blob,
                             kMaxBlocks));
  }
  Call call{.method = "PUT",
            .blob = target_.blob,
            .query = {{"comp", "block"}, {"blockid", BlockId(attempt_, count_)}},
            .headers = {Checksum(*piece)},
            .body = std::move(piece)};
  under_way_.push_back(session_.Begin(ctx, std::move(call)));
  return {};
}

Result<void> Blocks::FinishFirst(const Context& ctx) {
  LS_TRY(session_.Finish(ctx, under_way_.front()));
  under_way_.pop_front();
  return {};
}

Result<void> Blocks::Complete(const Context& ctx) {
  while (!under_way_.empty()) LS_TRY(FinishFirst(ctx));
  std::string list = R"(<?xml version="1.0" encoding="utf-8"?><BlockList>)";
  // "Latest", and not "Uncommitted": when the answer got lost, they are committed already.
  for (std::uint64_t number = 1; number <= count_; ++number) {
    list += fmt::format("<Latest>{}</Latest>", BlockId(attempt_, number));
  }
  list += "</BlockList>";
  Call call = MakesBlob(std::make_shared<const std::string>(std::move(list)));
  call.query = {{"comp", "blocklist"}};
  call.headers.push_back({"Content-Type", "application/xml"});
  LS_TRY(session_.Do(ctx, call));
  return {};
}

}  // namespace

std::uint64_t BlockBytes(std::optional<std::uint64_t> configured, std::optional<std::uint64_t> size,
                         std::uint64_t number) {
  const std::uint64_t first = configured.value_or(kBlockBytes);
  if (size) {
    const std::uint64_t least = *size / kMaxBlocks + 1;
    return std::max(first, (least + kMiB - 1) / kMiB * kMiB);
  }
  return std::max(first, std::min(kGrowTo, first * (1 + (number - 1) / kGrowEvery)));
}

std::string BlockId(std::string_view attempt, std::uint64_t number) {
  std::string id(attempt);
  for (int shift = 56; shift >= 0; shift -= 8) id += static_cast<char>(number >> shift & 0xff);
  id.resize(kIdBytes, '\0');
  return http::Base64(id);
}

Result<std::uint64_t> Upload(const Context& ctx, Session& session, const UploadTarget& target,
                             ByteSource& body) {
  Blocks blocks(session, target);
  return cloud::UploadInParts(ctx, body, target.size_bytes, blocks, "abs: " + target.blob);
}

}  // namespace litestream::abs
