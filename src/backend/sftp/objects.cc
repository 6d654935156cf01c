#include "backend/sftp/objects.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "backend/sftp/files.h"
#include "backend/sftp/upload.h"
#include "base/try.h"

namespace litestream::sftp {
namespace {

constexpr std::string_view kAt = "at-";
constexpr std::string_view kNone = "none-";
constexpr std::size_t kTagBytes = 32;
constexpr int kLooks = 50;  // While others write all the time.

std::string NewTag() {
  return RandomHex(kTagBytes / 2);
}

bool IsTag(std::string_view text) {
  return text.size() == kTagBytes && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Error Changed(const std::string& directory) {
  return {ErrorCode::kAlreadyExists, fmt::format("sftp: {} has another tag", directory)};
}

}  // namespace

bool HasConditionalWrites(const Connection& connection) {
  return connection.server().find("OpenSSH") != std::string::npos && RenamesOver(connection) &&
         Syncs(connection);
}

Result<std::optional<ObjectState>> StateOf(const std::vector<NamedFile>& names) {
  std::optional<ObjectState> state;
  for (const NamedFile& file : names) {
    std::string_view tag = file.name;
    const bool deleted = tag.starts_with(kNone);
    if (!deleted && !tag.starts_with(kAt)) continue;
    tag.remove_prefix(deleted ? kNone.size() : kAt.size());
    if (!IsTag(tag)) continue;
    if (state) return Error(ErrorCode::kUnavailable, "sftp: an object has two states");
    state = ObjectState{.tag = std::string(tag), .deleted = deleted};
  }
  if (!state && !names.empty()) {
    return Error(ErrorCode::kUnavailable, "sftp: an object has no state");
  }
  return state;
}

std::string RemoteObject::NameOf(const ObjectState& state) const {
  return Join(directory_, fmt::format("{}{}", state.deleted ? kNone : kAt, state.tag));
}

Result<std::optional<ObjectState>> RemoteObject::Look(const Context& ctx) {
  for (int looks = 1;; ++looks) {
    auto names = ReadDirectory(ctx, connection_, directory_);
    if (!names.ok() && names.error().Is(ErrorCode::kNotFound)) return std::nullopt;
    auto state = StateOf(LS_TRY(std::move(names)));
    if (state.ok() || looks == kLooks) return state;
  }
}

Result<std::optional<std::string>> RemoteObject::ContentPath(const Context& ctx) {
  const auto state = LS_TRY(Look(ctx));
  if (!state || state->deleted) return std::nullopt;
  return Join(directory_, state->tag);
}

Result<TaggedObject> RemoteObject::Get(const Context& ctx) {
  for (int looks = 1;; ++looks) {
    const auto state = LS_TRY(Look(ctx));
    if (!state || state->deleted) {
      return Error(ErrorCode::kNotFound, fmt::format("sftp: {} is not there", directory_));
    }
    auto content = ReadSmall(ctx, connection_, Join(directory_, state->tag), kMaxObjectBytes);
    if (content.ok()) return TaggedObject{.content = content.value(), .tag = state->tag};
    // Replaced meanwhile.
    if (!content.error().Is(ErrorCode::kNotFound)) return std::move(content).error();
    if (looks == kLooks) {
      return Error(ErrorCode::kUnavailable, content.error().message() + "; it changes too often");
    }
  }
}

Result<std::string> RemoteObject::Put(const Context& ctx, std::string_view content,
                                      std::string_view tag) {
  if (!tag.empty()) {
    if (!IsTag(tag)) return Changed(directory_);
    return Replace(ctx, {.tag = std::string(tag)}, content);
  }
  const auto state = LS_TRY(Look(ctx));
  if (!state) return Create(ctx, content);
  if (!state->deleted) return Changed(directory_);
  return Replace(ctx, *state, content);
}

Result<void> RemoteObject::Delete(const Context& ctx, std::string_view tag) {
  for (int looks = 1;; ++looks) {
    const auto state = LS_TRY(Look(ctx));
    if (!state || state->deleted) {
      return Error(ErrorCode::kNotFound, fmt::format("sftp: {} is not there", directory_));
    }
    if (!tag.empty() && state->tag != tag) return Changed(directory_);
    auto moved = Move(ctx, *state, {.tag = NewTag(), .deleted = true});
    if (moved.ok()) {
      Forget(state->tag);
      return {};
    }
    // Without a tag: whatever it holds now.
    if (!tag.empty() || !moved.error().Is(ErrorCode::kAlreadyExists) || looks == kLooks) {
      return moved;
    }
  }
}

Result<std::string> RemoteObject::Create(const Context& ctx, std::string_view content) {
  const ObjectState state{.tag = NewTag()};
  LS_TRY(MakeDirectories(ctx, connection_, ParentOf(directory_)));
  const std::string temp = TempName(directory_);
  LS_TRY(MakeDirectories(ctx, connection_, temp));
  const std::string temp_content = Join(temp, state.tag);
  const std::string temp_state = Join(temp, fmt::format("{}{}", kAt, state.tag));
  const auto create = [&]() -> Result<void> {
    LS_TRY(WriteSmall(ctx, connection_, temp_content, content));
    LS_TRY(WriteSmall(ctx, connection_, temp_state, ""));
    LS_TRY(SyncDirectory(ctx, connection_, temp));
    return RenameOver(ctx, connection_, temp, directory_);
  };
  auto created = create();
  if (created.ok()) {
    LS_TRY(SyncDirectory(ctx, connection_, ParentOf(directory_)));
    return state.tag;
  }
  // In this order on the server, too. Nobody waits: the names are nobody's.
  for (const std::string& path : {temp_content, temp_state}) {
    connection_.Send(PacketType::kRemove, Body().String(path));
  }
  connection_.Send(PacketType::kRmdir, Body().String(temp));
  LS_TRY(ctx.Check());
  if (created.error().Is(ErrorCode::kIo) && LS_TRY(Look(ctx))) return Changed(directory_);
  return std::move(created).error();
}

Result<std::string> RemoteObject::Replace(const Context& ctx, const ObjectState& from,
                                          std::string_view content) {
  const ObjectState to{.tag = NewTag()};
  auto written = WriteSmall(ctx, connection_, Join(directory_, to.tag), content);
  if (!written.ok()) {
    Forget(to.tag);
    if (written.error().Is(ErrorCode::kNotFound)) return Changed(directory_);  // It never was.
    return std::move(written).error();
  }
  auto moved = Move(ctx, from, to);
  if (!moved.ok()) {
    // Not if the answer is lost: the content may be in force.
    if (moved.error().Is(ErrorCode::kAlreadyExists)) Forget(to.tag);
    return std::move(moved).error();
  }
  if (!from.deleted) Forget(from.tag);
  return to.tag;
}

Result<void> RemoteObject::Move(const Context& ctx, const ObjectState& from,
                                const ObjectState& to) {
  auto moved = RenameOver(ctx, connection_, NameOf(from), NameOf(to));
  if (!moved.ok() && moved.error().Is(ErrorCode::kNotFound)) return Changed(directory_);
  LS_TRY(std::move(moved));
  return SyncDirectory(ctx, connection_, directory_);
}

void RemoteObject::Forget(std::string_view tag) {
  connection_.Send(PacketType::kRemove, Body().String(Join(directory_, tag)));
}

}  // namespace litestream::sftp
