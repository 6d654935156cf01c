#include "db/state_instance.h"

#include <array>
#include <cstring>
#include <span>
#include <string_view>

#include "base/endian.h"
#include "base/try.h"
#include "db/position.h"
#include "format/crc64.h"

namespace litestream {
namespace {

//   offset size   (integers big-endian)
//        0    8  "LSINSTNC"
//        8    8  the name
//       16    8  CRC-64 of the machine's boot id
//       24   16  the lock file: device, inode
//       40    8  CRC-64 of bytes 0..39
constexpr std::string_view kMagic = "LSINSTNC";
constexpr std::size_t kInstanceBytes = 48;

using Bytes = std::array<std::byte, kInstanceBytes>;

Bytes Format(std::uint64_t instance, std::uint64_t boot, const FileIdentity& lock) {
  Bytes bytes = {};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  StoreBe64(&bytes[8], instance);
  StoreBe64(&bytes[16], boot);
  StoreBe64(&bytes[24], lock.device);
  StoreBe64(&bytes[32], lock.inode);
  StoreBe64(&bytes[40], Crc64(0, std::span(bytes).first(40)));
  return bytes;
}

}  // namespace

std::optional<std::uint64_t> ReadInstance(Env& env, const std::filesystem::path& path,
                                          const FileIdentity& lock) {
  const std::uint64_t boot = HashOfBoot(env);
  const auto read = ReadSmallFile(env, path, kInstanceBytes);
  if (boot == 0 || !read.ok() || read.value().size() != kInstanceBytes) return std::nullopt;
  const auto bytes = std::as_bytes(std::span(read.value()));
  const std::uint64_t instance = LoadBe64(&bytes[8]);
  const Bytes expected = Format(instance, boot, lock);
  if (std::memcmp(bytes.data(), expected.data(), kInstanceBytes) != 0) return std::nullopt;
  return instance;
}

Result<void> WriteInstance(Env& env, const std::filesystem::path& path, std::uint64_t instance,
                           const FileIdentity& lock, const FileOwner& owner) {
  const auto file =
      LS_TRY(env.Open(path, {.write = true, .create = true, .truncate = true, .owner = owner}));
  return file->WriteAt(Format(instance, HashOfBoot(env), lock), 0);
}

std::uint64_t RandomNumber(Env& env) {
  std::array<std::byte, 8> bytes;
  env.Random(bytes);
  return LoadBe64(bytes.data());
}

}  // namespace litestream
