#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "cloud/bucket_session.h"
#include "cloud/part_upload.h"

namespace litestream::cloud {

inline constexpr std::uint64_t kMaxParts = 10'000;
// What an upload keeps in memory, two parts at least.
inline constexpr std::uint64_t kMaxUploadBytes = 64 << 20;

// Size of the nth part (from 1). With a known size all are as large as 10,000 parts need; else they
// grow, unless the server wants equal ones.
std::uint64_t PartBytes(std::uint64_t configured, std::optional<std::uint64_t> size,
                        std::uint64_t number, bool equal_parts);

// An object that is stored in one request if it is smaller than a part, else by an upload in parts
// as S3 has it, several at a time, and aborted if that fails. Borrows the session.
class Multipart : public PartSink {
 public:
  struct Settings {
    std::string name;  // Of the service, for messages: "s3".
    std::string key;
    http::Headers headers;  // Those of the object: metadata, content type, ...
    std::uint64_t part_bytes = 0;
    std::optional<std::uint64_t> size_bytes;  // If it is known.
    bool equal_parts = false;
    int concurrency = 1;
    std::string completion_attributes;  // Of <CompleteMultipartUpload>: a namespace.
  };
  Multipart(BucketSession& session, Settings settings)
      : session_(session), settings_(std::move(settings)) {}

  std::uint64_t PieceBytes(std::uint64_t number) const override;
  Result<void> PutWhole(const Context& ctx, Piece whole) override;
  Result<void> Begin(const Context& ctx) override;
  // Waits for others if too much is under way.
  Result<void> Add(const Context& ctx, Piece piece, bool is_last) override;
  Result<void> Complete(const Context& ctx) override;
  void Abort() override;

 protected:
  const Settings& settings() const { return settings_; }
  BucketSession& session() { return session_; }

 private:
  // The request with which the object is there: a PUT of all of it (which has a body), or the end
  // of an upload.
  virtual Result<http::Response> Store(const Context& ctx, BucketCall call) = 0;
  // A part that is about to be sent.
  virtual void NotePart(BucketCall& call);
  Result<void> FinishFirst(const Context& ctx);
  std::size_t Limit(std::size_t part_bytes) const;
  Result<void> RequireTag(const http::Response& answer) const;

  BucketSession& session_;
  const Settings settings_;
  std::string upload_id_;
  std::vector<std::string> tags_;  // Of part 1, 2, ...
  std::deque<PendingCall> under_way_;
};

}  // namespace litestream::cloud
