// Usage: litestream-s3-server [LATENCY_MS [BYTES_PER_SECOND [check]]]
// Buckets in memory on a free port of the loopback, until its input ends. Prints its URL. "check":
// bodies must have the SHA-256 that their signature covers.

#include <cstdlib>

#include "tests/support/memory_s3.h"

int main(int argc, char** argv) {
  litestream::MemoryS3::Options options;
  if (argc > 1) options.latency = std::chrono::milliseconds(std::atoi(argv[1]));
  if (argc > 2) options.bytes_per_second = std::strtoull(argv[2], nullptr, 10);
  options.check_payloads = argc > 3;
  litestream::MemoryS3 store(options);
  litestream::ServeUntilInputEnds(store);
  return 0;
}
