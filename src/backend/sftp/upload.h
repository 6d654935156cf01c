#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "backend/sftp/endpoint.h"
#include "litestream/replica_client.h"

namespace litestream::sftp {

struct UploadTarget {
  std::string path;
  WallTime created_at;  // Becomes the file's time.
  std::optional<std::uint64_t> size_bytes;
  bool if_absent = false;
  bool concurrent = true;
};

// A name beside `path` that nobody else has.
std::string TempName(const std::string& path);
// Whether a name in a directory of LTX files is that of an upload: "<LTX name>.<anything>.tmp".
bool IsTempName(std::string_view name);
bool IsOwnTempName(std::string_view name);  // Made by this process.

// A file on its way: under a name of its own until it is whole and synced. What is not published is
// removed at the end.
class Upload {
 public:
  // Makes the file, and the directories above it.
  static Result<std::unique_ptr<Upload>> Begin(const Context& ctx, Use use, UploadTarget target);
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;
  ~Upload();

  // Writes all of `body` and gives the file its name. Returns its size.
  Result<std::uint64_t> Run(const Context& ctx, Endpoint& endpoint, ByteSource& body);
  Connection& connection() const { return *use_; }

 private:
  Upload(Use use, UploadTarget target, std::string temp, std::string handle)
      : use_(std::move(use)),
        target_(std::move(target)),
        temp_(std::move(temp)),
        handle_(std::move(handle)) {}

  Result<std::uint64_t> Send(const Context& ctx, ByteSource& body);
  Result<void> Finish(const Context& ctx);
  Result<void> Publish(const Context& ctx, Endpoint& endpoint);
  Result<void> PublishNew(const Context& ctx, Endpoint& endpoint);
  Result<void> PublishOver(const Context& ctx, Endpoint& endpoint);
  Result<bool> TryLink(const Context& ctx, Endpoint& endpoint);
  Result<void> SetTimes(const Context& ctx);
  Error WhyNotWritten(const Context& ctx, Error error) const;
  Error IsThereAlready() const;
  // Removes the file; waits for the answer, if the context still allows that.
  void Discard(const Context& ctx);

  Use use_;
  UploadTarget target_;
  std::string temp_;    // "": published or removed.
  std::string handle_;  // "": closed.
};

}  // namespace litestream::sftp
