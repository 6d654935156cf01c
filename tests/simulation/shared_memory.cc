#include "tests/simulation/shared_memory.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

namespace litestream::sim {
namespace {

// Address space, not memory. A region covers 4,096 frames.
constexpr std::size_t kMaxSlots = 4096;
constexpr std::size_t kNoSlot = SIZE_MAX;

std::byte* MapAt(void* address, int flags, int fd, std::size_t offset, std::size_t bytes) {
  void* const at =
      ::mmap(address, bytes, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) {
    std::perror("simulator: mmap");
    std::abort();
  }
  return static_cast<std::byte*>(at);
}

}  // namespace

SharedMemory::SharedMemory() : fd_(::memfd_create("litestream-simulation", MFD_CLOEXEC)) {
  if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(kMaxSlots * kRegionBytes)) != 0) {
    std::perror("simulator: memfd");
    std::abort();
  }
  base_ = MapAt(nullptr, MAP_SHARED, fd_, 0, kMaxSlots * kRegionBytes);
}

SharedMemory::~SharedMemory() {
  ::munmap(base_, kMaxSlots * kRegionBytes);
  ::close(fd_);
}

std::size_t SharedMemory::NewSlot() {
  if (free_slots_.empty()) {
    if (used_slots_ == kMaxSlots) {
      std::fprintf(stderr, "simulator: out of shared memory\n");
      std::abort();
    }
    return used_slots_++;
  }
  const std::size_t slot = free_slots_.back();
  free_slots_.pop_back();
  std::memset(base_ + slot * kRegionBytes, 0, kRegionBytes);
  return slot;
}

std::byte* SharedMemory::Map(std::uint64_t inode, std::size_t index) {
  std::vector<std::size_t>& slots = files_[inode];
  if (slots.size() <= index) slots.resize(index + 1, kNoSlot);
  if (slots[index] == kNoSlot) slots[index] = NewSlot();
  return MapAt(nullptr, MAP_SHARED, fd_, slots[index] * kRegionBytes, kRegionBytes);
}

void SharedMemory::Unmap(std::byte* mapped) {
  ::munmap(mapped, kRegionBytes);
}

void SharedMemory::Detach(std::byte* mapped) {
  std::vector<std::byte> copy(mapped, mapped + kRegionBytes);
  MapAt(mapped, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, kRegionBytes);
  std::memcpy(mapped, copy.data(), kRegionBytes);
}

void SharedMemory::Clear(std::uint64_t inode) {
  const auto it = files_.find(inode);
  if (it == files_.end()) return;
  for (const std::size_t slot : it->second) {
    if (slot != kNoSlot) free_slots_.push_back(slot);
  }
  files_.erase(it);
}

void SharedMemory::ClearAll() {
  while (!files_.empty()) Clear(files_.begin()->first);
}

const std::byte* SharedMemory::Look(std::uint64_t inode, std::size_t index) const {
  const auto it = files_.find(inode);
  if (it == files_.end() || it->second.size() <= index) return nullptr;
  return it->second[index] == kNoSlot ? nullptr : base_ + it->second[index] * kRegionBytes;
}

}  // namespace litestream::sim
