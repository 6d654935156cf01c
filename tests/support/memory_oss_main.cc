// Usage: litestream-oss-server BUCKET VERSIONED_BUCKET ID SECRET [ID SECRET TOKEN]...
// Buckets of Alibaba Cloud OSS in memory (memory_oss.h) on a free port of the loopback, until its
// input ends. Prints its URL. The first pair of keys is without a token.

#include <cstdio>
#include <string>

#include "tests/support/memory_oss.h"

int main(int argc, char** argv) {
  using litestream::MemoryOss;
  if (argc < 5) {
    std::fprintf(stderr, "a bucket, another one with versions, a key and its secret are needed\n");
    return 1;
  }
  MemoryOss::Rules rules{
      .accounts = {{argv[3], argv[4], ""}}, .buckets = {argv[1], argv[2]}, .versioned = {argv[2]}};
  for (int i = 5; i + 2 < argc; i += 3) {
    rules.accounts.push_back({argv[i], argv[i + 1], argv[i + 2]});
  }
  MemoryOss store({}, rules);
  litestream::ServeUntilInputEnds(store);
  return 0;
}
