#include "backend/nats/bucket.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>
#include <openssl/rand.h>

#include "base/try.h"
#include "http/curl_error.h"
#include "storage/retry.h"

namespace litestream::nats {
namespace {

constexpr std::chrono::milliseconds kGraceWhenStopped{700};
constexpr std::chrono::seconds kGrace{5};
// For the headers of a chunk.
constexpr std::size_t kHeaderBytes = 1024;
constexpr std::uint64_t kMinChunkBytes = 4096;
constexpr std::uint64_t kMaxSubjects = 10'000'000;
constexpr int kMessageNotFound = 404;

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::shared_ptr<const std::string> Shared(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

}  // namespace

std::string NewNuid() {
  constexpr std::string_view kDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::array<unsigned char, 22> random{};
  RAND_bytes(random.data(), static_cast<int>(random.size()));
  std::string nuid;
  for (const unsigned char byte : random) nuid += kDigits[byte % kDigits.size()];
  return nuid;
}

Context GraceContext(const Context& ctx) {
  const std::chrono::nanoseconds grace =
      ctx.Check().ok() ? std::chrono::nanoseconds(kGrace) : kGraceWhenStopped;
  return Context({}, Clock::Real().Monotonic() + grace);
}

Bucket::Bucket(Options options, std::shared_ptr<Connection> connection)
    : options_(std::move(options)), connection_(std::move(connection)) {}

std::string Bucket::Describe() const {
  std::string text = fmt::format("nats://{}/{}", connection_->server(), options_.bucket);
  if (!options_.path.empty()) text += "/" + options_.path;
  return text;
}

std::string Bucket::ChunkSubject(std::string_view nuid) const {
  return fmt::format("$O.{}.C.{}", options_.bucket, nuid);
}

std::string Bucket::MetaPrefix() const {
  return fmt::format("$O.{}.M.", options_.bucket);
}

std::string Bucket::MetaSubject(std::string_view name) const {
  return MetaPrefix() + Base64Url(name);
}

std::string Bucket::Api(std::string_view what) const {
  return fmt::format("$JS.{}API.{}.OBJ_{}", options_.domain.empty() ? "" : options_.domain + ".",
                     what, options_.bucket);
}

std::uint64_t Bucket::chunk_bytes() const {
  const std::size_t limit = connection_->max_payload_bytes();
  if (limit == 0 || limit >= kChunkBytes + kHeaderBytes) return kChunkBytes;
  return std::max<std::uint64_t>(kMinChunkBytes, limit > kHeaderBytes ? limit - kHeaderBytes : 0);
}

// ---- Requests

Call Bucket::Begin(Message message, std::string doing, std::uint64_t* pin) {
  Call call{.message = std::move(message), .doing = std::move(doing)};
  call.pending = connection_->Send(call.message, pin);
  call.attempts = 1;
  return call;
}

std::optional<Error> Bucket::Judge(const Answer& answer, std::string_view doing) const {
  if (answer.status != 0) {
    return nats::Describe({.code = answer.status, .description = answer.description}, doing,
                          options_.bucket);
  }
  // Errors say so at the start. Listings of subjects are long.
  if (std::string_view(answer.body).substr(0, 512).find("\"error\"") == std::string_view::npos) {
    return std::nullopt;
  }
  const auto error = ParseApiError(answer.body);
  if (!error) return std::nullopt;
  return nats::Describe(*error, doing, options_.bucket);
}

Result<Answer> Bucket::Receive(const Context& ctx, Call& call) {
  if (call.pending.empty()) {
    call.pending = connection_->Send(call.message);
    ++call.attempts;
  }
  auto answer = connection_->Wait(ctx, call.pending);
  // Who was stopped may still want to know what became of it.
  if (answer.ok() || ctx.Check().ok()) call.pending = {};
  if (!answer.ok()) return std::move(answer).error().Wrap(call.doing);
  return answer;
}

Result<Answer> Bucket::FinishOnce(const Context& ctx, Call& call) {
  auto answer = LS_TRY(Receive(ctx, call));
  if (auto error = Judge(answer, call.doing)) return std::move(*error);
  return answer;
}

Result<Answer> Bucket::Finish(const Context& ctx, Call& call) {
  Result<Answer> answer = Answer();
  LS_TRY(Retry(ctx, options_.retry, [&]() -> Result<void> {
    answer = FinishOnce(ctx, call);
    if (!answer.ok()) return answer.error();
    return {};
  }));
  return answer;
}

// ---- What objects are

Call Bucket::BeginGet(std::string_view request, std::string doing, bool direct) {
  return Begin({.subject = Api(direct ? "DIRECT.GET" : "STREAM.MSG.GET"),
                .headers = {},
                .body = Shared(std::string(request))},
               std::move(doing));
}

Call Bucket::BeginMeta(std::string_view name) {
  return BeginGet(fmt::format(R"({{"last_by_subj":"{}"}})", MetaSubject(name)),
                  fmt::format("look for {}", name), /*direct=*/false);
}

Result<std::optional<StoredMeta>> Bucket::FinishMeta(const Context& ctx, Call& call) {
  auto answer = Finish(ctx, call);
  if (!answer.ok() && answer.error().Is(ErrorCode::kNotFound)) return std::optional<StoredMeta>();
  const Answer got = LS_TRY(std::move(answer));
  const StoredMessage message = LS_TRY(ParseStoredMessage(got.body), "{}", call.doing);
  StoredMeta stored{.sequence = message.sequence, .stored_at = message.stored_at};
  stored.meta = LS_TRY(ParseMeta(message.data), "{}", call.doing);
  if (MetaSubject(stored.meta.name) != message.subject) {
    return Error(ErrorCode::kCorruption, fmt::format("{}: nats: its description is that of \"{}\"",
                                                     call.doing, http::Shown(stored.meta.name)));
  }
  return std::optional(std::move(stored));
}

Result<std::optional<StoredMeta>> Bucket::GetMeta(const Context& ctx, std::string_view name) {
  LS_TRY(ctx.Check());
  Call call = BeginMeta(name);
  return FinishMeta(ctx, call);
}

Call Bucket::BeginPutMeta(const ObjectMeta& meta, std::uint64_t expected) {
  return Begin({.subject = MetaSubject(meta.name),
                .headers = {{"Nats-Rollup", "sub"},
                            {"Nats-Expected-Last-Subject-Sequence", std::to_string(expected)}},
                .body = Shared(FormatMeta(meta, options_.bucket))},
               fmt::format("{} {}", meta.deleted ? "delete" : "write", meta.name));
}

Result<std::uint64_t> Bucket::PutMeta(const Context& ctx, const ObjectMeta& meta,
                                      std::uint64_t expected, bool& may_be_stored) {
  may_be_stored = false;
  LS_TRY(ctx.Check());
  Call call = BeginPutMeta(meta, expected);
  may_be_stored = true;
  auto answer = Finish(ctx, call);
  if (!answer.ok() && !call.pending.empty()) {
    // Stopped while it was on its way. What is stored is stored.
    answer = FinishOnce(GraceContext(ctx), call);
  }
  if (answer.ok()) {
    const auto ack = ParsePublishAck(answer.value().body);
    if (ack.ok()) return ack.value().sequence;
    answer = ack.error();
  }
  const Error& error = answer.error();
  if (error.Is(ErrorCode::kAlreadyExists) && call.attempts > 1) {
    // By an earlier attempt, perhaps, whose answer was lost.
    const auto now = LS_TRY(GetMeta(ctx, meta.name));
    if (now && now->meta.nuid == meta.nuid && now->meta.deleted == meta.deleted) {
      return now->sequence;
    }
  }
  may_be_stored = IsRetryable(error) || !ctx.Check().ok();
  return error;
}

// ---- Subjects

Result<SubjectPage> Bucket::GetSubjects(const Context& ctx, std::string_view filter,
                                        std::uint64_t offset) {
  Call call = Begin(
      {.subject = Api("STREAM.INFO"),
       .headers = {},
       .body = Shared(fmt::format(R"({{"subjects_filter":"{}","offset":{}}})", filter, offset))},
      "list");
  const Answer answer = LS_TRY(Finish(ctx, call));
  return ParseSubjectPage(answer.body);
}

Result<std::set<std::string>> Bucket::ListNames(const Context& ctx, std::string_view prefix) {
  LS_TRY(ctx.Check());
  const std::string subjects = MetaPrefix();
  std::set<std::string> names;
  std::uint64_t seen = 0;
  std::uint64_t total = 0;
  do {
    const SubjectPage page = LS_TRY(GetSubjects(ctx, subjects + ">", seen));
    // Something came or went between two pages, and may have moved others across.
    if ((seen > 0 && page.total != total) || (page.subjects.empty() && page.total > seen) ||
        page.total > kMaxSubjects) {
      return Error(
          ErrorCode::kUnavailable,
          fmt::format("nats: list {}: it changes faster than it can be listed", Describe()));
    }
    total = page.total;
    seen += page.subjects.size();
    for (const auto& entry : page.subjects) {
      const std::string& subject = entry.first;
      // A server that forgets about the filter must not have us delete what is not ours.
      if (!subject.starts_with(subjects)) {
        return Error(ErrorCode::kUnavailable, fmt::format("nats: list {}: {} was not asked for",
                                                          Describe(), http::Shown(subject)));
      }
      auto name = FromBase64Url(std::string_view(subject).substr(subjects.size()));
      if (name && name->starts_with(prefix) && MetaSubject(*name) == subject) {
        names.insert(std::move(*name));
      }
    }
  } while (seen < total);
  return names;
}

Call Bucket::BeginPurgeChunks(std::string_view nuid) {
  return Begin({.subject = Api("STREAM.PURGE"),
                .headers = {},
                .body = Shared(fmt::format(R"({{"filter":"{}"}})", Escape(ChunkSubject(nuid))))},
               "remove chunks");
}

Call Bucket::BeginPurgeMeta(std::string_view name, std::uint64_t last) {
  return Begin(
      {.subject = Api("STREAM.PURGE"),
       .headers = {},
       .body = Shared(fmt::format(R"({{"filter":"{}","seq":{}}})", MetaSubject(name), last + 1))},
      fmt::format("remove the marker of {}", name));
}

Result<std::uint64_t> Bucket::CountChunks(const Context& ctx, std::string_view nuid) {
  const std::string subject = ChunkSubject(nuid);
  const SubjectPage page = LS_TRY(GetSubjects(ctx, Escape(subject), 0));
  const auto found = page.subjects.find(subject);
  return found == page.subjects.end() ? 0 : found->second;
}

// ---- Chunks

Result<void> Bucket::PrepareReading(const Context& ctx) {
  if (direct_ != Direct::kUnknown) return {};
  const SubjectPage page = LS_TRY(GetSubjects(ctx, ChunkSubject("none"), 0));
  direct_ = page.direct ? Direct::kYes : Direct::kNo;
  return {};
}

Call Bucket::BeginChunk(std::string_view nuid, std::uint64_t sequence) {
  std::string subject = ChunkSubject(nuid);
  Call call =
      BeginGet(fmt::format(R"({{"seq":{},"next_by_subj":"{}"}})", sequence, Escape(subject)),
               "read a chunk", direct_ == Direct::kYes);
  call.wanted_subject = std::move(subject);
  return call;
}

Result<Chunk> Bucket::ReceiveChunk(const Context& ctx, Call& call) {
  bool direct = call.message.subject == Api("DIRECT.GET");
  auto received = Receive(ctx, call);
  // It may have been forbidden meanwhile.
  if (direct && !received.ok()) direct_ = Direct::kUnknown;
  Answer answer = LS_TRY(std::move(received));
  // A follower may not have the message yet, or nobody knows the request.
  if (direct && (answer.status == kNoResponders || answer.status == kMessageNotFound)) {
    call.message.subject = Api("STREAM.MSG.GET");
    direct = false;
    answer = LS_TRY(Receive(ctx, call));
  }
  if (auto error = Judge(answer, call.doing)) return std::move(*error);
  StoredMessage message{
      .subject = answer.subject, .sequence = answer.sequence, .data = std::move(answer.body)};
  if (!direct) message = LS_TRY(ParseStoredMessage(message.data), "{}", call.doing);
  if (message.sequence == 0 || message.subject != call.wanted_subject) {
    return Error(ErrorCode::kUnavailable, "nats: read a chunk: the server sends another message");
  }
  return Chunk{.sequence = message.sequence, .data = std::move(message.data)};
}

Result<Chunk> Bucket::FinishChunk(const Context& ctx, Call& call) {
  Result<Chunk> chunk = Chunk();
  LS_TRY(Retry(ctx, options_.retry, [&]() -> Result<void> {
    chunk = ReceiveChunk(ctx, call);
    if (!chunk.ok()) return chunk.error();
    return {};
  }));
  return chunk;
}

}  // namespace litestream::nats
