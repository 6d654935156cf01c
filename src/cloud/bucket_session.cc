#include "cloud/bucket_session.h"

#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "http/date.h"
#include "http/xml.h"

namespace litestream::cloud {
namespace {

constexpr int kOk = 200;
constexpr int kInternalServerError = 500;

// <Error> in a body of status 200: the server noticed too late.
bool HasErrorBody(const http::Response& response) {
  if (response.status != kOk || response.body.find("<Error>") == std::string::npos) return false;
  const auto parsed = http::ParseXml(response.body);
  return parsed.ok() && parsed.value().name == "Error";
}

}  // namespace

std::optional<std::uint64_t> CrcOf(const http::Headers& headers) {
  const std::string text = http::HeaderValue(headers, kCrcHeader);
  std::uint64_t crc = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || std::from_chars(text.data(), end, crc).ptr != end) return std::nullopt;
  return crc;
}

WallTime BucketSession::Now() const {
  return clock_.Now() + std::chrono::milliseconds(clock_offset_ms_.load());
}

bool BucketSession::LearnTime(const http::Headers& headers) {
  const WallTime server = http::ParseDate(http::HeaderValue(headers, "date"));
  if (server == WallTime()) return false;
  clock_offset_ms_ = (server - clock_.Now()).count();
  return true;
}

Verdict BucketSession::CheckSum(const BucketCall& call, const http::Response& response) const {
  const auto crc = CrcOf(response.headers);
  if (!call.body_crc64 || !crc || *crc == *call.body_crc64) return {};
  return {.error = Error(ErrorCode::kUnavailable,
                         fmt::format("{}: crc is inconsistent: the server got {} instead of {}",
                                     Doing(call), *crc, *call.body_crc64))};
}

Verdict BucketSession::Judge(const BucketCall& call, const http::Response& response,
                             const http::SigningKeys& keys) {
  if (response.status < 300 && !HasErrorBody(response)) return CheckSum(call, response);
  http::Response answer = response;
  if (answer.status == kOk) answer.status = kInternalServerError;
  Refusal refusal = Understand(call, answer);
  Verdict verdict{.error = std::move(refusal.error)};
  if (refusal.is_busy) verdict.retry_after = http::RetryAfter(answer.headers, clock_.Now());
  if (refusal.is_clock_skew && LearnTime(answer.headers)) verdict.again = true;
  if (refusal.is_credentials && RenewKeys(keys)) verdict.again = true;
  return verdict;
}

Call BucketSession::Repeatable(BucketCall call) {
  // What the request is and which keys signed it last: shared by the two that know of it.
  struct State {
    BucketCall call;
    http::SigningKeys keys;
  };
  const int accepted_status = call.accepted_status;
  const auto state = std::make_shared<State>(State{.call = std::move(call), .keys = {}});
  return {.make = [this, state](const Context& ctx) { return Sign(ctx, state->call, state->keys); },
          .judge =
              [this, state](const http::Response& response) {
                return Judge(state->call, response, state->keys);
              },
          .accepted_status = accepted_status};
}

Result<std::unique_ptr<http::Exchange>> BucketSession::Open(const Context& ctx,
                                                            const BucketCall& call) {
  return caller_.Open(ctx, Repeatable(call));
}

Result<http::Response> BucketSession::Do(const Context& ctx, const BucketCall& call) {
  return caller_.Do(ctx, Repeatable(call));
}

PendingCall BucketSession::Begin(const Context& ctx, BucketCall call) {
  return caller_.Begin(ctx, Repeatable(std::move(call)));
}

Result<http::Response> BucketSession::Finish(const Context& ctx, PendingCall& pending) {
  return caller_.Finish(ctx, pending);
}

}  // namespace litestream::cloud
