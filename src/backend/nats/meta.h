#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/nats/nats_error.h"
#include "litestream/clock.h"
#include "litestream/result.h"

namespace litestream::nats {

// An object store is a stream OBJ_<bucket> with two kinds of subjects (ADR-20 of NATS):
//
//   $O.<bucket>.C.<nuid>                           the chunks of one upload, in order
//   $O.<bucket>.M.<base64url of the object's name> one message, in JSON: what the object is
//
// What is written last is what counts: its header "Nats-Rollup: sub" removes the one before.

// Chunks of an upload that lie one behind the other in the stream.
struct ChunkRun {
  std::uint64_t index = 0;     // Of the first one, from 0.
  std::uint64_t sequence = 0;  // Its place in the stream.
  std::uint64_t count = 0;
  friend bool operator==(const ChunkRun&, const ChunkRun&) = default;
};

// What the message of an object says.
struct ObjectMeta {
  std::string name;
  std::string nuid;  // Of its chunks.
  std::uint64_t size_bytes = 0;
  std::uint64_t chunks = 0;
  std::string digest;  // "SHA-256=..."; empty: not known.
  bool deleted = false;
  std::optional<WallTime> created_at;  // Header "Litestream-Timestamp".
  // Where chunks are, header "Litestream-Chunks", which we add: "<bytes of a chunk> <index>:
  // <sequence>+<count> ...". All chunks but the last have this size. Some runs may be left out, the
  // first never. Empty in objects of other programs: then they have to be looked for.
  std::uint64_t chunk_bytes = 0;
  std::vector<ChunkRun> runs;
};

// How it is stored and what the stream knows besides.
struct StoredMeta {
  ObjectMeta meta;
  std::uint64_t sequence = 0;
  WallTime stored_at;
};

inline constexpr std::uint64_t kChunkBytes = 128 << 10;  // That stock clients write.
// More runs are not kept, so that the message stays small.
inline constexpr std::size_t kMaxRuns = 64;

std::string FormatMeta(const ObjectMeta& meta, std::string_view bucket);
// kCorruption. Unknown keys are skipped; a header of ours that is malformed counts as absent.
Result<ObjectMeta> ParseMeta(std::string_view json);

// Drops every second run until at most kMaxRuns are left.
void ThinOut(std::vector<ChunkRun>& runs);

// The alphabet of URLs, with padding.
std::string Base64Url(std::string_view bytes);
std::optional<std::string> FromBase64Url(std::string_view text);

// ---- Answers of the server: kUnavailable if they are none. An error in them is for ParseApiError.

// Unset: the answer is no error.
std::optional<ApiError> ParseApiError(std::string_view json);

// An answer to a message that was published into a stream.
struct PublishAck {
  std::uint64_t sequence = 0;
  bool duplicate = false;
};
Result<PublishAck> ParsePublishAck(std::string_view json);

// One message of a stream, of $JS.API.STREAM.MSG.GET.
struct StoredMessage {
  std::string subject;
  std::uint64_t sequence = 0;
  std::string data;
  WallTime stored_at;
};
Result<StoredMessage> ParseStoredMessage(std::string_view json);

// Of $JS.API.STREAM.INFO with a filter of subjects.
struct SubjectPage {
  bool direct = false;                            // The stream allows direct gets.
  std::uint64_t total = 0;                        // Of all pages.
  std::map<std::string, std::uint64_t> subjects;  // With the number of messages.
};
Result<SubjectPage> ParseSubjectPage(std::string_view json);

}  // namespace litestream::nats
