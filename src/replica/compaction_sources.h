#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "format/ltx.h"
#include "replica/compactor.h"

namespace litestream {

// The sources of one merge, opened, with what their headers say. Borrows the target.
class CompactionSources {
 public:
  // Files that are here are read here. A file of several transactions is read here if all of them
  // are, and that does not make too many inputs.
  CompactionSources(const CompactionTarget& target, const std::vector<FileInfo>& files);
  ~CompactionSources();

  // Reads the beginning of every file. Headers are known even after an error, of those files whose
  // beginning could be read.
  Result<void> Open(const Context& ctx, bool as_snapshot);
  LtxMerge& merge() { return *merge_; }

  // Which of the files are images (compaction_choice.h), as far as their headers are known, when
  // the database had `page_size` before them. Only large increments cost more reads. Errors are
  // those of the client.
  Result<std::set<FileId>> FindImages(const Context& ctx,
                                      std::optional<std::uint32_t> page_size) const;
  // The last file, but for the first, that builds on nothing or has another page size than the one
  // before it: what lies before that is of no use for a snapshot. 0: none.
  std::size_t LastBeginning() const;

  // What is wrong with them, after a merge of them failed with `error`, which is none of the
  // client's: each is read by itself. Errors are those of the client.
  Result<BadSource> Diagnose(const Context& ctx, const Error& error) const;

 private:
  // The first bytes of a file, kept when they come by.
  struct Beginning {
    std::array<std::byte, kLtxHeaderSize> bytes = {};
    std::size_t size = 0;
    std::optional<LtxHeader> Header() const;
  };
  struct Input {
    FileInfo file;
    bool local = false;
    MergeInput spec;
    std::unique_ptr<Beginning> beginning;
  };
  class BeginningKept;

  void Add(const FileInfo& file, bool local, MergeInput spec);
  std::optional<std::vector<MergeInput>> LocalOf(const FileInfo& file, std::size_t most) const;
  Result<bool> HoldsEveryPage(const Context& ctx, const Input& input,
                              const LtxHeader& header) const;
  // Unset: nothing is wrong with it. Else `error` becomes what is, if that is known better.
  Result<std::optional<SourceFault>> Examine(const Context& ctx, const Input& input,
                                             Error& error) const;
  Result<bool> ReadWhole(const Context& ctx, const Input& input) const;

  const CompactionTarget& target_;
  std::vector<Input> inputs_;
  std::unique_ptr<LtxMerge> merge_;
};

}  // namespace litestream
