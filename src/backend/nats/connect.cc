#include "backend/nats/connect.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/core.h>
#include <unistd.h>

#include "backend/nats/nats_error.h"
#include "backend/nats/nkey.h"
#include "base/errno_error.h"
#include "base/try.h"

namespace litestream::nats {
namespace {

constexpr std::string_view kDefaultHost = "127.0.0.1";
constexpr std::string_view kDefaultPort = "4222";

struct OptionsDeleter {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
using OptionsHandle = std::unique_ptr<natsOptions, OptionsDeleter>;

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, "nats: " + std::move(message)};
}

struct HostPort {
  std::string host;  // In brackets if it is an IPv6 address.
  std::string port;
};
HostPort Split(std::string_view text) {
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  HostPort out{.host = std::string(text.substr(0, has_port ? colon : text.size())),
               .port = std::string(has_port ? text.substr(colon + 1) : kDefaultPort)};
  if (out.host.empty()) out.host = kDefaultHost;
  if (out.port.empty()) out.port = kDefaultPort;
  return out;
}

std::string LastError() {
  natsStatus status = NATS_OK;
  const char* const text = nats_GetLastError(&status);
  return text == nullptr ? "" : text;
}

Result<void> Check(natsStatus status, std::string_view what) {
  if (status == NATS_OK) return {};
  return Error(status == NATS_NO_MEMORY ? ErrorCode::kInternal : ErrorCode::kInvalidArgument,
               fmt::format("nats: {}: {} ({})", what, natsStatus_GetText(status), LastError()));
}

// The seed of a nkey login; "" if there is none.
const std::string& NkeySeed(const ServerOptions& options) {
  return options.seed.empty() ? options.nkey : options.seed;
}

// libnats frees what handlers return.
char* Copy(std::string_view text) noexcept {
  auto* const copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) return nullptr;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  return copy;
}

// Handlers run within Connect, which borrows the options.
natsStatus GiveJwt(char** jwt, char** /*error*/, void* closure) noexcept {
  *jwt = Copy(static_cast<const ServerOptions*>(closure)->jwt);
  return *jwt == nullptr ? NATS_NO_MEMORY : NATS_OK;
}

natsStatus SignNonce(char** /*error*/, unsigned char** signature, int* size, const char* nonce,
                     void* closure) noexcept {
  const auto& options = *static_cast<const ServerOptions*>(closure);
  return nats_Sign(NkeySeed(options).c_str(), nonce, signature, size);
}

Result<void> SetLogin(natsOptions* out, const ServerOptions& options) {
  auto* const closure = const_cast<ServerOptions*>(&options);  // C has no const closures.
  if (!options.jwt.empty() && !options.seed.empty()) {
    return Check(natsOptions_SetUserCredentialsCallbacks(out, GiveJwt, closure, SignNonce, closure),
                 "jwt and seed");
  }
  if (!options.credentials_file.empty()) {
    // libnats finds out when it connects, and has no name for it.
    if (::access(options.credentials_file.c_str(), R_OK) != 0) {
      return Error(ErrorCode::kInvalidArgument,
                   "nats: creds: " + ErrnoError(errno, "open", options.credentials_file).message());
    }
    return Check(
        natsOptions_SetUserCredentialsFromFiles(out, options.credentials_file.c_str(), nullptr),
        "creds");
  }
  if (!options.nkey.empty()) {
    const std::string key = LS_TRY(PublicNkey(NkeySeed(options)));
    return Check(natsOptions_SetNKey(out, key.c_str(), SignNonce, closure), "nkey");
  }
  if (!options.user.empty()) {
    return Check(natsOptions_SetUserInfo(out, options.user.c_str(), options.password.c_str()),
                 "username and password");
  }
  if (!options.token.empty())
    return Check(natsOptions_SetToken(out, options.token.c_str()), "token");
  return {};
}

Result<void> SetTls(natsOptions* out, const ServerOptions& options) {
  const bool mutual = !options.client_certificate.empty();
  if (options.tls || mutual || !options.root_certificates.empty()) {
    LS_TRY(Check(natsOptions_SetSecure(out, true), "tls"));
  }
  for (const std::string& file : options.root_certificates) {
    LS_TRY(Check(natsOptions_LoadCATrustedCertificates(out, file.c_str()), "root-cas " + file));
  }
  if (mutual) {
    LS_TRY(Check(natsOptions_LoadCertificatesChain(out, options.client_certificate.c_str(),
                                                   options.client_key.c_str()),
                 fmt::format("client-cert {} and client-key {}", options.client_certificate,
                             options.client_key)));
  }
  if (options.skip_verify) {
    return Check(natsOptions_SkipServerVerification(out, true), "skip-verify");
  }
  // Also where the server asks for TLS and the configuration does not.
  std::string host = Split(options.host).host;
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  return Check(natsOptions_SetExpectedHostname(out, host.c_str()), "host");
}

}  // namespace

std::string ServerName(const ServerOptions& options) {
  const HostPort at = Split(options.host);
  return at.host + ":" + at.port;
}

Result<void> CheckServerOptions(const ServerOptions& options) {
  if (options.client_certificate.empty() != options.client_key.empty()) {
    return Invalid("client-cert and client-key must both be given, or none");
  }
  const bool login =
      (!options.jwt.empty() && !options.seed.empty()) || !options.credentials_file.empty();
  if (login) return {};
  if (!options.nkey.empty()) {
    if (options.seed.empty() && options.nkey.front() == 'U') {
      return Invalid("nkey is a public key; with it, `seed` must be given, to sign");
    }
    const std::string key = LS_TRY(PublicNkey(NkeySeed(options)));
    if (options.nkey.front() == 'U' && options.nkey != key) {
      return Invalid(
          fmt::format("nkey {} is not that of the seed, which is {}", options.nkey, key));
    }
    return {};
  }
  if (!options.jwt.empty()) return Invalid("jwt needs a seed, to sign");
  if (!options.seed.empty()) return Invalid("a seed needs a jwt or a nkey");
  return {};
}

Result<ConnectionHandle> Connect(const ServerOptions& options, const Callbacks& callbacks) {
  natsOptions* raw_options = nullptr;
  LS_TRY(Check(natsOptions_Create(&raw_options), "options"));
  const OptionsHandle out(raw_options);
  const std::string url = "nats://" + ServerName(options);
  LS_TRY(Check(natsOptions_SetURL(raw_options, url.c_str()), url));
  LS_TRY(Check(natsOptions_SetName(raw_options, "litestream"), "name"));
  // libnats would keep what is published until there is a connection again, and hold a lock that
  // every call takes while it tries.
  LS_TRY(Check(natsOptions_SetAllowReconnect(raw_options, false), "reconnect"));
  LS_TRY(Check(natsOptions_SetTimeout(raw_options, options.timeout.count()), "timeout"));
  LS_TRY(Check(natsOptions_SetWriteDeadline(raw_options, options.answer_timeout.count()),
               "write deadline"));
  LS_TRY(Check(natsOptions_SetSendAsap(raw_options, true), "send"));
  LS_TRY(
      Check(natsOptions_SetClosedCB(raw_options, callbacks.closed, callbacks.closure), "closed"));
  LS_TRY(Check(natsOptions_SetErrorHandler(raw_options, callbacks.failed, callbacks.closure),
               "errors"));
  LS_TRY(SetLogin(raw_options, options));
  LS_TRY(SetTls(raw_options, options));
  natsConnection* connection = nullptr;
  const natsStatus status = natsConnection_Connect(&connection, raw_options);
  if (status == NATS_OK) return ConnectionHandle(connection);
  return DescribeConnect(status, LastError(), ServerName(options));
}

}  // namespace litestream::nats
