#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "config/config.h"
#include "config/decode.h"
#include "config/paths.h"
#include "config/replica_resolve.h"
#include "config/schema.h"
#include "config/validate.h"
#include "config/yaml.h"
#include "storage/url.h"

namespace litestream::config {
namespace {

constexpr std::size_t kMaxFileBytes = 64U << 20;
constexpr std::size_t kMaxProblems = 20;  // As many are shown.

// A directory on the command line, as clear as its file:// URL. A bare word may be a misspelt URL
// ("s3:bucket"), and would become a directory of that name.
bool IsPlainDirectory(std::string_view text) {
  for (const std::string_view start : {"/", "./", "../", "~/"}) {
    if (text.starts_with(start)) return true;
  }
  return text == "." || text == "..";
}

Error JoinProblems(const std::vector<std::string>& problems) {
  std::string message;
  for (std::size_t i = 0; i < problems.size() && i < kMaxProblems; ++i) {
    if (i > 0) message += '\n';
    message += problems[i];
  }
  if (problems.size() > kMaxProblems) {
    message += fmt::format("\nand {} more", problems.size() - kMaxProblems);
  }
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

}  // namespace

Result<Config> LoadConfig(Env& env, std::string_view path, const LoadOptions& options) {
  std::string chosen(path);
  if (chosen.empty()) chosen = options.lookup("LITESTREAM_CONFIG");
  if (chosen.empty()) chosen = std::string(kDefaultConfigPath);
  const std::string file = LS_TRY(ExpandPath(chosen));
  const auto stat = env.Stat(file);
  if (!stat.ok() && stat.error().Is(ErrorCode::kNotFound)) {
    return Error(ErrorCode::kNotFound, fmt::format("config file not found: {}", file));
  }
  if (stat.ok() && stat.value().type == FileType::kDirectory) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("read {}: is a directory", file));
  }
  const std::string text = LS_TRY(ReadSmallFile(env, file, kMaxFileBytes), "read config");
  return ParseConfig(env, text, file, options);
}

Result<Config> ParseConfig(Env& env, std::string_view text, std::string_view name,
                           const LoadOptions& options) {
  EnvironmentExpander expander(options.lookup);
  YamlNode root = LS_TRY(options.expand_environment ? ParseYaml(expander.InsertTokens(text), name)
                                                    : ParseYaml(text, name));
  Decoder decoder(name, options.expand_environment ? &expander : nullptr);
  decoder.Expand(root);
  RawConfig raw = DecodeConfig(decoder, root);
  const std::vector<std::string> problems = decoder.problems();
  if (!problems.empty()) return JoinProblems(problems);
  raw.config.file = std::string(name);
  raw.config.lines = decoder.TakeLines();
  return CompleteConfig(env, std::move(raw));
}

Result<Config> ConfigFromArguments(Env& env, std::string_view database_path,
                                   const std::vector<std::string>& urls) {
  RawConfig raw;
  DatabaseConfig database;
  database.path = std::string(database_path);
  for (const std::string& url : urls) {
    if (!IsReplicaUrl(url) && !IsPlainDirectory(url)) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("replica url scheme required: {}; a URL begins with \"file://\", "
                               "\"s3://\" or the like, a directory with \"/\" or \"./\"",
                               url.empty() ? "\"\"" : url));
    }
    ReplicaConfig replica;
    (IsReplicaUrl(url) ? replica.url : replica.path) = url;
    database.replicas.push_back(std::move(replica));
  }
  raw.config.databases.push_back(std::move(database));
  raw.config.logging.level = "INFO";
  return CompleteConfig(env, std::move(raw));
}

Result<ReplicaConfig> ReplicaFromUrl(Env& env, std::string_view url) {
  ReplicaConfig replica;
  replica.url = std::string(url);
  replica.sync_interval = kDefaultSyncInterval;
  LS_TRY(ResolveReplica(env, replica));
  return replica;
}

std::string MetaPath(const DatabaseConfig& database) {
  return database.meta_path.empty() ? DefaultMetaPath(database.path) : database.meta_path;
}

LogLevel ParseLogLevel(std::string_view text) {
  std::string upper;
  for (const char c : text) upper += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  if (upper == "TRACE") return LogLevel::kTrace;
  if (upper == "DEBUG") return LogLevel::kDebug;
  if (upper == "WARN" || upper == "WARNING") return LogLevel::kWarn;
  if (upper == "ERROR") return LogLevel::kError;
  return LogLevel::kInfo;
}

}  // namespace litestream::config
