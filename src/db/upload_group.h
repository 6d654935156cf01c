#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/env.h"
#include "format/ltx.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// What capture has made and a replica may need.
struct LocalFiles {
  std::optional<TxidRange> range;  // Contiguous.
  Txid last_full;                  // Newest file that holds every page; 0: none known.
  // Changes when the files may be of another chain than before: what is known of the replica has to
  // be proven against them anew (D2).
  std::uint64_t chain = 0;
};

// So much is merged into one object, and so many files: a large backlog goes up as a row of bounded
// uploads, each of which counts when it is there.
inline constexpr std::uint64_t kMaxMergedBytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kMaxMergedFiles = 256;

// Local level-0 files that go to a replica as one object.
struct UploadGroup {
  TxidRange txids;
  std::uint32_t page_size = 0;
  // From before the first file to after the last; unset if one of the two has none.
  std::optional<LtxProof> proof;
  bool IsOne() const { return txids.min == txids.max; }
};

// The group that begins with file `first`, when files up to `last` wait.
//
// The newest file stays by itself: Litestream, when it takes over a replica without the local
// state, looks for a file of exactly the newest transaction. So do files that hold every page
// because they build on nothing, and no group spans a change of the page size.
Result<UploadGroup> NextUploadGroup(Env& env,
                                    const std::function<std::filesystem::path(Txid)>& path_of,
                                    Txid first, Txid last);

// The header of a local file; the error names the file.
Result<LtxHeader> ReadLocalHeader(Env& env, const std::filesystem::path& path);
Result<LtxHeader> ReadLocalHeader(File& file, const std::filesystem::path& path);

}  // namespace litestream
