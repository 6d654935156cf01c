#pragma once

#include <optional>
#include <string>

#include "cli/json_out.h"
#include "cli/status_look.h"

namespace litestream::cli {

// The cells of Litestream's table and the fields of its JSON.
std::string LocalTxidText(const LocalStatus& local);
std::string WalSizeText(const LocalStatus& local);

// In words, with a table of the replicas: whether the database can be restored now, to when, and
// what is known of the result.
std::string FormatOutlook(const DatabaseOutlook& outlook);

// An object: Litestream's four fields, "replicator", "local_time" and "error"; with `asked` what
// the replicas hold.
void AddOutlook(JsonWriter& out, const DatabaseOutlook& outlook, bool asked);

}  // namespace litestream::cli
