#include "format/ltx_index.h"

#include "format/crc64.h"

namespace litestream {
namespace {

std::byte* PutVarint(std::byte* out, std::uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<std::byte>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<std::byte>(value);
  return out;
}

// Only for varints that PutVarint wrote.
const std::byte* GetVarint(const std::byte* in, std::uint64_t& value) {
  value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = std::to_integer<std::uint64_t>(*in++);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return in;
  }
}

}  // namespace

std::byte* PutLtxIndexEntry(std::byte* out, const LtxIndexEntry& entry) {
  out = PutVarint(out, entry.pgno.value);
  out = PutVarint(out, entry.offset_bytes);
  return PutVarint(out, entry.size_bytes);
}

void LtxIndexLog::Add(Pgno pgno, std::size_t frame_size) {
  if (chunks_.empty() || kChunkSize - chunks_.back().used < kMaxLtxIndexEntrySize) {
    chunks_.push_back({std::make_unique_for_overwrite<std::byte[]>(kChunkSize), 0});
  }
  Chunk& chunk = chunks_.back();
  std::byte* const begin = chunk.bytes.get() + chunk.used;
  const std::uint32_t step = pgno.value - last_.value;
  // The lowest bit says that the step follows.
  std::byte* end = PutVarint(begin, std::uint64_t{frame_size} << 1 | (step != 1 ? 1 : 0));
  if (step != 1) end = PutVarint(end, step);
  chunk.used += static_cast<std::size_t>(end - begin);
  last_ = pgno;
}

bool LtxIndexLog::Reader::Next(LtxIndexEntry& entry) {
  const auto& chunks = log_->chunks_;
  if (chunk_ < chunks.size() && position_ == chunks[chunk_].used) {
    ++chunk_;
    position_ = 0;
  }
  if (chunk_ == chunks.size()) return false;
  const std::byte* const begin = chunks[chunk_].bytes.get() + position_;
  std::uint64_t size = 0;
  std::uint64_t step = 1;
  const std::byte* end = GetVarint(begin, size);
  if ((size & 1) != 0) end = GetVarint(end, step);
  position_ += static_cast<std::size_t>(end - begin);
  last_ = {.pgno = Pgno{last_.pgno.value + static_cast<std::uint32_t>(step)},
           .offset_bytes = last_.offset_bytes + last_.size_bytes,
           .size_bytes = size >> 1};
  entry = last_;
  return true;
}

void LtxIndexDigest::Add(const LtxIndexEntry& entry) {
  if (buffer_.size() - used_ < kMaxLtxIndexEntrySize) Flush();
  std::byte* const begin = buffer_.data() + used_;
  const auto size = static_cast<std::size_t>(PutLtxIndexEntry(begin, entry) - begin);
  used_ += size;
  size_bytes_ += size;
}

void LtxIndexDigest::AddTerminator() {
  Flush();
  buffer_[used_++] = std::byte{0};
  ++size_bytes_;
  Flush();
}

void LtxIndexDigest::Flush() {
  crc_ = Crc64(crc_, std::span(buffer_).first(used_));
  used_ = 0;
}

}  // namespace litestream
