#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>

#include "base/scheduler.h"
#include "base/sync.h"
#include "litestream/context.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// What one process may do to its replicas, all of them together.
struct LimitOptions {
  int uploads = 8;  // Turns at a time, 1 or more.
  // Averages over a second and more; 0: no limit.
  std::uint64_t upload_bytes_per_second = 0;
  std::uint64_t download_bytes_per_second = 0;
  std::uint64_t requests_per_second = 0;
};

enum class Direction : unsigned char { kUpload, kDownload };

// A turn that may take long leaves one of the places to those that do not.
enum class TurnSize : unsigned char { kSmall, kLarge };
// More than this to upload is a large turn.
inline constexpr std::uint64_t kLargeTurnBytes = std::uint64_t{1} << 20;

class LimiterSeat;

// Shares bandwidth, requests and places among everybody in a process who talks to replicas.
//
// Requests and places are waited for before anything begins: a task takes a seat (below) and gives
// its thread back until it is its turn. Turns are given in the order in which they were asked for,
// and each is one step (an object uploaded, a merge), so that databases take turns however much
// they have. Large turns have all places but one (if there are two or more): a few large uploads
// hold no small one up. Requests are paid for when they are made: a step that needs several is not
// broken off, the next turn begins when they are paid.
//
// Bytes wait where they flow: each stream passes a piece at a time, in the order of asking, so that
// streams that run at the same time get the same share. A piece is so small that no wait is much
// longer than kPieceTime, whatever the limit. A stream holds its thread, as on a slow line; that is
// why large turns must not have all places.
//
// Safe for concurrent calls.
class Limiter {
 public:
  // What all streams that wait at the same time wait for.
  static constexpr std::chrono::milliseconds kPieceTime{15};
  static constexpr std::size_t kMaxPieceBytes = std::size_t{64} << 10;

  explicit Limiter(const LimitOptions& options);

  const LimitOptions& options() const { return options_; }
  bool limits(Direction direction) const { return BytesPerSecond(direction) > 0; }

  // So much should be read or written before Pass is called for it, 1 or more.
  std::size_t PieceBytes(Direction direction) const;
  // Waits until so many bytes have had their time. Ends early with the context.
  Result<void> Pass(const Context& ctx, Direction direction, std::size_t bytes);
  // A request is made now. Never waits.
  void NoteRequest(MonoTime now);

 private:
  friend class LimiterSeat;

  struct Line {
    MonoTime paid_until;  // What has passed has had its time then.
    int waiting = 0;
  };

  std::uint64_t BytesPerSecond(Direction direction) const {
    return direction == Direction::kUpload ? options_.upload_bytes_per_second
                                           : options_.download_bytes_per_second;
  }
  Line& LineOf(Direction direction) LS_REQUIRES(mu_) {
    return lines_[static_cast<std::size_t>(direction)];
  }
  // When a turn may begin; `now` or earlier: at once.
  MonoTime NextRequest(MonoTime now) const LS_REQUIRES(mu_);
  void PayRequest(MonoTime now) LS_REQUIRES(mu_);
  int LargePlaces() const { return options_.uploads > 1 ? options_.uploads - 1 : 1; }
  // Whose turn is next, of those for whom there is a place; null: nobody's.
  LimiterSeat* First() const LS_REQUIRES(mu_);
  void GiveTurns(MonoTime now, const LimiterSeat* asking) LS_REQUIRES(mu_);
  void Leave(LimiterSeat& seat) LS_REQUIRES(mu_);

  const LimitOptions options_;
  mutable Mutex mu_{LockRank::kLimiter};
  std::array<Line, 2> lines_ LS_GUARDED_BY(mu_);
  MonoTime requests_paid_until_ LS_GUARDED_BY(mu_);
  int prepaid_requests_ LS_GUARDED_BY(mu_) = 0;  // The first of a turn is paid when it is given.
  int turns_ LS_GUARDED_BY(mu_) = 0;
  int large_turns_ LS_GUARDED_BY(mu_) = 0;
  std::uint64_t asked_ LS_GUARDED_BY(mu_) = 0;
  MonoTime last_now_ LS_GUARDED_BY(mu_);
  // Who waits, in the order of asking; by TurnSize.
  std::array<std::list<LimiterSeat*>, 2> queues_ LS_GUARDED_BY(mu_);
  // The first in the order, if it has been told when to come again.
  const LimiterSeat* timekeeper_ LS_GUARDED_BY(mu_) = nullptr;
};

// Where one task waits for its turn, or one thread outside of the pools. Not safe for concurrent
// calls, but for those that the limiter makes.
class LimiterSeat {
 public:
  // Borrows the limiter; null: it is always its turn.
  explicit LimiterSeat(Limiter* limiter) : limiter_(limiter) {}
  // Gives up its turn, or its place in the order.
  ~LimiterSeat();
  LimiterSeat(const LimiterSeat&) = delete;
  LimiterSeat& operator=(const LimiterSeat&) = delete;

  bool limited() const { return limiter_ != nullptr; }
  // The task to wake when it is its turn, from any thread; must live until another is set. Null:
  // nobody.
  void SetTask(Task* task);

  struct Answer {
    bool granted = false;
    std::optional<MonoTime> at;  // When to ask again; unset: when woken.
  };
  // Asks for a turn, or whether it has come. One that has come stays until Done.
  Answer Ask(MonoTime now, TurnSize size);
  // Asks until it is granted; for threads that may wait. Ends early with the context, and then
  // waits no more.
  Result<void> Wait(const Context& ctx, TurnSize size);
  // The turn has ended; or it is wanted no more. Nothing if there is none.
  void Done(MonoTime now);

 private:
  friend class Limiter;
  enum class State : unsigned char { kAway, kWaiting, kHasTurn };

  Limiter* const limiter_;
  // Guarded by the limiter's mutex.
  State state_ = State::kAway;
  TurnSize size_ = TurnSize::kSmall;
  std::uint64_t number_ = 0;  // In the order of asking.
  std::list<LimiterSeat*>::iterator place_;
  Task* task_ = nullptr;
};

}  // namespace litestream
