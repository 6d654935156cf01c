#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "backend/nats/connection.h"
#include "backend/nats/meta.h"
#include "backend/nats/options.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::nats {

// A request whose first attempt is under way.
struct Call {
  Message message;
  std::string doing;  // For errors: "list", "read ltx/0/...".
  Pending pending;    // Empty: no attempt is.
  int attempts = 0;
  std::string wanted_subject;  // Of a chunk.
};

struct Chunk {
  std::uint64_t sequence = 0;
  std::string data;
};

// The requests of an object store. Everything is one message and its answer, so there is nothing on
// the server to leave behind. Begin does not wait; Finish does, and repeats what may work the next
// time. For `pin` see Connection::Send; attempts after the first have none. Safe for concurrent
// calls.
class Bucket {
 public:
  Bucket(Options options, std::shared_ptr<Connection> connection);

  const Options& options() const { return options_; }
  Connection& connection() { return *connection_; }
  // Without credentials: "nats://host:4222/bucket".
  std::string Describe() const;
  std::string ChunkSubject(std::string_view nuid) const;
  // How large chunks can be: kChunkBytes, less if the server takes only smaller messages.
  std::uint64_t chunk_bytes() const;

  Call Begin(Message message, std::string doing, std::uint64_t* pin = nullptr);
  // The answer, if it is no error. See MeaningOf for errors.
  Result<Answer> Finish(const Context& ctx, Call& call);
  // The same without another attempt.
  Result<Answer> FinishOnce(const Context& ctx, Call& call);

  // What the stream's leader knows: a follower may lag. Unset: there never was one, or all is
  // purged. A marker of deletion is one with `deleted`.
  Call BeginMeta(std::string_view name);
  Result<std::optional<StoredMeta>> FinishMeta(const Context& ctx, Call& call);
  Result<std::optional<StoredMeta>> GetMeta(const Context& ctx, std::string_view name);

  // Stores what the object is, if the last message about it is still that with this sequence (0: if
  // there is none). Returns the new sequence. kAlreadyExists if it is not. After another error
  // `may_be_stored` says whether the server may have got it all the same.
  Result<std::uint64_t> PutMeta(const Context& ctx, const ObjectMeta& meta, std::uint64_t expected,
                                bool& may_be_stored);
  Call BeginPutMeta(const ObjectMeta& meta, std::uint64_t expected);

  // The names of all objects that begin with `prefix`, also of deleted ones, ascending.
  Result<std::set<std::string>> ListNames(const Context& ctx, std::string_view prefix);

  // Removes all messages of a subject, or those with sequences up to `last`.
  Call BeginPurgeChunks(std::string_view nuid);
  Call BeginPurgeMeta(std::string_view name, std::uint64_t last);
  // How many messages the subject of the chunks has.
  Result<std::uint64_t> CountChunks(const Context& ctx, std::string_view nuid);

  // Learns how chunks are read. To be called before BeginChunk; asks the server once.
  Result<void> PrepareReading(const Context& ctx);
  // The first chunk at that sequence or behind it. kNotFound if there is none.
  Call BeginChunk(std::string_view nuid, std::uint64_t sequence);
  Result<Chunk> FinishChunk(const Context& ctx, Call& call);

 private:
  std::string Api(std::string_view what) const;
  std::string MetaSubject(std::string_view name) const;
  std::string MetaPrefix() const;
  Result<std::optional<StoredMeta>> ParseStored(std::string_view answer, std::string_view subject);
  Result<SubjectPage> GetSubjects(const Context& ctx, std::string_view filter,
                                  std::uint64_t offset);
  Call BeginGet(std::string_view request, std::string doing, bool direct);
  // Whatever comes as the answer to the attempt under way, or to a new one.
  Result<Answer> Receive(const Context& ctx, Call& call);
  // One attempt of FinishChunk.
  Result<Chunk> ReceiveChunk(const Context& ctx, Call& call);
  // The error in an answer, if it is one.
  std::optional<Error> Judge(const Answer& answer, std::string_view doing) const;

  const Options options_;
  const std::shared_ptr<Connection> connection_;  // Shared by replicas with the same server.
  // Whether messages can be read from any replica of the stream, without base64. A server does not
  // answer at all where that is not allowed.
  enum class Direct : unsigned char { kUnknown, kYes, kNo };
  std::atomic<Direct> direct_ = Direct::kUnknown;
};

// 22 letters and digits, as NATS names things; random.
std::string NewNuid();

// For what must still be done when the caller wants no more: so long at most.
Context GraceContext(const Context& ctx);

}  // namespace litestream::nats
