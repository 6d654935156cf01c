#include "tests/support/fake_gcs.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "format/names.h"
#include "http/digest.h"
#include "http/uri.h"
#include "litestream/clock.h"

namespace litestream {
namespace {

using nlohmann::json;

constexpr std::size_t kPageObjects = 1000;
constexpr std::size_t kUnit = 256 * 1024;
constexpr std::size_t kMaxNameBytes = 1024;

std::string ErrorJson(int status, std::string_view reason, std::string_view message) {
  return json{{"error",
               {{"code", status},
                {"message", message},
                {"errors",
                 json::array({{{"message", message}, {"domain", "global"}, {"reason", reason}}})}}}}
      .dump();
}

// "a,b(c,d)" of the fields that are wanted; false if it is none.
bool KeepFields(json& value, std::string_view& fields) {
  json kept = json::object();
  for (;;) {
    const std::size_t end = std::min(fields.find_first_of(",()"), fields.size());
    const std::string name(fields.substr(0, end));
    if (name.empty()) return false;
    fields.remove_prefix(end);
    json* const member = value.is_object() && value.contains(name) ? &value[name] : nullptr;
    if (fields.starts_with('(')) {
      fields.remove_prefix(1);
      std::string_view after = fields;
      json none;
      if (member == nullptr || !member->is_array()) {
        if (!KeepFields(member == nullptr ? none : *member, after)) return false;
      } else {
        for (json& each : *member) {
          after = fields;
          if (!KeepFields(each, after)) return false;
        }
        if (member->empty() && !KeepFields(none, after)) return false;
      }
      if (!after.starts_with(')')) return false;
      fields = after.substr(1);
    }
    if (member != nullptr) kept[name] = *member;
    if (!fields.starts_with(',')) break;
    fields.remove_prefix(1);
  }
  value = std::move(kept);
  return true;
}

void DamageOne(std::string& content) {
  if (!content.empty()) content[content.size() / 2] ^= 0x10;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character next = DecodeUtf8(text);
    if (!next.valid) return false;
    text.remove_prefix(next.size_bytes);
  }
  return true;
}

std::string HeaderHash(std::string_view value) {
  const std::size_t at = value.find("crc32c=");
  if (at == std::string_view::npos) return {};
  value.remove_prefix(at + 7);
  return std::string(value.substr(0, value.find(',')));
}

}  // namespace

std::string FakeGcs::Asked::Of(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? "" : found->second;
}

FakeGcs::Reply FakeGcs::Refuse(int status, std::string_view reason, std::string_view message) {
  return {.status = status,
          .headers = {"Content-Type: application/json; charset=UTF-8"},
          .body = ErrorJson(status, reason, message)};
}

void FakeGcs::Handle(const ServedRequest& request, ServedPeer& peer) {
  Asked asked{
      .request = request, .body = peer.ReadBody(request), .query = ParseForm(request.query())};
  const std::string length = request.header("content-length");
  if (!length.empty() && asked.body.size() != std::stoull(length)) return peer.Close();  // Cut off.
  if (request.path() == "/") return Send(peer, Report(request), Fault::kNone);
  if (tokens_.Handle(request, asked.body, peer)) return;
  asked.fault = plan_ ? plan_(request) : Fault::kNone;
  Reply reply;
  switch (asked.fault) {
    case Fault::kUnavailable:
      reply = Refuse(503, "backendError", "Backend Error");
      break;
    case Fault::kThrottled:
      reply = Refuse(429, "rateLimitExceeded", "The rate of changes is exceeded.");
      break;
    case Fault::kUnauthorized:
      reply = Refuse(401, "authError", "Invalid Credentials");
      break;
    case Fault::kForbidden:
      reply = Refuse(403, "forbidden", "a@b does not have storage.objects.list access.");
      break;
    case Fault::kTextless404:
      reply = {.status = 404, .body = "Not Found"};
      break;
    default: {
      const std::lock_guard lock(mu_);
      reply = Answer(asked);
    }
  }
  if (asked.fault == Fault::kLoseAnswer) return peer.Reset();
  if (asked.fault == Fault::kKeepHalf503) reply = Refuse(503, "backendError", "Backend Error");
  Send(peer, reply, asked.fault);
}

std::optional<FakeGcs::Reply> FakeGcs::CheckToken(const Asked& asked) const {
  if (!open_ && asked.request.header("authorization").empty()) {
    return Refuse(401, "required",
                  "Anonymous caller does not have storage.objects.list access to the bucket.");
  }
  if (!open_ && !tokens_.Accepts(asked.request)) {
    return Refuse(401, "authError", "Invalid Credentials");
  }
  if (!user_project_.empty() && asked.request.header("x-goog-user-project") != user_project_) {
    return Refuse(400, "userProjectMissing",
                  "Bucket is requester pays bucket but no user project provided.");
  }
  return std::nullopt;
}

FakeGcs::Reply FakeGcs::Answer(Asked& asked) {
  std::string path = asked.request.path();
  const bool uploads = path.starts_with("/upload/");
  if (uploads) path.erase(0, 7);
  if (path.starts_with("/download/")) path.erase(0, 9);
  if (uploads && asked.Has("upload_id")) return ToUpload(asked);
  if (auto refused = CheckToken(asked)) return *std::move(refused);
  constexpr std::string_view kStart = "/storage/v1/b/";
  // Whatever is not escaped is another resource.
  const std::size_t end = path.find('/', kStart.size());
  if (!path.starts_with(kStart)) return {.status = 404, .body = "Not Found"};
  const std::string bucket = Unescaped(path.substr(kStart.size(), end - kStart.size()));
  const std::string rest = end == std::string::npos ? "" : path.substr(end);
  if (bucket != kBucket) return Refuse(404, "notFound", "The specified bucket does not exist.");
  if (rest.empty()) return {.body = json{{"kind", "storage#bucket"}, {"name", kBucket}}.dump()};
  if (rest == "/o") return asked.request.method == "POST" ? Insert(asked) : List(asked);
  if (!rest.starts_with("/o/") || rest.find('/', 3) != std::string::npos || uploads) {
    return {.status = 404, .body = "Not Found"};
  }
  return AnswerObject(asked, Unescaped(rest.substr(3)));
}

FakeGcs::Reply FakeGcs::AnswerObject(const Asked& asked, const std::string& key) {
  if (asked.request.method == "DELETE") return Delete(asked, key);
  if (asked.request.method == "GET") return Get(asked, key);
  return Refuse(405, "methodNotAllowed", "Method not allowed");
}

std::optional<FakeGcs::Reply> FakeGcs::Condition(const std::map<std::string, std::string>& query,
                                                 const std::string& key) const {
  const auto wanted = query.find("ifGenerationMatch");
  if (wanted == query.end()) return std::nullopt;
  const std::string& text = wanted->second;
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
    return Refuse(400, "invalidParameter", "Invalid value for ifGenerationMatch");
  }
  const auto found = objects_.find(key);
  const std::uint64_t is = found == objects_.end() ? 0 : found->second.generation;
  if (std::stoull(text) == is) return std::nullopt;
  return Refuse(412, "conditionNotMet",
                "At least one of the pre-conditions you specified did not hold.");
}

FakeGcs::Reply FakeGcs::List(const Asked& asked) const {
  Count("LIST");
  static const std::set<std::string> kKnown = {"prefix",
                                               "startOffset",
                                               "endOffset",
                                               "delimiter",
                                               "pageToken",
                                               "maxResults",
                                               "projection",
                                               "versions",
                                               "prettyPrint",
                                               "userProject",
                                               "fields",
                                               "alt",
                                               "includeTrailingDelimiter"};
  for (const auto& [name, value] : asked.query) {
    if (!kKnown.contains(name)) return Refuse(400, "invalidParameter", "Unknown name " + name);
  }
  std::size_t limit = kPageObjects;
  if (asked.Has("maxResults")) {
    const long wanted = std::strtol(asked.Of("maxResults").c_str(), nullptr, 10);
    if (wanted <= 0) return Refuse(400, "invalid", "Invalid unsigned integer value");
    limit = std::min(limit, static_cast<std::size_t>(wanted));
  }
  const std::string prefix = asked.Of("prefix");
  const std::string delimiter = asked.Of("delimiter");
  std::string from = std::max(prefix, asked.Of("startOffset"));
  if (asked.Has("pageToken")) {
    const auto last = http::FromBase64(asked.Of("pageToken"));
    if (!last) return Refuse(400, "invalid", "Invalid argument.");
    from = std::max(from, *last);
  }
  json page{{"kind", "storage#objects"}};
  std::set<std::string> folders;
  std::size_t count = 0;
  auto at = objects_.lower_bound(from);
  for (; at != objects_.end() && at->first.starts_with(prefix); ++at) {
    if (asked.Has("endOffset") && at->first >= asked.Of("endOffset")) break;
    const std::size_t cut =
        delimiter.empty() ? std::string::npos : at->first.find(delimiter, prefix.size());
    if (cut != std::string::npos && folders.contains(at->first.substr(0, cut + 1))) continue;
    if (count++ == limit) {
      page["nextPageToken"] = http::Base64(at->first);
      break;
    }
    if (cut == std::string::npos) {
      page["items"].push_back(json::parse(at->second.json));
    } else {
      folders.insert(at->first.substr(0, cut + 1));
    }
  }
  if (!folders.empty()) page["prefixes"] = folders;
  if (asked.Has("fields")) {
    const std::string fields = asked.Of("fields");
    std::string_view left = fields;
    if (!KeepFields(page, left) || !left.empty()) {
      return Refuse(400, "invalidParameter", "Invalid field selection");
    }
  }
  return {.headers = {"Content-Type: application/json; charset=UTF-8"}, .body = page.dump()};
}

FakeGcs::Reply FakeGcs::Get(const Asked& asked, const std::string& key) const {
  Count("GET");
  const bool media = asked.Of("alt") == "media";
  const auto found = objects_.find(key);
  if (found == objects_.end()) {
    const std::string text = fmt::format("No such object: {}/{}", kBucket, key);
    // What should have been a download is refused with a text.
    return media ? Reply{.status = 404, .body = text} : Refuse(404, "notFound", text);
  }
  if (auto refused = Condition(asked.query, key)) return *std::move(refused);
  if (media) return Media(asked, found->second);
  return {.body = found->second.json};
}

FakeGcs::Reply FakeGcs::Media(const Asked& asked, const Object& object) {
  const std::size_t size = object.content->size();
  Reply reply{.headers = {"Content-Type: application/octet-stream",
                          fmt::format("X-Goog-Generation: {}", object.generation),
                          "X-Goog-Metageneration: 1",
                          fmt::format("X-Goog-Hash: crc32c={},md5={}", object.crc32c, object.md5),
                          fmt::format("X-Goog-Stored-Content-Length: {}", size)},
              .content = object.content,
              .length = size};
  const std::string range = asked.request.header("range");
  if (range.empty()) return reply;
  if (!range.starts_with("bytes=")) return Refuse(400, "invalid", "Invalid range");
  const std::size_t dash = range.find('-');
  reply.offset = std::stoull(range.substr(6, dash - 6));
  if (reply.offset >= size) {
    return {.status = 416,
            .headers = {fmt::format("Content-Range: bytes */{}", size)},
            .body = "The requested range cannot be satisfied."};
  }
  const std::string last = range.substr(dash + 1);
  const std::size_t end = last.empty() ? size : std::min<std::size_t>(size, std::stoull(last) + 1);
  reply.status = 206;
  reply.length = end - reply.offset;
  reply.headers.push_back(
      fmt::format("Content-Range: bytes {}-{}/{}", reply.offset, end - 1, size));
  return reply;
}

FakeGcs::Reply FakeGcs::Delete(const Asked& asked, const std::string& key) {
  Count("DELETE");
  if (!objects_.contains(key)) {
    return Refuse(404, "notFound", fmt::format("No such object: {}/{}", kBucket, key));
  }
  if (auto refused = Condition(asked.query, key)) return *std::move(refused);
  objects_.erase(key);
  return {.status = 204};
}

// ---- Uploads

FakeGcs::Reply FakeGcs::Insert(Asked& asked) {
  Count("INSERT");
  static const std::set<std::string> kKnown = {"uploadType", "name",        "fields",
                                               "alt",        "prettyPrint", "ifGenerationMatch",
                                               "projection", "userProject"};
  for (const auto& [name, value] : asked.query) {
    if (!kKnown.contains(name)) return Refuse(400, "invalidParameter", "Unknown name " + name);
  }
  if (!asked.request.path().starts_with("/upload/")) {
    return Refuse(400, "wrongUrlForUpload", "Upload requests must be uploaded to */upload/*");
  }
  const std::string kind = asked.Of("uploadType");
  if (kind == "multipart") return InsertMultipart(asked);
  if (kind == "resumable") return StartUpload(asked);
  return Refuse(400, "invalid", "Invalid uploadType");
}

FakeGcs::Reply FakeGcs::InsertMultipart(Asked& asked) {
  const std::string type = asked.request.header("content-type");
  const std::size_t at = type.find("boundary=");
  if (!type.starts_with("multipart/related;") || at == std::string::npos) {
    return Refuse(400, "badContent", "Content-Type has to be multipart/related");
  }
  std::string boundary = type.substr(at + 9);
  if (boundary.starts_with('"')) boundary = boundary.substr(1, boundary.find('"', 1) - 1);
  const std::string line = "--" + boundary;
  const std::string& body = asked.body;
  const std::size_t second = body.find("\r\n" + line + "\r\n");
  const std::size_t end = body.rfind("\r\n" + line + "--");
  const std::size_t json_at = body.find("\r\n\r\n");
  if (!body.starts_with(line + "\r\n") || second == std::string::npos || end == std::string::npos ||
      json_at == std::string::npos || json_at > second || end <= second) {
    return Refuse(400, "badContent", "Malformed multipart body.");
  }
  const std::size_t media_at = body.find("\r\n\r\n", second);
  if (media_at == std::string::npos || media_at > end) {
    return Refuse(400, "badContent", "Malformed multipart body.");
  }
  const Upload upload{.key = asked.Of("name"),
                      .json = body.substr(json_at + 4, second - json_at - 4),
                      .content_type = {},
                      .host = asked.request.header("host"),
                      .query = asked.query,
                      .content = {},
                      .announced = {},
                      .stored_json = {}};
  // More than one boundary in the middle would be more than two parts.
  if (body.find("\r\n" + line, media_at) != end) {
    return Refuse(400, "badContent", "Multipart must have two parts.");
  }
  std::string media = media_at + 4 > end ? "" : body.substr(media_at + 4, end - media_at - 4);
  return Store(upload, std::move(media), asked.fault, asked.request.header("x-goog-hash"));
}

FakeGcs::Reply FakeGcs::StartUpload(Asked& asked) {
  if (auto refused = Condition(asked.query, asked.Of("name"))) return *std::move(refused);
  const std::string id = fmt::format("ABg5-{}-secret", ++last_upload_);
  uploads_[id] = {.key = asked.Of("name"),
                  .json = asked.body.empty() ? "{}" : asked.body,
                  .content_type = asked.request.header("x-upload-content-type"),
                  .host = asked.request.header("host"),
                  .query = asked.query,
                  .content = {},
                  .announced = asked.request.header("x-upload-content-length"),
                  .stored_json = {}};
  return {
      .headers = {fmt::format("Location: http://{}/upload/storage/v1/b/{}/o?uploadType=resumable"
                              "&upload_id={}",
                              asked.request.header("host"), kBucket, id),
                  "X-GUploader-UploadID: " + id}};
}

FakeGcs::Reply FakeGcs::ToUpload(Asked& asked) {
  const std::string id = asked.Of("upload_id");
  const auto found = uploads_.find(id);
  if (found == uploads_.end()) return {.status = 404, .body = "Not Found"};
  if (asked.request.method == "DELETE") {
    uploads_.erase(found);
    return {.status = 499};
  }
  // Google's own library for Go sends chunks with POST.
  if (asked.request.method != "PUT" && asked.request.method != "POST") {
    return Refuse(405, "methodNotAllowed", "Method not allowed");
  }
  if (asked.request.header("content-length").empty()) {
    return Refuse(411, "required", "POST requests require a Content-length header.");
  }
  if (asked.fault == Fault::kForgetUpload) {
    uploads_.erase(found);
    return Refuse(410, "gone", "The upload session is gone.");
  }
  Upload& upload = found->second;
  if (!upload.stored_json.empty()) return {.body = upload.stored_json};
  return Chunk(asked, upload);
}

FakeGcs::Reply FakeGcs::Chunk(Asked& asked, Upload& upload) {
  const std::string range = asked.request.header("content-range");
  const std::size_t slash = range.find('/');
  const std::size_t dash = range.find('-');
  const auto invalid = [](std::string_view why) { return Refuse(400, "invalid", why); };
  if (!range.starts_with("bytes ") || slash == std::string::npos) {
    return invalid("Failed to parse Content-Range header.");
  }
  const std::string total = range.substr(slash + 1);
  const bool asks = range.substr(6, slash - 6) == "*";
  Count(asks ? "STATUS" : "CHUNK");
  std::size_t end = upload.content.size();
  if (!asks) {
    if (dash == std::string::npos) return invalid("Failed to parse Content-Range header.");
    const std::size_t begin = std::stoull(range.substr(6, dash - 6));
    end = std::stoull(range.substr(dash + 1, slash - dash - 1)) + 1;
    if (end - begin != asked.body.size())
      return invalid("Invalid request: length and range differ.");
    if (begin > upload.content.size()) {
      return invalid(
          fmt::format("Invalid request: {} bytes are missing.", begin - upload.content.size()));
    }
    if (total == "*" && asked.body.size() % kUnit != 0) {
      return invalid("Invalid request: chunks have to be multiples of 256 KiB.");
    }
    // What is there already is left out.
    asked.body.erase(0, std::min(upload.content.size() - begin, asked.body.size()));
    const bool half = asked.fault == Fault::kKeepHalf || asked.fault == Fault::kKeepHalf503;
    if (half) asked.body.resize(asked.body.size() / 2 / kUnit * kUnit);
    upload.content += asked.body;
  } else if (!asked.body.empty()) {
    return invalid("Invalid request: a body without a range.");
  }
  if (total != "*" && !upload.announced.empty() && total != upload.announced) {
    return invalid("Invalid request: the total is another one than was announced.");
  }
  if (total != "*" && std::stoull(total) == upload.content.size()) return EndUpload(asked, upload);
  if (total != "*" && std::stoull(total) < upload.content.size()) {
    return invalid("Invalid request: there is more than that already.");
  }
  // It wants no 308 either, which other programs may take for a redirect.
  const bool no_308 = asked.request.header("x-guploader-no-308") == "yes";
  Reply reply{.status = no_308 ? 200 : 308};
  if (no_308) reply.headers.emplace_back("X-HTTP-Status-Code-Override: 308");
  if (!upload.content.empty()) {
    reply.headers.push_back(fmt::format("Range: bytes=0-{}", upload.content.size() - 1));
  }
  return reply;
}

FakeGcs::Reply FakeGcs::EndUpload(const Asked& asked, Upload& upload) {
  Reply reply = Store(upload, upload.content, asked.fault, asked.request.header("x-goog-hash"));
  if (reply.status == 200) {
    upload.stored_json = reply.body;
    upload.content.clear();
  }
  return reply;
}

FakeGcs::Reply FakeGcs::Store(const Upload& upload, std::string content, Fault fault,
                              std::string_view hash) {
  const json given = json::parse(upload.json, nullptr, false);
  if (!given.is_object()) return Refuse(400, "parseError", "Parse Error");
  const std::string name = given.value("name", upload.key);
  if (!upload.key.empty() && name != upload.key) {
    return Refuse(400, "invalid", "Value in content does not agree with value in the query.");
  }
  if (name.empty()) return Refuse(400, "required", "Required");
  if (name.size() > kMaxNameBytes || !IsUtf8(name) ||
      name.find_first_of("\r\n") != std::string::npos) {
    return Refuse(400, "invalid", "Invalid object name.");
  }
  if (auto refused = Condition(upload.query, name)) return *std::move(refused);
  const std::string real = http::Base64Crc(http::Crc32c(content));
  for (const std::string& said : {given.value("crc32c", std::string()), HeaderHash(hash)}) {
    if (said.empty() || said == real) continue;
    return Refuse(
        400, "invalid",
        fmt::format("Provided CRC32C \"{}\" doesn't match calculated CRC32C \"{}\".", said, real));
  }
  if (fault == Fault::kDamage) DamageOne(content);
  Object object{.content = std::make_shared<const std::string>(std::move(content)),
                .json = {},
                .generation = ++last_generation_,
                .crc32c = {},
                .md5 = {},
                .metadata = {},
                .seen_since = std::chrono::steady_clock::now()};
  object.crc32c = http::Base64Crc(http::Crc32c(*object.content));
  object.md5 = http::Base64(http::Md5(*object.content));
  if (given.contains("metadata")) object.metadata = given["metadata"];
  const std::string now = FormatTimestampMillis(Clock::Real().Now());
  json resource{{"kind", "storage#object"},
                {"bucket", kBucket},
                {"name", name},
                {"generation", std::to_string(object.generation)},
                {"metageneration", "1"},
                {"contentType", given.value("contentType", upload.content_type)},
                {"size", std::to_string(object.content->size())},
                {"crc32c", object.crc32c},
                {"md5Hash", object.md5},
                {"timeCreated", now},
                {"updated", now},
                {"storageClass", "STANDARD"},
                {"mediaLink", fmt::format("http://{}/download/storage/v1/b/{}/o/{}?generation={}"
                                          "&alt=media",
                                          upload.host, kBucket, http::EscapeComponent(name),
                                          object.generation)}};
  if (!object.metadata.empty()) resource["metadata"] = object.metadata;
  object.json = resource.dump();
  const auto old = objects_.find(name);
  if (old != objects_.end() && name.ends_with(".ltx")) {
    counts_["REPLACED"] += *old->second.content != *object.content ? 1 : 0;
  }
  objects_[name] = std::move(object);
  const auto fields = upload.query.find("fields");
  if (fields != upload.query.end()) {
    std::string_view left = fields->second;
    if (!KeepFields(resource, left) || !left.empty()) {
      return Refuse(400, "invalidParameter", "Invalid field selection");
    }
  }
  return {.headers = {"Content-Type: application/json; charset=UTF-8"}, .body = resource.dump()};
}

// ---- For tests

std::map<std::string, std::uint64_t> FakeGcs::requests() const {
  const std::lock_guard lock(mu_);
  return counts_;
}

std::size_t FakeGcs::open_uploads() const {
  const std::lock_guard lock(mu_);
  return static_cast<std::size_t>(std::ranges::count_if(
      uploads_, [](const auto& each) { return each.second.stored_json.empty(); }));
}

std::map<std::string, std::string> FakeGcs::metadata(const std::string& key) const {
  const std::lock_guard lock(mu_);
  const auto found = objects_.find(key);
  return found == objects_.end() ? std::map<std::string, std::string>() : found->second.metadata;
}

FakeGcs::Reply FakeGcs::Report(const ServedRequest& request) const {
  Reply reply;
  if (request.query() == "uploads") {
    reply.body = fmt::format("{}\n", open_uploads());
    return reply;
  }
  const std::lock_guard lock(mu_);
  if (request.query() == "requests") {
    for (const auto& [kind, count] : counts_) reply.body += fmt::format("{} {}\n", kind, count);
  } else {
    for (const auto& [key, object] : objects_) {
      const std::chrono::duration<double> since = object.seen_since.time_since_epoch();
      reply.body +=
          fmt::format("{}/{} {} {:.6f}\n", kBucket, key, object.content->size(), since.count());
    }
  }
  return reply;
}

void FakeGcs::Send(ServedPeer& peer, const Reply& reply, Fault fault) const {
  std::string text = fmt::format("HTTP/1.1 {} x\r\n", reply.status);
  for (const std::string& header : reply.headers) text += header + "\r\n";
  const std::size_t size = reply.content ? reply.length : reply.body.size();
  if (reply.status != 204) text += fmt::format("Content-Length: {}\r\n", size);
  peer.Send(text + "\r\n");
  if (!reply.content) return peer.Send(reply.body);
  std::string_view bytes = *reply.content;
  bytes = bytes.substr(reply.offset, reply.length);
  if (fault != Fault::kDamage) return peer.Send(bytes);
  std::string damaged(bytes);
  DamageOne(damaged);
  peer.Send(damaged);
}

}  // namespace litestream
