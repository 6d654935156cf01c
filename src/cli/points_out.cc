#include "cli/points_out.h"

#include <optional>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "format/names.h"

namespace litestream::cli {
namespace {

std::string_view ProofText(PointProof proof) {
  switch (proof) {
    case PointProof::kCarried:
      return "carried";
    case PointProof::kNone:
      return "none";
    case PointProof::kUnreadable:
      return "unreadable";
  }
  return "";
}

std::string LevelText(Level level) {
  return fmt::format("{}", level.value);
}

std::string HoleText(const RestoreHole& hole) {
  std::string text =
      fmt::format("hole: {} to {}; {} behind, {} to {}, of no use", FormatTxid(hole.missing.min),
                  FormatTxid(hole.missing.max),
                  hole.file_count == 1 ? "1 file" : fmt::format("{} files", hole.file_count),
                  FormatTxid(hole.behind.min), FormatTxid(hole.behind.max));
  return text + (hole.bridged_by
                     ? fmt::format("; the snapshot {} goes on", FormatTxid(*hole.bridged_by))
                     : "; a restore of everything fails");
}

void AddPoint(JsonWriter& out, const RestorePoint& point, const std::optional<PointProof>& proof) {
  out.BeginObject()
      .Field("txid", FormatTxid(point.txid))
      .Field("time", FormatTimestampMillis(point.time))
      .Field("by_time", point.by_time)
      .Field("level", int{point.level.value});
  if (proof) out.Field("proof", ProofText(*proof));
  out.EndObject();
}

std::optional<PointProof> At(const std::vector<PointProof>& proofs, std::size_t index) {
  if (index >= proofs.size()) return std::nullopt;
  return proofs[index];
}

}  // namespace

std::string Indented(const Table& table, const std::string& indent) {
  std::string out;
  const std::string text = table.Format();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin) + 1;
    out += indent + text.substr(begin, end - begin);
    begin = end;
  }
  return out;
}

std::string FormatStretches(const RestorePoints& found, const std::vector<PointProof>& proofs,
                            const std::string& indent) {
  if (found.stretches.empty()) return "";
  std::vector<std::string> header = {"level", "points", "first_txid", "last_txid", "from", "to"};
  if (!proofs.empty()) header.insert(header.end(), {"first_proof", "last_proof"});
  Table table(std::move(header));
  for (std::size_t i = 0; i < found.stretches.size(); ++i) {
    const RestoreStretch& stretch = found.stretches[i];
    std::vector<std::string> row = {LevelText(stretch.level()),
                                    fmt::format("{}", stretch.point_count),
                                    FormatTxid(stretch.oldest.txid),
                                    FormatTxid(stretch.newest.txid),
                                    FormatTimestampMillis(stretch.oldest.time),
                                    FormatTimestampMillis(stretch.newest.time)};
    if (!proofs.empty()) {
      row.emplace_back(ProofText(proofs[2 * i]));
      row.emplace_back(ProofText(proofs[2 * i + 1]));
    }
    table.Add(std::move(row));
  }
  return Indented(table, indent);
}

std::string FormatHoles(const RestorePoints& found, const std::string& indent) {
  std::string out;
  for (const RestoreHole& hole : found.holes) out += indent + HoleText(hole) + "\n";
  return out;
}

std::string FormatPoints(const RestorePoints& found, const std::vector<PointProof>& proofs,
                         const std::string& indent) {
  if (found.points.empty()) return "";
  std::vector<std::string> header = {"txid", "time", "level", "by_time"};
  if (!proofs.empty()) header.emplace_back("proof");
  Table table(std::move(header));
  for (std::size_t i = 0; i < found.points.size(); ++i) {
    const RestorePoint& point = found.points[i];
    std::vector<std::string> row = {FormatTxid(point.txid), FormatTimestampMillis(point.time),
                                    LevelText(point.level), point.by_time ? "yes" : "no"};
    if (!proofs.empty()) row.emplace_back(ProofText(proofs[i]));
    table.Add(std::move(row));
  }
  return Indented(table, indent);
}

void AddStretches(JsonWriter& out, const RestorePoints& found, std::size_t point_count,
                  const std::vector<PointProof>& proofs) {
  out.Field("points", point_count).Key("stretches").BeginArray();
  for (std::size_t i = 0; i < found.stretches.size(); ++i) {
    const RestoreStretch& stretch = found.stretches[i];
    out.BeginObject()
        .Field("level", int{stretch.level().value})
        .Field("points", stretch.point_count)
        .Key("oldest");
    AddPoint(out, stretch.oldest, At(proofs, 2 * i));
    out.Key("newest");
    AddPoint(out, stretch.newest, At(proofs, 2 * i + 1));
    out.EndObject();
  }
  out.EndArray().Key("holes").BeginArray();
  for (const RestoreHole& hole : found.holes) {
    out.BeginObject()
        .Field("min_txid", FormatTxid(hole.missing.min))
        .Field("max_txid", FormatTxid(hole.missing.max))
        .Field("useless_files", hole.file_count)
        .Field("useless_max_txid", FormatTxid(hole.behind.max))
        .Field("next_txid", hole.bridged_by ? FormatTxid(*hole.bridged_by) : "")
        .EndObject();
  }
  out.EndArray();
}

void AddPoints(JsonWriter& out, const RestorePoints& found, const std::vector<PointProof>& proofs) {
  out.Key("list").BeginArray();
  for (std::size_t i = 0; i < found.points.size(); ++i) {
    AddPoint(out, found.points[i], At(proofs, i));
  }
  out.EndArray();
}

}  // namespace litestream::cli
