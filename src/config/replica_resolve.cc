#include "config/replica_resolve.h"

#include <fmt/core.h>

#include "base/try.h"
#include "config/paths.h"
#include "config/s3_url.h"
#include "config/units.h"
#include "storage/url.h"

namespace litestream::config {
namespace {

constexpr std::string_view kKnownTypes = "file, s3, gs, abs, oss, sftp, nats, webdav";
constexpr std::size_t kMaxKeyFile = 64 * 1024;

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

// The replica type of a URL scheme; empty if there is none.
std::string TypeOfScheme(std::string_view scheme) {
  if (scheme == "webdavs") return "webdav";
  if (scheme == "gcs") return "gs";  // Its name in v0.3.
  for (const std::string_view type : {"file", "s3", "gs", "abs", "oss", "sftp", "nats", "webdav"}) {
    if (scheme == type) return std::string(type);
  }
  return {};
}

void SetIfEmpty(std::string& field, std::string_view value) {
  if (field.empty()) field = std::string(value);
}

Result<void> CheckNotBoth(std::string_view type, std::string_view key, const std::string& value) {
  if (value.empty()) return {};
  return Invalid(fmt::format("cannot specify url & {} for {} replica", key, type));
}

Result<void> Require(const std::string& value, std::string_view message) {
  if (!value.empty()) return {};
  return Invalid(std::string(message));
}

// The first value of a URL's parameter; empty if there is none.
std::string Query(const ReplicaUrl& url, std::string_view name) {
  const auto found = url.query.find(name);
  return found == url.query.end() ? "" : found->second;
}

// For backends whose paths may be absolute.
std::string RootedPath(const ReplicaUrl& url) {
  return url.path.empty() ? "" : "/" + url.path;
}

// What Go leaves unescaped in the path of a URL.
std::string EncodePath(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_.~$&+,/:;=@").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

Result<void> ResolveFile(const ReplicaUrl* url, ReplicaConfig& replica) {
  if (url != nullptr) {
    LS_TRY(CheckNotBoth("file", "path", replica.path));
    if (url->path == ".") return Invalid("file replica path required");
    replica.path = url->path;
    if (url->encoded_path != url->path) replica.encoded_path = url->encoded_path;
    return {};
  }
  LS_TRY(Require(replica.path, "file replica path required"));
  replica.path = LS_TRY(ExpandPath(replica.path));
  return {};
}

Result<void> ReadPositive(const ReplicaUrl& url, std::string_view name,
                          std::optional<std::int64_t>& out) {
  const std::string text = Query(url, name);
  if (text.empty()) return {};
  const IntegerResult parsed = ParseInteger(text);
  if (parsed.error || parsed.value <= 0) {
    return Invalid(
        fmt::format("invalid value for query parameter \"{}\": \"{}\" (must be a positive integer)",
                    name, text));
  }
  if (!out) out = parsed.value;
  return {};
}

void ReadBool(const ReplicaUrl& url, std::initializer_list<std::string_view> names,
              std::optional<bool>& out) {
  for (const std::string_view name : names) {
    const std::string text = Query(url, name);
    if (text.empty() || out) continue;
    std::string lower;
    for (const char c : text) lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    out = lower == "true" || lower == "1" || lower == "t" || lower == "yes";
  }
}

// s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/PREFIX
Result<void> ResolveArn(std::string_view text, ReplicaConfig& replica) {
  std::string_view arn = text.substr(text.find("://") + 3);
  arn = arn.substr(0, arn.find('?'));
  constexpr std::string_view kMarker = ":accesspoint/";
  const std::size_t marker = arn.find(kMarker);
  const std::size_t name = marker + kMarker.size();
  if (marker == std::string_view::npos || name >= arn.size() || arn[name] == '/') {
    return Invalid(fmt::format("invalid s3 access point arn: {}", arn));
  }
  const std::size_t end = arn.find('/', name);
  replica.bucket = std::string(arn.substr(0, end));
  replica.path = end == std::string_view::npos ? "" : std::string(arn.substr(end + 1));
  std::string_view rest = arn;
  for (int field = 0; field < 3; ++field) rest.remove_prefix(rest.find(':') + 1);
  SetIfEmpty(replica.region, rest.substr(0, rest.find(':')));
  return {};
}

bool HasPath(std::string_view url) {
  url.remove_prefix(url.find("://") + 3);
  const std::size_t end = url.find_first_of("/?#");
  return end != std::string_view::npos && url[end] == '/';
}

Result<void> ResolveS3Url(const ReplicaUrl& url, ReplicaConfig& replica) {
  LS_TRY(CheckNotBoth("s3", "path", replica.path));
  LS_TRY(CheckNotBoth("s3", "bucket", replica.bucket));
  replica.endpoint = CompleteEndpoint(replica.endpoint);
  if (!replica.endpoint.empty() && !replica.force_path_style) replica.force_path_style = true;
  std::string start = url.host.substr(0, 4);
  for (char& c : start) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (start == "arn:") {
    LS_TRY(ResolveArn(replica.url, replica));
  } else {
    const S3Host host = ParseS3Host(url.host);
    replica.bucket = host.bucket;
    // "s3://bucket" is not "s3://bucket/": stock Litestream's keys then begin with "./".
    replica.path = HasPath(replica.url) ? url.path : ".";
    std::string endpoint = CompleteEndpoint(Query(url, "endpoint"));
    ReadBool(url, {"forcePathStyle", "force-path-style"}, replica.force_path_style);
    if (!endpoint.empty() && !replica.force_path_style) replica.force_path_style = true;
    if (replica.endpoint.empty() && endpoint.empty() && !replica.force_path_style) {
      replica.force_path_style = host.force_path_style;
    }
    SetIfEmpty(replica.endpoint, endpoint.empty() ? host.endpoint : endpoint);
    SetIfEmpty(replica.region, Query(url, "region"));
    SetIfEmpty(replica.region, host.region);
  }
  ReadBool(url, {"skipVerify", "skip-verify"}, replica.skip_verify);
  ReadBool(url, {"signPayload", "sign-payload"}, replica.sign_payload);
  ReadBool(url, {"requireContentMD5", "require-content-md5"}, replica.require_content_md5);
  SetIfEmpty(replica.storage_class, Query(url, "storageClass"));
  SetIfEmpty(replica.storage_class, Query(url, "storage-class"));
  for (const auto& [names, field] :
       {std::pair(std::pair("sseCustomerAlgorithm", "sse-customer-algorithm"),
                  &replica.sse_customer_algorithm),
        std::pair(std::pair("sseCustomerKey", "sse-customer-key"), &replica.sse_customer_key),
        std::pair(std::pair("sseKmsKeyId", "sse-kms-key-id"), &replica.sse_kms_key_id)}) {
    SetIfEmpty(*field, Query(url, names.first));
    SetIfEmpty(*field, Query(url, names.second));
  }
  std::optional<std::int64_t> part_size;
  LS_TRY(ReadPositive(url, "partSize", part_size));
  LS_TRY(ReadPositive(url, "part-size", part_size));
  if (part_size && !replica.part_size) replica.part_size = static_cast<std::uint64_t>(*part_size);
  return ReadPositive(url, "concurrency", replica.concurrency);
}

Result<void> ResolveS3(Env& env, const ReplicaUrl* url, ReplicaConfig& replica) {
  if (url != nullptr) LS_TRY(ResolveS3Url(*url, replica));
  LS_TRY(Require(replica.bucket, "bucket required for s3 replica"));
  replica.endpoint = CompleteEndpoint(replica.endpoint);
  if (!replica.sse_customer_key_path.empty()) {
    const std::string path = LS_TRY(ExpandPath(replica.sse_customer_key_path));
    std::string key = LS_TRY(ReadSmallFile(env, path, kMaxKeyFile),
                             "cannot read sse-customer-key-path \"{}\"", path);
    const std::size_t first = key.find_first_not_of(" \t\r\n");
    if (first == std::string::npos) key.clear();
    if (!key.empty()) key = key.substr(first, key.find_last_not_of(" \t\r\n") - first + 1);
    replica.sse_customer_key = key;
  }
  return {};
}

Result<void> ResolveBucket(std::string_view type, const ReplicaUrl* url, ReplicaConfig& replica) {
  if (url != nullptr) {
    LS_TRY(CheckNotBoth(type, "path", replica.path));
    LS_TRY(CheckNotBoth(type, "bucket", replica.bucket));
    replica.bucket = url->host;
    replica.path = url->path;
    if (type == "abs") SetIfEmpty(replica.account_name, url->user);
  }
  return Require(replica.bucket, fmt::format("bucket required for {} replica", type));
}

Result<void> ResolveOss(const ReplicaUrl* url, ReplicaConfig& replica) {
  LS_TRY(ResolveBucket("oss", url, replica));
  replica.endpoint = CompleteEndpoint(replica.endpoint);
  if (url == nullptr) return {};
  // "oss://bucket" is not "oss://bucket/": stock Litestream's keys then begin with "./".
  if (!HasPath(replica.url)) replica.path = ".";
  // Stock Litestream's documentation promises these.
  SetIfEmpty(replica.endpoint, CompleteEndpoint(Query(*url, "endpoint")));
  SetIfEmpty(replica.region, Query(*url, "region"));
  // BUCKET.oss-REGION[-internal].aliyuncs.com
  constexpr std::string_view kSuffix = ".aliyuncs.com";
  const std::string host = replica.bucket;
  const std::size_t dot = host.find(".oss-");
  if (dot == std::string::npos || !host.ends_with(kSuffix)) return {};
  replica.bucket = host.substr(0, dot);
  SetIfEmpty(replica.endpoint, "https://" + host.substr(dot + 1));
  std::string region = host.substr(dot + 5, host.size() - kSuffix.size() - dot - 5);
  if (region.ends_with("-internal")) region.resize(region.size() - 9);
  // oss-accelerate.aliyuncs.com serves all of them.
  if (!region.starts_with("accelerate")) SetIfEmpty(replica.region, region);
  return {};
}

Result<void> ResolveSftp(const ReplicaUrl* url, ReplicaConfig& replica) {
  if (url != nullptr) {
    LS_TRY(CheckNotBoth("sftp", "path", replica.path));
    LS_TRY(CheckNotBoth("sftp", "host", replica.host));
    replica.host = url->host;
    replica.path = RootedPath(*url);
    SetIfEmpty(replica.user, url->user);
    SetIfEmpty(replica.password, url->password);
  }
  LS_TRY(Require(replica.host, "host required for sftp replica"));
  return Require(replica.user, "user required for sftp replica");
}

Result<void> ResolveWebdav(const ReplicaUrl* url, ReplicaConfig& replica) {
  if (url != nullptr) {
    LS_TRY(CheckNotBoth("webdav", "path", replica.path));
    LS_TRY(CheckNotBoth("webdav", "webdav-url", replica.webdav_url));
    if (!url->host.empty()) {
      replica.webdav_url =
          fmt::format("{}://{}", url->scheme == "webdavs" ? "https" : "http", url->host);
    }
    replica.path = RootedPath(*url);
    SetIfEmpty(replica.webdav_username, url->user);
    SetIfEmpty(replica.webdav_password, url->password);
    ReadBool(*url, {"skip-verify", "skipVerify"}, replica.skip_verify);
  }
  return Require(replica.webdav_url, "webdav-url required for webdav replica");
}

// nats://HOST[:PORT]/BUCKET[/PREFIX]. Stock Litestream ignores the key `path`, and its objects lie
// at the bucket's root: so do those of a replica that has the key here, or they would not be found.
// Only a URL can say a prefix (no bucket has a slash in its name), and directories give one to each
// database.
Result<void> ResolveNats(const ReplicaUrl* url, ReplicaConfig& replica) {
  replica.path.clear();
  if (url != nullptr) {
    replica.host = url->host;
    const std::size_t slash = url->path.find('/');
    if (!url->path.empty()) replica.bucket = url->path.substr(0, slash);
    if (slash != std::string::npos) replica.path = url->path.substr(slash + 1);
    SetIfEmpty(replica.username, url->user);
    SetIfEmpty(replica.password, url->password);
    SetIfEmpty(replica.domain, Query(*url, "domain"));
  }
  // One spelling for one place.
  if (replica.host.empty()) replica.host = "127.0.0.1";
  const std::size_t bracket = replica.host.rfind(']');
  const std::size_t colon = replica.host.rfind(':');
  if (colon == std::string::npos || (bracket != std::string::npos && colon < bracket)) {
    replica.host += ":4222";
  }
  LS_TRY(Require(replica.bucket, "bucket required for NATS replica"));
  if (replica.client_cert.empty() != replica.client_key.empty()) {
    return Invalid(
        "client-cert and client-key must both be specified for mutual TLS authentication");
  }
  return {};
}

}  // namespace

Result<void> ResolveReplica(Env& env, ReplicaConfig& replica) {
  if (IsReplicaUrl(replica.path)) {
    return Invalid(fmt::format(
        "replica path cannot be a url, please use the 'url' field instead: {}", replica.path));
  }
  std::optional<ReplicaUrl> url;
  if (!replica.url.empty()) {
    url = LS_TRY(ParseReplicaUrl(replica.url));
    replica.type = TypeOfScheme(url->scheme);
    if (replica.type.empty()) {
      return Invalid(fmt::format("unknown replica type in config: \"{}\"; known are {}",
                                 url->scheme, kKnownTypes));
    }
  } else if (replica.type.empty()) {
    replica.type = "file";
  }
  const std::string type = TypeOfScheme(replica.type);
  if (type.empty() || replica.type == "webdavs") {
    return Invalid(fmt::format("unknown replica type in config: \"{}\"; known are {}", replica.type,
                               kKnownTypes));
  }
  replica.type = type;
  if (replica.name.empty()) replica.name = type;
  if (!replica.age_identities.empty() || !replica.age_recipients.empty()) {
    return Invalid(
        "age encryption is not available in this build; without it the replica would be written in "
        "plain text, so nothing is done");
  }
  const ReplicaUrl* const parsed = url ? &*url : nullptr;
  if (type == "file") return ResolveFile(parsed, replica);
  if (type == "s3") return ResolveS3(env, parsed, replica);
  if (type == "oss") return ResolveOss(parsed, replica);
  if (type == "sftp") return ResolveSftp(parsed, replica);
  if (type == "webdav") return ResolveWebdav(parsed, replica);
  if (type == "nats") return ResolveNats(parsed, replica);
  return ResolveBucket(type, parsed, replica);
}

void AppendToReplica(ReplicaConfig& replica, std::string_view relative) {
  const auto join = [&](const std::string& base, std::string_view more) {
    return base.empty() || base == "." ? std::string(more) : fmt::format("{}/{}", base, more);
  };
  const std::string encoded = EncodePath(relative);
  // Only a URL was ever written percent-encoded.
  if (!replica.encoded_path.empty() || (!replica.url.empty() && encoded != relative)) {
    replica.encoded_path =
        join(replica.encoded_path.empty() ? replica.path : replica.encoded_path, encoded);
  }
  replica.path = join(replica.path, relative);
}

}  // namespace litestream::config
