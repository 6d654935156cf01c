#include "base/sync.h"

#include <cstdio>
#include <cstdlib>

namespace litestream {

#ifndef NDEBUG
namespace {
// Ranks this thread holds, in the order taken. Few at a time.
constexpr int kMaxHeld = 16;
thread_local int held[kMaxHeld];
thread_local int held_count = 0;

void NoteLocked(int rank) {
  if (held_count > 0 && held[held_count - 1] >= rank) {
    std::fprintf(stderr, "lock of rank %d taken while rank %d is held\n", rank,
                 held[held_count - 1]);
    std::abort();
  }
  if (held_count == kMaxHeld) std::abort();
  held[held_count++] = rank;
}

void NoteUnlocked(int rank) {
  for (int i = held_count - 1; i >= 0; --i) {
    if (held[i] != rank) continue;
    for (int j = i; j + 1 < held_count; ++j) held[j] = held[j + 1];
    --held_count;
    return;
  }
}
}  // namespace
#endif

void Mutex::lock() {
#ifndef NDEBUG
  NoteLocked(static_cast<int>(rank_));
#endif
  mu_.lock();
}

void Mutex::unlock() {
  mu_.unlock();
#ifndef NDEBUG
  NoteUnlocked(static_cast<int>(rank_));
#endif
}

}  // namespace litestream
