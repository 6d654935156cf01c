#include "cli/backends.h"

#include <fmt/core.h>

#include "backend/file/file_client.h"
#include "base/try.h"
#include "cli/abs_replica.h"
#include "cli/gs_replica.h"
#include "cli/nats_replica.h"
#include "cli/oss_replica.h"
#include "cli/s3_replica.h"
#include "cli/sftp_replica.h"
#include "cli/webdav_replica.h"

namespace litestream::cli {
namespace {

// The directory of a replica of type file.
Result<std::string> RootOf(Env& env, const config::ReplicaConfig& replica) {
  if (!replica.encoded_path.empty() && !LS_TRY(Exists(env, replica.path)) &&
      LS_TRY(Exists(env, replica.encoded_path))) {
    return replica.encoded_path;
  }
  return replica.path;
}

struct Backend {
  std::string_view type;
  Result<std::unique_ptr<ReplicaClient>> (*make)(const config::ReplicaConfig& replica);
};
// clang-format off
constexpr Backend kBackends[] = {
    {"abs", MakeAbsReplica},
    {"gs", MakeGsReplica},
    {"nats", MakeNatsReplica},
    {"oss", MakeOssReplica},
    {"s3", MakeS3Replica},
    {"sftp", MakeSftpReplica},
    {"webdav", MakeWebdavReplica},
};
// clang-format on

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeBackend(Env& env, const config::ReplicaConfig& replica,
                                                   const FileOwner& owner) {
  if (replica.type == "file") {
    return MakeFileClient(env, {.root = LS_TRY(RootOf(env, replica)), .owner = owner});
  }
  for (const Backend& backend : kBackends) {
    if (backend.type == replica.type) return backend.make(replica);
  }
  return Error(ErrorCode::kUnsupported,
               fmt::format("replica type {} is not available in this build", replica.type));
}

}  // namespace litestream::cli
