#include "backend/webdav/resources.h"

#include <array>
#include <utility>

#include <fmt/core.h>

#include "backend/webdav/multistatus.h"
#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/date.h"

namespace litestream::webdav {
namespace {

constexpr int kNotFound = 404;
constexpr int kNotAllowed = 405;  // MKCOL of what is there.
constexpr int kConflict = 409;    // MKCOL without the collection above.
constexpr std::uint64_t kMaxListBytes = 512 << 20;
// A byte now and then is no stall, and would never end.
constexpr std::chrono::minutes kMaxListTime{10};

std::string PropfindBody() {
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
      "<propfind xmlns=\"DAV:\" xmlns:l=\"{}\"><prop><resourcetype/><getcontentlength/>"
      "<getlastmodified/><l:{}/></prop></propfind>",
      kOurNamespace, kCreatedAt);
}

Call Propfind(const std::string& path, std::string_view depth) {
  static const auto body = std::make_shared<const std::string>(PropfindBody());
  return {.method = "PROPFIND",
          .path = path,
          .headers = {{"Depth", std::string(depth)},
                      {"Content-Type", "application/xml; charset=utf-8"}},
          .body = body};
}

Error Broken(const Session& session, const std::string& path, std::string_view why) {
  return {ErrorCode::kUnavailable,
          fmt::format("webdav: list {}: {}", session.location().Describe(path), why)};
}

Result<void> FeedAll(const Context& ctx, http::Exchange& exchange, MultistatusReader& reader) {
  std::array<char, 16 * 1024> buffer;
  std::uint64_t bytes = 0;
  const MonoTime latest = ctx.clock().Monotonic() + kMaxListTime;
  for (;;) {
    const std::size_t count = LS_TRY(exchange.Read(ctx, std::as_writable_bytes(std::span(buffer))));
    if (count == 0) return reader.Finish();
    bytes += count;
    if (bytes > kMaxListBytes) return Error(ErrorCode::kUnsupported, "the answer does not end");
    LS_TRY(reader.Feed({buffer.data(), count}));
    if (ctx.clock().Monotonic() >= latest) {
      return Error(ErrorCode::kTimeout, "the answer is too slow");
    }
  }
}

Listed Convert(const Resource& resource, std::string_view name) {
  Listed listed{.name = std::string(name),
                .is_collection = resource.is_collection,
                .size_bytes = resource.size_bytes,
                .modified_at = http::ParseDate(resource.last_modified),
                .created_at = {}};
  if (resource.created_at) {
    if (const auto time = ParseTimestamp(*resource.created_at); time.ok()) {
      listed.created_at = time.value();
    }
  }
  return listed;
}

std::string_view WithoutSlash(std::string_view path) {
  return path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

// Takes one answer to a PROPFIND apart: what it says of the path itself, and of its members.
class Listing {
 public:
  explicit Listing(const std::string& path) : path_(path) {}

  Result<void> Take(const Resource& resource) {
    const auto path = PathOfHref(resource.href);
    if (!path) return Foreign(resource);
    if (WithoutSlash(*path) == WithoutSlash(path_)) {
      if (resource.status < 300) self_ = Convert(resource, "");
      return {};
    }
    // A server, or what stands before it, that answers about something else must not have us take
    // other files for ours.
    if (!path->starts_with(path_) || !path_.ends_with('/')) return Foreign(resource);
    const std::string_view name = WithoutSlash(std::string_view(*path).substr(path_.size()));
    // It went meanwhile; or we have not asked so deep.
    if (resource.status == kNotFound || name.find('/') != std::string_view::npos) return {};
    if (resource.status >= 300) {
      return Error(ErrorCode::kUnavailable,
                   fmt::format("the server says {} of {}", resource.status, http::Shown(name)));
    }
    if (members_.size() == kMaxMembers) {
      return Error(ErrorCode::kUnsupported,
                   fmt::format("more than {} files in one folder", kMaxMembers));
    }
    members_.push_back(Convert(resource, name));
    return {};
  }

  std::optional<Listed>& self() { return self_; }
  std::vector<Listed>& members() { return members_; }

 private:
  static Error Foreign(const Resource& resource) {
    return {ErrorCode::kUnavailable,
            fmt::format("the answer is about {}, which was not asked for; is there a proxy that "
                        "changes paths?",
                        http::Shown(resource.href))};
  }

  const std::string& path_;
  std::optional<Listed> self_;
  std::vector<Listed> members_;
};

// Unset: there is nothing.
Result<std::optional<Listing>> List(const Context& ctx, Session& session, const std::string& path,
                                    std::string_view depth) {
  std::optional<Listing> listing;
  const auto read = session.Read(
      ctx, Propfind(path, depth),
      [&](const Context& own, http::Exchange& exchange) -> Result<void> {
        if (exchange.status() != 207) {
          return Error(ErrorCode::kInvalidArgument,
                       fmt::format("webdav: list {}: the server answers {} without a list; it does "
                                   "not speak WebDAV there: correct webdav-url or path",
                                   session.location().Describe(path), exchange.status()));
        }
        listing.emplace(path);
        MultistatusReader reader(
            [&listing](const Resource& resource) { return listing->Take(resource); });
        LS_TRY(FeedAll(own, exchange, reader), "webdav: list {}",
               session.location().Describe(path));
        return {};
      });
  if (!read.ok() && read.error().Is(ErrorCode::kNotFound)) return std::optional<Listing>();
  LS_TRY(read);
  return listing;
}

}  // namespace

Result<std::optional<Listed>> Look(const Context& ctx, Session& session, const std::string& path) {
  auto listing = LS_TRY(List(ctx, session, path, "0"));
  if (!listing) return std::optional<Listed>();
  return std::move(listing->self());
}

Result<std::optional<std::vector<Listed>>> ListMembers(const Context& ctx, Session& session,
                                                       const std::string& collection) {
  auto listing = LS_TRY(List(ctx, session, collection, "1"));
  if (!listing) return std::optional<std::vector<Listed>>();
  if (!listing->self()) {
    return Broken(session, collection, "the answer does not name the folder itself");
  }
  if (!listing->self()->is_collection) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("webdav: {} is a file, no folder",
                                                          session.location().Describe(collection)));
  }
  return std::optional(std::move(listing->members()));
}

Result<void> CheckBase(const Context& ctx, Session& session) {
  const std::string& base = session.location().base;
  // Servers need not speak WebDAV at their front door.
  if (base == "/" || LS_TRY(Look(ctx, session, base))) return {};
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("webdav: {} is not there; create the folder, or correct webdav-url",
                           session.location().Describe(base)));
}

Result<void> Collections::Ensure(const Context& ctx, const std::string& path) {
  if (path == session_.location().base) return {};
  {
    MutexLock lock(mu_);
    if (known_.contains(path)) return {};
  }
  LS_TRY(Make(ctx, path));
  MutexLock lock(mu_);
  known_.insert(path);
  return {};
}

Result<void> Collections::Make(const Context& ctx, const std::string& path) {
  int status = 0;
  const Call call{
      .method = "MKCOL", .path = path, .accepted_status = kNotAllowed, .last_status = &status};
  auto made = session_.Do(ctx, call);
  if (!made.ok() && (status == kConflict || status == kNotFound)) {
    Forget();
    const std::string parent = path.substr(0, path.rfind('/', path.size() - 2) + 1);
    if (parent == session_.location().base) LS_TRY(CheckBase(ctx, session_));
    LS_TRY(Ensure(ctx, parent));
    made = session_.Do(ctx, call);
  }
  if (made.ok()) return {};
  // Of two who make it at the same time Apache tells one that this is forbidden.
  if (auto there = Look(ctx, session_, path); there.ok() && there.value()) {
    if (there.value()->is_collection) return {};
  }
  return std::move(made).error();
}

void Collections::Forget() {
  MutexLock lock(mu_);
  known_.clear();
}

}  // namespace litestream::webdav
