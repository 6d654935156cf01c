#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/env.h"
#include "format/ltx.h"
#include "litestream/byte_stream.h"
#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/result.h"

namespace litestream {

// A file to merge.
struct MergeInput {
  std::string name;  // For messages.
  std::uint64_t size_bytes = 0;
  std::optional<TxidRange> txids;  // What its name says that it holds, if it has one.
  // Opens a range of it. Called again for every window, and the source goes before the next call.
  std::function<Result<std::unique_ptr<ByteSource>>(const Context&, const ByteRange&)> open;
};
// A file of a replica. Borrows the client, which may be shared with other threads.
MergeInput MergeInputFrom(ReplicaClient& client, const FileInfo& info);
// A local file. Opened for every window, so that many inputs take no descriptors. Borrows the Env.
Result<MergeInput> MergeInputFrom(Env& env, const std::filesystem::path& path,
                                  const TxidRange& txids);

struct MergeOptions {
  // The result is a snapshot: its transactions begin with 1, and it holds every page.
  bool as_snapshot = false;
  // What the windows on the inputs take together; a window is never smaller than a page's frame.
  std::size_t window_bytes = std::size_t{8} << 20;
  int threads = 1;  // That open inputs at the same time.
};

// The LTX file that stands for several: the newest version of every page, cut off at the last
// file's commit. Read it to its end; nothing is whole before.
//
// Inputs come in the order of their transactions, and each continues the ones before or overlaps
// them forward. A page of a file counts only if no later file cut the database off below it. The
// result has commit, time and `after` of the last input, first transaction and `before` of the
// first. Page payloads are copied as they are compressed.
//
// Promise: everything that is read is proven. All checks of LtxDecoder apply to every input, pages
// that are dropped included; the proofs must follow one another; every page that the files have
// made the database grow by, and every page of a snapshot, must be there; and a snapshot with a
// proof has exactly that database checksum. The last bytes come only after all that, so a damaged
// input never makes a file that a reader takes.
//
// Memory: the windows, some 2 KiB for each input, and the page index of the result at 2 to 3 bytes
// a page (50 MB for 100 GB in pages of 4 KiB).
//
// Errors: kCorruption (names the input), kInvalidArgument (no inputs), those of the inputs. After
// one, all reads fail.
class LtxMerge : public ByteSource {
 public:
  // Reads the beginning of every input, `threads` of them at a time.
  static Result<std::unique_ptr<LtxMerge>> Open(const Context& ctx, std::vector<MergeInput> inputs,
                                                const MergeOptions& options);
  ~LtxMerge() override;

  // Of the result.
  const LtxHeader& header() const;
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;

  // After Read has returned 0.
  const LtxTrailer& trailer() const;
  std::uint64_t size_bytes() const;

 private:
  class Impl;
  explicit LtxMerge(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Divides `total_bytes` among files of which so many bytes are left to read, so that the number of
// reads is smallest: by the square root of the sizes, none more than is left, none less than
// `least_bytes`.
std::vector<std::size_t> ShareWindows(const std::vector<std::uint64_t>& left_bytes,
                                      std::size_t total_bytes, std::size_t least_bytes);

}  // namespace litestream
