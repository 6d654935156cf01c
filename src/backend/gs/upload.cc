#include "backend/gs/upload.h"

#include <utility>

#include <fmt/core.h>

#include "backend/gs/resumable_upload.h"
#include "base/try.h"
#include "format/names.h"
#include "http/digest.h"
#include "http/json.h"

namespace litestream::gs {
namespace {

// What answers to uploads hold.
constexpr std::string_view kFields = "name,size,crc32c,generation,metadata";

class Sink final : public cloud::PartSink {
 public:
  Sink(Session& session, const UploadTarget& target)
      : session_(session), target_(target), upload_(session, target) {}

  std::uint64_t PieceBytes(std::uint64_t) const override { return session_.options().chunk_bytes; }
  Result<void> PutWhole(const Context& ctx, cloud::Piece whole) override {
    LS_TRY(UploadWhole(ctx, session_, target_, std::move(whole)));
    return {};
  }
  Result<void> Begin(const Context& ctx) override { return upload_.Begin(ctx); }
  Result<void> Add(const Context& ctx, cloud::Piece piece, bool is_last) override {
    return upload_.Add(ctx, std::move(piece), is_last);
  }
  Result<void> Complete(const Context& ctx) override { return upload_.Complete(ctx); }
  void Abort() override { upload_.Abort(); }

 private:
  Session& session_;
  const UploadTarget& target_;
  ResumableUpload upload_;
};

}  // namespace

http::QueryParameters UploadQuery(const UploadTarget& target, std::string_view kind) {
  http::QueryParameters query = {
      {"uploadType", std::string(kind)}, {"name", target.key}, {"fields", std::string(kFields)}};
  if (!target.generation.empty()) query.emplace_back("ifGenerationMatch", target.generation);
  return query;
}

std::string ObjectJson(const UploadTarget& target, std::string_view crc32c) {
  std::string json = fmt::format(R"({{"contentType":{})", http::JsonString(target.content_type));
  if (!target.cache_control.empty()) {
    json += fmt::format(R"(,"cacheControl":{})", http::JsonString(target.cache_control));
  }
  if (target.created_at) {
    json += fmt::format(R"(,"metadata":{{"{}":"{}"}})", kTimestampKey,
                        FormatTimestamp(*target.created_at));
  }
  if (!crc32c.empty()) json += fmt::format(R"(,"crc32c":"{}")", crc32c);
  return json + "}";
}

std::string Boundary(std::string_view content) {
  for (unsigned number = 0;; ++number) {
    std::string boundary = fmt::format("litestream-{:08x}-end", number);
    if (content.find(boundary) == std::string_view::npos) return boundary;
  }
}

Result<void> CheckStored(const Context& ctx, Session& session, const UploadTarget& target,
                         const Object& stored, std::uint64_t size_bytes, std::uint32_t crc) {
  const std::string sum = http::Base64Crc(crc);
  const bool time_kept = !target.created_at || stored.created_at == *target.created_at;
  if (stored.size_bytes == size_bytes && stored.crc32c == sum && time_kept) return {};
  Call remove{.method = "DELETE", .key = target.key};
  if (!stored.generation.empty()) {
    remove.query.emplace_back("ifGenerationMatch", stored.generation);
    // If it stays, whoever reads it sees that it is damaged; the error says what happened.
    (void)session.Do(ctx, remove);
  }
  return Error(ErrorCode::kUnavailable,
               fmt::format("{}: the server stored {} bytes with CRC32C {} instead of {} with {}",
                           session.Doing("POST", target.key), stored.size_bytes, stored.crc32c,
                           size_bytes, sum));
}

Result<Object> UploadWhole(const Context& ctx, Session& session, const UploadTarget& target,
                           cloud::Piece content) {
  const std::uint32_t crc = http::Crc32c(*content);
  const std::uint64_t size = content->size();
  const std::string boundary = Boundary(*content);
  auto body = std::make_shared<std::string>();  // Shared: see http::Request.
  const std::string head = fmt::format(
      "--{}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{}\r\n--{}\r\n"
      "Content-Type: {}\r\n\r\n",
      boundary, ObjectJson(target, http::Base64Crc(crc)), boundary, target.content_type);
  body->reserve(head.size() + content->size() + boundary.size() + 8);
  body->append(head).append(*content).append("\r\n--").append(boundary).append("--\r\n");
  content.reset();
  const auto answer = LS_TRY(session.Do(
      ctx, {.method = "POST",
            .key = target.key,
            .uploads = true,
            .query = UploadQuery(target, "multipart"),
            .headers = {{"Content-Type", fmt::format("multipart/related; boundary={}", boundary)}},
            .body = std::move(body)}));
  Object stored = LS_TRY(ParseObject(answer.body), "{}", session.Doing("POST", target.key));
  LS_TRY(CheckStored(ctx, session, target, stored, size, crc));
  if (stored.generation.empty()) {
    return Error(ErrorCode::kUnavailable,
                 session.Doing("POST", target.key) + ": the answer has no generation");
  }
  return stored;
}

Result<std::uint64_t> Upload(const Context& ctx, Session& session, const UploadTarget& target,
                             ByteSource& body) {
  Sink sink(session, target);
  return cloud::UploadInParts(ctx, body, target.size_bytes, sink,
                              fmt::format("gs: {}/{}", session.options().bucket, target.key));
}

}  // namespace litestream::gs
