#include "replica/verify.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "format/names.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "The verify command proves that a replica can be restored, without writing a\n"
    "database: it reads every file, checks each against its own checksum and against\n"
    "the files before it, and computes the checksum of the newest state.\n\n"
    "Usage:\n\n"
    "\tlitestream verify [arguments] DB_PATH\n\n"
    "\tlitestream verify [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND
    "\t-replica NAME\n"
    "\t    Verify only the replica with this name or type.\n"
    "\t    Defaults to all replicas of the database.\n\n"
    "\t-parallelism NUM\n"
    "\t    Determines how many files are read in parallel (1 to 64).\n"
    "\t    Defaults to 8\n\n"  //
    LITESTREAM_USAGE_JSON
    "The exit code is 0 if no replica has a problem. \"unproven\" is not a problem: the\n"
    "files are whole and fit together, but the last was written by another program,\n"
    "which left no checksum of the database in it.\n\n"
    "Examples:\n\n"
    "\t$ litestream verify /path/to/db\n"
    "\t$ litestream verify -json file:///path/to/replica\n\n";

std::string FileName(const FileId& file) {
  return fmt::format("level {} {}", file.level.value, FormatLtxFilename(file.txids));
}

std::string_view Verdict(const VerifyReport& report) {
  if (!report.problems.empty()) return "broken";
  return report.proven ? "proven" : "unproven";
}

void AddText(std::string& out, const config::ReplicaConfig& replica, const ReplicaClient& client,
             const VerifyReport& report) {
  out += fmt::format("replica: {} {}\n", replica.name, client.Describe());
  out += fmt::format("  verdict: {}\n", Verdict(report));
  out += fmt::format("  newest txid: {}\n", FormatTxid(report.newest));
  out += fmt::format("  files: {}{}\n", report.file_count,
                     report.unproven_files == 0
                         ? ""
                         : fmt::format(" ({} without a proof)", report.unproven_files));
  out += fmt::format("  read: {}\n", FormatBytes(report.read_bytes));
  for (const VerifyProblem& problem : report.problems) {
    out += fmt::format("  problem: {}: {}\n", FileName(problem.file), problem.what);
  }
}

void AddJson(JsonWriter& out, const config::ReplicaConfig& replica, const ReplicaClient& client,
             const VerifyReport& report) {
  out.BeginObject()
      .Field("replica", replica.name)
      .Field("type", replica.type)
      .Field("location", client.Describe())
      .Field("verdict", Verdict(report))
      .Field("newest_txid", FormatTxid(report.newest))
      .Field("files", report.file_count)
      .Field("unproven_files", report.unproven_files)
      .Field("read_bytes", report.read_bytes)
      .Key("problems")
      .BeginArray();
  for (const VerifyProblem& problem : report.problems) {
    out.BeginObject()
        .Field("level", int{problem.file.level.value})
        .Field("name", FormatLtxFilename(problem.file.txids))
        .Field("what", problem.what)
        .EndObject();
  }
  out.EndArray().EndObject();
}

}  // namespace

Result<int> RunVerify(const Invocation& call) {
  FlagSet flags(kUsage);
  ConfigFlags config_flags;
  config_flags.Register(flags);
  bool json = false;
  std::string only;
  std::int64_t parallelism = 8;
  flags.Bool("json", &json);
  flags.String("replica", &only);
  flags.Integer("parallelism", &parallelism);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  if (flags.positional().empty() || flags.positional().front().empty()) {
    return UsageError("database path or replica URL required", "litestream verify /path/to/db");
  }
  if (flags.positional().size() > 1) {
    return Error(ErrorCode::kInvalidArgument, "too many arguments");
  }
  const Source source =
      LS_TRY(FindSource(call.env, config_flags, flags.positional().front(), only));
  std::string text;
  JsonWriter out;
  out.BeginArray();
  bool good = true;
  for (const auto& replica : source.replicas) {
    const auto client = LS_TRY(MakeReplicaClient(call.env, replica, {}));
    VerifyOptions options;
    options.parallelism = static_cast<int>(std::clamp<std::int64_t>(parallelism, 1, 64));
    VerifyReport report;
    {
      ProgressBar bar("verify", call.env.clock());
      options.progress = [&bar](std::uint64_t done, std::uint64_t total) {
        bar.Update(done, total);
      };
      report = LS_TRY(VerifyReplica(Context::Background(), *client, options), "verify {}",
                      client->Describe());
    }
    if (report.file_count == 0) {
      return Error(ErrorCode::kNotFound,
                   fmt::format("no matching backup files available in {}", client->Describe()));
    }
    good = good && report.problems.empty();
    AddText(text, replica, *client, report);
    AddJson(out, replica, *client, report);
  }
  out.EndArray();
  fmt::print("{}", json ? out.Take() : text);
  return good ? 0 : 1;
}

}  // namespace litestream::cli
