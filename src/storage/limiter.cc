#include "storage/limiter.h"

#include <algorithm>

#include "base/try.h"

namespace litestream {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kSecond = std::chrono::seconds(1);
// How often a thread outside of the pools looks whether its turn has come.
constexpr std::chrono::milliseconds kPollInterval{20};
// Less than this is not waited for, but with what comes next.
constexpr std::chrono::milliseconds kShortestWait{1};

// The time that `count` things take, rounded up.
nanoseconds TimeOf(std::uint64_t count, std::uint64_t per_second) {
  const double time = static_cast<double>(count) / static_cast<double>(per_second) * 1e9;
  return nanoseconds(static_cast<std::int64_t>(time) + 1);
}

}  // namespace

Limiter::Limiter(const LimitOptions& options) : options_(options) {}

std::size_t Limiter::PieceBytes(Direction direction) const {
  MutexLock lock(mu_);
  const auto waiting =
      static_cast<std::uint64_t>(lines_[static_cast<std::size_t>(direction)].waiting);
  const std::uint64_t in_time = BytesPerSecond(direction) / (kSecond / kPieceTime);
  return std::clamp<std::uint64_t>(in_time / (waiting + 1), 1, kMaxPieceBytes);
}

Result<void> Limiter::Pass(const Context& ctx, Direction direction, std::size_t bytes) {
  if (!limits(direction) || bytes == 0) return ctx.Check();
  const MonoTime now = ctx.clock().Monotonic();
  MonoTime until;
  {
    MutexLock lock(mu_);
    Line& line = LineOf(direction);
    line.paid_until = std::max(line.paid_until, now) + TimeOf(bytes, BytesPerSecond(direction));
    until = line.paid_until;
    if (until - now < kShortestWait) return ctx.Check();
    ++line.waiting;
  }
  auto waited = ctx.Wait(until - now);
  MutexLock lock(mu_);
  --LineOf(direction).waiting;
  return waited;
}

void Limiter::NoteRequest(MonoTime now) {
  if (options_.requests_per_second == 0) return;
  MutexLock lock(mu_);
  if (prepaid_requests_ > 0) {
    --prepaid_requests_;
  } else {
    PayRequest(now);
  }
}

// What was not used in the last second is lost.
void Limiter::PayRequest(MonoTime now) {
  if (options_.requests_per_second == 0) return;
  requests_paid_until_ =
      std::max(requests_paid_until_, now - kSecond) + TimeOf(1, options_.requests_per_second);
}

MonoTime Limiter::NextRequest(MonoTime now) const {
  if (options_.requests_per_second == 0) return now;
  return requests_paid_until_ + TimeOf(1, options_.requests_per_second);
}

LimiterSeat* Limiter::First() const {
  if (turns_ >= options_.uploads) return nullptr;
  LimiterSeat* first = nullptr;
  for (const TurnSize size : {TurnSize::kSmall, TurnSize::kLarge}) {
    const auto& queue = queues_[static_cast<std::size_t>(size)];
    if (queue.empty() || (size == TurnSize::kLarge && large_turns_ >= LargePlaces())) continue;
    if (first == nullptr || queue.front()->number_ < first->number_) first = queue.front();
  }
  return first;
}

// Gives as many turns as there are, and wakes those who got one, except who asks. If only time is
// missing, the first in the order has to come again: it is woken to be told so.
void Limiter::GiveTurns(MonoTime now, const LimiterSeat* asking) {
  last_now_ = std::max(last_now_, now);
  for (LimiterSeat* seat = First(); seat != nullptr; seat = First()) {
    const bool wake = seat != asking && seat->task_ != nullptr;
    if (NextRequest(last_now_) > last_now_) {
      if (wake && timekeeper_ != seat) seat->task_->Wake();
      timekeeper_ = seat;
      return;
    }
    Leave(*seat);
    seat->state_ = LimiterSeat::State::kHasTurn;
    ++turns_;
    if (seat->size_ == TurnSize::kLarge) ++large_turns_;
    if (options_.requests_per_second > 0) {
      PayRequest(last_now_);
      ++prepaid_requests_;
    }
    if (wake) seat->task_->Wake();
  }
}

// The queue.
void Limiter::Leave(LimiterSeat& seat) {
  queues_[static_cast<std::size_t>(seat.size_)].erase(seat.place_);
  if (timekeeper_ == &seat) timekeeper_ = nullptr;
}

LimiterSeat::~LimiterSeat() {
  SetTask(nullptr);
  Done(MonoTime{});
}

void LimiterSeat::SetTask(Task* task) {
  if (limiter_ == nullptr) return;
  MutexLock lock(limiter_->mu_);
  task_ = task;
  // It may have come before there was anybody to wake.
  if (task_ != nullptr && (state_ == State::kHasTurn || limiter_->timekeeper_ == this)) {
    task_->Wake();
  }
}

LimiterSeat::Answer LimiterSeat::Ask(MonoTime now, TurnSize size) {
  if (limiter_ == nullptr) return {.granted = true, .at = {}};
  Limiter& limiter = *limiter_;
  MutexLock lock(limiter.mu_);
  if (state_ == State::kAway) {
    size_ = size;
    number_ = ++limiter.asked_;
    auto& queue = limiter.queues_[static_cast<std::size_t>(size)];
    place_ = queue.insert(queue.end(), this);
    state_ = State::kWaiting;
  }
  if (state_ == State::kWaiting) limiter.GiveTurns(now, this);
  Answer answer{.granted = state_ == State::kHasTurn, .at = {}};
  if (limiter.timekeeper_ == this) answer.at = limiter.NextRequest(now);
  return answer;
}

Result<void> LimiterSeat::Wait(const Context& ctx, TurnSize size) {
  for (;;) {
    const MonoTime now = ctx.clock().Monotonic();
    const Answer answer = Ask(now, size);
    if (answer.granted) return {};
    auto waited = ctx.Wait(answer.at ? *answer.at - now : kPollInterval);
    if (waited.ok()) continue;
    Done(ctx.clock().Monotonic());
    return waited;
  }
}

void LimiterSeat::Done(MonoTime now) {
  if (limiter_ == nullptr) return;
  Limiter& limiter = *limiter_;
  MutexLock lock(limiter.mu_);
  if (state_ == State::kAway) return;
  if (state_ == State::kWaiting) {
    limiter.Leave(*this);
  } else {
    --limiter.turns_;
    if (size_ == TurnSize::kLarge) --limiter.large_turns_;
    limiter.prepaid_requests_ = std::min(limiter.prepaid_requests_, limiter.turns_);
  }
  state_ = State::kAway;
  limiter.GiveTurns(now, nullptr);
}

}  // namespace litestream
