#include "tests/simulation/catalogue_watch.h"

#include <span>
#include <string>

#include <fmt/core.h>

#include "base/endian.h"
#include "format/crc64.h"
#include "format/names.h"
#include "replica/plan.h"

namespace litestream::sim {
namespace {

constexpr std::size_t kLargestFile = std::size_t{1} << 30U;
// docs/formats/catalogue.md
constexpr std::size_t kChainOffset = 56;
constexpr std::size_t kHeaderBytes = 80;

std::filesystem::path PathFor(const std::filesystem::path& directory, const std::string& place) {
  const std::uint64_t hash = Crc64(0, std::as_bytes(std::span(place)));
  return directory / ("catalogue-" + FormatHex64(hash));
}

}  // namespace

CatalogueWatch::CatalogueWatch(World& world, Store& store, std::filesystem::path directory,
                               bool shared)
    : world_(world), store_(store), path_(PathFor(directory, store.name())), shared_(shared) {}

std::optional<Catalogue> CatalogueWatch::Saved() const {
  const auto content = ReadSmallFile(world_.disk(), path_, kLargestFile);
  if (!content.ok() || content.value().size() < kHeaderBytes) return std::nullopt;
  const auto bytes = std::as_bytes(std::span(content.value()));
  CatalogueFile file(world_.disk(), path_, {});
  auto saved = file.Load({.chain = LoadBe64(&bytes[kChainOffset]), .place = store_.name()});
  if (!saved) return std::nullopt;
  return std::move(saved->catalogue);
}

void CatalogueWatch::Check(std::string_view when) {
  // A replica that shows less than it has, or has more than it says, is not known to anybody.
  if (world_.failed() || shared_ || store_.faults().late_list || store_.lied()) return;
  const auto saved = Saved();
  if (!saved) return;
  const auto listing = ListReplica(Context::Background(), *store_.Look(), true);
  if (!listing.ok()) return;
  for (const CatalogueDifference& difference : saved->Compare(listing.value())) {
    const FileId& id = difference.file.id;
    using Kind = CatalogueDifference::Kind;
    const bool gone = difference.kind == Kind::kMissing && !store_.maybe_gone().contains(id);
    const bool other = difference.kind == Kind::kUnknown || difference.kind == Kind::kOtherSize;
    if (!gone && !other) continue;
    world_.Fail(fmt::format("the saved catalogue is wrong {}: {} of level {}: {}", when,
                            FormatLtxFilename(id.txids), id.level.value,
                            ToString(difference.kind)));
    return;
  }
}

void CatalogueWatch::OnChange(const Process& process) {
  if (shared_ || process.dead() || !world_.disk().Stat(path_).ok()) return;
  world_.Fail(fmt::format("{} changes the replica while its catalogue is saved", process.name()));
}

}  // namespace litestream::sim
