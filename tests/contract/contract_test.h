#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "litestream/replica_client.h"
#include "tests/contract/bodies.h"

// What every backend has to do, whatever it talks to. A backend joins with one more file here that
// says, in namespace litestream::contract, LS_CONTRACT(MyBackend, Backend{...}).
namespace litestream::contract {

// One replica, empty at the start, and gone at the end.
class ReplicaUnderTest {
 public:
  virtual ~ReplicaUnderTest() = default;
  // A new client of it, as another process would have.
  virtual std::unique_ptr<ReplicaClient> Connect() = 0;
  // Puts something that is not an LTX file among those of a level. False if that cannot be.
  virtual bool PutForeign(Level level, std::string_view name, std::string_view content) = 0;
};

struct Backend {
  std::string name;
  std::function<std::unique_ptr<ReplicaUnderTest>()> make;
  // How exactly List gives created_at with exact_times.
  std::chrono::milliseconds time_resolution{1};
  // Of many who write a file with if_absent in the same moment only one succeeds. (Without it a
  // file that was there before is still not replaced.)
  bool exact_if_absent = true;
  // PutObject and DeleteObject work. (Without it they have to say kUnsupported.)
  bool conditional_puts = true;
  // ListObjects and OpenObject work: Litestream v0.3 wrote there. (Else they say kUnsupported.)
  bool old_backups = false;
  // More files than one page of the server's listing.
  int many_files = 1005;
};
inline std::ostream& operator<<(std::ostream& out, const Backend& backend) {
  return out << backend.name;
}
inline std::string BackendName(const ::testing::TestParamInfo<Backend>& info) {
  return info.param.name;
}

class ContractTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    replica_ = GetParam().make();
    client_ = replica_->Connect();
  }

  const Backend& backend() const { return GetParam(); }
  ReplicaUnderTest& replica() { return *replica_; }
  ReplicaClient& client() { return *client_; }

  // Fails the test and returns nothing if the call fails.
  std::vector<FileInfo> List(Level level, const ListOptions& options = {});
  // The same as "1-1 2-3".
  std::string Listed(int level, const ListOptions& options = {});
  std::string Read(const FileId& id, const ByteRange& range = {});
  void Write(const FileId& id, std::string_view content, const WriteOptions& options = {});

  const Context ctx_ = Context::Background();

 private:
  std::unique_ptr<ReplicaUnderTest> replica_;
  std::unique_ptr<ReplicaClient> client_;
};

// Small objects with conditional writes.
class ObjectTest : public ContractTest {
 protected:
  void SetUp() override;
  // Return "" after failing the test.
  std::string Put(std::string_view content, std::string_view tag);
  std::string Get();
};

// Leases on top of them, with a clock that only tests move.
class LeaseTest : public ObjectTest {
 protected:
  ManualClock clock_{
      WallTime(std::chrono::milliseconds(1'767'323'045'679))};  // 2026-01-02 03:04:05.679
  const Context at_clock_{std::stop_token(), std::nullopt, clock_};
};

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.ok()) << "should have failed";
  return result.ok() ? ErrorCode::kInternal : result.error().code();
}

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage)
#define LS_CONTRACT(prefix, ...)                                                               \
  INSTANTIATE_TEST_SUITE_P(prefix, ContractTest, ::testing::Values(__VA_ARGS__), BackendName); \
  INSTANTIATE_TEST_SUITE_P(prefix, ObjectTest, ::testing::Values(__VA_ARGS__), BackendName);   \
  INSTANTIATE_TEST_SUITE_P(prefix, LeaseTest, ::testing::Values(__VA_ARGS__), BackendName)

}  // namespace litestream::contract
