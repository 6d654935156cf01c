#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/result.h"

namespace litestream::sftp {

// SFTP version 3 (draft-ietf-secsh-filexfer-02), which every server speaks. All integers are
// big-endian, a string is its size (4 bytes) and its bytes.
//
//   offset size
//        0    4  bytes that follow
//        4    1  type
//        5    4  the request's number, which the answer repeats (INIT and VERSION: the version)
//        9       by type
enum class PacketType : std::uint8_t {
  kInit = 1,
  kVersion = 2,
  kOpen = 3,
  kClose = 4,
  kRead = 5,
  kWrite = 6,
  kLstat = 7,
  kFstat = 8,
  kFsetstat = 10,
  kSetstat = 9,
  kOpendir = 11,
  kReaddir = 12,
  kRemove = 13,
  kMkdir = 14,
  kRmdir = 15,
  kStat = 17,
  kRename = 18,
  kStatus = 101,
  kHandle = 102,
  kData = 103,
  kName = 104,
  kAttrs = 105,
  kExtended = 200,
  kExtendedReply = 201,
};

inline constexpr std::uint32_t kProtocolVersion = 3;
// What OpenSSH takes as the largest, too. Nothing that we ask for needs more.
inline constexpr std::size_t kMaxPacketBytes = 256 * 1024;

// Flags of OPEN.
inline constexpr std::uint32_t kOpenRead = 0x01;
inline constexpr std::uint32_t kOpenWrite = 0x02;
inline constexpr std::uint32_t kOpenCreate = 0x08;
inline constexpr std::uint32_t kOpenExclusive = 0x20;

enum class StatusCode : std::uint32_t {
  kOk = 0,
  kEof = 1,
  kNoSuchFile = 2,
  kPermissionDenied = 3,
  kFailure = 4,
  kBadMessage = 5,
  kNoConnection = 6,
  kConnectionLost = 7,
  kOpUnsupported = 8,
};

// The body of a request: what comes behind its number.
class Body {
 public:
  Body& U32(std::uint32_t value);
  Body& U64(std::uint64_t value);
  Body& String(std::string_view text);
  Body& Append(const Body& more);
  // Attributes: none, or the two times in seconds.
  Body& NoAttributes() { return U32(0); }
  Body& Times(std::uint32_t accessed, std::uint32_t modified);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// A whole packet with its size.
std::string MakePacket(PacketType type, std::uint32_t number, std::string_view body);

// What came back.
struct Reply {
  PacketType type{};
  std::string body;
};

struct Status {
  StatusCode code{};
  std::string message;  // The server's; may be empty, and hold anything.
};

struct Attributes {
  std::optional<std::uint64_t> size_bytes;
  std::optional<std::uint32_t> mode;  // As st_mode: kind of file and permissions.
  std::optional<std::uint32_t> accessed;
  std::optional<std::uint32_t> modified;

  bool IsDirectory() const { return mode && (*mode & 0170000) == 0040000; }
  bool IsLink() const { return mode && (*mode & 0170000) == 0120000; }
};

struct NamedFile {
  std::string name;
  Attributes attributes;
};

struct ServerVersion {
  std::uint32_t version = 0;
  std::map<std::string, std::string, std::less<>> extensions;
};

// Each takes what a server said apart. kUnavailable: it is none of that kind, or cut off.
Result<Status> ParseStatus(const Reply& reply);
Result<std::string> ParseHandle(const Reply& reply);
Result<std::string_view> ParseData(const Reply& reply);  // Borrows.
Result<Attributes> ParseAttributes(const Reply& reply);
Result<std::vector<NamedFile>> ParseNames(const Reply& reply);
// Of statvfs@openssh.com: how many blocks are left for us.
Result<std::uint64_t> ParseAvailableBlocks(const Reply& reply);
Result<ServerVersion> ParseVersion(std::string_view packet);  // Type and all behind it.

// Cuts a stream of bytes into packets.
class PacketCutter {
 public:
  void Append(std::string_view bytes) { buffer_ += bytes; }
  // The next whole packet, without its size; nothing if there is none yet. kUnavailable: no server
  // of SFTP says that.
  Result<std::optional<std::string>> Next();

 private:
  std::string buffer_;
  std::size_t done_ = 0;
};

}  // namespace litestream::sftp
