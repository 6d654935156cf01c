#include "storage/memory_client.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/sync.h"
#include "base/try.h"
#include "storage/layout.h"

namespace litestream {
namespace {

using Bytes = std::vector<std::byte>;
using FaultFunction = std::function<StorageFault(StorageCall, const FileId&)>;
// Shared, so that it keeps its state from call to call while it runs outside of the lock.
using SharedFaults = std::shared_ptr<const FaultFunction>;

constexpr std::size_t kCallCount = static_cast<std::size_t>(StorageCall::kDeleteObject) + 1;
constexpr std::size_t kCopyBytes = 256 << 10;

struct StoredFile {
  // Shared with the sources that read it: a file that is replaced or deleted stays readable.
  std::shared_ptr<const Bytes> content;
  WallTime created_at;
};

std::string Name(const FileId& id) {
  return RelativePath(ReplicaLayout::kLtxDecimal, id);
}

Error LostAnswer() {
  return {ErrorCode::kUnavailable, "injected: the answer was lost"};
}

}  // namespace

struct MemoryStore::State {
  // Tells stores of one process apart.
  const int number = next_number++;
  static inline std::atomic<int> next_number{1};

  // Counts the call and asks for its fault: an error means that it must not happen, true that its
  // answer must be lost.
  Result<bool> Begin(StorageCall call, const FileId& id) LS_EXCLUDES(mu) {
    SharedFaults ask;
    {
      MutexLock lock(mu);
      ++calls[static_cast<std::size_t>(call)];
      ask = faults;
    }
    return Ask(ask, call, id);
  }
  static Result<bool> Ask(const SharedFaults& ask, StorageCall call, const FileId& id) {
    return Apply(ask && *ask ? (*ask)(call, id) : StorageFault::kNone);
  }
  static Result<bool> Apply(StorageFault fault) {
    if (fault == StorageFault::kFailBefore) {
      return Error(ErrorCode::kUnavailable, "injected: nothing was done");
    }
    if (fault == StorageFault::kDenied) return Error(ErrorCode::kDenied, "injected: not allowed");
    return fault == StorageFault::kFailAfter;
  }

  mutable Mutex mu{LockRank::kStorage};
  SharedFaults faults LS_GUARDED_BY(mu);
  std::array<std::uint64_t, kCallCount> calls LS_GUARDED_BY(mu) = {};
  std::map<FileId, StoredFile> files LS_GUARDED_BY(mu);
  std::map<std::string, TaggedObject, std::less<>> objects LS_GUARDED_BY(mu);
  std::uint64_t last_tag LS_GUARDED_BY(mu) = 0;
};

namespace {

using State = MemoryStore::State;

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::shared_ptr<State> state, const FileId& id, std::shared_ptr<const Bytes> content,
               std::span<const std::byte> rest)
      : state_(std::move(state)), id_(id), content_(std::move(content)), rest_(rest) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    LS_TRY(ctx.Check());
    const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kRead, id_), "read {}", Name(id_));
    const std::size_t count = std::min(out.size(), rest_.size());
    std::ranges::copy(rest_.first(count), out.begin());
    rest_ = rest_.subspan(count);
    if (lose_answer) return LostAnswer();
    return count;
  }

 private:
  const std::shared_ptr<State> state_;
  const FileId id_;
  const std::shared_ptr<const Bytes> content_;
  std::span<const std::byte> rest_;  // Of content_.
};

class MemoryClient final : public ReplicaClient {
 public:
  explicit MemoryClient(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::string_view type() const override { return "memory"; }
  std::string Describe() const override { return fmt::format("memory {}", state_->number); }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override;
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override;
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override;
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override;
  Result<void> DeleteAll(const Context& ctx) override;
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override;
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override;
  Result<void> DeleteObject(const Context& ctx, std::string_view name,
                            std::string_view tag) override;

 private:
  const std::shared_ptr<State> state_;
};

// The whole body. kCorruption if it has another size than announced.
Result<Bytes> ReadBody(const Context& ctx, ByteSource& body, const WriteOptions& options) {
  Bytes content;
  if (options.size_bytes) content.reserve(*options.size_bytes);
  std::vector<std::byte> buffer(kCopyBytes);
  for (;;) {
    LS_TRY(ctx.Check());
    const std::size_t count = LS_TRY(body.Read(ctx, buffer));
    if (count == 0) break;
    content.insert(content.end(), buffer.begin(),
                   buffer.begin() + static_cast<std::ptrdiff_t>(count));
  }
  LS_TRY(ctx.Check());
  if (options.size_bytes && content.size() != *options.size_bytes) {
    return Error(ErrorCode::kCorruption, fmt::format("body has {} bytes, {} were announced",
                                                     content.size(), *options.size_bytes));
  }
  return content;
}

Result<std::vector<FileInfo>> MemoryClient::List(const Context& ctx, Level level,
                                                 const ListOptions& options) {
  LS_TRY(ctx.Check());
  const FileId first{.level = level, .txids = {.min = options.seek, .max = Txid{0}}};
  const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kList, first));
  std::vector<FileInfo> found;
  {
    MutexLock lock(state_->mu);
    for (auto it = state_->files.lower_bound(first); it != state_->files.end(); ++it) {
      if (it->first.level != level) break;
      if (options.limit != 0 && found.size() == options.limit) break;
      found.push_back({.id = it->first,
                       .size_bytes = it->second.content->size(),
                       .created_at = it->second.created_at});
    }
  }
  if (lose_answer) return LostAnswer();
  return found;
}

Result<std::unique_ptr<ByteSource>> MemoryClient::Open(const Context& ctx, const FileId& id,
                                                       const ByteRange& range) {
  LS_TRY(ctx.Check());
  const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kOpen, id), "open {}", Name(id));
  std::shared_ptr<const Bytes> content;
  {
    MutexLock lock(state_->mu);
    const auto it = state_->files.find(id);
    if (it == state_->files.end()) {
      return Error(ErrorCode::kNotFound, fmt::format("open {}: no such file", Name(id)));
    }
    content = it->second.content;
  }
  if (lose_answer) return LostAnswer();
  std::span<const std::byte> rest = *content;
  rest = rest.subspan(std::min<std::uint64_t>(range.offset_bytes, rest.size()));
  if (range.length_bytes != 0) {
    rest = rest.first(std::min<std::uint64_t>(range.length_bytes, rest.size()));
  }
  return std::make_unique<MemorySource>(state_, id, std::move(content), rest);
}

Result<FileInfo> MemoryClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                     const WriteOptions& options) {
  LS_TRY(ctx.Check());
  const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kWrite, id), "write {}", Name(id));
  auto content =
      std::make_shared<const Bytes>(LS_TRY(ReadBody(ctx, body, options), "write {}", Name(id)));
  const FileInfo info{.id = id, .size_bytes = content->size(), .created_at = options.created_at};
  {
    MutexLock lock(state_->mu);
    if (options.if_absent && state_->files.contains(id)) {
      return Error(ErrorCode::kAlreadyExists, fmt::format("write {}: it exists", Name(id)));
    }
    state_->files.insert_or_assign(
        id, StoredFile{.content = std::move(content), .created_at = options.created_at});
  }
  if (lose_answer) return LostAnswer();
  return info;
}

Result<void> MemoryClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  if (ids.empty()) return {};
  SharedFaults ask;
  {
    MutexLock lock(state_->mu);
    ++state_->calls[static_cast<std::size_t>(StorageCall::kDelete)];
    ask = state_->faults;
  }
  for (const FileId& id : ids) {
    LS_TRY(ctx.Check());
    const StorageFault fault = ask && *ask ? (*ask)(StorageCall::kDelete, id) : StorageFault::kNone;
    if (fault == StorageFault::kIgnored) continue;
    const bool lose_answer = LS_TRY(State::Apply(fault), "delete {}", Name(id));
    {
      MutexLock lock(state_->mu);
      state_->files.erase(id);
    }
    if (lose_answer) return LostAnswer();
  }
  return {};
}

Result<void> MemoryClient::DeleteAll(const Context& ctx) {
  LS_TRY(ctx.Check());
  const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kDelete, FileId{}));
  {
    MutexLock lock(state_->mu);
    state_->files.clear();
    state_->objects.clear();
  }
  if (lose_answer) return LostAnswer();
  return {};
}

Result<TaggedObject> MemoryClient::GetObject(const Context& ctx, std::string_view name) {
  LS_TRY(ctx.Check());
  const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kGetObject, FileId{}));
  std::optional<TaggedObject> object;
  {
    MutexLock lock(state_->mu);
    const auto it = state_->objects.find(name);
    if (it != state_->objects.end()) object = it->second;
  }
  if (lose_answer) return LostAnswer();
  if (!object) return Error(ErrorCode::kNotFound, fmt::format("get {}: no such object", name));
  return *object;
}

Result<std::string> MemoryClient::PutObject(const Context& ctx, std::string_view name,
                                            std::string_view content, std::string_view tag) {
  LS_TRY(ctx.Check());
  const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kPutObject, FileId{}));
  std::string new_tag;
  {
    MutexLock lock(state_->mu);
    const auto it = state_->objects.find(name);
    const bool absent = it == state_->objects.end();
    if (tag.empty() ? !absent : (absent || it->second.tag != tag)) {
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("put {}: it is not what it was expected to be", name));
    }
    new_tag = std::to_string(++state_->last_tag);
    state_->objects.insert_or_assign(std::string(name),
                                     TaggedObject{.content = std::string(content), .tag = new_tag});
  }
  if (lose_answer) return LostAnswer();
  return new_tag;
}

Result<void> MemoryClient::DeleteObject(const Context& ctx, std::string_view name,
                                        std::string_view tag) {
  LS_TRY(ctx.Check());
  const bool lose_answer = LS_TRY(state_->Begin(StorageCall::kDeleteObject, FileId{}));
  {
    MutexLock lock(state_->mu);
    const auto it = state_->objects.find(name);
    if (it == state_->objects.end()) {
      return Error(ErrorCode::kNotFound, fmt::format("delete {}: no such object", name));
    }
    if (!tag.empty() && it->second.tag != tag) {
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("delete {}: it is not what it was expected to be", name));
    }
    state_->objects.erase(it);
  }
  if (lose_answer) return LostAnswer();
  return {};
}

}  // namespace

MemoryStore::MemoryStore() : state_(std::make_shared<State>()) {}
MemoryStore::~MemoryStore() = default;

void MemoryStore::SetFaults(FaultFunction faults) {
  auto shared = std::make_shared<const FaultFunction>(std::move(faults));
  MutexLock lock(state_->mu);
  state_->faults = std::move(shared);
}

std::uint64_t MemoryStore::calls(StorageCall call) const {
  MutexLock lock(state_->mu);
  return state_->calls[static_cast<std::size_t>(call)];
}

std::unique_ptr<ReplicaClient> MakeMemoryClient(const MemoryStore& store) {
  return std::make_unique<MemoryClient>(store.state());
}

}  // namespace litestream
