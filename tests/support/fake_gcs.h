#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/fake_google_tokens.h"
#include "tests/support/http_server.h"

namespace litestream {

// A bucket of Google Cloud Storage in memory, behind the JSON API as its documentation has it
// (cloud.google.com/storage/docs):
//   json_api/v1/objects/{list,get,insert,delete}  parameters, paging (1000 at most), `fields`
//   performing-resumable-uploads                  256 KiB, 308 and Range, "bytes */*", 410, 499
//   request-preconditions                         generations
//   data-validation                               CRC32C of uploads (metadata, X-Goog-Hash) and
//   reads json_api/v1/status-codes                      what errors look like
//   request-endpoints#encoding                    names are percent-encoded, "/" too
// Whatever a request has that those do not name is an error. Every request shows a token that
// FakeGoogleTokens gave out; the URL of an upload is one itself. `fault` says what goes wrong.
//
// Beside the protocol: GET /?requests, a line "LIST 12" for each of LIST, GET, INSERT, CHUNK,
// STATUS, DELETE, and "REPLACED": LTX files that got another content. GET /?objects: a line
// "bucket/key SIZE SECONDS" for each, since when it can be seen (monotonic clock). GET /?uploads:
// how many are open.
class FakeGcs {
 public:
  static constexpr std::string_view kBucket = "litestream";

  enum class Fault : unsigned char {
    kNone,
    kUnavailable,   // 503
    kThrottled,     // 429
    kLoseAnswer,    // The work is done, and the connection ends.
    kKeepHalf,      // Of a chunk the first half arrives.
    kKeepHalf503,   // The same, with an error.
    kForgetUpload,  // 410
    kUnauthorized,  // 401: the token is good no longer.
    kDamage,        // A bit of the content is another one, of what is stored or sent.
    kForbidden,     // 403
    kTextless404,   // As some emulators say it.
  };
  // Asked about each request to storage. From several threads.
  using Plan = std::function<Fault(const ServedRequest&)>;

  explicit FakeGcs(Plan plan = {}) : plan_(std::move(plan)) {}

  void Handle(const ServedRequest& request, ServedPeer& peer);
  FakeGoogleTokens& tokens() { return tokens_; }
  // Who may be asked to pay: requests have to name it. "": the bucket pays.
  void set_user_project(std::string name) { user_project_ = std::move(name); }
  // No token is asked for.
  void set_open(bool open) { open_ = open; }

  std::map<std::string, std::uint64_t> requests() const;
  std::size_t open_uploads() const;
  std::map<std::string, std::string> metadata(const std::string& key) const;

 private:
  struct Object {
    std::shared_ptr<const std::string> content;  // Shared by the store and who is sent it.
    std::string json;                            // The resource.
    std::uint64_t generation = 0;
    std::string crc32c;
    std::string md5;
    std::map<std::string, std::string> metadata;
    std::chrono::steady_clock::time_point seen_since;
  };
  struct Upload {
    std::string key;
    std::string json;  // The metadata that came with it.
    std::string content_type;
    std::string host;  // Under which the server was asked.
    std::map<std::string, std::string> query;
    std::string content;
    std::string announced;    // Content length; "" if none was.
    std::string stored_json;  // Of the object, once it is there.
  };
  // A request taken apart.
  struct Asked {
    const ServedRequest& request;
    std::string body;
    Fault fault = Fault::kNone;
    std::map<std::string, std::string> query;
    bool Has(const std::string& name) const { return query.contains(name); }
    std::string Of(const std::string& name) const;
  };
  struct Reply {
    int status = 200;
    std::vector<std::string> headers;
    std::string body;
    // Sent instead of `body`, from `offset` on, `length` bytes.
    std::shared_ptr<const std::string> content;
    std::size_t offset = 0;
    std::size_t length = 0;
  };

  static Reply Refuse(int status, std::string_view reason, std::string_view message);
  Reply Answer(Asked& asked);
  Reply AnswerObject(const Asked& asked, const std::string& key);
  Reply List(const Asked& asked) const;
  Reply Get(const Asked& asked, const std::string& key) const;
  static Reply Media(const Asked& asked, const Object& object);
  Reply Delete(const Asked& asked, const std::string& key);
  Reply Insert(Asked& asked);
  Reply InsertMultipart(Asked& asked);
  Reply StartUpload(Asked& asked);
  Reply ToUpload(Asked& asked);
  Reply Chunk(Asked& asked, Upload& upload);
  Reply EndUpload(const Asked& asked, Upload& upload);
  // The reply if a condition does not hold.
  std::optional<Reply> Condition(const std::map<std::string, std::string>& query,
                                 const std::string& key) const;
  std::optional<Reply> CheckToken(const Asked& asked) const;
  // Stores it, if it is what `json` says it is. `hash` is that of a header.
  Reply Store(const Upload& upload, std::string content, Fault fault, std::string_view hash);
  void Count(const std::string& kind) const { ++counts_[kind]; }
  void Send(ServedPeer& peer, const Reply& reply, Fault fault) const;
  Reply Report(const ServedRequest& request) const;

  const Plan plan_;
  FakeGoogleTokens tokens_;
  std::string user_project_;
  bool open_ = false;
  mutable std::mutex mu_;
  std::map<std::string, Object> objects_;
  std::map<std::string, Upload> uploads_;  // By their ids.
  mutable std::map<std::string, std::uint64_t> counts_;
  std::uint64_t last_generation_ = 1'700'000'000'000'000;
  std::uint64_t last_upload_ = 0;
};

}  // namespace litestream
