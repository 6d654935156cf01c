#include <gtest/gtest.h>

#include "config/config.h"
#include "config/replica_resolve.h"

namespace litestream::config {
namespace {

TEST(ReplicaResolveTest, NatsUrls) {
  const struct {
    const char* url;
    const char* host;
    const char* bucket;
    const char* path;
  } cases[] = {
      {"nats://h/b", "h:4222", "b", ""},        {"nats://h:4223/b/", "h:4223", "b", ""},
      {"nats:///b", "127.0.0.1:4222", "b", ""}, {"nats://[::1]/b", "[::1]:4222", "b", ""},
      {"nats://[::1]:1/b", "[::1]:1", "b", ""}, {"nats://h/b/app//db/", "h:4222", "b", "app/db"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.url);
    const auto replica = ReplicaFromUrl(Env::Real(), c.url);
    ASSERT_TRUE(replica.ok()) << replica.error().message();
    EXPECT_EQ(replica.value().host, c.host);
    EXPECT_EQ(replica.value().bucket, c.bucket);
    EXPECT_EQ(replica.value().path, c.path);
  }
  const auto more = ReplicaFromUrl(Env::Real(), "nats://u:p%2Fw@h/b?domain=hub");
  ASSERT_TRUE(more.ok()) << more.error().message();
  EXPECT_EQ(more.value().username, "u");
  EXPECT_EQ(more.value().password, "p/w");
  EXPECT_EQ(more.value().domain, "hub");
}

// Whatever the key `path` says, stock Litestream's objects are at the root of the bucket.
TEST(ReplicaResolveTest, NatsReplicasAreWhereStockPutsThem) {
  ReplicaConfig one;
  one.url = "nats://h";
  one.bucket = "b";
  one.path = "one";
  ReplicaConfig two;
  two.type = "nats";
  two.host = "h:4222";
  two.bucket = "b";
  two.path = "two";
  ASSERT_TRUE(ResolveReplica(Env::Real(), one).ok());
  ASSERT_TRUE(ResolveReplica(Env::Real(), two).ok());
  EXPECT_EQ(one.path, "");
  EXPECT_EQ(PlaceOf(one), PlaceOf(two));
  AppendToReplica(one, "a.db");
  EXPECT_EQ(one.path, "a.db") << "databases of a directory do not lie upon each other";
  EXPECT_NE(PlaceOf(one), PlaceOf(two));
  auto elsewhere = two;
  elsewhere.domain = "hub";
  EXPECT_NE(PlaceOf(elsewhere), PlaceOf(two));
}

TEST(ReplicaResolveTest, WhatANatsReplicaNeeds) {
  const auto message = [](const char* url) {
    const auto replica = ReplicaFromUrl(Env::Real(), url);
    return replica.ok() ? "no error" : replica.error().message();
  };
  EXPECT_EQ(message("nats://h:4222"), "bucket required for NATS replica");
  EXPECT_EQ(message("nats://h:4222/"), "bucket required for NATS replica");
  ReplicaConfig half;
  half.url = "nats://h/b";
  half.client_key = "key.pem";
  const auto resolved = ResolveReplica(Env::Real(), half);
  ASSERT_FALSE(resolved.ok());
  EXPECT_EQ(resolved.error().message(),
            "client-cert and client-key must both be specified for mutual TLS authentication");
}

TEST(ReplicaResolveTest, APathOfANatsReplicaIsWarnedAbout) {
  const auto config = ParseConfig(Env::Real(),
                                  "dbs:\n  - path: /db\n    replica:\n      url: nats://h/b\n"
                                  "      path: x\n",
                                  "f.yml", {});
  ASSERT_TRUE(config.ok()) << config.error().message();
  ASSERT_EQ(config.value().warnings.size(), 1U);
  EXPECT_NE(config.value().warnings[0].find("the path of a nats replica does not count"),
            std::string::npos);
}

}  // namespace
}  // namespace litestream::config
