#include "backend/sftp/packet.h"

#include <utility>

#include <fmt/core.h>

#include "base/endian.h"
#include "base/try.h"

namespace litestream::sftp {
namespace {

constexpr std::size_t kMaxHandleBytes = 256;  // What the protocol allows.
constexpr std::uint32_t kMaxExtensions = 128;

constexpr std::uint32_t kHasSize = 0x01;
constexpr std::uint32_t kHasOwner = 0x02;
constexpr std::uint32_t kHasMode = 0x04;
constexpr std::uint32_t kHasTimes = 0x08;
constexpr std::uint32_t kHasExtended = 0x80000000;

Error Broken(std::string_view what) {
  return {ErrorCode::kUnavailable, fmt::format("the server's answer is {}", what)};
}

// Fields from front to back. After the first that is not there, none is.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}

  std::uint32_t U32() {
    const std::string_view bytes = Take(4);
    return bytes.empty() ? 0 : LoadBe32(reinterpret_cast<const std::byte*>(bytes.data()));
  }
  std::uint64_t U64() {
    const std::string_view bytes = Take(8);
    return bytes.empty() ? 0 : LoadBe64(reinterpret_cast<const std::byte*>(bytes.data()));
  }
  std::string_view String() { return Take(U32()); }

  bool ok() const { return ok_; }
  bool empty() const { return left_.empty(); }

 private:
  std::string_view Take(std::size_t size) {
    if (!ok_ || left_.size() < size) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }

  std::string_view left_;
  bool ok_ = true;
};

Attributes TakeAttributes(Fields& fields) {
  Attributes attributes;
  const std::uint32_t flags = fields.U32();
  if ((flags & kHasSize) != 0) attributes.size_bytes = fields.U64();
  if ((flags & kHasOwner) != 0) {
    fields.U32();
    fields.U32();
  }
  if ((flags & kHasMode) != 0) attributes.mode = fields.U32();
  if ((flags & kHasTimes) != 0) {
    attributes.accessed = fields.U32();
    attributes.modified = fields.U32();
  }
  if ((flags & kHasExtended) != 0) {
    const std::uint32_t count = fields.U32();
    for (std::uint32_t i = 0; i < count && fields.ok(); ++i) {
      fields.String();
      fields.String();
    }
  }
  return attributes;
}

}  // namespace

Body& Body::U32(std::uint32_t value) {
  std::byte bytes[4];
  StoreBe32(bytes, value);
  bytes_.append(reinterpret_cast<const char*>(bytes), sizeof bytes);
  return *this;
}

Body& Body::U64(std::uint64_t value) {
  std::byte bytes[8];
  StoreBe64(bytes, value);
  bytes_.append(reinterpret_cast<const char*>(bytes), sizeof bytes);
  return *this;
}

Body& Body::String(std::string_view text) {
  U32(static_cast<std::uint32_t>(text.size()));
  bytes_ += text;
  return *this;
}

Body& Body::Append(const Body& more) {
  bytes_ += more.bytes_;
  return *this;
}

Body& Body::Times(std::uint32_t accessed, std::uint32_t modified) {
  return U32(kHasTimes).U32(accessed).U32(modified);
}

std::string MakePacket(PacketType type, std::uint32_t number, std::string_view body) {
  std::byte head[9];
  StoreBe32(head, static_cast<std::uint32_t>(body.size() + 5));
  head[4] = static_cast<std::byte>(type);
  StoreBe32(head + 5, number);
  std::string packet(reinterpret_cast<const char*>(head), sizeof head);
  packet += body;
  return packet;
}

Result<Status> ParseStatus(const Reply& reply) {
  if (reply.type != PacketType::kStatus) return Broken("no status");
  Fields fields(reply.body);
  Status status{.code = static_cast<StatusCode>(fields.U32())};
  if (!fields.ok()) return Broken("a status that is cut off");
  // Old servers leave the text out.
  status.message = fields.String();
  return status;
}

Result<std::string> ParseHandle(const Reply& reply) {
  if (reply.type != PacketType::kHandle) return Broken("no handle");
  Fields fields(reply.body);
  const std::string_view handle = fields.String();
  if (!fields.ok() || handle.size() > kMaxHandleBytes) return Broken("no valid handle");
  return std::string(handle);
}

Result<std::string_view> ParseData(const Reply& reply) {
  if (reply.type != PacketType::kData) return Broken("no data");
  Fields fields(reply.body);
  const std::string_view data = fields.String();
  if (!fields.ok()) return Broken("data that are cut off");
  return data;
}

Result<Attributes> ParseAttributes(const Reply& reply) {
  if (reply.type != PacketType::kAttrs) return Broken("no attributes");
  Fields fields(reply.body);
  const Attributes attributes = TakeAttributes(fields);
  if (!fields.ok()) return Broken("attributes that are cut off");
  return attributes;
}

Result<std::vector<NamedFile>> ParseNames(const Reply& reply) {
  if (reply.type != PacketType::kName) return Broken("no list of names");
  Fields fields(reply.body);
  const std::uint32_t count = fields.U32();
  std::vector<NamedFile> files;
  // The count is not believed: each name takes up bytes.
  for (std::uint32_t i = 0; i < count; ++i) {
    NamedFile file{.name = std::string(fields.String())};
    fields.String();  // As `ls -l` shows it, for people.
    file.attributes = TakeAttributes(fields);
    if (!fields.ok()) break;
    files.push_back(std::move(file));
  }
  if (!fields.ok()) return Broken("a list that is cut off");
  return files;
}

Result<std::uint64_t> ParseAvailableBlocks(const Reply& reply) {
  if (reply.type != PacketType::kExtendedReply) return Broken("no size of a file system");
  Fields fields(reply.body);
  // f_bsize, f_frsize, f_blocks, f_bfree, f_bavail.
  for (int i = 0; i < 4; ++i) fields.U64();
  const std::uint64_t available = fields.U64();
  if (!fields.ok()) return Broken("a size of a file system that is cut off");
  return available;
}

Result<ServerVersion> ParseVersion(std::string_view packet) {
  if (packet.empty() || packet.front() != static_cast<char>(PacketType::kVersion)) {
    return Broken("no SFTP");
  }
  Fields fields(packet.substr(1));
  ServerVersion version{.version = fields.U32()};
  for (std::uint32_t i = 0; i < kMaxExtensions && fields.ok() && !fields.empty(); ++i) {
    const std::string_view name = fields.String();
    const std::string_view value = fields.String();
    if (fields.ok()) version.extensions.emplace(name, value);
  }
  if (!fields.ok()) return Broken("a version that is cut off");
  return version;
}

Result<std::optional<std::string>> PacketCutter::Next() {
  const std::size_t have = buffer_.size() - done_;
  std::optional<std::string> packet;
  if (have >= 4) {
    const std::size_t size = LoadBe32(reinterpret_cast<const std::byte*>(buffer_.data()) + done_);
    if (size == 0 || size > kMaxPacketBytes) {
      return Broken("no SFTP; does something print a text at login?");
    }
    if (have - 4 >= size) {
      packet = buffer_.substr(done_ + 4, size);
      done_ += 4 + size;
    }
  }
  if (!packet || done_ == buffer_.size()) {
    buffer_.erase(0, done_);
    done_ = 0;
  }
  return packet;
}

}  // namespace litestream::sftp
