#include "cli/common.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/backends.h"
#include "config/paths.h"
#include "storage/counted_client.h"
#include "storage/limited_client.h"
#include "storage/url.h"

namespace litestream::cli {

RetentionPolicy RetentionOf(const config::Config& config) {
  using std::chrono::ceil;
  using std::chrono::milliseconds;
  const config::KeepConfig& keep = config.keep;
  return {
      .enabled = config.retention_enabled,
      .l0_retention = ceil<milliseconds>(config.l0_retention),
      .snapshot_retention = ceil<milliseconds>(config.snapshot_retention),
      .keep = {.hourly = static_cast<int>(keep.hourly),
               .daily = static_cast<int>(keep.daily),
               .weekly = static_cast<int>(keep.weekly),
               .monthly = static_cast<int>(keep.monthly)},
  };
}

UpkeepOptions UpkeepOf(const config::Config& config) {
  using std::chrono::ceil;
  using std::chrono::milliseconds;
  UpkeepOptions upkeep;
  for (const auto interval : config.levels) upkeep.levels.push_back(ceil<milliseconds>(interval));
  upkeep.snapshot_interval = ceil<milliseconds>(config.snapshot_interval);
  upkeep.retention = RetentionOf(config);
  upkeep.validation_interval = config.validation_interval;
  return upkeep;
}

Error UsageError(std::string_view message, std::string_view hint) {
  return Error(ErrorCode::kInvalidArgument, fmt::format("{}\nTry: {}", message, hint));
}

void ConfigFlags::Register(FlagSet& flags) {
  flags.String("config", &path_);
  flags.Bool("no-expand-env", &no_expand_environment_);
}

Result<config::Config> ConfigFlags::LoadQuietly(Env& env) const {
  return config::LoadConfig(env, path_, {.expand_environment = expand_environment()});
}

Result<config::Config> ConfigFlags::Load(Env& env) const {
  auto config = LS_TRY(LoadQuietly(env));
  for (const std::string& warning : config.warnings) {
    fmt::print(stderr, "Warning: {}\n", warning);
  }
  return config;
}

Result<std::vector<config::DatabaseConfig>> ConfigFlags::LoadDatabases(
    Env& env, std::string_view only) const {
  const auto config = LS_TRY(Load(env));
  if (only.empty()) return config::ExpandDirectories(env, config, Logger());
  return std::vector{LS_TRY(config::FindDatabase(config, only))};
}

Logger MakeLogger(const config::LoggingConfig& logging, std::string_view level, bool force_stderr) {
  const char* const variable = std::getenv("LOG_LEVEL");
  if (level.empty() && variable != nullptr) level = variable;
  if (level.empty()) level = logging.level;
  const LogFormat format = logging.type == "json"     ? LogFormat::kJson
                           : logging.type == "pretty" ? LogFormat::kPretty
                                                      : LogFormat::kText;
  return Logger(
      MakeLogSink(force_stderr || logging.to_stderr ? 2 : 1, config::ParseLogLevel(level), format));
}

Result<std::unique_ptr<ReplicaClient>> MakeReplicaClient(Env& env,
                                                         const config::ReplicaConfig& replica,
                                                         const FileOwner& owner,
                                                         const SharedByReplicas& shared) {
  std::unique_ptr<ReplicaClient> client = LS_TRY(MakeBackend(env, replica, owner));
  if (shared.counts) client = MakeCountedClient(std::move(client), shared.counts);
  if (shared.limiter) client = MakeLimitedClient(std::move(client), shared.limiter);
  return client;
}

std::shared_ptr<Limiter> MakeLimiter(const config::LimitsConfig& limits) {
  if (!limits.uploads && !limits.upload_bandwidth && !limits.download_bandwidth &&
      !limits.requests_per_second) {
    return nullptr;
  }
  LimitOptions options;
  options.uploads = static_cast<int>(limits.uploads.value_or(options.uploads));
  options.upload_bytes_per_second = limits.upload_bandwidth.value_or(0);
  options.download_bytes_per_second = limits.download_bandwidth.value_or(0);
  options.requests_per_second = static_cast<std::uint64_t>(limits.requests_per_second.value_or(0));
  return std::make_shared<Limiter>(options);
}

Result<std::string> SourceArgument(const FlagSet& flags, std::string_view hint) {
  if (flags.positional().empty() || flags.positional().front().empty()) {
    return UsageError("database path or replica URL required", hint);
  }
  if (flags.positional().size() > 1) {
    return Error(ErrorCode::kInvalidArgument, "too many arguments");
  }
  return flags.positional().front();
}

namespace {

Result<config::DatabaseConfig> FindConfigured(Env& env, const ConfigFlags& flags,
                                              std::string_view argument, config::Config& config) {
  config = LS_TRY(flags.Load(env));
  return config::FindDatabase(config, argument);
}

// What to write instead, if the argument is the directory of a replica.
std::string DirectoryHint(Env& env, std::string_view argument) {
  const auto path = config::ExpandPath(argument);
  if (!path.ok()) return "";
  const auto stat = env.Stat(path.value());
  if (!stat.ok() || stat.value().type != FileType::kDirectory) return "";
  return fmt::format("; {} is a directory: if it is a replica, write file://{}", argument,
                     path.value());
}

}  // namespace

Result<Source> FindSource(Env& env, const ConfigFlags& flags, std::string_view argument,
                          std::string_view replica) {
  Source source;
  source.is_url = IsReplicaUrl(argument);
  if (source.is_url) {
    if (flags.given()) {
      return Error(ErrorCode::kInvalidArgument,
                   "cannot specify a replica URL and the -config flag");
    }
    source.replicas.push_back(LS_TRY(config::ReplicaFromUrl(env, argument)));
  } else {
    auto database = FindConfigured(env, flags, argument, source.config);
    if (!database.ok() && database.error().Is(ErrorCode::kNotFound)) {
      return Error(ErrorCode::kNotFound, database.error().message() + DirectoryHint(env, argument));
    }
    source.database = LS_TRY(std::move(database));
    source.replicas = source.database.replicas;
  }
  if (replica.empty()) return source;
  std::string known;
  for (const auto& candidate : source.replicas) {
    if (candidate.name == replica || candidate.type == replica) {
      source.replicas = {candidate};
      return source;
    }
    known += (known.empty() ? "" : ", ") + candidate.name;
  }
  return Error(
      ErrorCode::kInvalidArgument,
      fmt::format("replica \"{}\" not found for {}; there is {}", replica, argument, known));
}

}  // namespace litestream::cli
