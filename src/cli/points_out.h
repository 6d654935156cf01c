#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cli/json_out.h"
#include "cli/table.h"
#include "replica/restore_points.h"

namespace litestream::cli {

std::string Indented(const Table& table, const std::string& indent);

// For people; nothing if there are no points. Each line begins with `indent`.

// A table of the stretches. `proofs`: of the oldest and newest point of each, or none.
std::string FormatStretches(const RestorePoints& found, const std::vector<PointProof>& proofs,
                            const std::string& indent);
// A table of all points; one proof for each, or none.
std::string FormatPoints(const RestorePoints& found, const std::vector<PointProof>& proofs,
                         const std::string& indent);

// A line for each hole.
std::string FormatHoles(const RestorePoints& found, const std::string& indent);

// The same as JSON. The fields "points" (their number), "stretches" and "holes" of an object.
void AddStretches(JsonWriter& out, const RestorePoints& found, std::size_t point_count,
                  const std::vector<PointProof>& proofs);
// The field "list".
void AddPoints(JsonWriter& out, const RestorePoints& found, const std::vector<PointProof>& proofs);

}  // namespace litestream::cli
