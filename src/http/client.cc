#include "http/client.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "http/engine.h"
#include "http/transfer.h"

namespace litestream::http {

Client::Client(const ClientOptions& options)
    : options_(options), engine_(std::make_shared<Engine>(options)) {}
Client::~Client() = default;

Result<std::unique_ptr<Exchange>> Client::Begin(const Context& ctx, const Request& request) {
  auto exchange = LS_TRY(engine_->Start(ctx, request, engine_));
  if (request.source != nullptr) {
    LS_TRY(exchange->Send(ctx, *request.source, request.source_bytes));
  }
  return exchange;
}

Result<Response> Client::Do(const Context& ctx, const Request& request,
                            std::size_t max_response_bytes) {
  const auto exchange = LS_TRY(Begin(ctx, request));
  return exchange->Finish(ctx, max_response_bytes);
}

Exchange::Exchange(std::shared_ptr<Engine> engine, IoThread& thread,
                   std::shared_ptr<Transfer> transfer)
    : engine_(std::move(engine)), thread_(thread), transfer_(std::move(transfer)) {}

Exchange::~Exchange() {
  transfer_->Abandon();
  thread_.Touch(transfer_);
}

Result<void> Exchange::Send(const Context& ctx, ByteSource& source,
                            std::optional<std::uint64_t> size) {
  std::string piece;
  std::uint64_t done_bytes = 0;
  for (;;) {
    if (!LS_TRY(transfer_->WaitForDemand(ctx))) {
      // An answer before the end: what is left is not wanted. A transfer that waits for more of the
      // body would not end.
      transfer_->EndSupply();
      thread_.Touch(transfer_);
      return {};
    }
    piece.resize(kStreamBufferBytes);
    const std::size_t count = LS_TRY(
        ReadFull(ctx, source, std::as_writable_bytes(std::span(piece.data(), piece.size()))));
    piece.resize(count);
    done_bytes += count;
    const bool ended = count < kStreamBufferBytes;
    if (size && (done_bytes > *size || (ended && done_bytes < *size))) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("{}: the body has {} {} bytes instead of {}", transfer_->name(),
                               ended ? "only" : "at least", done_bytes, *size));
    }
    if (count > 0) transfer_->Supply(piece);
    if (ended) transfer_->EndSupply();
    thread_.Touch(transfer_);
    if (ended) return {};
  }
}

Result<void> Exchange::Wait(const Context& ctx) {
  if (waited_) return {};
  LS_TRY(transfer_->WaitForHeaders(ctx, status_, headers_));
  waited_ = true;
  return {};
}

Result<std::size_t> Exchange::Read(const Context& ctx, std::span<std::byte> out) {
  LS_TRY(Wait(ctx));
  LS_TRY(ctx.Check());
  if (out.empty()) return std::size_t{0};
  if (piece_done_ == piece_.size()) {
    piece_ = LS_TRY(transfer_->WaitForData(ctx));
    piece_done_ = 0;
    // The network may have stopped because nobody read.
    if (piece_.size() >= kStreamBufferBytes) thread_.Touch(transfer_);
  }
  const std::size_t count = std::min(out.size(), piece_.size() - piece_done_);
  if (count > 0) std::memcpy(out.data(), piece_.data() + piece_done_, count);
  piece_done_ += count;
  return count;
}

Result<Response> Exchange::Finish(const Context& ctx, std::size_t max_bytes) {
  LS_TRY(Wait(ctx));
  Response response{.status = status_, .headers = headers_, .body = {}};
  const MonoTime latest = ctx.clock().Monotonic() + kMaxAnswerTime;
  for (;;) {
    const std::size_t old = response.body.size();
    constexpr std::size_t kStep = 16 * 1024;
    response.body.resize(old + kStep);
    const std::size_t count =
        LS_TRY(Read(ctx, std::as_writable_bytes(std::span(response.body.data() + old, kStep))));
    response.body.resize(old + count);
    if (count == 0) return response;
    // A byte now and then is no stall, and would never end.
    if (ctx.clock().Monotonic() >= latest) {
      return Error(ErrorCode::kTimeout,
                   fmt::format("{}: the answer is too slow: {} bytes of it came in {} s",
                               transfer_->name(), response.body.size(), kMaxAnswerTime.count()));
    }
    if (response.body.size() > max_bytes) {
      return Error(ErrorCode::kUnavailable, fmt::format("{}: the answer is larger than {} bytes",
                                                        transfer_->name(), max_bytes));
    }
  }
}

}  // namespace litestream::http
