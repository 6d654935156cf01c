#pragma once

namespace litestream::cli {

// Leaves our memory out of core dumps: keys, tokens and pages of databases are in it. Only the
// kernel's notes (registers, signal) remain. Nothing is changed if LITESTREAM_CORE_DUMPS is "full",
// for who looks for a crash. Once, before any thread.
void KeepMemoryOutOfCoreDumps();
// Sets what was before, for a program that we start. Safe between fork and exec.
void RestoreCoreDumps();

}  // namespace litestream::cli
