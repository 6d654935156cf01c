#pragma once

namespace litestream::cli {

// Notes which descriptors somebody opened for us. Once, before any thread.
void NoteInheritedFiles();
// A program that we start gets those, and none that we or a library opened: a connection or a lock
// must not live on in it. Safe between fork and exec.
void KeepInheritedFilesOnly();

}  // namespace litestream::cli
