#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <unistd.h>

namespace litestream::remote_app {

// Between a test and its RemoteApp: the size of a message in 4 bytes, then the message. A question
// is a letter and a text; each has one answer.
enum class Question : char {
  kExec = 'E',
  kQuery = 'Q',
  kClose = 'C',
  kDieInNextFsync = 'D',
  kStartLoop = 'L',
  kStopLoop = 'S',
};

inline bool WriteAll(int fd, const void* data, std::size_t size) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, p, size);
    if (n <= 0) return false;
    p += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

inline bool ReadAll(int fd, void* data, std::size_t size) {
  char* p = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::read(fd, p, size);
    if (n <= 0) return false;
    p += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

inline bool Send(int fd, const std::string& text) {
  const auto size = static_cast<std::uint32_t>(text.size());
  return WriteAll(fd, &size, sizeof size) && WriteAll(fd, text.data(), text.size());
}

inline bool Receive(int fd, std::string& text) {
  std::uint32_t size = 0;
  if (!ReadAll(fd, &size, sizeof size)) return false;
  text.resize(size);
  return ReadAll(fd, text.data(), size);
}

}  // namespace litestream::remote_app
