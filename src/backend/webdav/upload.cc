#include "backend/webdav/upload.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include <fmt/core.h>

#include "backend/webdav/multistatus.h"
#include "base/file_stream.h"
#include "base/temp_file.h"
#include "base/try.h"
#include "format/names.h"

namespace litestream::webdav {
namespace {

constexpr std::chrono::hours kDeadAfter{24};
constexpr std::size_t kTimeDigits = 12;
constexpr std::size_t kRandomDigits = 16;
constexpr std::string_view kTempEnd = ".tmp";

// What was read already, and then the rest.
class JoinedSource final : public ByteSource {
 public:
  JoinedSource(std::string_view front, ByteSource& rest)
      : front_(std::as_bytes(std::span(front))), rest_(rest) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    if (front_.empty()) return rest_.Read(ctx, out);
    LS_TRY(ctx.Check());
    const std::size_t count = std::min(out.size(), front_.size());
    std::copy_n(front_.begin(), count, out.begin());
    front_ = front_.subspan(count);
    return count;
  }

 private:
  std::span<const std::byte> front_;
  ByteSource& rest_;
};

// A body in a form that can be sent with its length.
class Body {
 public:
  Result<void> Read(const Context& ctx, const Options& options, ByteSource& source,
                    std::optional<std::uint64_t> announced);
  // Method and path are the caller's.
  Call MakeCall();
  std::uint64_t size_bytes() const { return size_bytes_; }
  // It flows from its source, once.
  bool flows() const { return joined_ != nullptr; }

 private:
  Result<bool> ReadFront(const Context& ctx, ByteSource& source, std::size_t limit);
  Result<void> Stage(const Context& ctx, const Options& options, ByteSource& source);

  std::uint64_t size_bytes_ = 0;
  std::shared_ptr<std::string> front_ = std::make_shared<std::string>();  // See http::Request.
  std::unique_ptr<ByteSource> joined_;
  std::unique_ptr<TempFile> staged_;
  std::unique_ptr<ByteSource> reader_;  // Of the staged file, for this attempt.
};

// Up to `limit` bytes; memory for what is there only. True: that is all.
Result<bool> Body::ReadFront(const Context& ctx, ByteSource& source, std::size_t limit) {
  constexpr std::size_t kStep = 64 * 1024;
  while (front_->size() < limit) {
    const std::size_t old = front_->size();
    const std::size_t want = std::min(kStep, limit - old);
    front_->resize(old + want);
    const std::size_t count = LS_TRY(
        ReadFull(ctx, source, std::as_writable_bytes(std::span(front_->data() + old, want))));
    front_->resize(old + count);
    if (count < want) return true;
  }
  return false;
}

Result<void> Body::Read(const Context& ctx, const Options& options, ByteSource& source,
                        std::optional<std::uint64_t> announced) {
  const bool all = LS_TRY(ReadFront(ctx, source, kMaxBodyInMemory));
  size_bytes_ = front_->size();
  if (announced && (all ? size_bytes_ != *announced : size_bytes_ > *announced)) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("the body has {}{} bytes instead of {}", all ? "" : "at least ",
                             size_bytes_, *announced));
  }
  if (all) return {};
  if (!announced) return Stage(ctx, options, source);
  size_bytes_ = *announced;
  joined_ = std::make_unique<JoinedSource>(*front_, source);
  return {};
}

Result<void> Body::Stage(const Context& ctx, const Options& options, ByteSource& source) {
  Env& env = *options.env;
  const std::filesystem::path& directory = options.stage_directory;
  staged_ = LS_TRY(TempFile::Create(env, directory / "litestream-webdav", {}),
                   "stage a file of unknown size");
  // It can be read without its name, and nothing stays of a process that is killed.
  static_cast<void>(env.Remove(staged_->path()));
  JoinedSource joined(*front_, source);
  FileSink sink(staged_->file());
  std::array<std::byte, 64 * 1024> buffer;
  for (;;) {
    const std::size_t count = LS_TRY(ReadFull(ctx, joined, buffer));
    LS_TRY(sink.Write(std::span(buffer).first(count)), "stage a file of unknown size in {}",
           directory.string());
    if (count < buffer.size()) break;
  }
  LS_TRY(sink.Flush(), "stage a file of unknown size in {}", directory.string());
  size_bytes_ = sink.size_bytes();
  *front_ = std::string();
  return {};
}

Call Body::MakeCall() {
  if (joined_ != nullptr) {
    return {.source = [this]() -> Result<ByteSource*> { return joined_.get(); },
            .source_bytes = size_bytes_,
            .once = true};
  }
  if (staged_ != nullptr) {
    return {.source = [this]() -> Result<ByteSource*> {
              reader_ = BorrowFileSource(staged_->file());
              return reader_.get();
            },
            .source_bytes = size_bytes_};
  }
  return {.body = front_};
}

std::uint64_t Random(Env& env) {
  std::array<std::byte, 8> bytes;
  env.Random(bytes);
  std::uint64_t number = 0;
  for (const std::byte byte : bytes) number = number << 8 | std::to_integer<std::uint64_t>(byte);
  return number;
}

class Uploader {
 public:
  Uploader(Session& session, Collections& collections, Traits& traits, const UploadTarget& target)
      : session_(session),
        collections_(collections),
        traits_(traits),
        target_(target),
        env_(*session.options().env),
        temp_(TempName(target.path, env_.clock().Now(), Random(env_))) {}

  Result<std::uint64_t> Run(const Context& ctx, ByteSource& source);

 private:
  Result<void> Prepare(const Context& ctx, bool flows);
  Result<void> Put(const Context& ctx, Body& body);
  Result<void> SetCreatedAt(const Context& ctx);
  Result<void> Publish(const Context& ctx);
  Result<bool> WasPublished(const Context& ctx);
  Call MoveCall(bool as_path, bool once, int* status) const;
  Result<http::Response> Move(const Context& ctx);

  Session& session_;
  Collections& collections_;
  Traits& traits_;
  const UploadTarget& target_;
  Env& env_;
  const std::string temp_;
};

Result<std::uint64_t> Uploader::Run(const Context& ctx, ByteSource& source) {
  Body body;
  LS_TRY(body.Read(ctx, session_.options(), source, target_.size_bytes), "webdav: {}",
         session_.location().Describe(target_.path));
  LS_TRY(Prepare(ctx, body.flows()));
  const auto stored = [&]() -> Result<void> {
    LS_TRY(Put(ctx, body));
    LS_TRY(SetCreatedAt(ctx));
    LS_TRY(ctx.Check());
    return Publish(ctx);
  }();
  if (!stored.ok()) {
    session_.DeleteQuietly(ctx, temp_);
    return stored.error();
  }
  return body.size_bytes();
}

Result<void> Uploader::Prepare(const Context& ctx, bool flows) {
  const std::string folder = target_.path.substr(0, target_.path.rfind('/') + 1);
  LS_TRY(collections_.Ensure(ctx, folder));
  if (!flows) return {};
  // What flows cannot be sent a second time. So it is known before that the folder is there, who we
  // are, and that nobody has the name.
  if (!LS_TRY(Look(ctx, session_, folder))) {
    collections_.Forget();
    LS_TRY(collections_.Ensure(ctx, folder));
  }
  if (target_.if_absent && LS_TRY(Look(ctx, session_, target_.path))) {
    return Error(
        ErrorCode::kAlreadyExists,
        fmt::format("webdav: {} is there already", session_.location().Describe(target_.path)));
  }
  return {};
}

Result<void> Uploader::Put(const Context& ctx, Body& body) {
  using std::chrono::seconds;
  const auto put = [&]() {
    Call call = body.MakeCall();
    call.method = "PUT";
    call.path = temp_;
    call.headers.push_back({"Content-Type", "application/octet-stream"});
    // Of ownCloud; others ignore it.
    const auto created = std::chrono::floor<seconds>(target_.created_at).time_since_epoch().count();
    if (created > 0) call.headers.push_back({"X-OC-Mtime", std::to_string(created)});
    return session_.Do(ctx, call);
  };
  auto stored = put();
  if (!stored.ok() && stored.error().Is(ErrorCode::kUnavailable)) {
    // Perhaps somebody has removed the folder.
    collections_.Forget();
  }
  LS_TRY(std::move(stored));
  return {};
}

Result<void> Uploader::SetCreatedAt(const Context& ctx) {
  if (!traits_.keeps_properties) return {};
  const Call call{
      .method = "PROPPATCH",
      .path = temp_,
      .headers = {{"Content-Type", "application/xml; charset=utf-8"}},
      .body = std::make_shared<const std::string>(fmt::format(
          "<?xml version=\"1.0\" encoding=\"utf-8\"?><propertyupdate xmlns=\"DAV:\"><set><prop>"
          "<{0} xmlns=\"{1}\">{2}</{0}></prop></set></propertyupdate>",
          kCreatedAt, kOurNamespace, FormatTimestampMillis(target_.created_at)))};
  const auto answer = session_.Do(ctx, call);
  if (!answer.ok() && (IsRetryable(answer.error()) || !ctx.Check().ok())) return answer.error();
  bool kept = false;
  if (answer.ok()) {
    const auto read = ReadMultistatus(answer.value().body, [&](const Resource& r) -> Result<void> {
      kept = r.created_at.has_value() && r.status < 300;
      return {};
    });
    kept = kept && read.ok();
  }
  // Then the header of the file itself says it.
  if (!kept) traits_.keeps_properties = false;
  return {};
}

Call Uploader::MoveCall(bool as_path, bool once, int* status) const {
  const std::string url = session_.location().Url(target_.path);
  *status = 0;
  return {
      .method = "MOVE",
      .path = temp_,
      .headers = {{"Destination", as_path ? url.substr(session_.location().origin.size()) : url},
                  {"Overwrite", target_.if_absent ? "F" : "T"}},
      .once = once,
      .last_status = status};
}

Result<http::Response> Uploader::Move(const Context& ctx) {
  constexpr int kBadRequest = 400;
  constexpr int kBadGateway = 502;
  const bool as_path = traits_.destination_is_path;
  int status = 0;
  auto moved = session_.Do(ctx, MoveCall(as_path, /*once=*/true, &status));
  if (moved.ok() || !ctx.Check().ok()) return moved;
  if (!as_path && (status == kBadRequest || status == kBadGateway)) {
    auto by_path = session_.Do(ctx, MoveCall(true, /*once=*/true, &status));
    if (by_path.ok()) {
      traits_.destination_is_path = true;
      return by_path;
    }
  }
  if (!IsRetryable(moved.error())) return moved;
  LS_TRY(ctx.Wait(RetryDelay(session_.options().retry, 1, ctx.clock())), "{}",
         moved.error().message());
  return session_.Do(ctx, MoveCall(as_path, /*once=*/false, &status));
}

// Whether an attempt of ours has worked, although its answer did not arrive: the temporary name is
// known to nobody else.
Result<bool> Uploader::WasPublished(const Context& ctx) {
  if (LS_TRY(Look(ctx, session_, temp_))) return false;
  return LS_TRY(Look(ctx, session_, target_.path)).has_value();
}

Result<void> Uploader::Publish(const Context& ctx) {
  auto moved = Move(ctx);
  if (moved.ok()) return {};
  if (ctx.Check().ok()) {
    if (const auto published = WasPublished(ctx); published.ok() && published.value()) return {};
  }
  // For now; who tries again makes them anew.
  if (!moved.error().Is(ErrorCode::kAlreadyExists)) collections_.Forget();
  return std::move(moved).error();
}

std::optional<std::uint64_t> ParseHex(std::string_view digits) {
  std::uint64_t number = 0;
  const char* const end = digits.data() + digits.size();
  if (std::from_chars(digits.data(), end, number, 16).ptr != end) return std::nullopt;
  return number;
}

}  // namespace

std::string TempName(std::string_view path, WallTime begin, std::uint64_t random) {
  const auto milliseconds = std::max<std::int64_t>(0, begin.time_since_epoch().count());
  return fmt::format("{}.{:0{}x}-{}{}", path, milliseconds, kTimeDigits, FormatHex64(random),
                     kTempEnd);
}

bool IsDeadTemp(const Listed& file, WallTime now) {
  std::string_view name = file.name;
  if (file.is_collection || !name.ends_with(kTempEnd)) return false;
  name.remove_suffix(kTempEnd.size());
  constexpr std::size_t kTail = 1 + kTimeDigits + 1 + kRandomDigits;
  if (name.size() < kTail || !ParseLtxFilename(name.substr(0, name.size() - kTail))) return false;
  const std::string_view tail = name.substr(name.size() - kTail);
  const auto begin = ParseHex(tail.substr(1, kTimeDigits));
  if (tail[0] != '.' || tail[1 + kTimeDigits] != '-' || !begin ||
      !ParseHex(tail.substr(kTail - kRandomDigits))) {
    return false;
  }
  const WallTime began{std::chrono::milliseconds(static_cast<std::int64_t>(*begin))};
  return began < now - kDeadAfter && file.modified_at < now - kDeadAfter;
}

Result<std::uint64_t> Upload(const Context& ctx, Session& session, Collections& collections,
                             Traits& traits, const UploadTarget& target, ByteSource& body) {
  return Uploader(session, collections, traits, target).Run(ctx, body);
}

}  // namespace litestream::webdav
