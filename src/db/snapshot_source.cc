#include "db/snapshot_source.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"

namespace litestream {
namespace {

class BufferSink : public ByteSink {
 public:
  Result<void> Write(std::span<const std::byte> bytes) override {
    buffer.insert(buffer.end(), bytes.begin(), bytes.end());
    return {};
  }
  std::vector<std::byte> buffer;
};

class SnapshotSource : public ByteSource {
 public:
  explicit SnapshotSource(std::unique_ptr<ByteSource> local)
      : local_(std::move(local)), decoder_(*local_), encoder_(sink_) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    while (taken_ == sink_.buffer.size() && state_ != State::kEnd) {
      sink_.buffer.clear();
      taken_ = 0;
      LS_TRY(Produce(ctx), "make snapshot");
    }
    const std::size_t n = std::min(out.size(), sink_.buffer.size() - taken_);
    if (n > 0) std::memcpy(out.data(), sink_.buffer.data() + taken_, n);
    taken_ += n;
    return n;
  }

 private:
  enum class State : unsigned char { kHeader, kPages, kEnd };

  Result<void> Produce(const Context& ctx) {
    if (state_ == State::kHeader) {
      LtxHeader header = LS_TRY(decoder_.ReadHeader(ctx));
      header.txids.min = Txid{1};
      header.wal_offset = 0;
      header.wal_size = 0;
      header.wal_salts = {};
      header.node_id = 0;
      if (auto proof = header.Proof()) {
        proof->before = 0;
        header.SetProof(proof);
      }
      state_ = State::kPages;
      return encoder_.Begin(header);
    }
    const auto page = LS_TRY(decoder_.ReadPage(ctx));
    if (page) {
      if (page->block.empty()) {
        LS_TRY(encoder_.AddPage(page->pgno, page->page));
        return {};
      }
      return encoder_.AddEncoded({page->pgno, page->page_sum, page->block});
    }
    LS_TRY(decoder_.Finish(ctx));
    state_ = State::kEnd;
    LS_TRY(encoder_.Finish(std::nullopt));
    return {};
  }

  std::unique_ptr<ByteSource> local_;
  LtxDecoder decoder_;
  BufferSink sink_;
  LtxEncoder encoder_;
  std::size_t taken_ = 0;
  State state_ = State::kHeader;
};

}  // namespace

std::unique_ptr<ByteSource> MakeSnapshotSource(std::unique_ptr<ByteSource> local) {
  return std::make_unique<SnapshotSource>(std::move(local));
}

}  // namespace litestream
