#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/try.h"
#include "format/ltx.h"
#include "litestream/byte_stream.h"
#include "litestream/replica_client.h"

namespace litestream::contract {

// Gives out a text, at most `step_bytes` at a time.
class TextSource final : public ByteSource {
 public:
  explicit TextSource(std::string text, std::size_t step_bytes = 1 << 20)
      : text_(std::move(text)), step_bytes_(step_bytes) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;

 private:
  std::string text_;
  std::size_t step_bytes_;
  std::size_t done_ = 0;
};

// A text, and then whatever `at_end` returns instead of the end.
class TextThenSource final : public ByteSource {
 public:
  TextThenSource(std::string text, std::function<Result<std::size_t>()> at_end)
      : text_(std::move(text)), at_end_(std::move(at_end)) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;

 private:
  TextSource text_;
  std::function<Result<std::size_t>()> at_end_;
};

// Passes every call on. Tests override what they want to change.
class ForwardingClient : public ReplicaClient {
 public:
  explicit ForwardingClient(ReplicaClient& inner) : inner_(inner) {}
  std::string_view type() const override { return inner_.type(); }
  std::string Describe() const override { return inner_.Describe(); }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override {
    return inner_.List(ctx, level, options);
  }
  Result<std::array<std::vector<FileInfo>, kLevelCount>> ListAll(const Context& ctx,
                                                                 bool exact_times) override {
    if (!inner_.ListsTogether()) return ReplicaClient::ListAll(ctx, exact_times);
    return inner_.ListAll(ctx, exact_times);
  }
  bool ListsTogether() const override { return inner_.ListsTogether(); }
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override {
    return inner_.Open(ctx, id, range);
  }
  Result<std::vector<ObjectInfo>> ListObjects(const Context& ctx, std::string_view prefix,
                                              std::size_t limit) override {
    return inner_.ListObjects(ctx, prefix, limit);
  }
  Result<std::unique_ptr<ByteSource>> OpenObject(const Context& ctx, std::string_view name,
                                                 const ByteRange& range) override {
    return inner_.OpenObject(ctx, name, range);
  }
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override {
    return inner_.Write(ctx, id, body, options);
  }
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override {
    return inner_.Delete(ctx, ids);
  }
  Result<void> DeleteAll(const Context& ctx) override { return inner_.DeleteAll(ctx); }
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override {
    return inner_.GetObject(ctx, name);
  }
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override {
    return inner_.PutObject(ctx, name, content, tag);
  }
  Result<void> DeleteObject(const Context& ctx, std::string_view name,
                            std::string_view tag) override {
    return inner_.DeleteObject(ctx, name, tag);
  }

 private:
  ReplicaClient& inner_;
};

inline FileId Id(int level, std::uint64_t min, std::uint64_t max) {
  return {.level = Level{static_cast<std::uint8_t>(level)},
          .txids = {.min = Txid{min}, .max = Txid{max}}};
}

// `size` bytes that differ from those of another seed at every 8 bytes.
inline std::string MakeContent(std::size_t size, std::uint64_t seed) {
  std::string content(size, '\0');
  std::uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (std::size_t i = 0; i < size; i += sizeof state) {
    state = state * 6364136223846793005 + 1442695040888963407;
    std::memcpy(content.data() + i, &state, std::min(sizeof state, size - i));
  }
  return content;
}

inline Result<std::size_t> TextSource::Read(const Context& ctx, std::span<std::byte> out) {
  LS_TRY(ctx.Check());
  const std::size_t count = std::min({out.size(), step_bytes_, text_.size() - done_});
  if (count > 0) std::memcpy(out.data(), text_.data() + done_, count);
  done_ += count;
  return count;
}

inline Result<std::size_t> TextThenSource::Read(const Context& ctx, std::span<std::byte> out) {
  const std::size_t count = LS_TRY(text_.Read(ctx, out));
  return count > 0 || out.empty() ? Result<std::size_t>(count) : at_end_();
}

// The beginning of an LTX file of this time, and some more: backends that cannot keep a time read
// it there.
inline std::string MakeFileOf(WallTime created_at) {
  const auto header = FormatLtxHeader({.page_size = 4096,
                                       .commit_pages = 1,
                                       .txids = {.min = Txid{1}, .max = Txid{1}},
                                       .timestamp_ms = created_at.time_since_epoch().count()});
  return std::string(reinterpret_cast<const char*>(header.data()), header.size()) + "pages";
}

// Everything that `source` still gives. Reads in pieces of `step_bytes`.
inline Result<std::string> ReadAll(const Context& ctx, ByteSource& source,
                                   std::size_t step_bytes = 65536) {
  std::string content;
  std::vector<std::byte> buffer(step_bytes);
  for (;;) {
    const std::size_t count = LS_TRY(source.Read(ctx, buffer));
    if (count == 0) return content;
    content.append(reinterpret_cast<const char*>(buffer.data()), count);
  }
}

inline Result<std::string> ReadFile(const Context& ctx, ReplicaClient& client, const FileId& id,
                                    const ByteRange& range = {}) {
  const auto source = LS_TRY(client.Open(ctx, id, range));
  return ReadAll(ctx, *source);
}

inline Result<FileInfo> WriteFile(const Context& ctx, ReplicaClient& client, const FileId& id,
                                  std::string_view content, const WriteOptions& options = {}) {
  TextSource body{std::string(content)};
  return client.Write(ctx, id, body, options);
}

// "1-1 2-3": the ranges of a listing, for messages one can read.
inline std::string Ranges(const std::vector<FileInfo>& files) {
  std::string text;
  for (const FileInfo& file : files) {
    if (!text.empty()) text += ' ';
    text += fmt::format("{:x}-{:x}", file.id.txids.min.value, file.id.txids.max.value);
  }
  return text;
}

}  // namespace litestream::contract
