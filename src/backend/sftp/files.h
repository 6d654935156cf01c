#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/sftp/connection.h"
#include "litestream/context.h"

namespace litestream::sftp {

// Single steps on a server's files. Errors say what was being done with which file; kNotFound where
// there is none.

// A file or directory that is open on the server; closed at the end, without waiting for it.
class RemoteHandle {
 public:
  RemoteHandle(Connection& connection, std::string handle)
      : connection_(&connection), handle_(std::move(handle)) {}
  RemoteHandle(RemoteHandle&& other) noexcept
      : connection_(std::exchange(other.connection_, nullptr)), handle_(std::move(other.handle_)) {}
  RemoteHandle& operator=(RemoteHandle&&) = delete;
  ~RemoteHandle() {
    if (connection_ != nullptr) connection_->Send(PacketType::kClose, Body().String(handle_));
  }
  const std::string& handle() const { return handle_; }
  // Whoever closes it himself, and looks at the answer.
  void Release() { connection_ = nullptr; }

 private:
  Connection* connection_;
  std::string handle_;
};

// Body of an OPEN without attributes: what the server makes new files with counts.
Body OpenBody(std::string_view path, std::uint32_t flags);
// What OPEN and OPENDIR are answered with.
Result<std::string> HandleOf(const Reply& reply, std::string_view doing);
// What everything else is answered with; ok, or what StatusError says.
Result<void> CheckStatus(const Reply& reply, std::string_view doing);

Result<RemoteHandle> OpenFile(const Context& ctx, Connection& connection, const std::string& path,
                              std::uint32_t flags);
// Of the thing itself, not of what a link leads to, unless `follow`.
Result<Attributes> Stat(const Context& ctx, Connection& connection, const std::string& path,
                        bool follow = false);
Result<bool> IsThere(const Context& ctx, Connection& connection, const std::string& path);
Result<void> Remove(const Context& ctx, Connection& connection, const std::string& path);
Result<void> RemoveDirectory(const Context& ctx, Connection& connection, const std::string& path);
// Fails if `to` is there, on servers that keep to the protocol.
Result<void> Rename(const Context& ctx, Connection& connection, const std::string& from,
                    const std::string& to);
// As rename(2). Only where it is offered.
Result<void> RenameOver(const Context& ctx, Connection& connection, const std::string& from,
                        const std::string& to);
Result<void> Link(const Context& ctx, Connection& connection, const std::string& from,
                  const std::string& to);
bool RenamesOver(const Connection& connection);
bool MakesLinks(const Connection& connection);  // Or says so.
bool Syncs(const Connection& connection);
Body SyncBody(std::string_view handle);

// Makes what is said in the directory last through a power failure, where the server can.
Result<void> SyncDirectory(const Context& ctx, Connection& connection, const std::string& path);
// With all those above it that are not there.
Result<void> MakeDirectories(const Context& ctx, Connection& connection, const std::string& path);

// All names but "." and "..", in the server's order.
Result<std::vector<NamedFile>> ReadDirectory(const Context& ctx, Connection& connection,
                                             const std::string& path);
// Lists several at the same time. One that is not there is empty.
Result<std::vector<std::vector<NamedFile>>> ReadDirectories(const Context& ctx,
                                                            Connection& connection,
                                                            const std::vector<std::string>& paths);

// A whole file. kCorruption if it has more than `limit_bytes`.
Result<std::string> ReadSmall(const Context& ctx, Connection& connection, const std::string& path,
                              std::size_t limit_bytes);
// A new file, synced where the server can; kIo if there is one.
Result<void> WriteSmall(const Context& ctx, Connection& connection, const std::string& path,
                        std::string_view content);

// So many random bytes, as hex digits.
std::string RandomHex(std::size_t bytes);

// "a/b" of "a/b/c"; "" of "c", "/" of "/c".
std::string ParentOf(const std::string& path);
std::string Join(const std::string& directory, std::string_view name);

}  // namespace litestream::sftp
