#pragma once

#include <cstdint>
#include <optional>

#include "base/env.h"

namespace litestream {

// What the system says about this process. Unset: it does not say.
struct ProcessMetrics {
  std::optional<double> cpu_seconds;
  std::optional<double> start_time_seconds;  // Since 1970.
  std::optional<std::uint64_t> virtual_bytes;
  std::optional<std::uint64_t> resident_bytes;
  std::optional<std::uint64_t> open_files;
  std::optional<double> max_open_files;
  std::optional<double> max_virtual_bytes;
};
ProcessMetrics ReadProcessMetrics(Env& env);

}  // namespace litestream
