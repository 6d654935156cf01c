#include "cli/http_client.h"

namespace litestream::cli {

const std::shared_ptr<http::Client>& SharedHttpClient() {
  // Shared with sources that clients have opened.
  static const auto client = std::make_shared<http::Client>();
  return client;
}

}  // namespace litestream::cli
