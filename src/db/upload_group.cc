#include "db/upload_group.h"

#include <array>
#include <span>

#include "base/try.h"

namespace litestream {
namespace {

bool MustBeAlone(const LtxHeader& header) {
  const auto proof = header.Proof();
  return header.IsSnapshot() || (proof && BuildsOnNothing(*proof));
}

}  // namespace

Result<LtxHeader> ReadLocalHeader(Env& env, const std::filesystem::path& path) {
  const auto file = LS_TRY(env.Open(path, {}));
  return ReadLocalHeader(*file, path);
}

Result<LtxHeader> ReadLocalHeader(File& file, const std::filesystem::path& path) {
  std::array<std::byte, kLtxHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(file.ReadAt(bytes, 0));
  return LS_TRY(ParseLtxHeader(std::span(bytes).first(got)), "{}", path.string());
}

Result<UploadGroup> NextUploadGroup(Env& env,
                                    const std::function<std::filesystem::path(Txid)>& path_of,
                                    Txid first, Txid last) {
  const LtxHeader header = LS_TRY(ReadLocalHeader(env, path_of(first)));
  UploadGroup group{
      .txids = {first, first}, .page_size = header.page_size, .proof = header.Proof()};
  if (MustBeAlone(header)) return group;
  std::uint64_t bytes = LS_TRY(env.Stat(path_of(first))).size_bytes;
  for (Txid next = first.Next(); next < last; next = next.Next()) {
    if (next.value - first.value == kMaxMergedFiles) break;
    bytes += LS_TRY(env.Stat(path_of(next))).size_bytes;
    if (bytes > kMaxMergedBytes) break;
    const LtxHeader following = LS_TRY(ReadLocalHeader(env, path_of(next)));
    if (MustBeAlone(following) || following.page_size != header.page_size) break;
    group.txids.max = next;
    const auto proof = following.Proof();
    if (group.proof && proof) {
      group.proof->after = proof->after;
    } else {
      group.proof.reset();
    }
  }
  return group;
}

}  // namespace litestream
