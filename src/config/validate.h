#pragma once

#include "config/schema.h"

namespace litestream::config {

// The steps between decoding and a complete Config: legacy and per-database snapshot settings
// become global, paths become absolute, replicas inherit and are resolved, values are checked. The
// first failure wins, in the order of docs/operating/configuration.md.
Result<Config> CompleteConfig(Env& env, RawConfig raw);

}  // namespace litestream::config
