#pragma once

#include <memory>

#include "http/client.h"

namespace litestream::cli {

// The one of the process, for replicas of all kinds. Made with the first call: where nobody speaks
// HTTP there are no threads for it.
const std::shared_ptr<http::Client>& SharedHttpClient();

}  // namespace litestream::cli
