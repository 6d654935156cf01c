#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace litestream::sim {

// The contents of -shm files: memory that several processes have mapped, each at an address of its
// own. When a process dies, what stands behind its addresses becomes a private copy, so that what
// its calls still write while they unwind reaches nobody.
class SharedMemory {
 public:
  static constexpr std::size_t kRegionBytes = 32768;

  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Region `index` of the file with this inode, zeros when first asked for. A new mapping.
  std::byte* Map(std::uint64_t inode, std::size_t index);
  static void Unmap(std::byte* mapped);
  // The process that mapped it has died.
  void Detach(std::byte* mapped);
  // The file was truncated, or is gone: the next Map gets zeros.
  void Clear(std::uint64_t inode);
  void ClearAll();

  // As everybody sees it; null if nobody has mapped it.
  const std::byte* Look(std::uint64_t inode, std::size_t index) const;

 private:
  std::size_t NewSlot();

  int fd_ = -1;
  std::byte* base_ = nullptr;
  std::size_t used_slots_ = 0;
  std::vector<std::size_t> free_slots_;
  std::map<std::uint64_t, std::vector<std::size_t>> files_;
};

}  // namespace litestream::sim
