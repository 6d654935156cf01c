#include "backend/nats/connection.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <optional>
#include <system_error>
#include <thread>

#include <fmt/core.h>

#include "backend/nats/connect.h"
#include "backend/nats/nats_error.h"
#include "base/try.h"
#include "http/curl_error.h"

namespace litestream::nats {

// What is in it is guarded by the mutex of the connection.
struct Slot {
  Message message;
  MonoTime since;  // When it was handed over, then when it was sent.
  bool sent = false;
  std::optional<Result<Answer>> result;
  CondVar done;
};

namespace {

using std::chrono::nanoseconds;

// For a thread that is about to come back with an error of its own.
constexpr std::chrono::seconds kMargin{2};
// Others may be answered all the time: how often answer_timeout one message may wait.
constexpr int kMaxWaits = 12;
constexpr std::chrono::milliseconds kMaxFarewell{500};

MonoTime Now() {
  return Clock::Real().Monotonic();
}

struct SubscriptionDeleter {
  void operator()(natsSubscription* subscription) const { natsSubscription_Destroy(subscription); }
};
using SubscriptionHandle = std::unique_ptr<natsSubscription, SubscriptionDeleter>;

struct MessageDeleter {
  void operator()(natsMsg* message) const { natsMsg_Destroy(message); }
};
using MessageHandle = std::unique_ptr<natsMsg, MessageDeleter>;

std::string HeaderOf(natsMsg* message, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK && value != nullptr ? value : "";
}

template <typename Integer>
Integer NumberIn(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

Answer AnswerOf(natsMsg* message) {
  Answer answer{.status = NumberIn<int>(HeaderOf(message, "Status")),
                .description = HeaderOf(message, "Description"),
                .subject = HeaderOf(message, "Nats-Subject"),
                .sequence = NumberIn<std::uint64_t>(HeaderOf(message, "Nats-Sequence"))};
  const int size = natsMsg_GetDataLength(message);
  if (size > 0) answer.body.assign(natsMsg_GetData(message), static_cast<std::size_t>(size));
  return answer;
}

std::string LastError() {
  natsStatus status = NATS_OK;
  const char* const text = nats_GetLastError(&status);
  return text == nullptr ? "" : http::Shown(text);
}

}  // namespace

// A connection has epochs: from the start of a thread that connects to the loss of what it has got.
// At most one is current; threads of others only clean up.
struct ConnectionState {
  explicit ConnectionState(ServerOptions server_options) : options(std::move(server_options)) {}

  const ServerOptions options;
  Mutex mu{LockRank::kStorage};
  CondVar changed;                            // For the thread, and for the farewell.
  std::uint64_t epoch LS_GUARDED_BY(mu) = 0;  // The current one; 0: none.
  bool up LS_GUARDED_BY(mu) = false;
  bool stopping LS_GUARDED_BY(mu) = false;
  int threads LS_GUARDED_BY(mu) = 0;
  std::size_t max_payload LS_GUARDED_BY(mu) = 0;
  // Unless somebody waits for it, nothing is there.
  std::deque<std::weak_ptr<Slot>> queue LS_GUARDED_BY(mu);
  std::map<std::uint64_t, std::weak_ptr<Slot>> under_way LS_GUARDED_BY(mu);
  std::uint64_t next_token LS_GUARDED_BY(mu) = 1;
  MonoTime not_before LS_GUARDED_BY(mu);  // The next attempt to connect.
  MonoTime progress LS_GUARDED_BY(mu);    // When something was last sent or answered.
  std::string failure LS_GUARDED_BY(mu);  // What libnats last complained about.

  static void Finish(Slot& slot, Result<Answer> result) {
    if (slot.result) return;
    slot.result = std::move(result);
    slot.done.NotifyAll();
  }
  // The current epoch is over, and with it all that waits.
  void End(const Error& why) LS_REQUIRES(mu) {
    epoch = 0;
    up = false;
    for (auto& entry : under_way) {
      if (const auto slot = entry.second.lock()) Finish(*slot, why);
    }
    for (auto& waiting : queue) {
      if (const auto slot = waiting.lock()) Finish(*slot, why);
    }
    under_way.clear();
    queue.clear();
    changed.NotifyAll();
  }
  // When to wait for the slot no longer. Moves on while there is progress.
  MonoTime Due(const Slot& slot) const LS_REQUIRES(mu) {
    if (!up) return std::max(slot.since, not_before) + options.timeout + kMargin;
    const MonoTime due = std::max(slot.since, progress) + options.answer_timeout;
    return slot.sent ? std::min(due, slot.since + kMaxWaits * options.answer_timeout)
                     : due + kMargin;
  }
  std::shared_ptr<Slot> NextInQueue() LS_REQUIRES(mu) {
    while (!queue.empty()) {
      auto slot = queue.front().lock();
      queue.pop_front();
      if (slot != nullptr && !slot->result) return slot;
    }
    return nullptr;
  }
  Error Lost(std::string_view why) const LS_REQUIRES(mu) {
    return {ErrorCode::kUnavailable,
            fmt::format("nats: {}: the connection was lost{}{}", ServerName(options),
                        why.empty() ? "" : ": ", why)};
  }
};

namespace {

// Callbacks of libnats may come late. They carry the number of their epoch, and find here whose it
// is, if that one is still there. Never destroyed: nor are libnats's threads.
class Epochs {
 public:
  static Epochs& All() {
    static auto* const all = new Epochs();
    return *all;
  }
  std::uint64_t Add(const std::shared_ptr<ConnectionState>& state) {
    MutexLock lock(mu_);
    known_.emplace(++last_, state);
    return last_;
  }
  void Remove(std::uint64_t epoch) {
    MutexLock lock(mu_);
    known_.erase(epoch);
  }
  std::shared_ptr<ConnectionState> Find(void* closure) {
    MutexLock lock(mu_);
    const auto found = known_.find(reinterpret_cast<std::uintptr_t>(closure));
    return found == known_.end() ? nullptr : found->second.lock();
  }

 private:
  Mutex mu_;
  std::uint64_t last_ LS_GUARDED_BY(mu_) = 0;
  std::map<std::uint64_t, std::weak_ptr<ConnectionState>> known_ LS_GUARDED_BY(mu_);
};

std::uint64_t EpochOf(void* closure) {
  return reinterpret_cast<std::uintptr_t>(closure);
}

void OnClosed(natsConnection* /*connection*/, void* closure) noexcept {
  const auto state = Epochs::All().Find(closure);
  if (state == nullptr) return;
  MutexLock lock(state->mu);
  if (state->epoch == EpochOf(closure)) state->End(state->Lost(state->failure));
}

// Permissions Violation for Publish to "$JS.API.STREAM.INFO.OBJ_b"
void OnFailed(natsConnection* /*connection*/, natsSubscription* /*subscription*/, natsStatus status,
              void* closure) noexcept {
  const auto state = Epochs::All().Find(closure);
  if (state == nullptr) return;
  std::string said = LastError();
  if (said.empty()) said = natsStatus_GetText(status);
  MutexLock lock(state->mu);
  if (state->epoch != EpochOf(closure)) return;
  state->failure = said;
  if (status != NATS_NOT_PERMITTED) return;
  const Error denied(ErrorCode::kDenied, fmt::format("nats: {}: {}; allow it for this user",
                                                     ServerName(state->options), said));
  if (said.find("_INBOX.") != std::string::npos) {
    state->End(denied);
    return;
  }
  for (auto& entry : state->under_way) {
    const auto slot = entry.second.lock();
    if (slot == nullptr || said.find('"' + slot->message.subject + '"') == std::string::npos) {
      continue;
    }
    ConnectionState::Finish(*slot, denied);
  }
}

void OnMessage(natsConnection* /*connection*/, natsSubscription* /*subscription*/, natsMsg* raw,
               void* closure) noexcept {
  const MessageHandle message(raw);
  const auto state = Epochs::All().Find(closure);
  if (state == nullptr) return;
  const std::string_view subject = natsMsg_GetSubject(raw);
  const auto token = NumberIn<std::uint64_t>(subject.substr(subject.rfind('.') + 1));
  const int size = natsMsg_GetDataLength(raw);
  const bool fits = size >= 0 && static_cast<std::size_t>(size) <= Connection::kMaxAnswerBytes;
  Result<Answer> answer =
      fits ? Result<Answer>(AnswerOf(raw))
           : Error(ErrorCode::kUnavailable, fmt::format("nats: an answer of {} bytes", size));
  MutexLock lock(state->mu);
  const auto found = state->under_way.find(token);
  if (found == state->under_way.end()) return;
  state->progress = Now();
  if (const auto slot = found->second.lock()) {
    ConnectionState::Finish(*slot, std::move(answer));
  }
  state->under_way.erase(found);
}

// What libnats holds of one epoch. Blocks, also when it goes.
struct Wire {
  ConnectionHandle connection;
  SubscriptionHandle inbox;
  std::string prefix;  // Of the subjects of answers: "_INBOX.<nuid>."
};

Result<Wire> Open(const ServerOptions& options, void* closure) {
  Wire wire;
  wire.connection =
      LS_TRY(Connect(options, {.closed = OnClosed, .failed = OnFailed, .closure = closure}));
  natsInbox* inbox = nullptr;
  natsStatus status = natsInbox_Create(&inbox);
  if (status == NATS_OK) {
    wire.prefix = std::string(inbox) + ".";
    natsInbox_Destroy(inbox);
    natsSubscription* subscription = nullptr;
    status = natsConnection_Subscribe(&subscription, wire.connection.get(),
                                      (wire.prefix + "*").c_str(), OnMessage, closure);
    wire.inbox.reset(subscription);
  }
  if (status != NATS_OK) return DescribeConnect(status, LastError(), ServerName(options));
  return wire;
}

natsStatus Publish(const Wire& wire, const Message& message, std::uint64_t token) {
  natsMsg* raw = nullptr;
  const std::string reply = wire.prefix + std::to_string(token);
  const std::string_view body = message.body == nullptr ? "" : std::string_view(*message.body);
  natsStatus status = natsMsg_Create(&raw, message.subject.c_str(), reply.c_str(), body.data(),
                                     static_cast<int>(body.size()));
  const MessageHandle owned(raw);
  for (const auto& [name, value] : message.headers) {
    if (status == NATS_OK) status = natsMsgHeader_Set(raw, name.c_str(), value.c_str());
  }
  return status == NATS_OK ? natsConnection_PublishMsg(wire.connection.get(), raw) : status;
}

// Sends what is in the queue until the epoch is over.
void Pump(ConnectionState& state, std::uint64_t epoch, const Wire& wire) {
  for (;;) {
    std::shared_ptr<Slot> slot;
    std::uint64_t token = 0;
    {
      MutexLock lock(state.mu);
      state.changed.Wait(state.mu, std::stop_token(), [&]() LS_REQUIRES(state.mu) {
        if (state.epoch != epoch || slot != nullptr) return true;
        slot = state.NextInQueue();
        return slot != nullptr;
      });
      if (state.epoch != epoch) {
        if (slot != nullptr) ConnectionState::Finish(*slot, state.Lost(""));
        return;
      }
      token = state.next_token++;
      // The answer may be there before Publish is back.
      state.under_way.emplace(token, slot);
      slot->sent = true;
      slot->since = Now();
    }
    const natsStatus status = Publish(wire, slot->message, token);
    MutexLock lock(state.mu);
    if (state.epoch != epoch) return;
    if (status == NATS_OK) {
      state.progress = slot->since = Now();
      continue;
    }
    const ErrorCode code = MeaningOf(static_cast<int>(status));
    if (code == ErrorCode::kUnavailable) {
      state.End(state.Lost(natsStatus_GetText(status)));
      return;
    }
    state.under_way.erase(token);
    ConnectionState::Finish(*slot,
                            Error(code, fmt::format("nats: send to {}: {}", slot->message.subject,
                                                    natsStatus_GetText(status))));
  }
}

// False if nobody wants the epoch any more.
bool WaitForTurn(ConnectionState& state, std::uint64_t epoch) {
  MutexLock lock(state.mu);
  state.changed.WaitFor(state.mu, std::stop_token(), state.not_before - Now(),
                        [&]() LS_REQUIRES(state.mu) { return state.epoch != epoch; });
  if (state.epoch != epoch) return false;
  state.not_before = Now() + state.options.reconnect_wait;
  return true;
}

void RunEpoch(const std::shared_ptr<ConnectionState>& state, std::uint64_t epoch) {
  if (WaitForTurn(*state, epoch)) {
    auto* const closure =
        reinterpret_cast<void*>(static_cast<std::uintptr_t>(epoch));  // NOLINT: see Epochs.
    auto wire = Open(state->options, closure);
    bool current = false;
    {
      MutexLock lock(state->mu);
      current = state->epoch == epoch;
      if (current && !wire.ok()) state->End(wire.error());
      if (current && wire.ok()) {
        state->up = true;
        state->progress = Now();
        state->failure.clear();
        state->max_payload = static_cast<std::size_t>(
            std::max<std::int64_t>(0, natsConnection_GetMaxPayload(wire.value().connection.get())));
      }
    }
    if (current && wire.ok()) Pump(*state, epoch, wire.value());
  }
  Epochs::All().Remove(epoch);
}

void Thread(const std::shared_ptr<ConnectionState>& state, std::uint64_t epoch) {
  RunEpoch(state, epoch);
  nats_ReleaseThreadMemory();
  MutexLock lock(state->mu);
  --state->threads;
  state->changed.NotifyAll();
}

}  // namespace

Connection::Connection(ServerOptions options)
    : state_(std::make_shared<ConnectionState>(std::move(options))) {}

Connection::~Connection() {
  MutexLock lock(state_->mu);
  state_->stopping = true;
  state_->End(Error(ErrorCode::kCancelled, "nats: the connection is no longer wanted"));
  ConnectionState& state = *state_;
  state.changed.WaitFor(state.mu, std::stop_token(), kMaxFarewell,
                        [&state]() LS_REQUIRES(state.mu) { return state.threads == 0; });
}

const ServerOptions& Connection::options() const {
  return state_->options;
}

std::string Connection::server() const {
  return ServerName(state_->options);
}

std::size_t Connection::max_payload_bytes() const {
  MutexLock lock(state_->mu);
  return state_->max_payload;
}

Pending Connection::Send(Message message, std::uint64_t* pin) {
  const auto slot = std::make_shared<Slot>();
  slot->message = std::move(message);
  slot->since = Now();
  std::uint64_t begun = 0;
  {
    MutexLock lock(state_->mu);
    if (pin != nullptr && *pin != 0 && *pin != state_->epoch) {
      ConnectionState::Finish(*slot, state_->Lost(""));
      return Pending(slot);
    }
    if (state_->epoch == 0 && state_->threads >= kMaxThreads) {
      ConnectionState::Finish(
          *slot, Error(ErrorCode::kUnavailable,
                       fmt::format("nats: {}: earlier attempts to connect still hang", server())));
      return Pending(slot);
    }
    if (state_->epoch == 0) {
      begun = state_->epoch = Epochs::All().Add(state_);
      ++state_->threads;
    }
    if (pin != nullptr) *pin = state_->epoch;
    state_->queue.push_back(slot);
    state_->changed.NotifyAll();
  }
  if (begun == 0) return Pending(slot);
  try {
    // Detached, because libnats may keep it for longer than anybody can wait (see the class); it
    // shares the state, and touches nothing else of ours.
    std::jthread([state = state_, begun] { Thread(state, begun); }).detach();
  } catch (const std::system_error& error) {
    MutexLock lock(state_->mu);
    --state_->threads;
    state_->End(Error(ErrorCode::kUnavailable, fmt::format("nats: no thread: {}", error.what())));
  }
  return Pending(slot);
}

Result<Answer> Connection::Wait(const Context& ctx, const Pending& pending) {
  Slot& slot = *pending.slot_;
  MutexLock lock(state_->mu);
  for (;;) {
    LS_TRY(ctx.Check());
    if (slot.result) return *slot.result;
    const MonoTime due = state_->Due(slot);
    const MonoTime now = Now();
    if (due <= now) {
      const Error late(ErrorCode::kUnavailable,
                       fmt::format("nats: {}: no {}", ServerName(state_->options),
                                   state_->up ? "answer" : "connection"));
      const bool dead = !state_->up || now - state_->progress >= state_->options.answer_timeout;
      if (dead) state_->End(late);
      ConnectionState::Finish(slot, late);
      continue;
    }
    nanoseconds wait = due - now;
    if (ctx.deadline())
      wait = std::min<nanoseconds>(wait, *ctx.deadline() - ctx.clock().Monotonic());
    slot.done.WaitFor(state_->mu, ctx.stop(), wait, [&slot] { return slot.result.has_value(); });
  }
}

std::shared_ptr<Connection> Connections::Get(const ServerOptions& options) {
  // Whoever turns out to be the last to hold one lets go of it without the lock.
  std::vector<std::shared_ptr<Connection>> held;
  MutexLock lock(mu_);
  std::erase_if(known_, [](const auto& known) { return known.expired(); });
  for (const auto& known : known_) {
    held.push_back(known.lock());
    if (held.back() != nullptr && held.back()->options() == options) return held.back();
  }
  auto connection = std::make_shared<Connection>(options);
  known_.push_back(connection);
  return connection;
}

}  // namespace litestream::nats
