#include "tests/simulation/fiber.h"

#include <cassert>
#include <utility>
#include <vector>

#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(LITESTREAM_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace litestream::sim {
namespace {

namespace context = boost::context;

// Stacks are used again: mapping one costs more than a short call that runs on it.
class StackPool {
 public:
  ~StackPool() {
    for (auto& stack : free_) allocator_.deallocate(stack);
  }
  context::stack_context allocate() {
    if (free_.empty()) return allocator_.allocate();
    auto stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void deallocate(context::stack_context& stack) {
#if defined(__SANITIZE_ADDRESS__)
    // What the last call has poisoned is no business of the next.
    char* low = static_cast<char*>(stack.sp) - Fiber::kStackBytes;
    __asan_unpoison_memory_region(low, Fiber::kStackBytes);
#endif
    free_.push_back(stack);
  }

 private:
  context::protected_fixedsize_stack allocator_{Fiber::kStackBytes};
  std::vector<context::stack_context> free_;
};

StackPool& Stacks() {
  static StackPool pool;
  return pool;
}

// The library wants to own its allocator.
struct PooledStacks {
  context::stack_context allocate() { return Stacks().allocate(); }
  void deallocate(context::stack_context& stack) { Stacks().deallocate(stack); }
};

// The sanitizers have to be told that the stack changes.
#if defined(__SANITIZE_ADDRESS__)
void BeforeSwitch(void** save, const void* bottom, std::size_t size) {
  __sanitizer_start_switch_fiber(save, bottom, size);
}
void AfterSwitch(void* saved, const void** bottom, std::size_t* size) {
  __sanitizer_finish_switch_fiber(saved, bottom, size);
}
#else
void BeforeSwitch(void** /*save*/, const void* /*bottom*/, std::size_t /*size*/) {}
void AfterSwitch(void* /*saved*/, const void** /*bottom*/, std::size_t* /*size*/) {}
#endif

// What the thread sanitizer knows of a stack. That of a call that has ended is as new.
#if defined(LITESTREAM_TSAN)
using TsanFiber = void*;
std::vector<TsanFiber>& FreeTsanFibers() {
  static std::vector<TsanFiber> free;
  return free;
}
TsanFiber NewTsanFiber() {
  auto& free = FreeTsanFibers();
  if (free.empty()) return __tsan_create_fiber(0);
  TsanFiber fiber = free.back();
  free.pop_back();
  return fiber;
}
void FreeTsanFiber(TsanFiber fiber) {
  FreeTsanFibers().push_back(fiber);
}
TsanFiber CurrentTsanFiber() {
  return __tsan_get_current_fiber();
}
void SwitchToTsanFiber(TsanFiber fiber) {
  __tsan_switch_to_fiber(fiber, 0);
}
#else
struct TsanFiber {};
TsanFiber NewTsanFiber() {
  return {};
}
void FreeTsanFiber(TsanFiber /*fiber*/) {}
TsanFiber CurrentTsanFiber() {
  return {};
}
void SwitchToTsanFiber(TsanFiber /*fiber*/) {}
#endif

}  // namespace

struct Fiber::State {
  std::function<void()> body;
  context::stack_context stack;
  context::fiber inside;
  context::fiber outside;
  bool done = false;
  void* fake_stack = nullptr;
  const void* outside_bottom = nullptr;
  std::size_t outside_size = 0;
  TsanFiber tsan_inside = NewTsanFiber();
  TsanFiber tsan_outside = {};
};

namespace {

Fiber* running = nullptr;

}  // namespace

Fiber::Fiber(std::function<void()> body) : state_(std::make_unique<State>()) {
  State* s = state_.get();
  s->body = std::move(body);
  s->stack = Stacks().allocate();
  s->inside = context::fiber(std::allocator_arg,
                             context::preallocated(s->stack.sp, s->stack.size, s->stack),
                             PooledStacks(), [s](context::fiber&& outside) {
                               AfterSwitch(nullptr, &s->outside_bottom, &s->outside_size);
                               s->outside = std::move(outside);
                               s->body();
                               s->body = nullptr;
                               s->done = true;
                               BeforeSwitch(nullptr, s->outside_bottom, s->outside_size);
                               SwitchToTsanFiber(s->tsan_outside);
                               return std::move(s->outside);
                             });
}

Fiber::~Fiber() {
  assert(state_->done);
  FreeTsanFiber(state_->tsan_inside);
}

bool Fiber::done() const {
  return state_->done;
}

void Fiber::Resume() {
  Fiber* const before = std::exchange(running, this);
  State& s = *state_;
  void* fake_stack = nullptr;
  BeforeSwitch(&fake_stack, static_cast<char*>(s.stack.sp) - s.stack.size, s.stack.size);
  s.tsan_outside = CurrentTsanFiber();
  SwitchToTsanFiber(s.tsan_inside);
  s.inside = std::move(s.inside).resume();
  AfterSwitch(fake_stack, nullptr, nullptr);
  running = before;
}

void Fiber::Suspend() {
  State& s = *running->state_;
  BeforeSwitch(&s.fake_stack, s.outside_bottom, s.outside_size);
  SwitchToTsanFiber(s.tsan_outside);
  s.outside = std::move(s.outside).resume();
  AfterSwitch(s.fake_stack, &s.outside_bottom, &s.outside_size);
}

}  // namespace litestream::sim
