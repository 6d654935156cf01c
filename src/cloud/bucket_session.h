#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cloud/calls.h"
#include "http/client.h"
#include "http/sigv4.h"
#include "http/uri.h"
#include "litestream/clock.h"
#include "litestream/error.h"

namespace litestream::cloud {

// The CRC-64 of what a service got, or has: OSS tells it. Decimal.
inline constexpr std::string_view kCrcHeader = "x-oss-hash-crc64ecma";
// It, if an answer has it.
std::optional<std::uint64_t> CrcOf(const http::Headers& headers);

// One request to a bucket of a service that speaks as S3 does.
struct BucketCall {
  std::string method = "GET";
  std::optional<std::string> key;  // Unset: the bucket itself.
  http::QueryParameters query;
  http::Headers headers;
  std::shared_ptr<const std::string> body;  // Shared: see http::Request.
  bool with_customer_key = false;           // S3: SSE-C headers go with it.
  // The answer has to confirm this sum, if the service tells it, or the call is repeated.
  std::optional<std::uint64_t> body_crc64;
  int accepted_status = 0;  // A status from 300 that is no error; Open only.
};

// What a service says went wrong.
struct Refusal {
  Error error;
  bool is_credentials = false;  // Other keys, or the same ones renewed, may help.
  bool is_clock_skew = false;
  bool is_busy = false;  // It may say when to come again.
};

// Signed requests to one bucket. Repeats what may work the next time; the clock is corrected, and
// credentials are renewed, once. How requests are signed and what answers mean is up to the
// service. Safe for concurrent calls.
class BucketSession {
 public:
  // Borrows the client and the clock.
  BucketSession(http::Client& http, const RetryPolicy& policy, const Clock& clock)
      : caller_(http, policy), clock_(clock) {}
  virtual ~BucketSession() = default;
  BucketSession(const BucketSession&) = delete;
  BucketSession& operator=(const BucketSession&) = delete;

  // The answer, of a status below 300. Others are errors, with the code that Judge gives them.
  Result<http::Response> Do(const Context& ctx, const BucketCall& call);
  // The same, with the body still to come.
  Result<std::unique_ptr<http::Exchange>> Open(const Context& ctx, const BucketCall& call);
  // Several at a time: Begin does not wait for the answer, Finish does, and repeats like Do.
  PendingCall Begin(const Context& ctx, BucketCall call);
  Result<http::Response> Finish(const Context& ctx, PendingCall& pending);

 protected:
  // What time the server has, as far as we know.
  WallTime Now() const;

 private:
  // With the keys that `keys` then holds.
  virtual Result<http::Request> Sign(const Context& ctx, const BucketCall& call,
                                     http::SigningKeys& keys) = 0;
  // What an answer with a status from 300 means.
  virtual Refusal Understand(const BucketCall& call, const http::Response& response) const = 0;
  // The server refused these. False if there are no others to be had.
  virtual bool RenewKeys(const http::SigningKeys& keys) = 0;
  // What a call is, for people: "s3: GET bucket/key".
  virtual std::string Doing(const BucketCall& call) const = 0;

  // Takes note of what another attempt can use.
  Verdict Judge(const BucketCall& call, const http::Response& response,
                const http::SigningKeys& keys);
  Verdict CheckSum(const BucketCall& call, const http::Response& response) const;
  bool LearnTime(const http::Headers& headers);
  Call Repeatable(BucketCall call);

  const Caller caller_;
  const Clock& clock_;
  std::atomic<std::int64_t> clock_offset_ms_ = 0;  // The server's clock minus ours.
};

}  // namespace litestream::cloud
