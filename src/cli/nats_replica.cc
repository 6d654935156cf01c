#include "cli/nats_replica.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "backend/nats/nats_client.h"

namespace litestream::cli {
namespace {

constexpr std::chrono::milliseconds kMinTimeout{100};

std::chrono::milliseconds Or(const std::optional<config::nanoseconds>& value,
                             std::chrono::milliseconds otherwise) {
  return value ? std::chrono::ceil<std::chrono::milliseconds>(*value) : otherwise;
}

nats::Options OptionsOf(const config::ReplicaConfig& replica) {
  nats::Options options{.server = {.host = replica.host,
                                   .jwt = replica.jwt,
                                   .seed = replica.seed,
                                   .credentials_file = replica.creds,
                                   .nkey = replica.nkey,
                                   .user = replica.username,
                                   .password = replica.password,
                                   .token = replica.token,
                                   .tls = replica.tls.value_or(false),
                                   .skip_verify = replica.skip_verify.value_or(false),
                                   .root_certificates = replica.root_cas,
                                   .client_certificate = replica.client_cert,
                                   .client_key = replica.client_key},
                        .bucket = replica.bucket,
                        .path = replica.path,
                        .domain = replica.domain};
  nats::ServerOptions& server = options.server;
  server.timeout = std::max(kMinTimeout, Or(replica.timeout, server.timeout));
  server.reconnect_wait =
      std::max(std::chrono::milliseconds(0), Or(replica.reconnect_wait, server.reconnect_wait));
  if (replica.stall_timeout) {
    server.answer_timeout = std::max(kMinTimeout, Or(replica.stall_timeout, server.answer_timeout));
  }
  // Each attempt connects again, if it has to. Below zero: as often as everything is tried.
  const std::int64_t reconnects = replica.max_reconnects.value_or(-1);
  if (reconnects >= 0 && reconnects + 1 < options.retry.attempts) {
    options.retry.attempts = static_cast<int>(reconnects + 1);
  }
  return options;
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeNatsReplica(const config::ReplicaConfig& replica) {
  // Never destroyed: databases and their clients may go after everything static.
  static auto* const connections = new nats::Connections();
  return MakeNatsClient(OptionsOf(replica), *connections);
}

}  // namespace litestream::cli
