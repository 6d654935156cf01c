#include "storage/old_backup.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "base/try.h"

namespace litestream {
namespace {

constexpr std::string_view kRoot = "generations/";
constexpr std::size_t kIdDigits = 16;
constexpr std::size_t kIndexDigits = 8;
constexpr std::uint64_t kMaxIndex = 0x7fffffff;

// Takes so many digits off the front; lower case only, as v0.3 wrote them.
std::optional<std::uint64_t> TakeHex(std::string_view& text, std::size_t digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const std::string_view front = text.substr(0, digits);
  if (front.size() < digits || front.find_first_not_of(kDigits) != front.npos) return std::nullopt;
  std::uint64_t value = 0;
  std::from_chars(front.data(), front.data() + front.size(), value, 16);
  text.remove_prefix(digits);
  return value;
}

bool Take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

void AddTo(OldGeneration& generation, std::string_view name, const ObjectInfo& object) {
  const bool snapshot = Take(name, "snapshots/");
  if (!snapshot && !Take(name, "wal/")) return;
  const auto index = TakeHex(name, kIndexDigits);
  if (!index || *index > kMaxIndex) return;
  const auto number = static_cast<std::uint32_t>(*index);
  if (snapshot) {
    if (name == ".snapshot.lz4") generation.snapshots.push_back({number, object});
    return;
  }
  if (!Take(name, "_")) return;
  const std::size_t digits = std::min(name.find('.'), name.size());
  if (digits < 8 || digits > 16) return;
  const auto offset = TakeHex(name, digits);
  if (offset && name == ".wal.lz4") generation.segments.push_back({number, *offset, object});
}

}  // namespace

Result<std::vector<OldGeneration>> ListOldBackup(const Context& ctx, ReplicaClient& client) {
  std::map<std::string, OldGeneration> found;
  for (const ObjectInfo& object : LS_TRY(client.ListObjects(ctx, kRoot, 0))) {
    std::string_view name = std::string_view(object.name).substr(kRoot.size());
    const std::string id(name.substr(0, kIdDigits));
    if (!TakeHex(name, kIdDigits) || !Take(name, "/")) continue;
    OldGeneration& generation = found[id];
    generation.id = id;
    AddTo(generation, name, object);
  }
  std::vector<OldGeneration> generations;
  for (auto& [id, generation] : found) {
    std::ranges::sort(generation.snapshots, {}, &OldSnapshot::index);
    std::ranges::sort(generation.segments, {}, [](const OldWalSegment& segment) {
      return std::pair(segment.index, segment.offset_bytes);
    });
    generations.push_back(std::move(generation));
  }
  return generations;
}

Result<bool> HasOldBackup(const Context& ctx, ReplicaClient& client) {
  const auto objects = client.ListObjects(ctx, kRoot, 1);
  if (!objects.ok() && objects.error().Is(ErrorCode::kUnsupported)) return false;
  return !LS_TRY(objects).empty();
}

}  // namespace litestream
