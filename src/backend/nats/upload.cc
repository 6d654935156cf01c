#include "backend/nats/upload.h"

#include <deque>
#include <span>
#include <utility>

#include <fmt/core.h>

#include "backend/nats/running_digest.h"
#include "base/try.h"

namespace litestream::nats {
namespace {

class Upload {
 public:
  Upload(Bucket& bucket, std::string_view name) : bucket_(bucket) {
    meta_.name = std::string(name);
    meta_.nuid = NewNuid();
    meta_.chunk_bytes = bucket.chunk_bytes();
  }

  Result<ObjectMeta> Run(const Context& ctx, ByteSource& body, std::optional<std::uint64_t> size);
  // Nothing of it may arrive later.
  void Abort(const Context& ctx);

 private:
  void Send(std::string chunk);
  // Waits for the first acknowledgement that is missing. Sees to it that chunks lie in order.
  Result<void> FinishFirst(const Context& ctx);
  Result<void> FinishAll(const Context& ctx);
  Result<void> Note(const PublishAck& ack);

  Bucket& bucket_;
  ObjectMeta meta_;
  RunningDigest digest_;
  std::deque<Call> under_way_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t last_sequence_ = 0;
  std::uint64_t pin_ = 0;  // Of what is under way: no chunk may overtake one that was lost.
  bool repeated_ = false;  // Something was sent again.
};

void Upload::Send(std::string chunk) {
  digest_.Add(chunk);
  meta_.size_bytes += chunk.size();
  // With a name of its own a chunk that is sent again is stored once.
  std::string id = fmt::format("{}-{}", meta_.nuid, meta_.chunks++);
  under_way_.push_back(
      bucket_.Begin({.subject = bucket_.ChunkSubject(meta_.nuid),
                     .headers = {{"Nats-Msg-Id", std::move(id)}},
                     .body = std::make_shared<const std::string>(std::move(chunk))},
                    fmt::format("write {}", meta_.name), &pin_));
}

Result<void> Upload::Note(const PublishAck& ack) {
  if (ack.sequence <= last_sequence_) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("nats: write {}: its chunks arrived in another order", meta_.name));
  }
  if (meta_.runs.empty() || ack.sequence != last_sequence_ + 1) {
    meta_.runs.push_back({.index = acknowledged_, .sequence = ack.sequence, .count = 0});
    // Not at once, or a short break would cost as much as all of what was before.
    if (meta_.runs.size() >= 4 * kMaxRuns) ThinOut(meta_.runs);
  }
  // The last run may have been dropped.
  ChunkRun& last = meta_.runs.back();
  if (last.index + last.count == acknowledged_) ++last.count;
  last_sequence_ = ack.sequence;
  ++acknowledged_;
  return {};
}

Result<void> Upload::FinishFirst(const Context& ctx) {
  Call& first = under_way_.front();
  const Answer answer = LS_TRY(bucket_.Finish(ctx, first));
  const PublishAck ack = LS_TRY(ParsePublishAck(answer.body), "{}", first.doing);
  const bool again = first.attempts > 1;
  under_way_.pop_front();
  LS_TRY(Note(ack));
  if (!again) return {};
  // What was behind it was lost with the same connection, and goes before anything new.
  repeated_ = true;
  LS_TRY(FinishAll(ctx));
  pin_ = 0;
  return {};
}

Result<void> Upload::FinishAll(const Context& ctx) {
  while (!under_way_.empty()) LS_TRY(FinishFirst(ctx));
  return {};
}

Result<ObjectMeta> Upload::Run(const Context& ctx, ByteSource& body,
                               std::optional<std::uint64_t> size) {
  for (bool at_end = false; !at_end;) {
    std::string chunk(meta_.chunk_bytes, '\0');
    const std::size_t count =
        LS_TRY(ReadFull(ctx, body, std::as_writable_bytes(std::span(chunk.data(), chunk.size()))));
    at_end = count < chunk.size();
    chunk.resize(count);
    const std::uint64_t total = meta_.size_bytes + count;
    if (size && (total > *size || (at_end && total < *size))) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("nats: write {}: {} bytes were announced, {} {}", meta_.name, *size,
                               total > *size ? "more came, at least" : "it ends after", total));
    }
    if (count == 0) break;
    if (under_way_.size() >= kChunksUnderWay) LS_TRY(FinishFirst(ctx));
    LS_TRY(ctx.Check());
    Send(std::move(chunk));
  }
  LS_TRY(FinishAll(ctx));
  // The server forgets names after a while (two minutes, if nobody said otherwise).
  if (repeated_ && LS_TRY(bucket_.CountChunks(ctx, meta_.nuid)) != meta_.chunks) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("nats: write {}: a chunk was stored twice", meta_.name));
  }
  LS_TRY(ctx.Check());
  ThinOut(meta_.runs);
  meta_.digest = digest_.Take();
  return std::move(meta_);
}

void Upload::Abort(const Context& ctx) {
  const Context grace = GraceContext(ctx);
  for (Call& call : under_way_) {
    if (!call.pending.empty()) (void)bucket_.FinishOnce(grace, call);
  }
  if (meta_.chunks > 0) DropChunks(ctx, bucket_, meta_.nuid);
}

}  // namespace

Result<ObjectMeta> UploadChunks(const Context& ctx, Bucket& bucket, std::string_view name,
                                ByteSource& body, std::optional<std::uint64_t> size_bytes) {
  Upload upload(bucket, name);
  auto meta = upload.Run(ctx, body, size_bytes);
  if (!meta.ok()) upload.Abort(ctx);
  return meta;
}

void DropChunks(const Context& ctx, Bucket& bucket, const std::string& nuid) {
  const Context grace = GraceContext(ctx);
  Call purge = bucket.BeginPurgeChunks(nuid);
  // Chunks that stay take up room, and harm nobody.
  (void)bucket.Finish(grace, purge);
}

Result<std::uint64_t> Commit(const Context& ctx, Bucket& bucket, const ObjectMeta& meta,
                             const std::optional<StoredMeta>& before) {
  bool may_be_stored = false;
  auto sequence = bucket.PutMeta(ctx, meta, before ? before->sequence : 0, may_be_stored);
  if (sequence.ok()) {
    if (before && before->meta.chunks > 0) DropChunks(ctx, bucket, before->meta.nuid);
    return sequence;
  }
  const bool lost = sequence.error().Is(ErrorCode::kAlreadyExists);
  if (!lost && !may_be_stored && meta.chunks > 0) DropChunks(ctx, bucket, meta.nuid);
  return sequence;
}

}  // namespace litestream::nats
