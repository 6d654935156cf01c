#include "backend/sftp/upload.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "backend/sftp/files.h"
#include "backend/sftp/sftp_error.h"
#include "backend/sftp/source.h"
#include "base/try.h"
#include "format/names.h"

namespace litestream::sftp {
namespace {

constexpr std::string_view kTempSuffix = ".tmp";
constexpr std::string_view kOldSuffix = ".old";
// Synced now and then, so that the last sync is short: no answer comes while a server syncs.
constexpr std::uint64_t kSyncEveryBytes = 32 << 20;
constexpr std::chrono::seconds kDiscardTime{10};

// A process id is no name: in containers every process has the same.
const std::string& ProcessName() {
  static const std::string& name = *new std::string(RandomHex(8));
  return name;
}

std::string NameBeside(const std::string& path, std::string_view suffix) {
  static std::atomic<std::uint64_t> count = 0;
  return fmt::format("{}.{}-{}{}", path, ProcessName(), ++count, suffix);
}

// Whole seconds since 1970 in 32 bits: all that the protocol has.
std::uint32_t ToSeconds(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(seconds, 0, std::numeric_limits<std::uint32_t>::max()));
}

// A write never says kNotFound or kAlreadyExists because of directories or temporary files: that
// would be taken for an answer about the file.
Error ForWrite(Error error) {
  if (error.Is(ErrorCode::kNotFound)) {
    return {ErrorCode::kUnavailable,
            error.message() + "; the replica's directory changed meanwhile"};
  }
  if (error.Is(ErrorCode::kAlreadyExists)) return {ErrorCode::kIo, error.message()};
  return error;
}

Error WrongSize(const std::string& path, std::uint64_t want, std::string_view got) {
  return {ErrorCode::kCorruption,
          fmt::format("sftp: write {}: the body has {} than the {} bytes that were announced", path,
                      got, want)};
}

}  // namespace

bool IsOwnTempName(std::string_view name) {
  return name.find(fmt::format(".{}-", ProcessName())) != std::string_view::npos;
}

std::string TempName(const std::string& path) {
  return NameBeside(path, kTempSuffix);
}

bool IsTempName(std::string_view name) {
  constexpr std::size_t kLtxNameBytes = 16 + 1 + 16 + 4;
  return name.size() > kLtxNameBytes && name.ends_with(kTempSuffix) && name[kLtxNameBytes] == '.' &&
         ParseLtxFilename(name.substr(0, kLtxNameBytes)).has_value();
}

Result<std::unique_ptr<Upload>> Upload::Begin(const Context& ctx, Use use, UploadTarget target) {
  const std::string temp = TempName(target.path);
  const std::string doing = fmt::format("write {}", target.path);
  const auto open = [&]() -> Result<std::string> {
    const auto reply = LS_TRY(use->Ask(ctx, PacketType::kOpen,
                                       OpenBody(temp, kOpenWrite | kOpenCreate | kOpenExclusive)));
    return HandleOf(reply, doing);
  };
  auto handle = open();
  if (!handle.ok() &&
      (handle.error().Is(ErrorCode::kNotFound) || handle.error().Is(ErrorCode::kIo))) {
    auto made = MakeDirectories(ctx, *use, ParentOf(target.path));
    if (!made.ok()) return ForWrite(std::move(made).error());
    handle = open();
  }
  if (!handle.ok()) return ForWrite(std::move(handle).error());
  return std::unique_ptr<Upload>(
      new Upload(std::move(use), std::move(target), temp, std::move(handle).value()));
}

Upload::~Upload() {
  if (temp_.empty()) return;
  Discard(Context::Background().WithDeadline(MonoTime::min()));
}

void Upload::Discard(const Context& ctx) {
  if (!handle_.empty()) use_->Send(PacketType::kClose, Body().String(handle_));
  const Pending removed = use_->Send(PacketType::kRemove, Body().String(temp_));
  handle_.clear();
  temp_.clear();
  // If nobody waits it is sent all the same.
  static_cast<void>(use_->Wait(ctx.WithDeadline(ctx.clock().Monotonic() + kDiscardTime), removed));
}

Result<std::uint64_t> Upload::Run(const Context& ctx, Endpoint& endpoint, ByteSource& body) {
  auto run = [&]() -> Result<std::uint64_t> {
    const std::uint64_t bytes = LS_TRY(Send(ctx, body));
    LS_TRY(ctx.Check());
    LS_TRY(Finish(ctx));
    LS_TRY(ctx.Check());
    LS_TRY(Publish(ctx, endpoint));
    return bytes;
  };
  auto bytes = run();
  if (!bytes.ok() && !temp_.empty()) Discard(ctx);
  return bytes;
}

Result<std::uint64_t> Upload::Send(const Context& ctx, ByteSource& body) {
  const std::size_t window = target_.concurrent ? kMaxPieces : 1;
  const std::string doing = fmt::format("write {}", target_.path);
  std::deque<Pending> under_way;
  const auto take = [&]() -> Result<void> {
    const auto reply = LS_TRY(use_->Wait(ctx, under_way.front()));
    under_way.pop_front();
    auto written = CheckStatus(reply, doing);
    if (written.ok()) return {};
    return WhyNotWritten(ctx, ForWrite(std::move(written).error()));
  };
  std::uint64_t sent = 0;
  std::uint64_t synced = 0;
  std::array<std::byte, kPieceBytes> piece;
  for (;;) {
    const std::size_t count = LS_TRY(ReadFull(ctx, body, piece));
    if (target_.size_bytes && sent + count > *target_.size_bytes) {
      return WrongSize(target_.path, *target_.size_bytes, "more");
    }
    if (count > 0) {
      while (under_way.size() >= window) LS_TRY(take());
      under_way.push_back(use_->Send(PacketType::kWrite,
                                     Body().String(handle_).U64(sent).String(
                                         {reinterpret_cast<const char*>(piece.data()), count})));
      sent += count;
      if (sent - synced >= kSyncEveryBytes && Syncs(*use_)) {
        under_way.push_back(use_->Send(PacketType::kExtended, SyncBody(handle_)));
        synced = sent;
      }
    }
    if (count < piece.size()) break;
  }
  if (target_.size_bytes && sent != *target_.size_bytes) {
    return WrongSize(target_.path, *target_.size_bytes, "less");
  }
  while (!under_way.empty()) LS_TRY(take());
  return sent;
}

// SFTP says "failure" of a full disk; if the server tells how much room it has, we know.
Error Upload::WhyNotWritten(const Context& ctx, Error error) const {
  constexpr std::string_view kStatvfs = "statvfs@openssh.com";
  if (!error.Is(ErrorCode::kIo) || !use_->Offers(kStatvfs, "2")) return error;
  const auto reply =
      use_->Ask(ctx, PacketType::kExtended, Body().String(kStatvfs).String(ParentOf(temp_)));
  if (!reply.ok() || reply.value().type != PacketType::kExtendedReply) return error;
  const auto available = ParseAvailableBlocks(reply.value());
  if (!available.ok() || available.value() > 0) return error;
  return {ErrorCode::kNoSpace, error.message() + "; the server's disk is full"};
}

Result<void> Upload::SetTimes(const Context& ctx) {
  // The time of access is now: it says that the file is in use (see NoteIfDead in the client).
  const Body times = Body().Times(ToSeconds(ctx.clock().Now()), ToSeconds(target_.created_at));
  const auto by_handle =
      LS_TRY(use_->AskStatus(ctx, PacketType::kFsetstat, Body().String(handle_).Append(times)));
  if (by_handle.code == StatusCode::kOk) return {};
  const std::string doing = fmt::format("set the time of {}", temp_);
  return CheckStatus(
      LS_TRY(use_->Ask(ctx, PacketType::kSetstat, Body().String(temp_).Append(times))), doing);
}

Result<void> Upload::Finish(const Context& ctx) {
  LS_TRY(SetTimes(ctx));
  const std::string doing = fmt::format("write {}", target_.path);
  std::vector<Pending> answers;
  if (Syncs(*use_)) answers.push_back(use_->Send(PacketType::kExtended, SyncBody(handle_)));
  answers.push_back(use_->Send(PacketType::kClose, Body().String(handle_)));
  handle_.clear();
  for (const Pending& answer : answers) {
    auto done = CheckStatus(LS_TRY(use_->Wait(ctx, answer)), doing);
    if (!done.ok()) return WhyNotWritten(ctx, ForWrite(std::move(done).error()));
  }
  return {};
}

Error Upload::IsThereAlready() const {
  return {ErrorCode::kAlreadyExists, fmt::format("sftp: {} is there already", target_.path)};
}

Result<void> Upload::Publish(const Context& ctx, Endpoint& endpoint) {
  auto published = target_.if_absent ? PublishNew(ctx, endpoint) : PublishOver(ctx, endpoint);
  if (!published.ok()) return published;
  temp_.clear();
  return SyncDirectory(ctx, *use_, ParentOf(target_.path));
}

// link(2) and the protocol's RENAME fail if the name is taken. Not every server keeps to that, and
// rclone's says of links that it has made them. So it is tried out once with a real file: a link
// has to be there, and a second one of the same name has to fail. Where links are not made, the
// name is looked at and then renamed to; others of this process are kept away meanwhile, those
// elsewhere only if the server's RENAME does so.
Result<void> Upload::PublishNew(const Context& ctx, Endpoint& endpoint) {
  const auto lock = LS_TRY(endpoint.LockName(ctx, target_.path));
  if (LS_TRY(IsThere(ctx, *use_, target_.path))) return IsThereAlready();
  if (endpoint.makes_links().value_or(MakesLinks(*use_)) && LS_TRY(TryLink(ctx, endpoint))) {
    use_->Send(PacketType::kRemove, Body().String(temp_));
    return {};
  }
  auto renamed = Rename(ctx, *use_, temp_, target_.path);
  if (renamed.ok()) return {};
  LS_TRY(ctx.Check());
  if (renamed.error().Is(ErrorCode::kIo) && LS_TRY(IsThere(ctx, *use_, target_.path))) {
    return IsThereAlready();
  }
  return ForWrite(std::move(renamed).error());
}

// False: this server, or its file system, makes no links.
Result<bool> Upload::TryLink(const Context& ctx, Endpoint& endpoint) {
  auto linked = Link(ctx, *use_, temp_, target_.path);
  if (!linked.ok()) {
    LS_TRY(ctx.Check());
    if (linked.error().Is(ErrorCode::kUnavailable)) return std::move(linked).error();
    if (LS_TRY(IsThere(ctx, *use_, target_.path))) return IsThereAlready();
    return false;
  }
  if (endpoint.makes_links()) return true;
  const bool is_there = LS_TRY(IsThere(ctx, *use_, target_.path));
  const bool twice = Link(ctx, *use_, temp_, target_.path).ok();
  endpoint.SetMakesLinks(is_there && !twice);
  // Who says twice that he has linked has done nothing: another one's file is there.
  if (is_there && twice) return IsThereAlready();
  return is_there;
}

Result<void> Upload::PublishOver(const Context& ctx, Endpoint& endpoint) {
  if (RenamesOver(*use_)) {
    auto renamed = RenameOver(ctx, *use_, temp_, target_.path);
    if (renamed.ok()) return renamed;
    if (!renamed.error().Is(ErrorCode::kUnsupported)) return ForWrite(std::move(renamed).error());
  }
  // Others of this process would come between the steps.
  const auto lock = LS_TRY(endpoint.LockName(ctx, target_.path));
  auto renamed = Rename(ctx, *use_, temp_, target_.path);
  if (renamed.ok()) return renamed;
  LS_TRY(ctx.Check());
  if (!renamed.error().Is(ErrorCode::kIo) || !LS_TRY(IsThere(ctx, *use_, target_.path))) {
    return ForWrite(std::move(renamed).error());
  }
  // The old file is moved away, not removed: it comes back if the new one cannot take its place. A
  // connection that breaks in between leaves both, the old one under a name that nobody sweeps; the
  // caller, who was not told that the new one is stored, sends it again.
  const std::string aside = NameBeside(target_.path, kOldSuffix);
  LS_TRY(Rename(ctx, *use_, target_.path, aside));
  renamed = Rename(ctx, *use_, temp_, target_.path);
  if (!renamed.ok()) {
    const Pending back = use_->Send(PacketType::kRename, Body().String(aside).String(target_.path));
    static_cast<void>(use_->Wait(ctx, back));
    return ForWrite(std::move(renamed).error());
  }
  use_->Send(PacketType::kRemove, Body().String(aside));
  return {};
}

}  // namespace litestream::sftp
