#include "storage/counted_client.h"

#include <string>
#include <utility>
#include <vector>

#include "base/try.h"

namespace litestream {
namespace {

// Counts one call when it goes.
class Counting {
 public:
  Counting(const ReplicaClient& client, OperationCounts& counts, const Clock& clock,
           StorageOperation operation)
      : client_(client), counts_(counts), clock_(clock), call_{.operation = operation} {
    began_ = clock_.Monotonic();
  }
  ~Counting() {
    call_.time = clock_.Monotonic() - began_;
    counts_.Add(client_.type(), call_);
  }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;

  OperationCall& call() { return call_; }
  template <typename T>
  Result<T> Note(Result<T> result) {
    if (!result.ok() && !result.error().Is(ErrorCode::kCancelled)) {
      counts_.AddError(client_.type(), call_.operation, result.error().code());
    }
    return result;
  }

 private:
  const ReplicaClient& client_;
  OperationCounts& counts_;
  const Clock& clock_;
  OperationCall call_;
  MonoTime began_;
};

class CountedBody final : public ByteSource {
 public:
  CountedBody(ByteSource& body, std::uint64_t& bytes) : body_(body), bytes_(bytes) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    const std::size_t got = LS_TRY(body_.Read(ctx, out));
    bytes_ += got;
    return got;
  }

 private:
  ByteSource& body_;
  std::uint64_t& bytes_;
};

class CountedSource final : public ByteSource {
 public:
  CountedSource(std::unique_ptr<ByteSource> source, std::shared_ptr<OperationCounts> counts,
                std::string type, std::chrono::nanoseconds time)
      : source_(std::move(source)),
        counts_(std::move(counts)),
        type_(std::move(type)),
        call_{.operation = StorageOperation::kGet, .time = time} {}
  ~CountedSource() override { counts_->Add(type_, call_); }

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    const MonoTime began = ctx.clock().Monotonic();
    auto got = source_->Read(ctx, out);
    call_.time += ctx.clock().Monotonic() - began;
    if (got.ok()) {
      call_.bytes += got.value();
    } else if (!got.error().Is(ErrorCode::kCancelled)) {
      counts_->AddError(type_, call_.operation, got.error().code());
    }
    return got;
  }

 private:
  const std::unique_ptr<ByteSource> source_;
  const std::shared_ptr<OperationCounts> counts_;  // May outlive the client.
  const std::string type_;
  OperationCall call_;
};

class CountedClient final : public ReplicaClient {
 public:
  CountedClient(std::unique_ptr<ReplicaClient> client, std::shared_ptr<OperationCounts> counts)
      : client_(std::move(client)), counts_(std::move(counts)) {}

  std::string_view type() const override { return client_->type(); }
  std::string Describe() const override { return client_->Describe(); }
  bool ListsTogether() const override { return client_->ListsTogether(); }

  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kList);
    return counting.Note(client_->List(ctx, level, options));
  }
  Result<std::array<std::vector<FileInfo>, kLevelCount>> ListAll(const Context& ctx,
                                                                 bool exact_times) override {
    if (!client_->ListsTogether()) return ReplicaClient::ListAll(ctx, exact_times);
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kList);
    return counting.Note(client_->ListAll(ctx, exact_times));
  }
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override {
    return CountOpen(ctx, [&] { return client_->Open(ctx, id, range); });
  }
  Result<std::vector<ObjectInfo>> ListObjects(const Context& ctx, std::string_view prefix,
                                              std::size_t limit) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kList);
    return counting.Note(client_->ListObjects(ctx, prefix, limit));
  }
  Result<std::unique_ptr<ByteSource>> OpenObject(const Context& ctx, std::string_view name,
                                                 const ByteRange& range) override {
    return CountOpen(ctx, [&] { return client_->OpenObject(ctx, name, range); });
  }
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kPut);
    CountedBody counted(body, counting.call().bytes);
    return counting.Note(client_->Write(ctx, id, counted, options));
  }
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kDelete);
    counting.call().objects = ids.size();
    return counting.Note(client_->Delete(ctx, ids));
  }
  Result<void> DeleteAll(const Context& ctx) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kDelete);
    return counting.Note(client_->DeleteAll(ctx));
  }
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kGet);
    auto object = counting.Note(client_->GetObject(ctx, name));
    if (object.ok()) counting.call().bytes = object.value().content.size();
    return object;
  }
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kPut);
    counting.call().bytes = content.size();
    return counting.Note(client_->PutObject(ctx, name, content, tag));
  }
  Result<void> DeleteObject(const Context& ctx, std::string_view name,
                            std::string_view tag) override {
    Counting counting(*client_, *counts_, ctx.clock(), StorageOperation::kDelete);
    return counting.Note(client_->DeleteObject(ctx, name, tag));
  }

 private:
  template <typename Open>
  Result<std::unique_ptr<ByteSource>> CountOpen(const Context& ctx, Open open) {
    const MonoTime began = ctx.clock().Monotonic();
    auto source = open();
    const auto time = ctx.clock().Monotonic() - began;
    if (source.ok()) {
      return std::make_unique<CountedSource>(std::move(source).value(), counts_,
                                             std::string(client_->type()), time);
    }
    counts_->Add(client_->type(), {.operation = StorageOperation::kGet, .time = time});
    if (!source.error().Is(ErrorCode::kCancelled)) {
      counts_->AddError(client_->type(), StorageOperation::kGet, source.error().code());
    }
    return source;
  }

  const std::unique_ptr<ReplicaClient> client_;
  const std::shared_ptr<OperationCounts> counts_;
};

}  // namespace

std::unique_ptr<ReplicaClient> MakeCountedClient(std::unique_ptr<ReplicaClient> client,
                                                 std::shared_ptr<OperationCounts> counts) {
  return std::make_unique<CountedClient>(std::move(client), std::move(counts));
}

}  // namespace litestream
