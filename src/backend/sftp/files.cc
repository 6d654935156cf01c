#include "backend/sftp/files.h"

#include <deque>
#include <utility>

#include <fmt/core.h>

#include "backend/sftp/sftp_error.h"
#include "base/env.h"
#include "base/try.h"

namespace litestream::sftp {
namespace {

constexpr std::string_view kPosixRename = "posix-rename@openssh.com";
constexpr std::string_view kHardlink = "hardlink@openssh.com";
constexpr std::string_view kFsync = "fsync@openssh.com";
constexpr std::size_t kSmallPieceBytes = 32 * 1024;
// A directory with more is none of ours: 10^7 names, a gigabyte in memory.
constexpr std::size_t kMaxNames = 10'000'000;

bool IsSelf(std::string_view name) {
  return name == "." || name == "..";
}

// An empty answer would have us ask for ever.
Error EmptyList(std::string_view path) {
  return {ErrorCode::kUnavailable, fmt::format("sftp: list {}: the server goes on and on", path)};
}

}  // namespace

Body OpenBody(std::string_view path, std::uint32_t flags) {
  Body body;
  body.String(path).U32(flags).NoAttributes();
  return body;
}

Result<std::string> HandleOf(const Reply& reply, std::string_view doing) {
  if (reply.type == PacketType::kStatus) {
    return StatusError(LS_TRY(ParseStatus(reply), "sftp: {}", doing), doing);
  }
  return LS_TRY(ParseHandle(reply), "sftp: {}", doing);
}

Result<void> CheckStatus(const Reply& reply, std::string_view doing) {
  const Status status = LS_TRY(ParseStatus(reply), "sftp: {}", doing);
  if (status.code == StatusCode::kOk) return {};
  return StatusError(status, doing);
}

Result<RemoteHandle> OpenFile(const Context& ctx, Connection& connection, const std::string& path,
                              std::uint32_t flags) {
  const auto reply = LS_TRY(connection.Ask(ctx, PacketType::kOpen, OpenBody(path, flags)));
  return RemoteHandle(connection, LS_TRY(HandleOf(reply, fmt::format("open {}", path))));
}

Result<Attributes> Stat(const Context& ctx, Connection& connection, const std::string& path,
                        bool follow) {
  const auto type = follow ? PacketType::kStat : PacketType::kLstat;
  const auto reply = LS_TRY(connection.Ask(ctx, type, Body().String(path)));
  if (reply.type == PacketType::kStatus) {
    return StatusError(LS_TRY(ParseStatus(reply)), fmt::format("look at {}", path));
  }
  return LS_TRY(ParseAttributes(reply), "sftp: look at {}", path);
}

Result<bool> IsThere(const Context& ctx, Connection& connection, const std::string& path) {
  auto attributes = Stat(ctx, connection, path);
  if (attributes.ok()) return true;
  if (attributes.error().Is(ErrorCode::kNotFound)) return false;
  return std::move(attributes).error();
}

Result<void> Remove(const Context& ctx, Connection& connection, const std::string& path) {
  const auto reply = LS_TRY(connection.Ask(ctx, PacketType::kRemove, Body().String(path)));
  return CheckStatus(reply, fmt::format("remove {}", path));
}

Result<void> RemoveDirectory(const Context& ctx, Connection& connection, const std::string& path) {
  const auto reply = LS_TRY(connection.Ask(ctx, PacketType::kRmdir, Body().String(path)));
  return CheckStatus(reply, fmt::format("remove the directory {}", path));
}

Result<void> Rename(const Context& ctx, Connection& connection, const std::string& from,
                    const std::string& to) {
  const auto reply =
      LS_TRY(connection.Ask(ctx, PacketType::kRename, Body().String(from).String(to)));
  return CheckStatus(reply, fmt::format("rename {} to {}", from, to));
}

Result<void> RenameOver(const Context& ctx, Connection& connection, const std::string& from,
                        const std::string& to) {
  const auto reply = LS_TRY(connection.Ask(ctx, PacketType::kExtended,
                                           Body().String(kPosixRename).String(from).String(to)));
  return CheckStatus(reply, fmt::format("rename {} to {}", from, to));
}

Result<void> Link(const Context& ctx, Connection& connection, const std::string& from,
                  const std::string& to) {
  const auto reply = LS_TRY(
      connection.Ask(ctx, PacketType::kExtended, Body().String(kHardlink).String(from).String(to)));
  return CheckStatus(reply, fmt::format("link {} to {}", from, to));
}

bool RenamesOver(const Connection& connection) {
  return connection.Offers(kPosixRename, "1");
}

bool MakesLinks(const Connection& connection) {
  return connection.Offers(kHardlink, "1");
}

bool Syncs(const Connection& connection) {
  return connection.Offers(kFsync, "1");
}

Body SyncBody(std::string_view handle) {
  Body body;
  body.String(kFsync).String(handle);
  return body;
}

Result<void> SyncDirectory(const Context& ctx, Connection& connection, const std::string& path) {
  if (!Syncs(connection)) return {};
  // OpenSSH opens a directory as it does a file.
  auto handle = OpenFile(ctx, connection, path.empty() ? "." : path, kOpenRead);
  if (!handle.ok()) {
    LS_TRY(ctx.Check());
    if (handle.error().Is(ErrorCode::kUnavailable)) return std::move(handle).error();
    return {};  // Another kind of server, or one may not read there.
  }
  const auto reply =
      LS_TRY(connection.Ask(ctx, PacketType::kExtended, SyncBody(handle.value().handle())));
  return CheckStatus(reply, fmt::format("sync {}", path));
}

Result<void> MakeDirectories(const Context& ctx, Connection& connection, const std::string& path) {
  std::vector<std::string> missing;
  for (std::string at = path; !at.empty() && at != "/"; at = ParentOf(at)) {
    auto attributes = Stat(ctx, connection, at, /*follow=*/true);
    if (attributes.ok()) {
      if (attributes.value().IsDirectory() || !attributes.value().mode) break;
      return Error(ErrorCode::kInvalidArgument, fmt::format("sftp: {} is not a directory", at));
    }
    if (!attributes.error().Is(ErrorCode::kNotFound)) return std::move(attributes).error();
    missing.push_back(at);
  }
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    const auto reply =
        LS_TRY(connection.Ask(ctx, PacketType::kMkdir, Body().String(*it).NoAttributes()));
    auto made = CheckStatus(reply, fmt::format("make the directory {}", *it));
    if (!made.ok()) {
      // Somebody else may have made it.
      const auto attributes = Stat(ctx, connection, *it, /*follow=*/true);
      if (!attributes.ok() || !attributes.value().IsDirectory()) return made;
    }
    LS_TRY(SyncDirectory(ctx, connection, ParentOf(*it)));
  }
  return {};
}

Result<std::vector<NamedFile>> ReadDirectory(const Context& ctx, Connection& connection,
                                             const std::string& path) {
  const std::string doing = fmt::format("list {}", path);
  auto reply =
      LS_TRY(connection.Ask(ctx, PacketType::kOpendir, Body().String(path.empty() ? "." : path)));
  const RemoteHandle handle(connection, LS_TRY(HandleOf(reply, doing)));
  std::vector<NamedFile> files;
  for (;;) {
    reply = LS_TRY(connection.Ask(ctx, PacketType::kReaddir, Body().String(handle.handle())));
    if (reply.type == PacketType::kStatus) {
      const Status status = LS_TRY(ParseStatus(reply));
      if (status.code == StatusCode::kEof) return files;
      return StatusError(status, doing);
    }
    auto names = LS_TRY(ParseNames(reply), "sftp: {}", doing);
    if (names.empty() || files.size() > kMaxNames) return EmptyList(path);
    for (NamedFile& file : names) {
      if (!IsSelf(file.name)) files.push_back(std::move(file));
    }
  }
}

Result<std::vector<std::vector<NamedFile>>> ReadDirectories(const Context& ctx,
                                                            Connection& connection,
                                                            const std::vector<std::string>& paths) {
  std::vector<std::vector<NamedFile>> lists(paths.size());
  std::vector<Pending> opens;
  for (const std::string& path : paths) {
    opens.push_back(
        connection.Send(PacketType::kOpendir, Body().String(path.empty() ? "." : path)));
  }
  struct Reading {
    std::size_t index;
    RemoteHandle handle;
    Pending answer;
  };
  std::deque<Reading> readings;
  std::optional<Error> failed;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto reply = LS_TRY(connection.Wait(ctx, opens[i]));
    auto handle = HandleOf(reply, fmt::format("list {}", paths[i]));
    if (!handle.ok()) {
      // The others are open all the same, and have to be closed.
      if (!handle.error().Is(ErrorCode::kNotFound)) failed = std::move(handle).error();
      continue;
    }
    RemoteHandle open(connection, std::move(handle).value());
    Pending answer = connection.Send(PacketType::kReaddir, Body().String(open.handle()));
    readings.push_back({.index = i, .handle = std::move(open), .answer = std::move(answer)});
  }
  if (failed) return *failed;
  while (!readings.empty()) {
    Reading reading(std::move(readings.front()));
    readings.pop_front();
    const std::string doing = fmt::format("list {}", paths[reading.index]);
    const auto reply = LS_TRY(connection.Wait(ctx, reading.answer));
    if (reply.type == PacketType::kStatus) {
      const Status status = LS_TRY(ParseStatus(reply));
      if (status.code == StatusCode::kEof) continue;
      return StatusError(status, doing);
    }
    // The next are on their way while these are looked at.
    reading.answer = connection.Send(PacketType::kReaddir, Body().String(reading.handle.handle()));
    auto names = LS_TRY(ParseNames(reply), "sftp: {}", doing);
    std::vector<NamedFile>& files = lists[reading.index];
    if (names.empty() || files.size() > kMaxNames) return EmptyList(paths[reading.index]);
    for (NamedFile& file : names) {
      if (!IsSelf(file.name)) files.push_back(std::move(file));
    }
    readings.push_back(std::move(reading));
  }
  return lists;
}

Result<std::string> ReadSmall(const Context& ctx, Connection& connection, const std::string& path,
                              std::size_t limit_bytes) {
  const RemoteHandle handle = LS_TRY(OpenFile(ctx, connection, path, kOpenRead));
  std::string content;
  for (;;) {
    const auto reply =
        LS_TRY(connection.Ask(ctx, PacketType::kRead,
                              Body()
                                  .String(handle.handle())
                                  .U64(content.size())
                                  .U32(static_cast<std::uint32_t>(kSmallPieceBytes))));
    if (reply.type == PacketType::kStatus) {
      const Status status = LS_TRY(ParseStatus(reply));
      if (status.code == StatusCode::kEof) return content;
      return StatusError(status, fmt::format("read {}", path));
    }
    const std::string_view data = LS_TRY(ParseData(reply), "sftp: read {}", path);
    if (data.empty()) return content;
    content += data;
    if (content.size() > limit_bytes) {
      return Error(ErrorCode::kCorruption, fmt::format("sftp: {} is too large", path));
    }
  }
}

Result<void> WriteSmall(const Context& ctx, Connection& connection, const std::string& path,
                        std::string_view content) {
  RemoteHandle handle =
      LS_TRY(OpenFile(ctx, connection, path, kOpenWrite | kOpenCreate | kOpenExclusive));
  std::vector<Pending> answers;
  for (std::size_t done = 0; done < content.size(); done += kSmallPieceBytes) {
    answers.push_back(connection.Send(
        PacketType::kWrite,
        Body().String(handle.handle()).U64(done).String(content.substr(done, kSmallPieceBytes))));
  }
  const std::string doing = fmt::format("write {}", path);
  for (const Pending& answer : answers) {
    LS_TRY(CheckStatus(LS_TRY(connection.Wait(ctx, answer)), doing));
  }
  answers.clear();
  if (Syncs(connection)) {
    answers.push_back(connection.Send(PacketType::kExtended, SyncBody(handle.handle())));
  }
  answers.push_back(connection.Send(PacketType::kClose, Body().String(handle.handle())));
  handle.Release();
  for (const Pending& answer : answers) {
    LS_TRY(CheckStatus(LS_TRY(connection.Wait(ctx, answer)), doing));
  }
  return {};
}

std::string RandomHex(std::size_t bytes) {
  std::vector<std::byte> random(bytes);
  Env::Real().Random(random);
  std::string text;
  for (const std::byte byte : random) {
    text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return text;
}

std::string ParentOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return "";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string Join(const std::string& directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  return directory == "/" ? fmt::format("/{}", name) : fmt::format("{}/{}", directory, name);
}

}  // namespace litestream::sftp
