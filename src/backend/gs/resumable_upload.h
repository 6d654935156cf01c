#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/gs/object.h"
#include "backend/gs/session.h"
#include "cloud/part_upload.h"

namespace litestream::gs {

struct UploadTarget;

// An upload in chunks, one at a time, each a multiple of kChunkUnit but the last one:
// cloud.google.com/storage/docs/performing-resumable-uploads. The server says how much it has, and
// that is where it goes on after a failure. The object is there with the last chunk. Not safe for
// concurrent calls.
class ResumableUpload {
 public:
  // Borrows both.
  ResumableUpload(Session& session, const UploadTarget& target)
      : session_(session), target_(target) {}

  Result<void> Begin(const Context& ctx);
  // Waits until the chunk before is there, and sends this one while the caller gets the next.
  Result<void> Add(const Context& ctx, cloud::Piece chunk, bool is_last);
  Result<void> Complete(const Context& ctx);
  // What the server has goes away. Takes at most kAbortTime.
  void Abort();

 private:
  Result<void> Create(const Context& ctx);
  // Sends what is missing of the chunk; nothing is waited for.
  void Send(const Context& ctx);
  // Until the chunk is there.
  Result<void> Settle(const Context& ctx);
  Result<void> Attempt(const Context& ctx, std::chrono::nanoseconds* retry_after);
  // Takes note of an answer. An error that another attempt cannot mend goes to final_error_.
  Result<void> Note(const http::Response& answer, std::chrono::nanoseconds* retry_after);
  Result<void> NotePersisted(std::uint64_t bytes);
  Result<void> NoteGone();
  Error Final(Error error);
  Result<std::unique_ptr<http::Exchange>> Put(const Context& ctx, std::string range,
                                              cloud::Piece body, bool with_sum);
  bool IsThere() const {
    return is_last_ ? stored_.has_value() : persisted_bytes_ == begin_bytes_ + chunk_->size();
  }
  std::string Doing() const;

  Session& session_;
  const UploadTarget& target_;
  std::string url_;     // A secret: who knows it may write. "": there is no upload (any more).
  cloud::Piece chunk_;  // The one that is sent; null: none.
  std::uint64_t begin_bytes_ = 0;  // Where it begins in the object.
  bool is_last_ = false;
  std::uint32_t crc_ = 0;  // Of the object up to the end of the chunk.
  std::optional<Result<std::unique_ptr<http::Exchange>>> under_way_;
  std::uint64_t persisted_bytes_ = 0;  // That the server has, as far as we know.
  bool is_known_ = true;               // Whether that is all.
  std::optional<Object> stored_;
  std::optional<Error> final_error_;
};

}  // namespace litestream::gs
