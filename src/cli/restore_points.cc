#include "replica/restore_points.h"

#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/json_out.h"
#include "cli/points_out.h"
#include "cli/usage.h"
#include "replica/plan.h"

namespace litestream::cli {
namespace {

constexpr int kHeadersAtOnce = 8;

constexpr std::string_view kUsage =
    "The restore-points command shows what can be restored from a replica now: from\n"
    "when to when, and how fine. It reads no file, only their names and times.\n\n"
    "Usage:\n\n"
    "\tlitestream restore-points [arguments] DB_PATH\n\n"
    "\tlitestream restore-points [arguments] REPLICA_URL\n\n"
    "Arguments:\n\n"  //
    LITESTREAM_USAGE_CONFIG LITESTREAM_USAGE_NO_EXPAND LITESTREAM_USAGE_REPLICA
    "\t-list\n"
    "\t    Show every point, not only the stretches that they form.\n\n"
    "\t-proof\n"
    "\t    Read the header of the last file of each point that is shown, and say whether\n"
    "\t    it carries the checksum that the restored database must have.\n\n"  //
    LITESTREAM_USAGE_JSON
    "A stretch is a number of neighbouring points of one level: 0 as captured, 1 to 8\n"
    "merged, 9 snapshots. The end of every file is a point. Restore one with\n"
    "-txid, or with -timestamp and a moment just behind its time; by_time says whether\n"
    "a moment leads there. A hole is named with the files that it makes useless.\n\n"
    "The exit code is 1 if nothing can be restored.\n\n"
    "Examples:\n\n"
    "\t$ litestream restore-points /path/to/db\n"
    "\t$ litestream restore-points -list -json file:///path/to/replica\n\n";

struct Options {
  ConfigFlags config;
  std::string replica;
  bool list = false;
  bool proof = false;
  bool json = false;
};

// Of the points that are shown: all, or both ends of every stretch.
Result<std::vector<PointProof>> ReadProofs(ReplicaClient& client, const RestorePoints& found,
                                           const Options& options) {
  if (!options.proof) return std::vector<PointProof>();
  std::vector<RestorePoint> shown;
  if (options.list) {
    shown = found.points;
  } else {
    for (const RestoreStretch& stretch : found.stretches) {
      shown.push_back(stretch.oldest);
      shown.push_back(stretch.newest);
    }
  }
  return ReadPointProofs(Context::Background(), client, shown, kHeadersAtOnce);
}

}  // namespace

Result<int> RunRestorePoints(const Invocation& call) {
  FlagSet flags(kUsage);
  Options options;
  options.config.Register(flags);
  flags.String("replica", &options.replica);
  flags.Bool("list", &options.list);
  flags.Bool("proof", &options.proof);
  flags.Bool("json", &options.json);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  const std::string argument =
      LS_TRY(SourceArgument(flags, "litestream restore-points /path/to/db"));
  const Source source = LS_TRY(FindSource(call.env, options.config, argument, options.replica));
  std::string text;
  JsonWriter out;
  out.BeginArray();
  bool anything = false;
  for (const auto& replica : source.replicas) {
    const auto client = LS_TRY(MakeReplicaClient(call.env, replica, {}));
    const auto listing = LS_TRY(ListReplica(Context::Background(), *client, /*exact_times=*/true));
    const RestorePoints found = FindRestorePoints(listing);
    const auto proofs = LS_TRY(ReadProofs(*client, found, options));
    anything = anything || !found.points.empty();
    text += fmt::format("replica: {} {}\n", replica.name, client->Describe());
    if (found.points.empty()) text += "  nothing can be restored\n";
    out.BeginObject()
        .Field("replica", replica.name)
        .Field("type", replica.type)
        .Field("location", client->Describe());
    AddStretches(out, found, found.points.size(),
                 options.list ? std::vector<PointProof>() : proofs);
    if (options.list) {
      text += FormatPoints(found, proofs, "  ") + FormatHoles(found, "  ");
      AddPoints(out, found, proofs);
    } else {
      text += FormatStretches(found, proofs, "  ") + FormatHoles(found, "  ");
    }
    out.EndObject();
  }
  out.EndArray();
  fmt::print("{}", options.json ? out.Take() : text);
  return anything ? 0 : 1;
}

}  // namespace litestream::cli
