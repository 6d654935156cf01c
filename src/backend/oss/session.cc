#include "backend/oss/session.h"

#include <utility>

#include <fmt/core.h>

#include "backend/oss/oss_error.h"
#include "backend/oss/signature.h"
#include "base/try.h"

namespace litestream::oss {

std::optional<bool> Shared::versioned(const std::string& bucket) const {
  MutexLock lock(mu_);
  const auto found = versioned_.find(bucket);
  return found == versioned_.end() ? std::nullopt : std::optional(found->second);
}

void Shared::NoteUpload(const std::string& bucket, const http::Headers& headers) {
  const bool versioned = http::FindHeader(headers, "x-oss-version-id") != nullptr;
  MutexLock lock(mu_);
  versioned_[bucket] = versioned;
}

Session::Session(Options options, Address address, std::shared_ptr<Shared> shared)
    : BucketSession(shared->http(), options.retry, *options.clock),
      options_(std::move(options)),
      address_(std::move(address)),
      shared_(std::move(shared)) {}

std::string Session::Doing(const cloud::BucketCall& call) const {
  return fmt::format("oss: {} {}{}", call.method, options_.bucket,
                     call.key ? "/" + *call.key : std::string());
}

Result<http::Request> Session::Sign(const Context& ctx, const cloud::BucketCall& call,
                                    http::SigningKeys& keys) {
  keys = {options_.access_key_id, options_.secret_access_key, options_.session_token};
  if (options_.access_key_id.empty()) keys = LS_TRY(shared_->credentials().Get(ctx));
  const std::string key = http::EscapePath(call.key.value_or(""));
  const std::string query = CanonicalQuery(call.query);
  const SignatureInput input{.method = call.method,
                             .escaped_resource = fmt::format("/{}/{}", options_.bucket, key),
                             .query = call.query,
                             .headers = call.headers,
                             .time = Now(),
                             .region = address_.region};
  http::Request request{
      .method = call.method,
      .url = fmt::format("{}{}{}{}{}", address_.origin, address_.object_prefix, key,
                         query.empty() ? "" : "?", query),
      .headers = call.headers,
      .body = call.body,
      .tls = {.verify = !options_.skip_verify, .ca_file = options_.ca_file},
      .timeouts = {.first_byte = 2 * options_.stall_timeout, .stall = options_.stall_timeout}};
  for (http::Header& header : oss::Sign(input, keys)) request.headers.push_back(std::move(header));
  // POST and PUT have a length, even if it is 0.
  if (!request.body && (call.method == "POST" || call.method == "PUT")) {
    request.body = std::make_shared<const std::string>();
  }
  return request;
}

cloud::Refusal Session::Understand(const cloud::BucketCall& call,
                                   const http::Response& response) const {
  const ServerError error = ParseServerError(response);
  return {.error = Describe(error, Doing(call), options_.bucket),
          .is_credentials = error.IsCredentials(),
          .is_clock_skew = error.IsClockSkew(),
          .is_busy = error.status >= 500 || error.status == 429};
}

bool Session::RenewKeys(const http::SigningKeys& keys) {
  if (!options_.access_key_id.empty()) return false;
  shared_->credentials().Refused(keys);
  return true;
}

}  // namespace litestream::oss
