#include "litestream/replica_client.h"

#include <utility>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream {

Result<std::array<std::vector<FileInfo>, kLevelCount>> ReplicaClient::ListAll(const Context& ctx,
                                                                              bool exact_times) {
  std::array<std::vector<FileInfo>, kLevelCount> levels;
  for (std::uint8_t level = 0; level < kLevelCount; ++level) {
    levels[level] =
        LS_TRY(List(ctx, Level{level}, ListOptions{.seek = Txid{}, .exact_times = exact_times}),
               "list level {} of {}", level, Describe());
  }
  return levels;
}

Result<std::vector<ObjectInfo>> ReplicaClient::ListObjects(const Context&, std::string_view,
                                                           std::size_t) {
  return Error(ErrorCode::kUnsupported,
               fmt::format("{} has no backups of Litestream v0.3", Describe()));
}

Result<std::unique_ptr<ByteSource>> ReplicaClient::OpenObject(const Context&, std::string_view,
                                                              const ByteRange&) {
  return Error(ErrorCode::kUnsupported,
               fmt::format("{} has no backups of Litestream v0.3", Describe()));
}

}  // namespace litestream
