#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cloud/bucket_session.h"
#include "http/xml.h"
#include "litestream/replica_client.h"

namespace litestream::cloud {

inline constexpr std::size_t kPageKeys = 1000;  // Of a list.

// An object in a list.
struct ListedObject {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::string last_modified;
  WallTime modified_at() const;  // The epoch if that is no time.
};

// Where a replica lies in a bucket, and how its service differs from the others.
struct BucketPlace {
  std::string name;              // Of the service, for messages: "s3".
  std::string describe;          // For people: "s3://bucket/path".
  std::string root;              // What keys begin with: "path/".
  std::string timestamp_header;  // Keeps created_at.
  // Keys come percent-encoded, and are asked for so.
  bool encoded_keys = false;
  // The server gives smaller pages unless it is asked for large ones.
  bool asks_for_full_pages = false;
};

// The files of a replica as objects of a bucket: "<root><level as %04x>/<name>". Borrows the
// session. Safe for concurrent calls.
class BucketFiles {
 public:
  BucketFiles(BucketSession& session, BucketPlace place)
      : session_(session), place_(std::move(place)) {}

  const BucketPlace& place() const { return place_; }
  std::string Key(std::string_view relative) const { return place_.root + std::string(relative); }
  std::string Key(const FileId& id) const;
  std::vector<std::string> Keys(std::span<const FileId> ids) const;

  // As in ReplicaClient.
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level, const ListOptions& options);
  // Of all levels at once; nothing if too much else lies there, and they have to be listed one by
  // one.
  using Levels = std::array<std::vector<FileInfo>, kLevelCount>;
  Result<std::optional<Levels>> ListAll(const Context& ctx, bool exact_times);

  // Calls `take` for each key that begins with `prefix`, in the server's order, until it says
  // false. kUnavailable if the answers do not make sense: an endless list, keys nobody asked for.
  using Take = std::function<bool(const ListedObject&)>;
  Result<void> ListKeys(const Context& ctx, const std::string& prefix,
                        const std::string& start_after, std::size_t page_keys, const Take& take);
  // Every key below the root; where that is the whole bucket, those of files.
  Result<std::vector<std::string>> AllKeys(const Context& ctx);

  Result<bool> IsThere(const Context& ctx, const std::string& key);
  // The key that an element of an answer names.
  std::string KeyOf(const http::XmlElement& element) const;

 private:
  Result<void> FillExactTimes(const Context& ctx, std::vector<FileInfo>& files);
  Result<ListedObject> ParseObject(const http::XmlElement& element,
                                   const std::string& prefix) const;

  BucketSession& session_;
  const BucketPlace place_;
};

// Calls `remove` for batches of the keys until it fails.
Result<void> InBatches(
    std::span<const std::string> keys,
    const std::function<Result<void>(std::span<const std::string> batch)>& remove);

// <Object><Key>...</Key></Object> for each key: the middle of a request to delete them.
std::string ObjectElements(std::span<const std::string> keys);

// What an answer to it says: each key has to be in it, as deleted or as not there. `meaning_of`
// gives the code of an <Error>.
Result<void> CheckDeleted(const BucketFiles& files, std::string_view answer,
                          std::span<const std::string> keys,
                          const std::function<ErrorCode(std::string_view code)>& meaning_of);

}  // namespace litestream::cloud
