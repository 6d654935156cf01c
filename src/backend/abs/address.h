#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "backend/abs/options.h"
#include "litestream/result.h"

namespace litestream::abs {

// Where a container is.
struct Address {
  std::string origin;          // "https://account.blob.core.windows.net"
  std::string container_path;  // "/container"; "/account/container" where hosts have no names.
  std::string account;         // "" if nothing says it.
  // Tokens may go there: it is https, or this machine.
  bool takes_tokens = false;
};
// kInvalidArgument: neither account nor endpoint, or an endpoint that is no URL.
Result<Address> MakeAddress(const Options& options);

// How a blob, and slashes of its name, stand in a URL. Behind `container_path`.
std::string BlobPath(std::string_view name);

// What programs for Azure take from AZURE_STORAGE_CONNECTION_STRING.
struct ConnectionString {
  std::string account_name;
  std::string account_key;
  std::string sas_token;
  std::string endpoint;
};
// kInvalidArgument; the message has no part of the text.
Result<ConnectionString> ParseConnectionString(std::string_view text);

// From when to when a shared access signature is good, as far as it says so itself. (An access
// policy of the container may say it instead.)
struct SasTimes {
  std::optional<WallTime> starts_at;
  std::optional<WallTime> expires_at;
};
SasTimes TimesOfSas(std::string_view token);

}  // namespace litestream::abs
