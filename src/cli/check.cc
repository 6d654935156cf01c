#include <array>
#include <filesystem>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/usage.h"
#include "format/names.h"
#include "storage/client_check.h"
#include "storage/url.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The check command tries whether replicas can be used as they are configured: it\n"
    "writes an object beside each, lists, reads and deletes it, and tries conditional\n"
    "writes, which leases need. It touches no file of a replica, may run beside a\n"
    "replicator, and leaves nothing behind.\n\n"
    "Usage:\n\n"
    "\tlitestream check [arguments]\n\n"
    "\tlitestream check [arguments] DB_PATH\n\n"
    "\tlitestream check [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND
    "\t-replica NAME\n"
    "\t    Check only the replica with this name or type.\n"
    "\t    Defaults to all replicas, without DB_PATH of all databases.\n\n"
    "\t-timeout SECONDS\n"
    "\t    How long one replica may take.\n"
    "\t    Defaults to 60\n\n"  //
    LITESTREAM_USAGE_JSON
    "The exit code is 0 if each replica can be used. A place without conditional writes\n"
    "can, unless its configuration says \"lease: required\".\n\n"
    "Examples:\n\n"
    "\t$ litestream check\n"
    "\t$ litestream check /path/to/db\n"
    "\t$ litestream check -json s3://bucket/path\n\n";

constexpr std::int64_t kMaxTimeoutSeconds = 86'400;

struct Options {
  std::string only;
  std::int64_t timeout_seconds = 60;
  bool json = false;
};

struct Checked {
  std::string database;  // "": a URL was given.
  config::ReplicaConfig replica;
  std::string location;
  std::vector<CheckStep> steps;
  bool good = false;
};

std::string ScratchName(Env& env) {
  std::array<std::byte, 8> random;
  env.Random(random);
  std::uint64_t number = 0;
  for (const std::byte byte : random) number = number << 8 | std::to_integer<std::uint64_t>(byte);
  return ".litestream-check-" + FormatHex64(number);
}

// A place of its own within the replica's: of a directory that is not there yet, within the nearest
// one that is.
Result<config::ReplicaConfig> Scratch(Env& env, config::ReplicaConfig replica) {
  const std::string name = ScratchName(env);
  if (replica.type != "file") {
    replica.path = replica.path.empty() ? name : replica.path + "/" + name;
    return replica;
  }
  std::filesystem::path directory = replica.path;
  if (!replica.encoded_path.empty() && LS_TRY(Exists(env, replica.encoded_path))) {
    directory = replica.encoded_path;
  }
  while (directory.has_relative_path() && !LS_TRY(Exists(env, directory))) {
    directory = directory.parent_path();
  }
  replica.path = (directory / name).string();
  replica.encoded_path.clear();
  return replica;
}

Checked CheckReplica(Env& env, const config::ReplicaConfig& replica, const Options& options) {
  Checked checked{.replica = replica};
  const auto failed = [&checked](const Error& error) {
    checked.steps = {
        {.name = "configuration", .outcome = CheckOutcome::kFailed, .what = error.message()}};
    return checked;
  };
  const auto client = MakeReplicaClient(env, replica, {});
  if (!client.ok()) return failed(client.error());
  checked.location = client.value()->Describe();
  const auto scratch = Scratch(env, replica);
  if (!scratch.ok()) return failed(scratch.error());
  const auto beside = MakeReplicaClient(env, scratch.value(), {});
  if (!beside.ok()) return failed(beside.error());
  // At the end everything goes that is there: a backend for which the path does not count would
  // lose the replica.
  if (beside.value()->Describe() == checked.location) {
    return failed(Error(ErrorCode::kUnsupported,
                        "this replica has no room beside it to try anything in"));
  }
  const Clock& clock = env.clock();
  const Context ctx({}, clock.Monotonic() + std::chrono::seconds(options.timeout_seconds), clock);
  checked.steps = CheckClient(ctx, *beside.value());
  if (replica.type == "file") {
    const auto removed = env.RemoveTree(scratch.value().path);  // The directory itself.
    if (!removed.ok()) {
      checked.steps.back().outcome = CheckOutcome::kFailed;
      checked.steps.back().what = removed.error().message();
    }
  }
  for (CheckStep& step : checked.steps) {
    if (step.outcome == CheckOutcome::kUnsupported && replica.lease == "required") {
      step.outcome = CheckOutcome::kFailed;
      step.what += "; this replica has `lease: required`";
    }
  }
  checked.good = AllGood(checked.steps);
  return checked;
}

void AddText(std::string& out, const Checked& checked) {
  out += fmt::format("replica: {} {}\n", checked.replica.name, checked.location);
  if (!checked.database.empty()) out += fmt::format("  database: {}\n", checked.database);
  for (const CheckStep& step : checked.steps) {
    const double milliseconds = std::chrono::duration<double, std::milli>(step.took).count();
    const bool tried = step.outcome == CheckOutcome::kGood;
    out += fmt::format("  {}: {}{}{}\n", step.name, ToString(step.outcome),
                       tried ? fmt::format(" ({:.0f} ms)", milliseconds) : "",
                       step.what.empty() ? "" : ": " + step.what);
  }
  out += fmt::format("  verdict: {}\n", checked.good ? "usable" : "not usable");
}

void AddJson(JsonWriter& out, const Checked& checked) {
  out.BeginObject();
  if (!checked.database.empty()) out.Field("db", checked.database);
  out.Field("replica", checked.replica.name)
      .Field("type", checked.replica.type)
      .Field("location", checked.location)
      .Field("usable", checked.good)
      .Key("steps")
      .BeginArray();
  for (const CheckStep& step : checked.steps) {
    out.BeginObject()
        .Field("name", step.name)
        .Field("outcome", ToString(step.outcome))
        .Field("what", step.what)
        .Field("duration_ms",
               std::chrono::duration_cast<std::chrono::milliseconds>(step.took).count())
        .EndObject();
  }
  out.EndArray().EndObject();
}

// The databases that the arguments name; one without a path for a URL.
Result<std::vector<config::DatabaseConfig>> Named(Env& env, const FlagSet& flags,
                                                  const ConfigFlags& config_flags,
                                                  const std::string& only) {
  if (flags.positional().empty()) return config_flags.LoadDatabases(env);
  const std::string argument = LS_TRY(SourceArgument(flags, "litestream check /path/to/db"));
  const Source source = LS_TRY(FindSource(env, config_flags, argument, only));
  config::DatabaseConfig database = source.database;
  database.replicas = source.replicas;
  if (source.is_url) database.path.clear();
  return std::vector{std::move(database)};
}

}  // namespace

Result<int> RunCheck(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  Options options;
  flags.Bool("json", &options.json);
  flags.String("replica", &options.only);
  flags.Integer("timeout", &options.timeout_seconds);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  if (options.timeout_seconds < 1) {
    return Error(ErrorCode::kInvalidArgument, "timeout must be greater than 0");
  }
  if (options.timeout_seconds > kMaxTimeoutSeconds) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("timeout must be at most {} seconds", kMaxTimeoutSeconds));
  }
  const auto databases = LS_TRY(Named(call.env, flags, config_flags, options.only));
  std::string text;
  JsonWriter out;
  out.BeginArray();
  int count = 0;
  bool good = true;
  for (const config::DatabaseConfig& database : databases) {
    for (const config::ReplicaConfig& replica : database.replicas) {
      if (!options.only.empty() && replica.name != options.only && replica.type != options.only) {
        continue;
      }
      Checked checked = CheckReplica(call.env, replica, options);
      checked.database = database.path;
      good = good && checked.good;
      ++count;
      AddText(text, checked);
      AddJson(out, checked);
    }
  }
  if (count == 0) return Error(ErrorCode::kNotFound, "there is no replica to check");
  out.EndArray();
  fmt::print("{}", options.json ? out.Take() : text);
  return good ? 0 : 1;
}

}  // namespace litestream::cli
