#include "tests/support/memory_s3.h"

#include <algorithm>
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

std::string ErrorBody(std::string_view code) {
  return fmt::format(
      "<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>of a test</Message></Error>", code);
}

}  // namespace

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
  if (options_.check_payloads && IsDamaged(asked, body)) {
    Send(peer, {.status = 400, .body = ErrorBody("XAmzContentSHA256Mismatch")}, false);
    return;
  }
  if (options_.latency.count() > 0) std::this_thread::sleep_for(options_.latency);
  Reply reply;
  {
    const std::lock_guard lock(mu_);
    Count(asked, body.size());
    reply = Answer(asked, std::move(body));
  }
  Send(peer, reply, request.method == "HEAD");
}

bool MemoryS3::IsDamaged(const Asked& asked, std::string_view body) {
  const std::string said = asked.request.header("x-amz-content-sha256");
  return said.size() == 64 && said != http::Hex(http::Sha256(body));
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
  return Get(asked);
}

int MemoryS3::Refused(const Asked& asked) const {
  const auto found = objects_.find(asked.key);
  const std::string wanted = asked.request.header("if-match");
  if (asked.request.header("if-none-match") == "*" && found != objects_.end()) return 412;
  if (wanted.empty()) return 0;
  if (found == objects_.end()) return 404;
  return wanted == found->second.tag ? 0 : 412;
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

MemoryS3::Reply MemoryS3::Put(const Asked& asked, std::string body) {
  auto piece = std::make_shared<const std::string>(std::move(body));
  if (asked.Has("partNumber")) {
    const auto upload = uploads_.find(asked.Of("uploadId"));
    if (upload == uploads_.end()) return {.status = 404, .body = ErrorBody("NoSuchUpload")};
    upload->second.parts[std::stoi(asked.Of("partNumber"))] = std::move(piece);
    return {.headers = {fmt::format("ETag: \"{:032x}\"", ++last_tag_)}};
  }
  if (asked.key.find('/') == std::string::npos) return {};  // A bucket.
  const int refused = Refused(asked);
  if (refused != 0) {
    return {.status = refused,
            .body = ErrorBody(refused == 412 ? "PreconditionFailed" : "NoSuchKey")};
  }
  std::vector<std::string> headers;
  for (const auto& [name, value] : asked.request.headers) {
    if (name.starts_with("x-amz-meta-")) headers.push_back(fmt::format("{}: {}", name, value));
  }
  return {.headers = {"ETag: " + Store(asked.key, {std::move(piece)}, std::move(headers))}};
}

MemoryS3::Reply MemoryS3::Get(const Asked& asked) const {
  const auto found = objects_.find(asked.key);
  if (found == objects_.end()) return {.status = 404, .body = ErrorBody("NoSuchKey")};
  const Object& object = found->second;
  Reply reply{.headers = object.headers, .pieces = object.pieces, .length = object.size_bytes};
  reply.headers.push_back("ETag: " + object.tag);
  const std::string range = asked.request.header("range");
  if (!range.starts_with("bytes=")) return reply;
  const std::size_t dash = range.find('-');
  reply.offset = std::stoull(range.substr(6, dash - 6));
  if (reply.offset >= object.size_bytes) return {.status = 416, .body = ErrorBody("InvalidRange")};
  const std::string last = range.substr(dash + 1);
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
  const std::string bucket = asked.key.substr(0, asked.key.find('/')) + "/";
  const std::string prefix = bucket + asked.Of("prefix");
  const std::string delimiter = asked.Of("delimiter");
  const std::string wanted = asked.Of("max-keys");
  const std::size_t limit = wanted.empty() ? kPageKeys : std::stoul(wanted);
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
                             http::EscapeXml(folder.substr(bucket.size())));
      last = folder + "\xff";
      at = objects_.upper_bound(last);
    } else {
      entries += fmt::format(
          "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>"
          "</Contents>",
          http::EscapeXml(at->first.substr(bucket.size())), at->second.modified,
          http::EscapeXml(at->second.tag), at->second.size_bytes);
      last = at->first;
      ++at;
    }
  }
  return {.body = fmt::format(
              "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"{}\"><IsTruncated>{}</IsTruncated>"
              "<NextContinuationToken>{}</NextContinuationToken>{}</ListBucketResult>",
              kNamespace, truncated, truncated ? http::EscapeXml(last.substr(bucket.size())) : "",
              entries)};
}

MemoryS3::Reply MemoryS3::Post(const Asked& asked, std::string body) {
  if (asked.Has("delete")) return DeleteMany(asked, body);
  if (asked.Has("uploads")) {
    const std::string id = fmt::format("upload-{}", ++last_tag_);
    Upload& upload = uploads_[id];
    upload.key = asked.key;
    for (const auto& [name, value] : asked.request.headers) {
      if (name.starts_with("x-amz-meta-")) {
        upload.headers.push_back(fmt::format("{}: {}", name, value));
      }
    }
    return {.body = fmt::format("<InitiateMultipartUploadResult><UploadId>{}</UploadId>"
                                "</InitiateMultipartUploadResult>",
                                id)};
  }
  const auto upload = uploads_.find(asked.Of("uploadId"));
  if (upload == uploads_.end()) return {.status = 404, .body = ErrorBody("NoSuchUpload")};
  return Complete(asked, Upload(upload->second));
}

MemoryS3::Reply MemoryS3::Complete(const Asked& asked, const Upload& upload) {
  const int refused = Refused(asked);
  if (refused != 0) return {.status = refused, .body = ErrorBody("PreconditionFailed")};
  std::vector<Piece> pieces;
  for (const auto& [number, piece] : upload.parts) pieces.push_back(piece);
  const std::string tag = Store(upload.key, std::move(pieces), upload.headers);
  uploads_.erase(asked.Of("uploadId"));
  return {.body = fmt::format("<CompleteMultipartUploadResult><ETag>{}</ETag>"
                              "</CompleteMultipartUploadResult>",
                              http::EscapeXml(tag))};
}

MemoryS3::Reply MemoryS3::DeleteMany(const Asked& asked, std::string_view body) {
  const auto root = http::ParseXml(body);
  if (!root.ok()) return {.status = 400, .body = ErrorBody("MalformedXML")};
  const std::string bucket = asked.key.substr(0, asked.key.find('/')) + "/";
  std::string deleted;
  for (const http::XmlElement& object : root.value().children) {
    if (object.name != "Object") continue;
    const std::string key = object.TextOf("Key");
    objects_.erase(bucket + key);
    deleted += fmt::format("<Deleted><Key>{}</Key></Deleted>", http::EscapeXml(key));
  }
  return {.body = fmt::format("<DeleteResult>{}</DeleteResult>", deleted)};
}

MemoryS3::Reply MemoryS3::Delete(const Asked& asked) {
  if (asked.Has("uploadId")) {
    uploads_.erase(asked.Of("uploadId"));
    return {.status = 204};
  }
  const int refused = Refused(asked);
  if (refused != 0) return {.status = refused, .body = ErrorBody("PreconditionFailed")};
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

}  // namespace litestream
