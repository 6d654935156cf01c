#include "cli/ltx_list.h"

#include <cstdio>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "cli/json_out.h"
#include "cli/table.h"
#include "format/names.h"
#include "replica/plan.h"
#include "storage/old_backup.h"

namespace litestream::cli {
namespace {

// The rows of the listing, as a table and as JSON.
class Listing {
 public:
  explicit Listing(bool name_replicas)
      : name_replicas_(name_replicas), table_(Header(name_replicas)) {
    json_.BeginArray();
  }

  void Add(const FileInfo& file, const std::string& replica) {
    std::vector<std::string> row = {fmt::format("{}", file.id.level.value),
                                    FormatTxid(file.id.txids.min), FormatTxid(file.id.txids.max),
                                    fmt::format("{}", file.size_bytes),
                                    FormatTimestampSeconds(file.created_at)};
    if (name_replicas_) row.push_back(replica);
    table_.Add(std::move(row));
    json_.BeginObject()
        .Field("level", int{file.id.level.value})
        .Field("min_txid", FormatTxid(file.id.txids.min))
        .Field("max_txid", FormatTxid(file.id.txids.max))
        .Field("size", file.size_bytes)
        .Field("timestamp", FormatTimestampSeconds(file.created_at));
    if (name_replicas_) json_.Field("replica", replica);
    json_.EndObject();
  }
  std::string Take(bool json) {
    json_.EndArray();
    return json ? json_.Take() : table_.Format();
  }

 private:
  static std::vector<std::string> Header(bool name_replicas) {
    std::vector<std::string> header = {"level", "min_txid", "max_txid", "size", "created"};
    if (name_replicas) header.emplace_back("replica");
    return header;
  }

  bool name_replicas_;
  Table table_;
  JsonWriter json_;
};

}  // namespace

Result<void> PrintLtxFiles(Env& env, const Source& source, const LevelRange& levels, bool json) {
  Listing listing(source.replicas.size() > 1);
  for (const auto& replica : source.replicas) {
    const auto client = LS_TRY(MakeReplicaClient(env, replica, {}));
    for (int level = levels.first; level <= levels.last; ++level) {
      const auto files =
          LS_TRY(client->List(Context::Background(), Level{static_cast<std::uint8_t>(level)}, {}),
                 "list level {} of {}", level, client->Describe());
      for (const FileInfo& file : files) listing.Add(file, replica.name);
    }
  }
  fmt::print("{}", listing.Take(json));
  return {};
}

Result<void> CheckOldBackups(Env& env, const Source& source) {
  for (const auto& replica : source.replicas) {
    const auto client = LS_TRY(MakeReplicaClient(env, replica, {}));
    if (!LS_TRY(HasOldBackup(Context::Background(), *client))) continue;
    const std::string message = fmt::format(
        "{} holds a backup of Litestream v0.3 (generations/), which is not supported yet",
        client->Describe());
    const auto listing = LS_TRY(ListReplica(Context::Background(), *client, false));
    if (listing.empty()) return Error(ErrorCode::kUnsupported, message);
    fmt::print(stderr, "Warning: {}; only what was written since is shown\n", message);
  }
  return {};
}

std::vector<std::string> WithoutList(const std::vector<std::string>& arguments) {
  const bool list = !arguments.empty() && arguments.front() == "list";
  return {arguments.begin() + (list ? 1 : 0), arguments.end()};
}

void OldFlags::Register(FlagSet& flags) {
  flags.String("replica", &replica_);
  flags.Value("generation", [](std::string_view) -> Result<void> {
    return Error(ErrorCode::kUnsupported,
                 "backups of Litestream v0.3 are not supported yet, and newer ones have no "
                 "generations");
  });
}

}  // namespace litestream::cli
