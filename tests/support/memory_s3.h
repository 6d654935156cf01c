#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/http_server.h"

namespace litestream {

// Buckets in memory behind HTTP, for fleets and measurements: what our client asks of an S3 server,
// at a small price, over path-style URLs. Any bucket exists. Conditions, ranges, uploads in parts,
// pages of lists and deletes of many are as AWS documents them; signatures are not checked, which
// tests/support/radosgw.py is for. Every write has a tag of its own.
//
// Beside the protocol: GET /?requests answers with what was asked so far, a line "PUT 12" for each
// of PUT, GET, HEAD, LIST, POST, DELETE, for "LEASE", which are also among the others, and for the
// "PUT-BYTES", and "REPLACED": LTX files that got another content. GET /?objects: a line
// "bucket/key SIZE SECONDS" for each, since when it can be seen (monotonic clock).
class MemoryS3 {
 public:
  struct Options {
    std::chrono::milliseconds latency{0};  // Before each answer.
    std::uint64_t bytes_per_second = 0;    // Of what one connection is sent; 0: no limit.
    bool check_payloads = false;           // Bodies have the SHA-256 that the request says.
  };
  explicit MemoryS3(const Options& options) : options_(options) {}
  virtual ~MemoryS3() = default;
  MemoryS3(const MemoryS3&) = delete;
  MemoryS3& operator=(const MemoryS3&) = delete;

  void Handle(const ServedRequest& request, ServedPeer& peer);

 protected:
  using Piece = std::shared_ptr<const std::string>;  // Shared by the store and who is sent it.
  struct Object {
    std::vector<Piece> pieces;
    std::uint64_t size_bytes = 0;
    std::string tag;
    std::string modified;
    std::chrono::steady_clock::time_point seen_since;
    std::vector<std::string> headers;  // "x-amz-meta-...: ..." as they were given.
  };
  struct Upload {
    std::string key;
    std::vector<std::string> headers;
    std::map<int, Piece> parts;
    std::map<int, std::string> tags;
  };
  // A request taken apart.
  struct Asked {
    const ServedRequest& request;
    std::string key;  // "bucket/key", unescaped.
    std::map<std::string, std::string> query;
    bool Has(const char* name) const { return query.contains(name); }
    std::string Of(const char* name) const;
    std::string bucket() const { return key.substr(0, key.find('/')); }
  };
  struct Reply {
    int status = 200;
    std::vector<std::string> headers;
    std::string body;
    std::vector<Piece> pieces;  // Sent instead of `body`, from `offset` on, `length` bytes.
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  static Reply Failure(int status, std::string_view code);
  // By the key of the request.
  bool Exists(const Asked& asked) const { return objects_.contains(asked.key); }
  std::size_t OpenUploads() const { return uploads_.size(); }
  static std::string ErrorBody(std::string_view code);

  // ---- What differs from service to service.

  // A request that is refused whatever it asks for.
  virtual std::optional<Reply> Refuse(const Asked& asked, std::string_view body) const;
  // A condition of the request that does not hold.
  virtual std::optional<Reply> Condition(const Asked& asked) const;
  virtual std::string_view meta_prefix() const { return "x-amz-meta-"; }
  virtual std::size_t DefaultPageKeys() const;
  // As a list has it.
  virtual std::string ShownKey(const Asked& asked, std::string_view key) const;
  // Headers of an answer to an upload, and to a GET.
  virtual std::vector<std::string> SumHeaders(const Asked& asked,
                                              const std::vector<Piece>& pieces) const;
  // The ETag of a part.
  virtual std::string PartTag(const Piece& piece);
  // The body of a request that completes an upload; a failure if it does not fit.
  virtual std::optional<Reply> CheckParts(const Upload& upload, std::string_view body) const;
  // Whether all of an object is sent instead of a range that is not all in it.
  virtual bool IgnoresOddRanges(const Asked& asked) const;
  // What every answer has besides.
  virtual void Complement(const Asked& asked, Reply& reply) const;
  // Other requests to a bucket.
  virtual Reply BucketInfo(const Asked& asked) const;

 private:
  static Asked TakeApart(const ServedRequest& request);
  void Count(const Asked& asked, std::size_t body_bytes);
  Reply Answer(const Asked& asked, std::string body);
  static bool IsDamaged(const Asked& asked, std::string_view body);
  Reply Requests() const;
  Reply Objects() const;
  Reply Put(const Asked& asked, std::string body);
  Reply Get(const Asked& asked) const;
  Reply List(const Asked& asked) const;
  Reply Post(const Asked& asked, std::string body);
  Reply Complete(const Asked& asked, const Upload& upload, std::string_view body);
  Reply DeleteMany(const Asked& asked, std::string_view body);
  Reply Delete(const Asked& asked);
  static std::string Content(const Object& object);
  std::vector<std::string> MetaHeaders(const ServedRequest& request) const;
  std::string Store(const std::string& key, std::vector<Piece> pieces,
                    std::vector<std::string> headers);
  void Send(ServedPeer& peer, const Reply& reply, bool head) const;

  const Options options_;
  mutable std::mutex mu_;
  std::map<std::string, Object> objects_;
  std::map<std::string, Upload> uploads_;
  std::map<std::string, std::uint64_t> counts_;
  std::uint64_t last_tag_ = 0;
};

// Serves it on a free port of the loopback until the input of this process ends. Prints its URL.
void ServeUntilInputEnds(MemoryS3& store);

}  // namespace litestream
