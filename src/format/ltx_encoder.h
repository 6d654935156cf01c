#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "format/ltx.h"
#include "litestream/byte_stream.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// A page as it stands in an LTX file: an LZ4 block and the sum of the page inside.
struct LtxEncodedPage {
  Pgno pgno;
  std::uint64_t page_sum = 0;        // format/page_sum.h
  std::span<const std::byte> block;  // LZ4 block
};

// Compresses one page. `block` needs room for MaxLz4BlockSize. Returns the bytes used.
std::size_t CompressPage(std::span<const std::byte> page, std::span<std::byte> block);

inline constexpr std::size_t kLtxIndexPieceBytes = std::size_t{64} << 10;

// Writes one LTX file front to back, with block frames. No page is hashed twice: the file checksum
// is folded from the page sums.
//
// Order: Begin, AddPage/AddEncoded in ascending page order, Finish. After an error the file is
// useless. Errors: kInvalidArgument (a rule of the format broken: page out of order, beyond the
// commit, the lock page, a snapshot with a hole), and those of the sink.
// Borrows the sink.
class LtxEncoder {
 public:
  explicit LtxEncoder(ByteSink& sink);
  ~LtxEncoder();
  LtxEncoder(const LtxEncoder&) = delete;
  LtxEncoder& operator=(const LtxEncoder&) = delete;

  Result<void> Begin(const LtxHeader& header);
  // Compresses and adds a page. Returns its sum.
  Result<std::uint64_t> AddPage(Pgno pgno, std::span<const std::byte> page);
  // Adds a page that somebody else compressed (another thread, another file).
  Result<void> AddEncoded(const LtxEncodedPage& page);

  // Writes the end marker and a piece of the index (kLtxIndexPieceBytes), so that Finish has less
  // to write: for a sink that keeps what it gets. False: that was the last piece. No page may
  // follow.
  Result<bool> WriteIndexPiece();
  // Writes what is left of end marker and index, and the trailer. With `proof`, the checksum is
  // that of the file with this proof in its header; the caller then has to write ProofBytes(proof)
  // at kLtxProofOffset, which is how a file learns its `after`, known last. (Without, the header of
  // Begin stands.)
  Result<LtxTrailer> Finish(const std::optional<LtxProof>& proof, std::uint64_t post_apply = 0);

  // Bytes written; after Finish the file's size.
  std::uint64_t size_bytes() const;
  std::uint32_t page_count() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace litestream
