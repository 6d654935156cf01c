#include "storage/lease.h"

#include <array>
#include <limits>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/try.h"
#include "format/names.h"

namespace litestream {
namespace {

// One for each change of hands that may come between a look and a write.
constexpr int kAcquireAttempts = 3;

Error NotHeld() {
  return {ErrorCode::kAlreadyExists, "lease not held"};
}

Error HeldBy(const LeaseRecord& record) {
  const std::string until = FormatTimestamp(record.expires_at);
  return {ErrorCode::kAlreadyExists,
          record.owner.empty()
              ? fmt::format("lease already held until {}", until)
              : fmt::format("lease already held by {} until {}", record.owner, until)};
}

Result<void> CheckArgument(const LeaseMark& mark) {
  if (mark.generation == 0) return Error(ErrorCode::kInvalidArgument, "lease required");
  if (mark.tag.empty()) return Error(ErrorCode::kInvalidArgument, "lease etag required");
  return {};
}

LeaseRecord RecordOf(const LeaseMark& mark) {
  return {.generation = mark.generation, .expires_at = {}, .owner = {}, .instance = mark.instance};
}

// A holder who takes up his own lease again is not a change of hands.
std::int64_t NextGeneration(const LeaseRecord& current, bool ours) {
  if (ours) return current.generation;
  return current.generation == std::numeric_limits<std::int64_t>::max() ? 1
                                                                        : current.generation + 1;
}

}  // namespace

std::string FormatLease(const LeaseRecord& record) {
  nlohmann::ordered_json json;
  json["generation"] = record.generation;
  json["expires_at"] = FormatTimestamp(record.expires_at);
  if (!record.owner.empty()) json["owner"] = record.owner;
  if (!record.instance.empty()) json["instance"] = record.instance;
  // Text that is not UTF-8 (a host name may be anything) must not throw.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Result<LeaseRecord> ParseLease(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error(ErrorCode::kCorruption, "lease is not a JSON object");
  const auto string_of = [&json](const char* key) {
    const auto it = json.find(key);
    return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  LeaseRecord record;
  const auto generation = json.find("generation");
  if (generation == json.end() || !generation->is_number_integer()) {
    return Error(ErrorCode::kCorruption, "lease has no number \"generation\"");
  }
  record.generation = generation->get<std::int64_t>();
  auto expires_at = ParseTimestamp(string_of("expires_at"));
  if (!expires_at.ok()) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("lease has no time \"expires_at\": {}", expires_at.error().message()));
  }
  record.expires_at = expires_at.value();
  record.owner = string_of("owner");
  record.instance = string_of("instance");
  return record;
}

std::string DefaultLeaseOwner() {
  std::array<char, 256> name = {};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') {
    return fmt::format("pid-{}", ::getpid());
  }
  return fmt::format("{}:{}", name.data(), ::getpid());
}

Result<std::optional<Lease>> Leaser::Look(const Context& ctx) {
  auto object = client_.GetObject(ctx, kLeaseName);
  if (!object.ok()) {
    if (object.error().Is(ErrorCode::kNotFound)) return std::optional<Lease>();
    return std::move(object).error().Wrap("read lease");
  }
  Lease lease;
  lease.record =
      LS_TRY(ParseLease(object.value().content), "read {} in {}", kLeaseName, client_.Describe());
  lease.tag = std::move(object).value().tag;
  return std::optional<Lease>(std::move(lease));
}

Result<Lease> Leaser::Put(const Context& ctx, LeaseRecord record, std::string_view tag,
                          WallTime expires_at) {
  const MonoTime begun = ctx.clock().Monotonic();
  record.expires_at = expires_at;
  record.owner = options_.owner;
  const std::string content = FormatLease(record);
  auto put = client_.PutObject(ctx, kLeaseName, content, tag);
  if (!put.ok() && put.error().Is(ErrorCode::kAlreadyExists) && !record.instance.empty()) {
    // Perhaps an earlier attempt of ours arrived and only its answer did not. Nobody else writes
    // this instance, and we write it only over itself: if it is there, nobody came between.
    const auto now = LS_TRY(Look(ctx));
    if (now && now->record.instance == record.instance) {
      put = client_.PutObject(ctx, kLeaseName, content, now->tag);
    }
  }
  Lease lease{.record = std::move(record),
              .tag = LS_TRY(std::move(put), "write lease"),
              .valid_until = begun + options_.time_to_live};
  return lease;
}

bool Leaser::IsOurs(const LeaseRecord& record) const {
  return !options_.instance.empty() && record.instance.starts_with(options_.instance + "-");
}

Result<Lease> Leaser::Acquire(const Context& ctx, std::optional<LeaseRecord>* holder,
                              const std::function<bool(const LeaseRecord&)>& is_stale) {
  LeaseRecord record;
  if (!options_.instance.empty()) {
    const std::string mine =
        options_.nonce.empty() ? std::to_string(++acquisitions_) : options_.nonce;
    record.instance = fmt::format("{}-{}", options_.instance, mine);
  }
  for (int attempt = 0; attempt < kAcquireAttempts; ++attempt) {
    const auto current = LS_TRY(Look(ctx));
    const bool ours = current && IsOurs(current->record);
    const bool stale = current && is_stale && is_stale(current->record);
    if (current && !ours && !stale && ctx.clock().Now() <= current->record.expires_at) {
      if (holder != nullptr) *holder = current->record;
      return HeldBy(current->record);
    }
    record.generation = current ? NextGeneration(current->record, ours) : 1;
    auto lease = Put(ctx, record, current ? std::string_view(current->tag) : "",
                     ctx.clock().Now() + options_.time_to_live);
    if (lease.ok() || !lease.error().Is(ErrorCode::kAlreadyExists)) return lease;
    // Somebody was faster: the next look tells who, unless it was released again.
  }
  return Error(ErrorCode::kUnavailable, "lease changes hands right now; try again");
}

Result<Lease> Leaser::Renew(const Context& ctx, const Lease& lease) {
  return Renew(ctx, MarkOf(lease));
}

Result<Lease> Leaser::Renew(const Context& ctx, const LeaseMark& mark) {
  LS_TRY(CheckArgument(mark));
  auto renewed = Put(ctx, RecordOf(mark), mark.tag, ctx.clock().Now() + options_.time_to_live);
  if (!renewed.ok() && renewed.error().Is(ErrorCode::kAlreadyExists)) return NotHeld();
  return renewed;
}

Result<LeaseMark> Leaser::GiveUp(const Context& ctx, const LeaseMark& mark) {
  LS_TRY(CheckArgument(mark));
  auto left = Put(ctx, RecordOf(mark), mark.tag, WallTime());
  if (!left.ok() && left.error().Is(ErrorCode::kAlreadyExists)) return NotHeld();
  return MarkOf(LS_TRY(std::move(left)));
}

Result<void> Leaser::Release(const Context& ctx, const Lease& lease) {
  LS_TRY(CheckArgument(MarkOf(lease)));
  auto deleted = client_.DeleteObject(ctx, kLeaseName, lease.tag);
  if (!deleted.ok() && deleted.error().Is(ErrorCode::kAlreadyExists)) {
    // As in Put: perhaps we renewed it and never heard so.
    const auto now = LS_TRY(Look(ctx));
    if (!now || now->record.instance != lease.record.instance || now->record.instance.empty()) {
      return NotHeld();
    }
    deleted = client_.DeleteObject(ctx, kLeaseName, now->tag);
  }
  if (deleted.ok()) return {};
  if (deleted.error().Is(ErrorCode::kNotFound)) {
    return Error(ErrorCode::kNotFound, "lease already released");
  }
  if (deleted.error().Is(ErrorCode::kAlreadyExists)) return NotHeld();
  return std::move(deleted).error().Wrap("release lease");
}

}  // namespace litestream
