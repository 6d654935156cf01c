#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/env.h"

namespace litestream {

// <meta>/instance: names whoever writes to replicas from a state directory. A lease that bears the
// name (db/fence.h) is our own, of a process that died: it is taken up without a wait.
// docs/formats/instance.md.
//
// Invariant: a name that is read under the lock of the directory is nobody else's. Who lets go of
// the lock and lives on (a parked database) removes the file first, and keeps the name; a copy of
// the directory has another lock file; another machine, or this one after a start, has another boot
// id. So the file need not be durable: a power failure ends what it is good for.

// Unset: there is none that counts here. `lock` is the lock file's.
std::optional<std::uint64_t> ReadInstance(Env& env, const std::filesystem::path& path,
                                          const FileIdentity& lock);
// An error costs a wait for a lease of our own, if we die before it has run out.
Result<void> WriteInstance(Env& env, const std::filesystem::path& path, std::uint64_t instance,
                           const FileIdentity& lock, const FileOwner& owner);

std::uint64_t RandomNumber(Env& env);

}  // namespace litestream
