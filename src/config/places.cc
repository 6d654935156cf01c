#include <map>
#include <optional>
#include <string>

#include <fmt/core.h>

#include "base/try.h"
#include "config/config.h"
#include "config/paths.h"

namespace litestream::config {
namespace {

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

// Which files of the databases lie where, found by path and, whatever links lead there, by
// identity.
class Places {
 public:
  explicit Places(Env& env) : env_(env) {}

  Result<void> AddDatabase(const DatabaseConfig& database) {
    if (const auto identity = Identify(database.path)) {
      const auto inserted = databases_.emplace(*identity, database.path);
      if (!inserted.second) {
        return Invalid(
            fmt::format("{} and {} are the same file; list it once, with as many "
                        "replicas as needed",
                        inserted.first->second, database.path));
      }
    }
    Own(database.path, fmt::format("the database {}", database.path));
    const std::string meta = CleanPath(MetaPath(database));
    Own(meta, fmt::format("the local state of {} ({})", database.path, meta));
    return {};
  }

  // After all databases.
  Result<void> AddReplica(const DatabaseConfig& database, const ReplicaConfig& replica) {
    std::string place = PlaceOf(replica);
    if (replica.type == "file") {
      LS_TRY(CheckDirectory(database, replica.path));
      if (const auto identity = Identify(replica.path)) {
        place = fmt::format("file {}:{}", identity->device, identity->inode);
      }
    }
    const auto inserted = replicas_.emplace(place, database.path);
    if (inserted.second) return {};
    return Invalid(
        fmt::format("{} and {} have the same {} replica ({}); each database needs its own path",
                    inserted.first->second, database.path, replica.type, replica.path));
  }

 private:
  // A replica in the local state would be taken for a copy, and pruned with it.
  Result<void> CheckDirectory(const DatabaseConfig& database, const std::string& root) {
    if (root == "/") {
      return Invalid(
          fmt::format("{}: the replica is \"/\"; it needs a directory of its own", database.path));
    }
    for (std::string at = root; at.size() > 1; at = ParentOf(at)) {
      const std::string* const owner = OwnerOf(at);
      if (owner == nullptr) continue;
      return Invalid(fmt::format("{}: the replica {} {} {}; it needs a directory of its own",
                                 database.path, root, at == root ? "is" : "lies in", *owner));
    }
    return {};
  }

  static std::string ParentOf(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
  }

  void Own(const std::string& path, const std::string& what) {
    owned_paths_.emplace(path, what);
    if (const auto identity = Identify(path)) owned_files_.emplace(*identity, what);
  }
  const std::string* OwnerOf(const std::string& path) {
    if (const auto found = owned_paths_.find(path); found != owned_paths_.end()) {
      return &found->second;
    }
    const auto identity = Identify(path);
    if (!identity) return nullptr;
    const auto found = owned_files_.find(*identity);
    return found == owned_files_.end() ? nullptr : &found->second;
  }

  // Unset: it is not there, or cannot be looked at. Directories are asked for again and again.
  std::optional<FileIdentity> Identify(const std::string& path) {
    const auto known = identities_.find(path);
    if (known != identities_.end()) return known->second;
    const auto stat = env_.Stat(path);
    std::optional<FileIdentity> identity;
    if (stat.ok()) identity = stat.value().identity;
    identities_.emplace(path, identity);
    return identity;
  }

  Env& env_;
  std::map<std::string, std::optional<FileIdentity>> identities_;
  std::map<FileIdentity, std::string> databases_;
  std::map<std::string, std::string> owned_paths_;
  std::map<FileIdentity, std::string> owned_files_;
  std::map<std::string, std::string> replicas_;
};

}  // namespace

std::string PlaceOf(const ReplicaConfig& replica) {
  // Containers of two accounts have nothing in common.
  const bool of_account = replica.type == "abs" && replica.endpoint.empty();
  const std::string endpoint =
      of_account ? fmt::format("https://{}.blob.core.windows.net", replica.account_name)
                 : replica.endpoint;
  std::string place = replica.type;
  for (const auto* part :
       {&endpoint, &replica.host, &replica.domain, &replica.bucket, &replica.path}) {
    place += ' ';
    place += *part;
  }
  return place;
}

Result<void> CheckForReplication(Env& env, const std::vector<DatabaseConfig>& databases) {
  Places places(env);
  for (const DatabaseConfig& database : databases) {
    if (database.min_checkpoint_pages <= 0) {
      return Invalid(
          fmt::format("{}: minimum checkpoint page count required "
                      "(min-checkpoint-page-count is {})",
                      database.path, database.min_checkpoint_pages));
    }
    LS_TRY(places.AddDatabase(database));
  }
  for (const DatabaseConfig& database : databases) {
    for (const ReplicaConfig& replica : database.replicas) {
      LS_TRY(places.AddReplica(database, replica));
    }
  }
  return {};
}

}  // namespace litestream::config
