#include "backend/file/temp_file.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/try.h"
#include "format/names.h"

namespace litestream {
namespace {

constexpr std::string_view kSuffix = ".tmp";
constexpr std::size_t kRandomDigits = 16;
constexpr int kNameAttempts = 8;
constexpr std::chrono::hours kOtherVersionAge{24};

std::string RandomHex(Env& env) {
  std::array<std::byte, 8> random;
  env.Random(random);
  return FormatHex64(LoadBe64(random.data()));
}

bool IsLowerHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}
bool IsDecimal(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Result<std::unique_ptr<TempFile>> TempFile::Create(Env& env,
                                                   const std::filesystem::path& final_path,
                                                   const FileOwner& owner) {
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    std::filesystem::path path = final_path;
    path += fmt::format(".{}-{}{}", ::getpid(), RandomHex(env), kSuffix);
    auto file = env.Open(path, {.write = true, .create = true, .exclusive = true, .owner = owner});
    if (!file.ok()) {
      if (file.error().Is(ErrorCode::kAlreadyExists)) continue;
      return std::move(file).error();
    }
    std::unique_ptr<TempFile> temp(new TempFile(env, final_path, std::move(path)));
    temp->file_ = std::move(file).value();
    auto lock = env.Lock(temp->path_, owner);
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
  return Error(ErrorCode::kIo,
               fmt::format("no free temporary name beside {}", final_path.string()));
}

TempFile::~TempFile() {
  if (published_) return;
  file_.reset();
  // Fails if the disk or the process is dying; then the next sweep finds it.
  static_cast<void>(env_.Remove(path_));
}

Result<void> TempFile::Publish(bool if_absent) {
  file_.reset();
  LS_TRY(if_absent ? env_.RenameNoReplace(path_, final_path_) : env_.Rename(path_, final_path_));
  published_ = true;
  return {};
}

TempKind ClassifyTempName(std::string_view name) {
  if (!name.ends_with(kSuffix)) return TempKind::kNone;
  name.remove_suffix(kSuffix.size());
  if (ParseLtxFilename(name)) return TempKind::kOtherVersion;
  const std::size_t dot = name.rfind('.');
  if (dot == 0 || dot == std::string_view::npos) return TempKind::kNone;
  const std::string_view tail = name.substr(dot + 1);
  const std::size_t dash = tail.find('-');
  if (dash == 0 || dash == std::string_view::npos) return TempKind::kNone;
  const std::string_view random = tail.substr(dash + 1);
  const bool ours = std::ranges::all_of(tail.substr(0, dash), IsDecimal) &&
                    random.size() == kRandomDigits && std::ranges::all_of(random, IsLowerHex);
  return ours ? TempKind::kOurs : TempKind::kNone;
}

void SweepTempFiles(Env& env, const std::filesystem::path& directory) {
  const auto entries = env.List(directory);
  if (!entries.ok()) return;
  for (const DirectoryEntry& entry : entries.value()) {
    const TempKind kind = ClassifyTempName(entry.name);
    if (kind == TempKind::kNone || entry.type != FileType::kRegular) continue;
    const std::filesystem::path path = directory / entry.name;
    if (kind == TempKind::kOurs) {
      const auto lock = env.Lock(path, FileOwner{});
      if (lock.ok()) static_cast<void>(env.Remove(path));
    } else {
      const auto stat = env.Stat(path);
      const NanoTime limit = env.clock().Now() - kOtherVersionAge;
      if (stat.ok() && stat.value().changed_at < limit) static_cast<void>(env.Remove(path));
    }
  }
}

}  // namespace litestream
