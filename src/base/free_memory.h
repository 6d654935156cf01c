#pragma once

namespace litestream {

// Gives memory that is free, but kept by the allocator, back to the system. Takes milliseconds.
void ReturnFreeMemory();

}  // namespace litestream
