#include "tests/support/memory_s3.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include <fmt/core.h>

#include "format/names.h"
#include "http/digest.h"
#include "http/uri.h"
#include "http/xml.h"
#include "litestream/clock.h"

namespace litestream {
namespace {

constexpr std::string_view kNamespace = "http://s3.amazonaws.com/doc/2006-03-01/";
constexpr std::size_t kPageKeys = 1000;

std::string Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string MemoryS3::ErrorBody(std::string_view code) {
  return fmt::format(
      "<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>of a test</Message></Error>", code);
}

MemoryS3::Reply MemoryS3::Failure(int status, std::string_view code) {
  return {.status = status, .body = ErrorBody(code)};
}

std::string MemoryS3::Asked::Of(const char* name) const {
  const auto found = query.find(name);
  return found == query.end() ? "" : found->second;
}

MemoryS3::Asked MemoryS3::TakeApart(const ServedRequest& request) {
  Asked asked{.request = request, .key = Unescape(request.path()).substr(1), .query = {}};
  const std::string query = request.query();
  for (std::size_t at = 0; at < query.size();) {
    const std::size_t end = std::min(query.find('&', at), query.size());
    const std::string part = query.substr(at, end - at);
    const std::size_t equals = std::min(part.find('='), part.size());
    asked.query[Unescape(part.substr(0, equals))] =
        equals < part.size() ? Unescape(part.substr(equals + 1)) : "";
    at = end + 1;
  }
  return asked;
}

void MemoryS3::Handle(const ServedRequest& request, ServedPeer& peer) {
  std::string body = peer.ReadBody(request);
  const Asked asked = TakeApart(request);
  if (asked.key.empty()) {
    Send(peer, asked.Has("objects") ? Objects() : Requests(), false);
    return;
  }
  if (options_.latency.count() > 0) std::this_thread::sleep_for(options_.latency);
  Reply reply;
  {
    const std::lock_guard lock(mu_);
    Count(asked, body.size());
    auto refused = Refuse(asked, body);
    reply = refused ? *std::move(refused) : Answer(asked, std::move(body));
  }
  Complement(asked, reply);
  Send(peer, reply, request.method == "HEAD");
}

bool MemoryS3::IsDamaged(const Asked& asked, std::string_view body) {
  const std::string said = asked.request.header("x-amz-content-sha256");
  return said.size() == 64 && said != http::Hex(http::Sha256(body));
}

std::optional<MemoryS3::Reply> MemoryS3::Refuse(const Asked& asked, std::string_view body) const {
  if (!options_.check_payloads || !IsDamaged(asked, body)) return std::nullopt;
  return Failure(400, "XAmzContentSHA256Mismatch");
}

std::size_t MemoryS3::DefaultPageKeys() const {
  return kPageKeys;
}

std::string MemoryS3::ShownKey(const Asked&, std::string_view key) const {
  return http::EscapeXml(key);
}

std::vector<std::string> MemoryS3::SumHeaders(const Asked&, const std::vector<Piece>&) const {
  return {};
}

std::string MemoryS3::PartTag(const Piece&) {
  return fmt::format("\"{:032x}\"", ++last_tag_);
}

std::optional<MemoryS3::Reply> MemoryS3::CheckParts(const Upload&, std::string_view) const {
  return std::nullopt;
}

bool MemoryS3::IgnoresOddRanges(const Asked&) const {
  return false;
}

void MemoryS3::Complement(const Asked&, Reply&) const {}

MemoryS3::Reply MemoryS3::BucketInfo(const Asked&) const {
  return Failure(404, "NoSuchKey");
}

void MemoryS3::Count(const Asked& asked, std::size_t body_bytes) {
  ++counts_[asked.Has("list-type") ? "LIST" : asked.request.method];
  if (asked.key.ends_with("/lock.json")) ++counts_["LEASE"];
  if (asked.request.method == "PUT") counts_["PUT-BYTES"] += body_bytes;
}

MemoryS3::Reply MemoryS3::Requests() const {
  const std::lock_guard lock(mu_);
  Reply reply;
  for (const auto& [method, count] : counts_) reply.body += fmt::format("{} {}\n", method, count);
  return reply;
}

MemoryS3::Reply MemoryS3::Objects() const {
  const std::lock_guard lock(mu_);
  Reply reply;
  for (const auto& [key, object] : objects_) {
    const std::chrono::duration<double> since = object.seen_since.time_since_epoch();
    reply.body += fmt::format("{} {} {:.6f}\n", key, object.size_bytes, since.count());
  }
  return reply;
}

MemoryS3::Reply MemoryS3::Answer(const Asked& asked, std::string body) {
  const std::string& method = asked.request.method;
  if (method == "PUT") return Put(asked, std::move(body));
  if (method == "POST") return Post(asked, std::move(body));
  if (method == "DELETE") return Delete(asked);
  if (asked.Has("list-type")) return List(asked);
  if (asked.key.find('/') + 1 >= asked.key.size()) return BucketInfo(asked);
  return Get(asked);
}

std::optional<MemoryS3::Reply> MemoryS3::Condition(const Asked& asked) const {
  const auto found = objects_.find(asked.key);
  const std::string wanted = asked.request.header("if-match");
  const bool must_be_absent = asked.request.header("if-none-match") == "*";
  if (must_be_absent && found != objects_.end()) return Failure(412, "PreconditionFailed");
  if (wanted.empty()) return std::nullopt;
  if (found == objects_.end()) return Failure(404, "NoSuchKey");
  if (wanted == found->second.tag) return std::nullopt;
  return Failure(412, "PreconditionFailed");
}

std::string MemoryS3::Content(const Object& object) {
  std::string content;
  for (const Piece& piece : object.pieces) content += *piece;
  return content;
}

std::string MemoryS3::Store(const std::string& key, std::vector<Piece> pieces,
                            std::vector<std::string> headers) {
  Object object{.pieces = std::move(pieces),
                .tag = fmt::format("\"{:032x}\"", ++last_tag_),
                .modified = FormatTimestamp(Clock::Real().Now()),
                .seen_since = std::chrono::steady_clock::now(),
                .headers = std::move(headers)};
  for (const Piece& piece : object.pieces) object.size_bytes += piece->size();
  const auto old = objects_.find(key);
  if (old != objects_.end() && key.ends_with(".ltx")) {
    counts_["REPLACED"] += Content(old->second) != Content(object);
  }
  std::string tag = object.tag;
  objects_[key] = std::move(object);
  return tag;
}

std::vector<std::string> MemoryS3::MetaHeaders(const ServedRequest& request) const {
  std::vector<std::string> headers;
  for (const auto& [name, value] : request.headers) {
    if (name.starts_with(meta_prefix())) headers.push_back(fmt::format("{}: {}", name, value));
  }
  return headers;
}

MemoryS3::Reply MemoryS3::Put(const Asked& asked, std::string body) {
  auto piece = std::make_shared<const std::string>(std::move(body));
  if (asked.Has("partNumber")) {
    const auto upload = uploads_.find(asked.Of("uploadId"));
    if (upload == uploads_.end()) return Failure(404, "NoSuchUpload");
    const int number = std::stoi(asked.Of("partNumber"));
    Reply reply{.headers = SumHeaders(asked, {piece})};
    upload->second.tags[number] = PartTag(piece);
    reply.headers.push_back("ETag: " + upload->second.tags[number]);
    upload->second.parts[number] = std::move(piece);
    return reply;
  }
  if (asked.key.find('/') == std::string::npos) return {};  // A bucket.
  if (auto refused = Condition(asked)) return *std::move(refused);
  Reply reply{.headers = SumHeaders(asked, {piece})};
  reply.headers.push_back("ETag: " +
                          Store(asked.key, {std::move(piece)}, MetaHeaders(asked.request)));
  return reply;
}

MemoryS3::Reply MemoryS3::Get(const Asked& asked) const {
  const auto found = objects_.find(asked.key);
  if (found == objects_.end()) return Failure(404, "NoSuchKey");
  const Object& object = found->second;
  Reply reply{.headers = object.headers, .pieces = object.pieces, .length = object.size_bytes};
  reply.headers.push_back("ETag: " + object.tag);
  for (std::string& header : SumHeaders(asked, object.pieces)) {
    reply.headers.push_back(std::move(header));
  }
  const std::string range = asked.request.header("range");
  if (!range.starts_with("bytes=")) return reply;
  const std::size_t dash = range.find('-');
  const std::uint64_t first = std::stoull(range.substr(6, dash - 6));
  const std::string last = range.substr(dash + 1);
  const bool is_odd =
      first >= object.size_bytes || (!last.empty() && std::stoull(last) >= object.size_bytes);
  if (is_odd && IgnoresOddRanges(asked)) return reply;
  if (first >= object.size_bytes) return Failure(416, "InvalidRange");
  reply.offset = first;
  const std::uint64_t end = last.empty()
                                ? object.size_bytes
                                : std::min<std::uint64_t>(object.size_bytes, std::stoull(last) + 1);
  reply.status = 206;
  reply.length = end - reply.offset;
  reply.headers.push_back(
      fmt::format("Content-Range: bytes {}-{}/{}", reply.offset, end - 1, object.size_bytes));
  return reply;
}

MemoryS3::Reply MemoryS3::List(const Asked& asked) const {
  const std::string bucket = asked.bucket() + "/";
  const std::string prefix = bucket + asked.Of("prefix");
  const std::string delimiter = asked.Of("delimiter");
  const std::string wanted = asked.Of("max-keys");
  const std::size_t limit = wanted.empty() ? DefaultPageKeys() : std::stoul(wanted);
  const std::string after =
      bucket + std::max(asked.Of("start-after"), asked.Of("continuation-token"));
  std::string entries;
  std::string last;
  std::size_t count = 0;
  bool truncated = false;
  auto at = after > prefix ? objects_.upper_bound(after) : objects_.lower_bound(prefix);
  while (at != objects_.end() && at->first.starts_with(prefix)) {
    if (count == limit) {
      truncated = true;
      break;
    }
    ++count;
    const std::size_t cut =
        delimiter.empty() ? std::string::npos : at->first.find(delimiter, prefix.size());
    if (cut != std::string::npos) {
      const std::string folder = at->first.substr(0, cut + delimiter.size());
      entries += fmt::format("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                             ShownKey(asked, folder.substr(bucket.size())));
      last = folder + "\xff";
      at = objects_.upper_bound(last);
    } else {
      entries += fmt::format(
          "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>"
          "</Contents>",
          ShownKey(asked, at->first.substr(bucket.size())), at->second.modified,
          http::EscapeXml(at->second.tag), at->second.size_bytes);
      last = at->first;
      ++at;
    }
  }
  return {.body = fmt::format(
              "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"{}\"><IsTruncated>{}</IsTruncated>"
              "<NextContinuationToken>{}</NextContinuationToken>{}</ListBucketResult>",
              kNamespace, truncated, truncated ? ShownKey(asked, last.substr(bucket.size())) : "",
              entries)};
}

MemoryS3::Reply MemoryS3::Post(const Asked& asked, std::string body) {
  if (asked.Has("delete")) return DeleteMany(asked, body);
  if (asked.Has("uploads")) {
    if (auto refused = Condition(asked)) return *std::move(refused);
    const std::string id = fmt::format("upload-{}", ++last_tag_);
    Upload& upload = uploads_[id];
    upload.key = asked.key;
    upload.headers = MetaHeaders(asked.request);
    return {.body = fmt::format("<InitiateMultipartUploadResult><UploadId>{}</UploadId>"
                                "</InitiateMultipartUploadResult>",
                                id)};
  }
  const auto upload = uploads_.find(asked.Of("uploadId"));
  if (upload == uploads_.end()) return Failure(404, "NoSuchUpload");
  return Complete(asked, Upload(upload->second), body);
}

MemoryS3::Reply MemoryS3::Complete(const Asked& asked, const Upload& upload,
                                   std::string_view body) {
  if (auto refused = Condition(asked)) return *std::move(refused);
  if (auto refused = CheckParts(upload, body)) return *std::move(refused);
  std::vector<Piece> pieces;
  for (const auto& [number, piece] : upload.parts) pieces.push_back(piece);
  Reply reply{.headers = SumHeaders(asked, pieces)};
  const std::string tag = Store(upload.key, std::move(pieces), upload.headers);
  uploads_.erase(asked.Of("uploadId"));
  reply.body =
      fmt::format("<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
                  http::EscapeXml(tag));
  return reply;
}

MemoryS3::Reply MemoryS3::DeleteMany(const Asked& asked, std::string_view body) {
  const auto root = http::ParseXml(body);
  if (!root.ok()) return Failure(400, "MalformedXML");
  const std::string bucket = asked.bucket() + "/";
  std::string deleted;
  for (const http::XmlElement& object : root.value().children) {
    if (object.name != "Object") continue;
    const std::string key = object.TextOf("Key");
    objects_.erase(bucket + key);
    deleted += fmt::format("<Deleted><Key>{}</Key></Deleted>", ShownKey(asked, key));
  }
  return {.body = fmt::format("<DeleteResult>{}</DeleteResult>", deleted)};
}

MemoryS3::Reply MemoryS3::Delete(const Asked& asked) {
  if (asked.Has("uploadId")) {
    uploads_.erase(asked.Of("uploadId"));
    return {.status = 204};
  }
  if (auto refused = Condition(asked)) return *std::move(refused);
  objects_.erase(asked.key);
  return {.status = 204};
}

void MemoryS3::Send(ServedPeer& peer, const Reply& reply, bool head) const {
  const bool in_pieces = !reply.pieces.empty();
  std::string text = fmt::format("HTTP/1.1 {} x\r\n", reply.status);
  for (const std::string& header : reply.headers) text += header + "\r\n";
  text += fmt::format("Content-Length: {}\r\n\r\n", in_pieces ? reply.length : reply.body.size());
  if (head || !in_pieces) {
    peer.Send(head ? text : text + reply.body);
    return;
  }
  peer.Send(text);
  constexpr std::size_t kStep = 256 * 1024;
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t skip = reply.offset;
  std::uint64_t left = reply.length;
  for (const Piece& piece : reply.pieces) {
    std::string_view bytes = *piece;
    const auto skipped = std::min<std::uint64_t>(skip, bytes.size());
    skip -= skipped;
    bytes.remove_prefix(static_cast<std::size_t>(skipped));
    while (!bytes.empty() && left > 0 && !peer.closed()) {
      const std::string_view part =
          bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, kStep)));
      peer.Send(part);
      bytes.remove_prefix(part.size());
      left -= part.size();
      if (options_.bytes_per_second == 0) continue;
      std::this_thread::sleep_until(
          begin +
          std::chrono::microseconds((reply.length - left) * 1'000'000 / options_.bytes_per_second));
    }
  }
}

void ServeUntilInputEnds(MemoryS3& store) {
  const HttpServer server(
      [&store](const ServedRequest& request, ServedPeer& peer) { store.Handle(request, peer); });
  std::printf("%s\n", server.url().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

}  // namespace litestream
