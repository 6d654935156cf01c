#pragma once

#include <chrono>
#include <span>
#include <vector>

#include "db/database.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// Closes databases together: captures the last commits of each, uploads them, lets go of all. While
// a replica fails, tries again every `retry_interval` (0: never) until `ctx` ends.
//
// Every replica gets its first attempt before any gets a second, and those that were well go first:
// a dead replica costs the others nothing. Several threads work at once if there are many
// databases. The result of each database, in order; it is closed whatever the result.
std::vector<Result<void>> CloseDatabases(const Context& ctx, std::span<Database* const> databases,
                                         std::chrono::nanoseconds retry_interval);

}  // namespace litestream
