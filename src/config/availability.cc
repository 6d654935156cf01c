#include <algorithm>
#include <iterator>

#include <fmt/core.h>

#include "config/config.h"

namespace litestream::config {
namespace {

Error NotAvailable(const Config& config, std::string_view key, std::string_view setting,
                   std::string_view hint) {
  const auto found = config.lines.find(key);
  const std::string position =
      found == config.lines.end() ? "" : fmt::format("{}:{}: ", config.file, found->second);
  return Error(ErrorCode::kUnsupported,
               fmt::format("{}{} is not available in this build{}{}", position, setting,
                           hint.empty() ? "" : "; ", hint));
}

constexpr std::string_view kBackends[] = {"file", "abs", "gs",   "nats",
                                          "oss",  "s3",  "sftp", "webdav"};

// Sections whose mere presence asks for something.
struct Feature {
  std::string_view key;
  bool wanted;
  std::string_view hint;
};

}  // namespace

Result<void> CheckAvailable(const Config& config) {
  if (!config.addr.empty() && config.addr.rfind(':') == std::string::npos) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("must specify port for bind address: \"{}\"", config.addr));
  }
  if (config.levels.size() > kMaxMergeLevel.value) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("compaction level cannot exceed {}", kMaxMergeLevel.value));
  }
  const Feature features[] = {
      {"mcp-addr", !config.mcp_addr.empty(), ""},
      {"socket.enabled", config.socket.enabled, ""},
      {"heartbeat-url", !config.heartbeat_url.empty(), ""},
      {"logging.source", config.logging.source, ""},
  };
  for (const Feature& feature : features) {
    if (feature.wanted) return NotAvailable(config, feature.key, feature.key, feature.hint);
  }
  for (const DatabaseConfig& database : config.databases) {
    for (const ReplicaConfig& replica : database.replicas) {
      if (std::ranges::find(kBackends, replica.type) != std::end(kBackends)) continue;
      return NotAvailable(config, "", fmt::format("replica type {}", replica.type), "");
    }
  }
  return {};
}

}  // namespace litestream::config
