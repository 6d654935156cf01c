#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/env.h"
#include "tests/simulation/world.h"

namespace litestream::sim {

struct Page {
  std::vector<std::byte> bytes;
  std::uint64_t hash = 0;
};
using PagePtr = std::shared_ptr<const Page>;
PagePtr MakePage(std::span<const std::byte> bytes);

// The database at one moment. Pages are shared between states.
struct Image {
  std::uint32_t page_size = 0;
  std::vector<PagePtr> pages;  // Unset: the lock page.
  std::uint64_t hash() const;
};
bool Same(const Image& a, const Image& b);
// The first page that differs, for people.
std::string Difference(const Image& a, const Image& b);

// Knows every state that the database was in, byte for byte: it watches the wal-index, and when a
// commit is published it takes the pages from the committed frames themselves. It shares no code
// with capture, and trusts nothing but SQLite.
class Model {
 public:
  // States are numbered in the order in which they were published, from 1.
  using Number = std::uint64_t;

  // Follows the database at this path, whatever file is there.
  Model(World& world, std::string path);

  // The wal-indexes are gone.
  void OnPowerFailure() { followed_.clear(); }

  Number newest() const { return states_.size(); }
  // Only of the newest ones the pages are kept; the others have none.
  const Image& state(Number number) const { return states_[number - 1].image; }
  bool Is(Number number, const Image& image) const;
  // The last state that was as this one. (A copy that was put back, and what came behind it again.)
  Number LastLike(Number number) const { return by_hash_.at(states_[number - 1].hash).back(); }
  bool Equal(Number a, Number b) const { return states_[a - 1].hash == states_[b - 1].hash; }
  // Frames of the WAL that no checkpoint has brought into the database; 0 if nobody has it open.
  std::uint32_t FramesToCheckpoint() const;
  // The WAL of the file that is at the path now: changes when it is begun anew. Unset: not open.
  struct WalId {
    std::uint64_t inode = 0;
    std::array<std::uint32_t, 2> salts = {};
    friend bool operator==(const WalId&, const WalId&) = default;
  };
  std::optional<WalId> PresentWal() const;
  std::uint32_t PresentWalFrames() const;
  // There is a file at the path.
  bool IsThere() const;
  // Whether it was a state of the file that is at the path now.
  bool IsOfPresentFile(Number number) const;
  // The oldest state from `from` on that is `image`.
  std::optional<Number> Find(const Image& image, Number from) const;

 private:
  struct Header {
    std::uint32_t frames = 0;
    std::uint32_t pages = 0;
    std::uint32_t page_size = 0;
    std::array<std::uint32_t, 2> salts = {};
  };
  // A database file with its WAL and wal-index.
  struct Followed {
    WalIndex index;
    std::unique_ptr<File> database;
    std::unique_ptr<File> wal;
    std::array<std::byte, 48> seen = {};  // The wal-index header last looked at.
    std::optional<Header> header;
    std::uint32_t backfilled = 0;  // Frames of this WAL. A recovery begins to count anew.
    Image image;
  };
  struct State {
    Image image;
    std::uint64_t hash = 0;  // Of the image.
    std::uint64_t inode = 0;
  };

  const Followed* Present() const;
  void Observe();
  void OnWalIndex(const WalIndex& index);
  void FollowNewWal(Followed& f, const Header& header);
  void Publish(Followed& f, const Header& header);
  bool Extend(Followed& f, const Header& header);
  Image FromScratch(Followed& f, const Header& header);
  void Record(const Followed& f);

  World& world_;
  const std::string path_;
  std::map<std::uint64_t, Followed> followed_;  // By inode of the -shm.
  std::vector<State> states_;
  std::map<std::uint64_t, std::vector<Number>> by_hash_;
};

}  // namespace litestream::sim
