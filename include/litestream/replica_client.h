#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/byte_stream.h"
#include "litestream/context.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// Names one LTX file of a replica.
struct FileId {
  Level level;
  TxidRange txids;
  friend auto operator<=>(const FileId&, const FileId&) = default;
};

struct FileInfo {
  FileId id;
  std::uint64_t size_bytes = 0;
  WallTime created_at;  // The timestamp in the file's header, if the backend can keep it.
};

struct ListOptions {
  // Only files with txids.min >= seek. A file that straddles it is not listed.
  Txid seek;
  // created_at must be the header's timestamp, whatever that costs; otherwise the server's own
  // time will do.
  bool exact_times = false;
  // At most so many files, the first ones; 0: all.
  std::size_t limit = 0;
};

// Part of a file. length_bytes 0: to the end. A range that begins at or behind the end is empty.
struct ByteRange {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};

struct WriteOptions {
  WallTime created_at;  // Kept with the object: the timestamp of the file's header.
  // Known size, for backends that announce it; the body must then have exactly so many bytes
  // (kCorruption otherwise).
  std::optional<std::uint64_t> size_bytes;
  // Fail with kAlreadyExists rather than replace. Backends without conditional writes look first.
  bool if_absent = false;
};

// Something that lies in a replica and may be no LTX file.
struct ObjectInfo {
  std::string name;  // Relative to the root, with "/" between folders.
  std::uint64_t size_bytes = 0;
  WallTime modified_at;
};

// A small object beside the LTX files (the lease), with the tag that conditional writes compare.
struct TaggedObject {
  std::string content;
  std::string tag;
};

// A place that keeps LTX files: a directory, a bucket, ... Implementations are safe for concurrent
// calls, do no I/O when constructed, and set themselves up at the first call.
//
// Errors: kNotFound (the object is not there; a missing bucket is kInvalidArgument), kDenied,
// kUnavailable and kThrottled (try again later), kNoSpace, kIo, kCancelled, kTimeout.
class ReplicaClient {
 public:
  virtual ~ReplicaClient() = default;

  // "file", "s3", ...: the URL scheme, and the label of the metrics.
  virtual std::string_view type() const = 0;
  // Where it writes, for people: a path or URL without credentials.
  virtual std::string Describe() const = 0;

  // The files of one level, ascending by (min, max). Names that are not LTX names are skipped. A
  // level that does not exist is empty.
  virtual Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                             const ListOptions& options) = 0;

  // The files of all levels, each as List gives it. A List of each, unless the backend can do
  // better (ListsTogether).
  virtual Result<std::array<std::vector<FileInfo>, kLevelCount>> ListAll(const Context& ctx,
                                                                         bool exact_times);
  virtual bool ListsTogether() const { return false; }

  // Opens a file for reading. kNotFound if there is none. The source may outlive the client.
  virtual Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                                   const ByteRange& range) = 0;

  // Stores `body` under its name. Nobody sees the file before it is whole and durable. Replaces
  // what is there unless options.if_absent. One attempt: a caller that tries again opens the body
  // anew. Returns what List would.
  virtual Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                                 const WriteOptions& options) = 0;

  // Removes files; one that is not there is no error. Stops at the first failure.
  virtual Result<void> Delete(const Context& ctx, std::span<const FileId> ids) = 0;

  // Removes everything below the replica's root.
  virtual Result<void> DeleteAll(const Context& ctx) = 0;

  // The lease object and its kin, by name relative to the root. `tag` in PutObject: empty means
  // "only if there is none", else "only if its tag is still this"; kAlreadyExists if that does not
  // hold. Returns the new tag. In DeleteObject an empty tag means "whatever it holds"; kNotFound if
  // there is none. kUnsupported where the backend has no conditional writes.
  virtual Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) = 0;
  virtual Result<std::string> PutObject(const Context& ctx, std::string_view name,
                                        std::string_view content, std::string_view tag) = 0;
  virtual Result<void> DeleteObject(const Context& ctx, std::string_view name,
                                    std::string_view tag) = 0;

  // What is there by any name that begins with `prefix` (relative to the root), ascending; at most
  // `limit`, 0: all. Reads only: backups of Litestream v0.3 lie there. kUnsupported where such
  // never were.
  virtual Result<std::vector<ObjectInfo>> ListObjects(const Context& ctx, std::string_view prefix,
                                                      std::size_t limit);
  // Opens one of them. kNotFound if there is none.
  virtual Result<std::unique_ptr<ByteSource>> OpenObject(const Context& ctx, std::string_view name,
                                                         const ByteRange& range);
};

}  // namespace litestream
