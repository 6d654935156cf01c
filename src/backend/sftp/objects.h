#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/sftp/connection.h"
#include "litestream/replica_client.h"

namespace litestream::sftp {

// A small object that is only ever written conditionally, on a server that has nothing of the kind.
//
// SFTP cannot compare and replace, but rename(2) takes a name away from everybody else in one step.
// So an object NAME is a directory NAME.d with
//   at-TAG   an empty file: the object's content is that of the file TAG. There is always one such
//            name and no more, or else none-TAG: the object is deleted;
//   TAG      a content, written before and never changed.
// To write an object that has tag A: write the content B, then rename at-A to at-B. Of several who
// try only one finds at-A. The directory is made with its first name in it under a temporary name,
// and renamed to NAME.d, which fails if that is there and not empty. No crash leaves anything in
// between. A list that is made while a name changes may show both names or none: it is made again.
//
// This needs a server whose posix-rename is rename(2), and whose directories can be synced, so that
// no power failure brings an old tag back: OpenSSH's.
bool HasConditionalWrites(const Connection& connection);

inline constexpr std::string_view kObjectSuffix = ".d";
inline constexpr std::size_t kMaxObjectBytes = 1 << 20;

// The state of an object.
struct ObjectState {
  std::string tag;
  bool deleted = false;
};
// What the names in NAME.d say; nothing: there is none. kUnavailable: they are just changing.
Result<std::optional<ObjectState>> StateOf(const std::vector<NamedFile>& names);

// One object, by its path without the suffix.
class RemoteObject {
 public:
  RemoteObject(Connection& connection, const std::string& path)
      : connection_(connection), directory_(path + std::string(kObjectSuffix)) {}

  // As ReplicaClient's. If the answer to the decisive step is lost: kUnavailable, and it may have
  // been done. Who holds a lease finds that out by what it says (storage/lease.h).
  Result<TaggedObject> Get(const Context& ctx);
  Result<std::string> Put(const Context& ctx, std::string_view content, std::string_view tag);
  Result<void> Delete(const Context& ctx, std::string_view tag);
  // The content's path; nothing if there is no object.
  Result<std::optional<std::string>> ContentPath(const Context& ctx);

 private:
  Result<std::optional<ObjectState>> Look(const Context& ctx);
  Result<std::string> Create(const Context& ctx, std::string_view content);
  Result<std::string> Replace(const Context& ctx, const ObjectState& from,
                              std::string_view content);
  // The decisive step. kAlreadyExists: it was another one's.
  Result<void> Move(const Context& ctx, const ObjectState& from, const ObjectState& to);
  std::string NameOf(const ObjectState& state) const;
  void Forget(std::string_view tag);

  Connection& connection_;
  const std::string directory_;
};

}  // namespace litestream::sftp
