#include "base/temp_file.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/try.h"

namespace litestream {
namespace {

constexpr std::string_view kSuffix = ".tmp";
constexpr std::size_t kRandomDigits = 16;
constexpr int kNameAttempts = 8;

std::string RandomHex(Env& env) {
  std::array<std::byte, 8> random;
  env.Random(random);
  return fmt::format("{:016x}", LoadBe64(random.data()));
}

bool IsLowerHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}
bool IsDecimal(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Result<std::unique_ptr<TempFile>> TempFile::Create(Env& env, const std::filesystem::path& stem,
                                                   const FileOwner& owner) {
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    std::filesystem::path path = stem;
    path += fmt::format(".{}-{}{}", ::getpid(), RandomHex(env), kSuffix);
    auto file = env.Open(path, {.write = true, .create = true, .exclusive = true, .owner = owner});
    if (!file.ok()) {
      if (file.error().Is(ErrorCode::kAlreadyExists)) continue;
      return std::move(file).error();
    }
    std::unique_ptr<TempFile> temp(new TempFile(env, std::move(path)));
    temp->file_ = std::move(file).value();
    // It is there, so nobody needs to be told to whom to give it.
    auto lock = env.Lock(temp->path_, {.mode = owner.mode});
    if (lock.ok()) {
      temp->lock_ = std::move(lock).value();
      // A sweep may have removed the file before it was locked, and Lock then made another one of
      // that name, empty: nobody must publish that.
      const auto locked = env.Stat(temp->path_);
      if (locked.ok() && locked.value().identity == LS_TRY(temp->file_->Stat()).identity) {
        return temp;
      }
      continue;
    }
    // Without a lock (some network file systems have none) only a sweep's own lock counts.
    if (!lock.error().Is(ErrorCode::kAlreadyExists)) return temp;
  }
  return Error(ErrorCode::kIo, fmt::format("no free temporary name beside {}", stem.string()));
}

TempFile::~TempFile() {
  if (published_) return;
  file_.reset();
  // Fails if the disk or the process is dying; then the next sweep finds it.
  static_cast<void>(env_.Remove(path_));
}

Result<void> TempFile::Publish(const std::filesystem::path& final_path, bool if_absent) {
  file_.reset();
  LS_TRY(if_absent ? env_.RenameNoReplace(path_, final_path) : env_.Rename(path_, final_path));
  published_ = true;
  return {};
}

std::string_view TempFileStem(std::string_view name) {
  if (!name.ends_with(kSuffix)) return {};
  name.remove_suffix(kSuffix.size());
  const std::size_t dot = name.rfind('.');
  if (dot == 0 || dot == std::string_view::npos) return {};
  const std::string_view tail = name.substr(dot + 1);
  const std::size_t dash = tail.find('-');
  if (dash == 0 || dash == std::string_view::npos) return {};
  const std::string_view random = tail.substr(dash + 1);
  const bool is_ours = std::ranges::all_of(tail.substr(0, dash), IsDecimal) &&
                       random.size() == kRandomDigits && std::ranges::all_of(random, IsLowerHex);
  return is_ours ? name.substr(0, dot) : std::string_view();
}

bool RemoveDeadTempFile(Env& env, const std::filesystem::path& path) {
  const auto lock = env.Lock(path, FileOwner{});
  return lock.ok() && env.Remove(path).ok();
}

}  // namespace litestream
