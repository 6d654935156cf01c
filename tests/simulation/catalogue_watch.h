#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "replica/catalogue.h"
#include "tests/simulation/store.h"
#include "tests/simulation/world.h"

namespace litestream::sim {

// Holds what is saved of a replica against the replica itself. The file is there only while nothing
// changes, and while it is there it is exact, also when the power fails: whoever finds it builds on
// that.
class CatalogueWatch {
 public:
  // `directory` is where replicators keep their state. `shared`: several live at the same time.
  // What one has saved another may make untrue, and the lease's mark in it tells.
  CatalogueWatch(World& world, Store& store, std::filesystem::path directory, bool shared);

  // Now and then.
  void Check(std::string_view when);
  // A replicator is about to change the replica.
  void OnChange(const Process& process);

 private:
  std::optional<Catalogue> Saved() const;

  World& world_;
  Store& store_;
  const std::filesystem::path path_;
  const bool shared_;
};

}  // namespace litestream::sim
