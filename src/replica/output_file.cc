#include "replica/output_file.h"

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/try.h"

namespace litestream {
namespace {

// In the order in which they are removed. The journal goes last: as long as it is there, SQLite can
// still roll the old database back.
constexpr std::array<const char*, 4> kSidecars = {"-txid", "-shm", "-wal", "-journal"};
// Of the output's name, so that the temporary name is not too long for any file system.
constexpr std::size_t kNamePartBytes = 200;
constexpr FileOwner kDirectoryOwner{.mode = 0700, .uid = {}, .gid = {}};

Result<std::optional<FileStat>> StatIfThere(Env& env, const std::filesystem::path& path) {
  auto stat = env.Stat(path);
  if (stat.ok()) return std::optional<FileStat>(stat.value());
  if (stat.error().Is(ErrorCode::kNotFound)) return std::optional<FileStat>();
  return std::move(stat).error();
}

std::filesystem::path Sidecar(const std::filesystem::path& path, const char* suffix) {
  return path.string() + suffix;
}

Error InTheWay(const char* what, const std::filesystem::path& path) {
  return {ErrorCode::kAlreadyExists, fmt::format("cannot restore, {}: {}", what, path.string())};
}

}  // namespace

Result<void> OutputFile::CheckFree(Env& env, const std::filesystem::path& path, bool replace) {
  if (path.empty() || !path.has_filename()) {
    return Error(ErrorCode::kInvalidArgument, "output path required");
  }
  const auto output = LS_TRY(StatIfThere(env, path), "cannot access output path");
  if (output && output->type == FileType::kDirectory) {
    return InTheWay("output path is a directory", path);
  }
  if (output && !replace) return InTheWay("output path already exists", path);
  for (const char* suffix : kSidecars) {
    const auto sidecar_path = Sidecar(path, suffix);
    const auto sidecar =
        LS_TRY(StatIfThere(env, sidecar_path), "cannot access SQLite sidecar path");
    if (sidecar && sidecar->type == FileType::kDirectory) {
      return InTheWay("SQLite sidecar path is a directory", sidecar_path);
    }
    if (sidecar && !replace) return InTheWay("SQLite sidecar path already exists", sidecar_path);
  }
  return {};
}

OutputFile::OutputFile(Env& env, std::filesystem::path path, bool replace)
    : env_(env),
      path_(std::move(path)),
      directory_(path_.has_parent_path() ? path_.parent_path() : "."),
      replace_(replace) {}

Result<std::unique_ptr<OutputFile>> OutputFile::Create(Env& env, const std::filesystem::path& path,
                                                       bool replace, std::uint64_t size_bytes) {
  std::unique_ptr<OutputFile> output(new OutputFile(env, path, replace));
  LS_TRY(CreateDirectories(env, output->directory_, kDirectoryOwner), "create parent directory");

  FileOwner owner;
  if (const auto old = LS_TRY(StatIfThere(env, path), "cannot access output path")) {
    owner = {.mode = old->mode, .uid = old->uid, .gid = old->gid};
  }
  const std::string stem = "." + path.filename().string().substr(0, kNamePartBytes);
  output->SweepDead(stem);
  output->temporary_ =
      LS_TRY(TempFile::Create(env, output->directory_ / stem, owner), "create temporary database");
  LS_TRY(output->file().Truncate(size_bytes), "{}", output->temporary_path().string());
  LS_TRY(output->file().Allocate(size_bytes), "reserve {} bytes for {}", size_bytes,
         output->temporary_path().string());
  return output;
}

void OutputFile::SweepDead(const std::string& stem) {
  const auto entries = env_.List(directory_);
  if (!entries.ok()) return;
  for (const DirectoryEntry& entry : entries.value()) {
    if (TempFileStem(entry.name) != stem) continue;
    if (!RemoveDeadTempFile(env_, directory_ / entry.name)) continue;
    // Of an integrity check that was under way.
    for (const char* suffix : kSidecars) {
      static_cast<void>(env_.Remove(Sidecar(directory_ / entry.name, suffix)));
    }
  }
}

Result<void> OutputFile::Publish() {
  LS_TRY(CheckFree(env_, path_, replace_));
  if (replace_) LS_TRY(RemoveSidecars(), "remove existing output path");
  LS_TRY(temporary_->Publish(path_, /*if_absent=*/!replace_),
         "rename database from temporary location");
  LS_TRY(env_.SyncDirectory(directory_));
  return {};
}

Result<void> OutputFile::RemoveSidecars() {
  bool removed = false;
  for (const char* suffix : kSidecars) {
    const auto result = env_.Remove(Sidecar(path_, suffix));
    if (result.ok()) {
      removed = true;
    } else if (!result.error().Is(ErrorCode::kNotFound)) {
      return result.error();
    }
  }
  if (removed) LS_TRY(env_.SyncDirectory(directory_));
  return {};
}

}  // namespace litestream
