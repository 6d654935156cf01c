// Usage: litestream-gcs-server DIRECTORY
// A bucket of Google Cloud Storage in memory (fake_gcs.h) on a free port of the loopback, until its
// input ends. Writes credentials for it to DIRECTORY (service_account.json, user.json), then prints
// its URL.

#include <cstdio>
#include <fstream>
#include <string>

#include "tests/support/fake_gcs.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string directory = argv[1];
  litestream::FakeGcs store;
  const litestream::HttpServer server(
      [&store](const litestream::ServedRequest& request, litestream::ServedPeer& peer) {
        store.Handle(request, peer);
      });
  std::ofstream(directory + "/service_account.json")
      << store.tokens().ServiceAccountFile(server.url());
  std::ofstream(directory + "/user.json") << litestream::FakeGoogleTokens::UserFile(server.url());
  std::printf("%s\n", server.url().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
