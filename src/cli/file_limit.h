#pragma once

namespace litestream::cli {

// Raises the soft limit of open files to the hard one: a database takes some ten, and the usual
// 1024 are a hundred databases. Once, before any thread.
void RaiseFileLimit();
// Sets what was before: programs that use select() cannot do with more. Safe between fork and exec.
void RestoreFileLimit();

}  // namespace litestream::cli
