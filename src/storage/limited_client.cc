#include "storage/limited_client.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/try.h"

namespace litestream {
namespace {

// Passes bytes on at the limiter's pace. The source, and the limiter, live longer.
Result<std::size_t> ReadAtPace(const Context& ctx, ByteSource& source, Limiter& limiter,
                               Direction direction, std::span<std::byte> out) {
  const std::size_t piece = std::min(out.size(), limiter.PieceBytes(direction));
  const std::size_t got = LS_TRY(source.Read(ctx, out.first(piece)));
  LS_TRY(limiter.Pass(ctx, direction, got));
  return got;
}

class UploadBody final : public ByteSource {
 public:
  UploadBody(ByteSource& body, Limiter& limiter) : body_(body), limiter_(limiter) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    return ReadAtPace(ctx, body_, limiter_, Direction::kUpload, out);
  }

 private:
  ByteSource& body_;
  Limiter& limiter_;
};

class DownloadSource final : public ByteSource {
 public:
  DownloadSource(std::unique_ptr<ByteSource> source, std::shared_ptr<Limiter> limiter)
      : source_(std::move(source)), limiter_(std::move(limiter)) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    return ReadAtPace(ctx, *source_, *limiter_, Direction::kDownload, out);
  }

 private:
  const std::unique_ptr<ByteSource> source_;
  const std::shared_ptr<Limiter> limiter_;  // May outlive the client.
};

class LimitedClient final : public ReplicaClient {
 public:
  LimitedClient(std::unique_ptr<ReplicaClient> client, std::shared_ptr<Limiter> limiter)
      : client_(std::move(client)), limiter_(std::move(limiter)) {}

  std::string_view type() const override { return client_->type(); }
  std::string Describe() const override { return client_->Describe(); }
  bool ListsTogether() const override { return client_->ListsTogether(); }

  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override {
    Count(ctx);
    return client_->List(ctx, level, options);
  }
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override {
    Count(ctx);
    return Limit(LS_TRY(client_->Open(ctx, id, range)));
  }
  Result<std::array<std::vector<FileInfo>, kLevelCount>> ListAll(const Context& ctx,
                                                                 bool exact_times) override {
    if (!client_->ListsTogether()) return ReplicaClient::ListAll(ctx, exact_times);
    Count(ctx);
    return client_->ListAll(ctx, exact_times);
  }
  Result<std::vector<ObjectInfo>> ListObjects(const Context& ctx, std::string_view prefix,
                                              std::size_t limit) override {
    Count(ctx);
    return client_->ListObjects(ctx, prefix, limit);
  }
  Result<std::unique_ptr<ByteSource>> OpenObject(const Context& ctx, std::string_view name,
                                                 const ByteRange& range) override {
    Count(ctx);
    return Limit(LS_TRY(client_->OpenObject(ctx, name, range)));
  }
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override {
    Count(ctx);
    if (!limiter_->limits(Direction::kUpload)) return client_->Write(ctx, id, body, options);
    UploadBody paced(body, *limiter_);
    return client_->Write(ctx, id, paced, options);
  }
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override {
    Count(ctx);
    return client_->Delete(ctx, ids);
  }
  Result<void> DeleteAll(const Context& ctx) override {
    Count(ctx);
    return client_->DeleteAll(ctx);
  }
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override {
    Count(ctx);
    return client_->GetObject(ctx, name);
  }
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override {
    Count(ctx);
    return client_->PutObject(ctx, name, content, tag);
  }
  Result<void> DeleteObject(const Context& ctx, std::string_view name,
                            std::string_view tag) override {
    Count(ctx);
    return client_->DeleteObject(ctx, name, tag);
  }

 private:
  std::unique_ptr<ByteSource> Limit(std::unique_ptr<ByteSource> source) {
    if (!limiter_->limits(Direction::kDownload)) return source;
    return std::make_unique<DownloadSource>(std::move(source), limiter_);
  }
  void Count(const Context& ctx) { limiter_->NoteRequest(ctx.clock().Monotonic()); }

  const std::unique_ptr<ReplicaClient> client_;
  const std::shared_ptr<Limiter> limiter_;
};

}  // namespace

std::unique_ptr<ReplicaClient> MakeLimitedClient(std::unique_ptr<ReplicaClient> client,
                                                 std::shared_ptr<Limiter> limiter) {
  return std::make_unique<LimitedClient>(std::move(client), std::move(limiter));
}

}  // namespace litestream
