#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "backend/webdav/session.h"
#include "base/sync.h"
#include "litestream/clock.h"

namespace litestream::webdav {

// What a server says of a file or a collection.
struct Listed {
  std::string name;  // The last part of its path.
  bool is_collection = false;
  std::optional<std::uint64_t> size_bytes;
  WallTime modified_at;                // The epoch if the server does not say.
  std::optional<WallTime> created_at;  // Our property.
};

// What there is at a path; unset if there is nothing.
Result<std::optional<Listed>> Look(const Context& ctx, Session& session, const std::string& path);
// What is in a collection, unsorted; unset if there is none. Nothing of what lies deeper.
//
// Errors: kUnavailable (the answer is no list of this collection, or not whole), kInvalidArgument
// (it is no collection), kUnsupported (kMaxMembers).
Result<std::optional<std::vector<Listed>>> ListMembers(const Context& ctx, Session& session,
                                                       const std::string& collection);
inline constexpr std::size_t kMaxMembers = 500'000;

// kInvalidArgument if the collection that the URL itself names is not there: a replica in it would
// look like an empty one.
Result<void> CheckBase(const Context& ctx, Session& session);

// Makes the collections that a file lies in, and remembers which ones are there. Safe for
// concurrent calls.
class Collections {
 public:
  explicit Collections(Session& session) : session_(session) {}
  Result<void> Ensure(const Context& ctx, const std::string& path);
  // Somebody may have removed some.
  void Forget();

 private:
  Result<void> Make(const Context& ctx, const std::string& path);

  Session& session_;
  Mutex mu_{LockRank::kStorage};
  std::set<std::string> known_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::webdav
