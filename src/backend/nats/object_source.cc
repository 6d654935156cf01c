#include "backend/nats/object_source.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "backend/nats/running_digest.h"
#include "base/try.h"

namespace litestream::nats {
namespace {

// Where it is not known how chunks lie.
constexpr std::size_t kFirstGuesses = 2;

class ObjectSource final : public ByteSource {
 public:
  ObjectSource(std::shared_ptr<Bucket> bucket, const StoredMeta& stored, const ByteRange& range)
      : bucket_(std::move(bucket)), stored_(stored) {
    const std::uint64_t size = meta().size_bytes;
    begin_ = std::min(range.offset_bytes, size);
    const std::uint64_t rest = size - begin_;
    end_ = begin_ + (range.length_bytes == 0 ? rest : std::min(range.length_bytes, rest));
    if (begin_ == 0 && end_ == size) digest_.emplace();
    if (meta().chunk_bytes > 0) window_ = kChunksAhead;
    StartAt(begin_);
  }

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;

 private:
  // A chunk that has been asked for.
  struct Asked {
    std::uint64_t sequence = 0;
    bool exact = false;  // It is known to be there.
    Call call;
  };

  const ObjectMeta& meta() const { return stored_.meta; }
  void StartAt(std::uint64_t offset);
  void StartOver();
  const ChunkRun* RunOf(std::uint64_t index) const;
  void AskAhead();
  void DropPassed();
  Result<void> Next(const Context& ctx);
  Result<void> Take(Chunk chunk);
  Result<Chunk> Missing(const Context& ctx);
  Error Wrong(std::string_view what) const {
    return {ErrorCode::kCorruption, fmt::format("nats: {}: {}", meta().name, what)};
  }

  const std::shared_ptr<Bucket> bucket_;  // The source may outlive its client.
  const StoredMeta stored_;
  std::uint64_t begin_ = 0;  // What is left to give out.
  std::uint64_t end_ = 0;
  std::optional<RunningDigest> digest_;
  bool trust_runs_ = true;
  std::uint64_t index_ = 0;          // Of the next chunk.
  std::uint64_t position_ = 0;       // Where it begins in the object.
  std::uint64_t next_sequence_ = 1;  // It lies there or behind.
  std::deque<Asked> asked_;          // Ascending by sequence.
  std::size_t window_ = kFirstGuesses;
  std::string data_;  // Of the chunk before, from begin_ on.
  std::size_t given_ = 0;
};

const ChunkRun* ObjectSource::RunOf(std::uint64_t index) const {
  if (!trust_runs_ || meta().runs.empty()) return nullptr;
  const auto next = std::ranges::upper_bound(meta().runs, index, {}, &ChunkRun::index);
  return &*std::prev(next);  // The first one has index 0.
}

void ObjectSource::StartAt(std::uint64_t offset) {
  if (meta().chunk_bytes == 0 || offset >= meta().size_bytes) return;
  const std::uint64_t wanted = offset / meta().chunk_bytes;
  const ChunkRun& run = *RunOf(wanted);
  // Behind the last chunk of which it is known where it is, they have to be counted.
  index_ = std::min(wanted, run.index + run.count - 1);
  next_sequence_ = run.sequence + (index_ - run.index);
  position_ = index_ * meta().chunk_bytes;
}

// Where the chunks are is not true in a copy of the stream.
void ObjectSource::StartOver() {
  trust_runs_ = false;
  asked_.clear();
  index_ = 0;
  position_ = 0;
  next_sequence_ = 1;
  window_ = kFirstGuesses;
  if (digest_) digest_.emplace();
}

void ObjectSource::AskAhead() {
  std::uint64_t sequence = asked_.empty() ? next_sequence_ : asked_.back().sequence + 1;
  std::uint64_t index = index_ + asked_.size();
  // How many more there are to be, as far as one can know.
  std::uint64_t last = meta().chunks;
  if (trust_runs_ && meta().chunk_bytes > 0) last = (end_ - 1) / meta().chunk_bytes + 1;
  while (asked_.size() < window_ && index < last) {
    const ChunkRun* const run = RunOf(index);
    const bool exact = run != nullptr && index - run->index < run->count;
    if (exact) sequence = run->sequence + (index - run->index);
    asked_.push_back(
        {.sequence = sequence, .exact = exact, .call = bucket_->BeginChunk(meta().nuid, sequence)});
    ++sequence;
    ++index;
  }
}

// A chunk is not there, and it cannot have gone by itself.
Result<Chunk> ObjectSource::Missing(const Context& ctx) {
  const auto now = LS_TRY(bucket_->GetMeta(ctx, meta().name));
  if (!now || now->meta.deleted) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("nats: {} was deleted while it was read", meta().name));
  }
  if (now->sequence != stored_.sequence) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("nats: {} was replaced while it was read", meta().name));
  }
  return Wrong(fmt::format("chunk {} of {} is missing", index_ + 1, meta().chunks));
}

Result<void> ObjectSource::Next(const Context& ctx) {
  LS_TRY(bucket_->PrepareReading(ctx));
  for (;;) {
    AskAhead();
    if (asked_.empty()) return Wrong("it has fewer bytes than its description says");
    Asked& first = asked_.front();
    const bool exact = first.exact;
    const std::uint64_t sequence = first.sequence;
    auto got = bucket_->FinishChunk(ctx, first.call);
    if (!got.ok() && got.error().Is(ErrorCode::kNotFound)) {
      if (!exact) {
        // Asked for too far behind, because chunks were thought to lie closer.
        if (sequence > next_sequence_) {
          asked_.clear();
          window_ = 1;
          continue;
        }
        got = Missing(ctx);
      } else {
        StartOver();
        continue;
      }
    }
    Chunk chunk = LS_TRY(std::move(got), "read {}", meta().name);
    asked_.pop_front();
    if (exact && chunk.sequence != sequence) {
      StartOver();
      continue;
    }
    if (chunk.sequence < sequence) {
      return Error(ErrorCode::kUnavailable,
                   fmt::format("nats: read {}: the server sends another chunk", meta().name));
    }
    if (!exact && sequence > next_sequence_) {
      asked_.clear();
      continue;
    }
    next_sequence_ = chunk.sequence + 1;
    if (!exact) DropPassed();
    return Take(std::move(chunk));
  }
}

// What was asked for within the gap before the chunk that came is that chunk again. The more gaps,
// the less is worth asking for ahead.
void ObjectSource::DropPassed() {
  bool passed = false;
  while (!asked_.empty() && asked_.front().sequence < next_sequence_) {
    asked_.pop_front();
    passed = true;
  }
  window_ = passed ? std::max<std::size_t>(1, window_ / 2) : std::min(kChunksAhead, window_ + 1);
}

Result<void> ObjectSource::Take(Chunk chunk) {
  const ObjectMeta& object = meta();
  const std::uint64_t size = chunk.data.size();
  const bool is_last = index_ + 1 == object.chunks;
  if (object.chunk_bytes > 0 && !is_last && size != object.chunk_bytes) {
    return Wrong(
        fmt::format("chunk {} has {} bytes instead of {}", index_ + 1, size, object.chunk_bytes));
  }
  if (size > object.size_bytes - position_ || (is_last && position_ + size != object.size_bytes)) {
    return Wrong("its chunks have not as many bytes as its description says");
  }
  if (digest_) {
    digest_->Add(chunk.data);
    if (is_last && !object.digest.empty() && digest_->Take() != object.digest) {
      return Wrong("its content does not have the digest that its description says");
    }
  }
  const std::uint64_t skip = begin_ > position_ ? std::min(begin_ - position_, size) : 0;
  data_ = std::move(chunk.data);
  given_ = static_cast<std::size_t>(skip);
  position_ += size;
  ++index_;
  return {};
}

Result<std::size_t> ObjectSource::Read(const Context& ctx, std::span<std::byte> out) {
  LS_TRY(ctx.Check());
  if (begin_ == end_ || out.empty()) return std::size_t{0};
  while (given_ == data_.size()) LS_TRY(Next(ctx));
  const std::size_t count = static_cast<std::size_t>(
      std::min<std::uint64_t>({out.size(), data_.size() - given_, end_ - begin_}));
  std::memcpy(out.data(), data_.data() + given_, count);
  given_ += count;
  begin_ += count;
  if (begin_ == end_) {
    asked_.clear();
    data_ = {};
    given_ = 0;
  }
  return count;
}

}  // namespace

std::unique_ptr<ByteSource> MakeObjectSource(std::shared_ptr<Bucket> bucket, const StoredMeta& meta,
                                             const ByteRange& range) {
  return std::make_unique<ObjectSource>(std::move(bucket), meta, range);
}

}  // namespace litestream::nats
