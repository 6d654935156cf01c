#include "tests/support/memory_oss.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>

#include <fmt/core.h>

#include "http/crc64.h"
#include "http/date.h"
#include "http/digest.h"
#include "http/sigv4.h"
#include "http/uri.h"
#include "http/xml.h"
#include "litestream/clock.h"

namespace litestream {
namespace {

constexpr std::chrono::minutes kMaxSkew{15};
constexpr std::size_t kMaxKeyBytes = 1023;
constexpr std::uint64_t kMinPartBytes = 100 << 10;
constexpr std::uint64_t kMaxPartBytes = 5ULL << 30;
constexpr int kMaxParts = 10'000;
constexpr std::size_t kMaxBatch = 1000;
constexpr std::size_t kMaxBatchBytes = 2 << 20;
constexpr std::string_view kAlgorithm = "OSS4-HMAC-SHA256 ";

int Number(std::string_view text) {
  int value = -1;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value).ptr;
  return end == text.data() + text.size() ? value : -1;
}

// "a=1,b=2" with spaces or not.
std::map<std::string, std::string> Fields(std::string_view text) {
  std::map<std::string, std::string> fields;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    std::string_view field = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (field.starts_with(' ')) field.remove_prefix(1);
    const std::size_t equals = std::min(field.find('='), field.size());
    fields[std::string(field.substr(0, equals))] =
        equals < field.size() ? std::string(field.substr(equals + 1)) : "";
  }
  return fields;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = std::min(text.find(separator), text.size());
    parts.emplace_back(text.substr(0, end));
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

// As it came over the wire, each name and value still escaped.
std::string QueryAsSigned(std::string_view raw) {
  std::map<std::string, std::string> sorted;
  for (const std::string& pair : Split(raw, '&')) {
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (equals > 0) {
      sorted[pair.substr(0, equals)] = pair.substr(std::min(equals + 1, pair.size()));
    }
  }
  std::string text;
  for (const auto& [name, value] : sorted) {
    text += (text.empty() ? "" : "&") + name + (value.empty() ? "" : "=" + value);
  }
  return text;
}

// `key`: "bucket/key".
std::string RequestAsSigned(const ServedRequest& request, std::string key,
                            const std::vector<std::string>& additional) {
  if (key.find('/') == std::string::npos) key += '/';
  std::string headers;
  for (const auto& [name, value] : request.headers) {
    if (name.starts_with("x-oss-") || name == "content-type" || name == "content-md5" ||
        std::ranges::find(additional, name) != additional.end()) {
      headers += fmt::format("{}:{}\n", name, value);
    }
  }
  std::string names;
  for (const std::string& name : additional) names += (names.empty() ? "" : ";") + name;
  return request.method + "\n" + http::EscapePath("/" + key) + "\n" +
         QueryAsSigned(request.query()) + "\n" + headers + "\n" + names + "\nUNSIGNED-PAYLOAD";
}

// Of "20260102T030405Z"; the epoch if it is none.
WallTime ParseStamp(std::string_view stamp) {
  if (stamp.size() != 16 || stamp[8] != 'T' || stamp[15] != 'Z') return {};
  const auto number = [&](std::size_t at, std::size_t size) {
    return Number(stamp.substr(at, size));
  };
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(number(4, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(6, 2)))};
  if (!day.ok()) return {};
  return std::chrono::sys_days(day) + std::chrono::hours(number(9, 2)) +
         std::chrono::minutes(number(11, 2)) + std::chrono::seconds(number(13, 2));
}

}  // namespace

MemoryS3::Reply MemoryOss::Refusal(int status, std::string_view code, std::string_view detail,
                                   std::string_view message) {
  return {.status = status,
          .headers = {fmt::format("x-oss-ec: {}", detail)},
          .body = fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code>"
                              "<Message>{}</Message><RequestId>0</RequestId><HostId>oss</HostId>"
                              "<EC>{}</EC></Error>",
                              code, message.empty() ? "of a test" : message, detail)};
}

std::optional<MemoryS3::Reply> MemoryOss::RefuseSignature(const Asked& asked) const {
  const ServedRequest& request = asked.request;
  const std::string authorization = request.header("authorization");
  if (!authorization.starts_with(kAlgorithm)) return Refusal(403, "AccessDenied", "0003-00000001");
  const auto fields = Fields(std::string_view(authorization).substr(kAlgorithm.size()));
  const auto field = [&](const char* name) {
    const auto found = fields.find(name);
    return found == fields.end() ? std::string() : found->second;
  };
  const auto scope = Split(field("Credential"), '/');
  if (scope.size() != 5 || scope[3] != "oss" || scope[4] != "aliyun_v4_request") {
    return Refusal(400, "InvalidArgument", "0002-00000224");
  }
  if (request.header("x-oss-content-sha256") != "UNSIGNED-PAYLOAD") {
    return Refusal(400, "InvalidArgument", "0002-00000214");
  }
  if (fields.contains("AdditionalHeaders") && field("AdditionalHeaders").empty()) {
    return Refusal(400, "InvalidArgument", "0002-00000209");
  }
  const std::string stamp = request.header("x-oss-date");
  const WallTime at = ParseStamp(stamp);
  if (at == WallTime() || stamp.substr(0, 8) != scope[1]) {
    return Refusal(403, "AccessDenied", "0002-00000212");
  }
  if (std::chrono::abs(Clock::Real().Now() - at) > kMaxSkew) {
    return Refusal(403, "RequestTimeTooSkewed", "0002-00000504");
  }
  if (scope[2] != rules_.region) {
    return Refusal(400, "InvalidArgument", "0002-00000228",
                   "Invalid signing region in Authorization header.");
  }
  const auto account = std::ranges::find(rules_.accounts, scope[0], &Account::access_key_id);
  if (account == rules_.accounts.end()) {
    return Refusal(403, "InvalidAccessKeyId", "0002-00000902");
  }
  if (request.header("x-oss-security-token") != account->security_token) {
    return Refusal(403, "InvalidSecurityToken", "0002-00000006");
  }
  const auto additional = fields.contains("AdditionalHeaders")
                              ? Split(field("AdditionalHeaders"), ';')
                              : std::vector<std::string>();
  std::string key = "aliyun_v4" + account->secret;
  for (std::size_t i = 1; i < scope.size(); ++i) key = http::HmacSha256(key, scope[i]);
  const std::string text = fmt::format(
      "OSS4-HMAC-SHA256\n{}\n{}/{}/oss/aliyun_v4_request\n{}", stamp, scope[1], scope[2],
      http::Hex(http::Sha256(RequestAsSigned(request, asked.key, additional))));
  if (field("Signature") == http::Hex(http::HmacSha256(key, text))) return std::nullopt;
  return Refusal(403, "SignatureDoesNotMatch", "0002-00000208");
}

std::optional<MemoryS3::Reply> MemoryOss::RefuseUpload(const Asked& asked,
                                                       std::string_view body) const {
  const ServedRequest& request = asked.request;
  for (const char* name :
       {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}) {
    if (!request.header(name).empty()) return Refusal(400, "NotImplemented", "0017-00000245");
  }
  const std::string forbid = request.header("x-oss-forbid-overwrite");
  if (!forbid.empty() && forbid != "true" && forbid != "false") {
    return Refusal(400, "InvalidArgument", "0017-00000279");
  }
  const std::string digest = request.header("content-md5");
  if (!digest.empty() && digest != http::Base64(http::Md5(body))) {
    return Refusal(400, "InvalidDigest", "0017-00000213");
  }
  if (asked.Has("partNumber")) {
    const int number = Number(asked.Of("partNumber"));
    if (number < 1 || number > kMaxParts) return Refusal(400, "InvalidArgument", "0042-00000102");
    if (body.size() > kMaxPartBytes) return Refusal(400, "EntityTooLarge", "0042-00000104");
  }
  return std::nullopt;
}

std::optional<MemoryS3::Reply> MemoryOss::RefuseBatch(const Asked& asked,
                                                      std::string_view body) const {
  const ServedRequest& request = asked.request;
  if (request.header("content-md5").empty())
    return Refusal(400, "MissingArgument", "0021-00000101");
  if (body.size() > kMaxBatchBytes) return Refusal(400, "MalformedXML", "0021-00000102");
  const auto root = http::ParseXml(body);
  if (!root.ok() || root.value().name != "Delete") {
    return Refusal(400, "MalformedXML", "0021-00000103");
  }
  const auto count =
      std::ranges::count(root.value().children, std::string("Object"), &http::XmlElement::name);
  if (static_cast<std::size_t>(count) > kMaxBatch) {
    return Refusal(400, "MalformedXML", "0021-00000104");
  }
  return std::nullopt;
}

std::optional<MemoryS3::Reply> MemoryOss::Refuse(const Asked& asked, std::string_view body) const {
  if (auto refused = RefuseSignature(asked)) return refused;
  if (!rules_.buckets.contains(asked.bucket()))
    return Refusal(404, "NoSuchBucket", "0015-00000101");
  const std::size_t slash = asked.key.find('/');
  const std::string key = slash == std::string::npos ? "" : asked.key.substr(slash + 1);
  if (key.size() > kMaxKeyBytes) return Refusal(400, "InvalidObjectName", "0016-00000002");
  if (key.starts_with('/') || key.starts_with('\\')) {
    return Refusal(400, "InvalidObjectName", "0016-00000005");
  }
  const std::string page = asked.Of("max-keys");
  if (!page.empty() && (Number(page) < 1 || Number(page) > 1000)) {
    return Refusal(400, "InvalidArgument", "0017-00000304");
  }
  const std::string& method = asked.request.method;
  if (method != "PUT" && method != "POST") return std::nullopt;
  if (auto refused = RefuseUpload(asked, body)) return refused;
  if (asked.Has("delete")) return RefuseBatch(asked, body);
  return std::nullopt;
}

std::optional<MemoryS3::Reply> MemoryOss::Condition(const Asked& asked) const {
  const bool forbidden = asked.request.header("x-oss-forbid-overwrite") == "true";
  if (!forbidden || rules_.versioned.contains(asked.bucket()) || !Exists(asked)) {
    return std::nullopt;
  }
  return Refusal(409, "FileAlreadyExists", "0026-00000002");
}

std::string MemoryOss::ShownKey(const Asked& asked, std::string_view key) const {
  return asked.Of("encoding-type") == "url" ? http::EscapeComponent(key) : http::EscapeXml(key);
}

std::vector<std::string> MemoryOss::SumHeaders(const Asked& asked,
                                               const std::vector<Piece>& pieces) const {
  std::uint64_t crc = 0;
  for (const Piece& piece : pieces) crc = http::Crc64(crc, *piece);
  std::vector<std::string> headers = {fmt::format("x-oss-hash-crc64ecma: {}", crc)};
  if (rules_.versioned.contains(asked.bucket())) headers.emplace_back("x-oss-version-id: v1");
  return headers;
}

std::string MemoryOss::PartTag(const Piece& piece) {
  std::string tag = http::Hex(http::Md5(*piece));
  for (char& c : tag) c = static_cast<char>(c >= 'a' && c <= 'f' ? c - 32 : c);
  return "\"" + tag + "\"";
}

std::optional<MemoryS3::Reply> MemoryOss::CheckParts(const Upload& upload,
                                                     std::string_view body) const {
  const auto root = http::ParseXml(body);
  if (!root.ok() || root.value().name != "CompleteMultipartUpload") {
    return Refusal(400, "MalformedXML", "0042-00000210");
  }
  int last = 0;
  std::size_t named = 0;
  for (const http::XmlElement& part : root.value().children) {
    if (part.name != "Part") continue;
    const int number = Number(part.TextOf("PartNumber"));
    const auto tag = upload.tags.find(number);
    if (number <= last) return Refusal(400, "InvalidPartOrder", "0042-00000212");
    if (tag == upload.tags.end() || tag->second != part.TextOf("ETag")) {
      return Refusal(400, "InvalidPart", "0042-00000211");
    }
    last = number;
    ++named;
  }
  // What is not named is not taken, and ours names all.
  if (named == 0 || named != upload.parts.size()) {
    return Refusal(400, "InvalidPart", "0042-00000211");
  }
  for (const auto& [number, piece] : upload.parts) {
    if (number != last && piece->size() < kMinPartBytes) {
      return Refusal(400, "EntityTooSmall", "0042-00000213");
    }
  }
  return std::nullopt;
}

bool MemoryOss::IgnoresOddRanges(const Asked& asked) const {
  return asked.request.header("x-oss-range-behavior") != "standard";
}

void MemoryOss::Complement(const Asked& asked, Reply& reply) const {
  reply.headers.push_back("Date: " + http::FormatDate(Clock::Real().Now()));
  reply.headers.emplace_back("Server: AliyunOSS");
  if (asked.request.method == "HEAD" && reply.status >= 300) {
    reply.headers.push_back("x-oss-err: " + http::Base64(reply.body));
  }
}

MemoryS3::Reply MemoryOss::BucketInfo(const Asked& asked) const {
  if (!asked.Has("uploads")) return Refusal(400, "InvalidArgument", "0017-00000001");
  std::string uploads;
  for (std::size_t i = 0; i < OpenUploads(); ++i) uploads += "<Upload></Upload>";
  return {.body =
              fmt::format("<ListMultipartUploadsResult>{}</ListMultipartUploadsResult>", uploads)};
}

}  // namespace litestream
