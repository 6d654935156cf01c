#include "storage/old_backup.h"

#include <gtest/gtest.h>

namespace litestream {
namespace {

// Only lists.
class ListOnly final : public ReplicaClient {
 public:
  explicit ListOnly(std::vector<std::string> names) : names_(std::move(names)) {}
  std::string_view type() const override { return "list"; }
  std::string Describe() const override { return "a list"; }
  Result<std::vector<FileInfo>> List(const Context&, Level, const ListOptions&) override {
    return No();
  }
  Result<std::unique_ptr<ByteSource>> Open(const Context&, const FileId&,
                                           const ByteRange&) override {
    return No();
  }
  Result<FileInfo> Write(const Context&, const FileId&, ByteSource&, const WriteOptions&) override {
    return No();
  }
  Result<void> Delete(const Context&, std::span<const FileId>) override { return No(); }
  Result<void> DeleteAll(const Context&) override { return No(); }
  Result<TaggedObject> GetObject(const Context&, std::string_view) override { return No(); }
  Result<std::string> PutObject(const Context&, std::string_view, std::string_view,
                                std::string_view) override {
    return No();
  }
  Result<void> DeleteObject(const Context&, std::string_view, std::string_view) override {
    return No();
  }
  Result<std::vector<ObjectInfo>> ListObjects(const Context&, std::string_view prefix,
                                              std::size_t) override {
    std::vector<ObjectInfo> objects;
    for (const std::string& name : names_) {
      if (name.starts_with(prefix)) objects.push_back({.name = name, .size_bytes = name.size()});
    }
    return objects;
  }

 private:
  static Error No() { return {ErrorCode::kInternal, "not asked for"}; }
  const std::vector<std::string> names_;
};

TEST(OldBackup, WhatIsANameAndWhatIsNone) {
  const struct {
    const char* name;
    bool counts;
  } cases[] = {
      {"snapshots/00000000.snapshot.lz4", true},
      {"snapshots/7fffffff.snapshot.lz4", true},
      {"snapshots/80000000.snapshot.lz4", false},
      {"snapshots/0000000A.snapshot.lz4", false},
      {"snapshots/0000000.snapshot.lz4", false},
      {"snapshots/00000000.snapshot.lz4.tmp", false},
      {"wal/00000001_00001038.wal.lz4", true},
      {"wal/00000001_100001038.wal.lz4", true},
      {"wal/00000001_ffffffffffffffff.wal.lz4", true},
      {"wal/00000001_0ffffffffffffffff.wal.lz4", false},
      {"wal/00000001_0001038.wal.lz4", false},
      {"wal/00000001.wal.lz4", false},
      {"other/00000000.snapshot.lz4", false},
      {"00000000.snapshot.lz4", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    ListOnly client({std::string("generations/0123456789abcdef/") + c.name});
    const auto found = ListOldBackup(Context::Background(), client);
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(found.value().size(), 1U);
    EXPECT_EQ(found.value()[0].snapshots.size() + found.value()[0].segments.size(),
              c.counts ? 1U : 0U);
  }
}

TEST(OldBackup, InOrder) {
  ListOnly client({"generations/000000000000000b/wal/00000001_100000000.wal.lz4",
                   "generations/000000000000000b/wal/00000001_ffffffff.wal.lz4",
                   "generations/000000000000000b/wal/00000000_00000000.wal.lz4",
                   "generations/000000000000000a/snapshots/00000002.snapshot.lz4",
                   "generations/000000000000000a/snapshots/00000001.snapshot.lz4",
                   "generations/00000000000000a/snapshots/00000001.snapshot.lz4",
                   "generations/readme", "lock.json"});
  const auto found = ListOldBackup(Context::Background(), client);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found.value().size(), 2U);
  const OldGeneration& first = found.value()[0];
  EXPECT_EQ(first.id, "000000000000000a");
  ASSERT_EQ(first.snapshots.size(), 2U);
  EXPECT_EQ(first.snapshots[0].index, 1U);
  EXPECT_EQ(first.snapshots[1].object.name,
            "generations/000000000000000a/snapshots/00000002.snapshot.lz4");
  const auto& segments = found.value()[1].segments;
  ASSERT_EQ(segments.size(), 3U);
  EXPECT_EQ(segments[0].index, 0U);
  EXPECT_EQ(segments[1].offset_bytes, 0xffffffffU);
  EXPECT_EQ(segments[2].offset_bytes, 0x100000000U);
}

TEST(OldBackup, NoneIsEmpty) {
  ListOnly client({"lock.json", "0000/0000000000000001-0000000000000001.ltx"});
  EXPECT_EQ(ListOldBackup(Context::Background(), client).value().size(), 0U);
  EXPECT_FALSE(HasOldBackup(Context::Background(), client).value());
}

}  // namespace
}  // namespace litestream
