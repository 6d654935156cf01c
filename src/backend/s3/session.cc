#include "backend/s3/session.h"

#include <array>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "http/digest.h"
#include "http/xml.h"

namespace litestream::s3 {
namespace {

constexpr std::string_view kDefaultRegion = "us-east-1";

Provider ProviderOfEndpoint(const std::string& endpoint) {
  http::SplitUrl url;
  if (!http::ParseUrl(endpoint, url)) return ProviderOf("");
  return ProviderOf(url.host);
}

Options WithDerived(Options options) {
  Encryption& encryption = options.encryption;
  if (encryption.customer_key.empty()) return options;
  if (encryption.customer_algorithm.empty()) encryption.customer_algorithm = "AES256";
  if (encryption.customer_key_md5.empty()) {
    const auto key = http::FromBase64(encryption.customer_key);
    if (key) encryption.customer_key_md5 = http::Base64(http::Md5(*key));
  }
  return options;
}

}  // namespace

std::optional<bool> Shared::conditional_writes(const std::string& host) const {
  MutexLock lock(mu_);
  const auto found = conditional_.find(host);
  return found == conditional_.end() ? std::nullopt : std::optional(found->second);
}

void Shared::SetConditionalWrites(const std::string& host, bool works) {
  MutexLock lock(mu_);
  conditional_[host] = works;
}

std::string Shared::region(const std::string& bucket) const {
  MutexLock lock(mu_);
  const auto found = regions_.find(bucket);
  return found == regions_.end() ? "" : found->second;
}

void Shared::SetRegion(const std::string& bucket, const std::string& region) {
  MutexLock lock(mu_);
  regions_[bucket] = region;
}

Session::Session(Options options, std::shared_ptr<Shared> shared)
    : BucketSession(shared->http(), options.retry, *options.clock),
      options_(WithDerived(std::move(options))),
      shared_(std::move(shared)),
      provider_(ProviderOfEndpoint(options_.endpoint)) {}

std::string Session::Doing(const cloud::BucketCall& call) const {
  const std::string where =
      call.key ? fmt::format("{}/{}", options_.bucket, *call.key) : options_.bucket;
  return fmt::format("s3: {} {}", call.method, where);
}

Result<http::SigningKeys> Session::Keys(const Context& ctx) {
  if (!options_.access_key_id.empty() && !options_.secret_access_key.empty()) {
    return http::SigningKeys{options_.access_key_id, options_.secret_access_key,
                             options_.session_token};
  }
  return shared_->credentials().Get(ctx);
}

http::TlsOptions Session::Tls() const {
  return {.verify = !options_.skip_verify,
          .ca_file = options_.ca_file,
          .client_certificate = options_.client_certificate,
          .client_key = options_.client_key};
}

Result<Address> Session::Where(const Context& ctx) {
  {
    MutexLock lock(mu_);
    if (address_) return *address_;
  }
  std::string region = options_.region;
  if (region.empty() && IsArn(options_.bucket)) region = RegionOfArn(options_.bucket);
  if (region.empty() && !options_.endpoint.empty()) region = std::string(kDefaultRegion);
  if (region.empty()) region = shared_->region(options_.bucket);
  if (region.empty()) {
    region = LS_TRY(AskForRegion(ctx));
    shared_->SetRegion(options_.bucket, region);
  }
  Address address = LS_TRY(MakeAddress(options_, region));
  MutexLock lock(mu_);
  address_ = address;
  return address;
}

Result<std::string> Session::AskForRegion(const Context& ctx) {
  const std::string host = "s3.us-east-1.amazonaws.com";
  const http::QueryParameters query = {{"location", ""}};
  const http::SigV4Input input{.method = "GET",
                               .host = host,
                               .escaped_path = "/" + http::EscapeComponent(options_.bucket),
                               .query = query,
                               .payload_hash = http::Hex(http::Sha256("")),
                               .time = Now(),
                               .region = std::string(kDefaultRegion)};
  const http::SigningKeys keys = LS_TRY(Keys(ctx));
  const http::Request request{
      .url = fmt::format("https://{}{}?{}", host, input.escaped_path, http::CanonicalQuery(query)),
      .headers = http::SignV4(input, keys),
      .tls = Tls()};
  http::Response answer;
  LS_TRY(Retry(ctx, options_.retry,
               [&]() -> Result<void> {
                 answer = LS_TRY(shared_->http().Do(ctx, request));
                 if (answer.status < 500) return {};
                 return Describe(ParseServerError(answer), "s3: cannot lookup bucket region",
                                 options_.bucket);
               }),
         "s3: cannot lookup bucket region");
  if (answer.status == 200) {
    const auto root = LS_TRY(http::ParseXml(answer.body), "s3: cannot lookup bucket region");
    if (root.text.empty()) return std::string(kDefaultRegion);
    return root.text == "EU" ? std::string("eu-west-1") : root.text;
  }
  const ServerError error = ParseServerError(answer);
  if (!error.region.empty()) return error.region;
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    const std::string region = shared_->sources().environment(name);
    if (!region.empty()) return region;
  }
  return Describe(error, "s3: cannot lookup bucket region", options_.bucket).Wrap("set `region`");
}

Result<http::Request> Session::Sign(const Context& ctx, const cloud::BucketCall& call,
                                    http::SigningKeys& keys) {
  const Address where = LS_TRY(Where(ctx));
  keys = LS_TRY(Keys(ctx));
  http::Headers headers = call.headers;
  if (call.with_customer_key && !options_.encryption.customer_key.empty()) {
    const std::string prefix = "x-amz-server-side-encryption-customer-";
    headers.push_back({prefix + "algorithm", options_.encryption.customer_algorithm});
    headers.push_back({prefix + "key", options_.encryption.customer_key});
    headers.push_back({prefix + "key-MD5", options_.encryption.customer_key_md5});
  }
  if (options_.requester_pays) headers.push_back({"x-amz-request-payer", "requester"});
  if (provider_.consistent_header) headers.push_back({"X-Tigris-Consistent", "true"});
  const std::string path =
      call.key ? where.object_prefix + http::EscapePath(*call.key) : where.bucket_path;
  const bool sign_payload = !call.body || options_.sign_payload.value_or(true);
  const http::SigV4Input input{
      .method = call.method,
      .host = where.host,
      .escaped_path = path,
      .query = call.query,
      .headers = headers,
      .payload_hash = sign_payload ? http::Hex(http::Sha256(call.body ? *call.body : ""))
                                   : std::string(http::kUnsignedPayload),
      .time = Now(),
      .region = where.region};
  for (http::Header& header : http::SignV4(input, keys)) headers.push_back(std::move(header));
  const std::string query = http::CanonicalQuery(call.query);
  http::Request request{
      .method = call.method,
      .url = where.origin + path + (query.empty() ? "" : "?" + query),
      .headers = std::move(headers),
      .body = call.body,
      .tls = Tls(),
      .timeouts = {.first_byte = 2 * options_.stall_timeout, .stall = options_.stall_timeout}};
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
          .is_busy = error.code == "InternalError" || error.status >= 500 || error.status == 429};
}

bool Session::RenewKeys(const http::SigningKeys& keys) {
  if (!options_.access_key_id.empty()) return false;
  shared_->credentials().Refused(keys);
  return true;
}

}  // namespace litestream::s3
