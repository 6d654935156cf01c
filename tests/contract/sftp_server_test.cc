#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/sftp/sftp_client.h"
#include "base/fd.h"
#include "format/ltx.h"
#include "format/names.h"
#include "storage/old_backup.h"
#include "tests/contract/bodies.h"
#include "tests/support/recorded_log.h"
#include "tests/support/sftp_test_server.h"

// What the contract says nothing about, against the real servers.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();
constexpr WallTime kCreated{std::chrono::milliseconds(1'767'323'045'678)};

std::unique_ptr<ReplicaClient> Connect(const sftp::Options& options,
                                       sftp::Shared& shared = SftpTestShared()) {
  auto client = MakeSftpClient(options, shared);
  EXPECT_TRUE(client.ok()) << client.error().message();
  return std::move(client).value();
}

// The error of a list; kInternal if there is none.
Error ListError(const sftp::Options& options) {
  sftp::Shared shared;
  const auto listed = Connect(options, shared)->List(kNever, kLevel0, {});
  return listed.ok() ? Error(ErrorCode::kInternal, "no error") : listed.error();
}

// All names below a directory, with those of directories.
std::vector<std::string> NamesBelow(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, error)) {
    names.push_back(std::filesystem::relative(entry.path(), directory));
  }
  std::ranges::sort(names);
  return names;
}

std::string LtxContent(WallTime created, std::size_t size) {
  const LtxHeader header{.page_size = 4096,
                         .commit_pages = 1,
                         .txids = {.min = Txid{1}, .max = Txid{1}},
                         .timestamp_ms = created.time_since_epoch().count()};
  const auto bytes = FormatLtxHeader(header);
  std::string content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return content + MakeContent(size - content.size(), 1);
}

class SftpServer : public ::testing::TestWithParam<const char*> {
 protected:
  sftp::Options At(const std::string& name) {
    auto options = SftpTestOptions(GetParam());
    name_ = name + std::to_string(::getpid());
    options.path = SftpTestPath(GetParam(), name_);
    return options;
  }
  std::filesystem::path Root() const { return SftpTestRoot(GetParam()) / name_; }
  bool IsOpenSsh() const { return std::string_view(GetParam()) != "rclone"; }

 private:
  std::string name_;
};

TEST_P(SftpServer, LargeFilesComeBackAsTheyWere) {
  const std::string content = MakeContent((34 << 20) + 12'345, 1);
  for (const bool concurrent : {true, false}) {
    SCOPED_TRACE(concurrent);
    auto options = At("large");
    options.concurrent_writes = concurrent;
    const auto client = Connect(options);
    const auto info =
        WriteFile(kNever, *client, Id(9, 1, 1), content, {.size_bytes = content.size()});
    ASSERT_TRUE(info.ok()) << info.error().message();
    const auto all = ReadFile(kNever, *client, Id(9, 1, 1));
    ASSERT_TRUE(all.ok()) << all.error().message();
    EXPECT_TRUE(all.value() == content);
    const auto tail =
        ReadFile(kNever, *client, Id(9, 1, 1), {.offset_bytes = content.size() - 5'000'001});
    ASSERT_TRUE(tail.ok()) << tail.error().message();
    EXPECT_TRUE(tail.value() == content.substr(content.size() - 5'000'001));
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
}

TEST_P(SftpServer, NothingButFilesIsLeft) {
  const auto client = Connect(At("left"));
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "a").ok());
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "b").ok());
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 2, 2), "c", {.if_absent = true}).ok());
  EXPECT_FALSE(WriteFile(kNever, *client, Id(0, 2, 2), "d", {.if_absent = true}).ok());
  contract::TextThenSource broken(MakeContent(12 << 20, 1),
                                  [] { return Error(ErrorCode::kIo, "the disk is gone"); });
  const auto failed = client->Write(kNever, Id(0, 3, 3), broken, {});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kIo);
  // What is removed without waiting for it is removed before this is answered.
  EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 2U);
  EXPECT_EQ(NamesBelow(Root()),
            (std::vector<std::string>{"ltx", "ltx/0", "ltx/0/0000000000000001-0000000000000001.ltx",
                                      "ltx/0/0000000000000002-0000000000000002.ltx"}));
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
  EXPECT_FALSE(std::filesystem::exists(Root()));
}

TEST_P(SftpServer, ExactTimesAreThoseOfTheHeaders) {
  const auto client = Connect(At("times"));
  const std::string content = LtxContent(kCreated, 5'000);
  for (std::uint64_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(WriteFile(kNever, *client, Id(1, i, i), content, {.created_at = kCreated}).ok());
  }
  const auto exact = client->List(kNever, Level{1}, {.exact_times = true});
  ASSERT_TRUE(exact.ok()) << exact.error().message();
  ASSERT_EQ(exact.value().size(), 100U);
  for (const FileInfo& file : exact.value()) EXPECT_EQ(file.created_at, kCreated);
  const auto rough = client->List(kNever, Level{1}, {});
  ASSERT_TRUE(rough.ok());
  EXPECT_EQ(rough.value()[0].created_at, std::chrono::floor<std::chrono::seconds>(kCreated));
  struct stat status = {};
  ASSERT_EQ(::stat((Root() / "ltx/1/0000000000000001-0000000000000001.ltx").c_str(), &status), 0);
  EXPECT_EQ(status.st_mtim.tv_sec, kCreated.time_since_epoch() / std::chrono::seconds(1));
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST_P(SftpServer, EverySpellingOfThePath) {
  const std::string base = SftpTestPath(GetParam(), "spelling");
  for (const std::string& path :
       {base + "/", base + "//a/./b/../c/", base + "/a b/%2F+", base + "/é"}) {
    SCOPED_TRACE(path);
    auto options = At("spelling");
    options.path = path;
    const auto client = Connect(options);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), path).ok());
    EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), path);
    ASSERT_TRUE(client->DeleteAll(kNever).ok());
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 0U);
  }
}

TEST_P(SftpServer, UploadsThatNobodyWillFinishGo) {
  const auto client = Connect(At("dead"));
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "a").ok());
  const auto level = Root() / "ltx/0";
  const std::string ltx = "0000000000000002-0000000000000002.ltx";
  const auto make = [&](const std::string& name, std::chrono::hours age) {
    std::ofstream(level / name) << "x";
    const auto then = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() - age);
    const timespec times[] = {{.tv_sec = then}, {.tv_sec = then}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (level / name).c_str(), times, 0), 0);
  };
  make(ltx + ".1-2.tmp", std::chrono::hours(30));
  make(ltx + ".3.4.tmp", std::chrono::hours(1));
  make("other.tmp", std::chrono::hours(30));
  ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_TRUE(std::filesystem::exists(level / (ltx + ".1-2.tmp"))) << "who lists may not remove";
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 3, 3), "a").ok());
  ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_FALSE(std::filesystem::exists(level / (ltx + ".1-2.tmp")));
  EXPECT_TRUE(std::filesystem::exists(level / (ltx + ".3.4.tmp")));
  EXPECT_TRUE(std::filesystem::exists(level / "other.tmp"));
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST_P(SftpServer, BackupsOfOldVersionsAreListedAndRead) {
  const auto client = Connect(At("old"));
  EXPECT_FALSE(HasOldBackup(kNever, *client).value());
  const auto generation = Root() / "generations/0123456789abcdef";
  for (const char* name : {"wal/00000000_00000000.wal.lz4", "snapshots/00000000.snapshot.lz4"}) {
    std::filesystem::create_directories((generation / name).parent_path());
    std::ofstream(generation / name) << "of " << name;
  }
  EXPECT_TRUE(HasOldBackup(kNever, *client).value());
  const auto found = ListOldBackup(kNever, *client);
  ASSERT_TRUE(found.ok()) << found.error().message();
  ASSERT_EQ(found.value().size(), 1U);
  ASSERT_EQ(found.value()[0].snapshots.size(), 1U);
  auto source = client->OpenObject(kNever, found.value()[0].snapshots[0].object.name, {});
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ(contract::ReadAll(kNever, *source.value()).value(),
            "of snapshots/00000000.snapshot.lz4");
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST_P(SftpServer, AServerThatIsNotThere) {
  auto options = At("x");
  options.connect.port = 1;
  options.retry.attempts = 1;
  const Error error = ListError(options);
  EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  EXPECT_THAT(error.message(), HasSubstr("127.0.0.1:1"));
  options.connect.host = "no-such-host.invalid";
  EXPECT_THAT(ListError(options).message(), HasSubstr("no-such-host.invalid"));
}

// Another one's key is not taken, whatever else is right.
TEST_P(SftpServer, AServerWithAnotherKey) {
  auto options = At("x");
  options.connect.host_key = SftpTestSetting("foreign_key.pub");
  const Error error = ListError(options);
  EXPECT_EQ(error.code(), ErrorCode::kDenied) << error.message();
  EXPECT_THAT(error.message(), HasSubstr("ssh: host key mismatch"));
  options.connect.host_key = "ssh-ed25519 nonsense";
  EXPECT_EQ(ListError(options).code(), ErrorCode::kInvalidArgument);
  options.connect.host_key = "nonsense";
  EXPECT_THAT(ListError(options).message(), HasSubstr("cannot parse sftp host key"));
}

TEST_P(SftpServer, KnownHosts) {
  auto options = At("x");
  const std::string name = fmt::format("[127.0.0.1]:{} ", options.connect.port);
  const auto file = SftpTestDirectory() / "known_hosts";
  options.connect.host_key.clear();
  options.connect.known_hosts_path = file;
  const RecordedLog log(LogLevel::kWarn);
  options.log = log.logger();
  EXPECT_EQ(ListError(options).message(), "no error") << "no file";
  EXPECT_EQ(log.Count("sftp host key not verified"), 1);
  if (!IsOpenSsh()) return;  // Its keys are not known to us.
  const RecordedLog again(LogLevel::kWarn);
  options.log = again.logger();
  std::ofstream(file) << name << SftpTestSetting("rsa_host_key.pub") << "\n";
  EXPECT_EQ(ListError(options).message(), "no error") << "of its two keys the known one is taken";
  std::ofstream(file) << name << SftpTestSetting("host_key.pub") << "\n";
  EXPECT_EQ(ListError(options).message(), "no error");
  EXPECT_EQ(again.Count(""), 0);
  std::ofstream(file) << name << SftpTestSetting("foreign_key.pub") << "\n";
  EXPECT_EQ(ListError(options).code(), ErrorCode::kDenied);
  EXPECT_THAT(ListError(options).message(), HasSubstr("host key mismatch"));
  std::filesystem::remove(file);
}

std::size_t OpenDescriptors() {
  const std::filesystem::directory_iterator open("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

TEST_P(SftpServer, AnIdleConnectionIsClosedAndOpenedAgain) {
  const std::size_t before = OpenDescriptors();
  std::optional<sftp::Shared> own(std::in_place);
  sftp::Shared& shared = *own;
  auto options = At("idle");
  options.connect.idle_timeout = std::chrono::milliseconds(0);
  auto client = Connect(options, shared);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "a").ok());
  }
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), "a");
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
  client.reset();
  own.reset();
  // Of the twenty connections none is left; those of other tests may end meanwhile.
  EXPECT_LE(OpenDescriptors(), before);
}

TEST_P(SftpServer, ManyCallsAtTheSameTime) {
  const auto client = Connect(At("many"));
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 1; i <= 40; ++i) {
    threads.emplace_back([&client, i] {
      const std::string content = MakeContent(300'000, i);
      const auto info = WriteFile(kNever, *client, Id(0, i, i), content);
      ASSERT_TRUE(info.ok()) << info.error().message();
      const auto read = ReadFile(kNever, *client, Id(0, i, i));
      ASSERT_TRUE(read.ok()) << read.error().message();
      EXPECT_TRUE(read.value() == content);
    });
  }
  threads.clear();
  EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 40U);
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST_P(SftpServer, AFileInPlaceOfADirectory) {
  const auto client = Connect(At("file"));
  std::ofstream(Root()) << "x";
  const auto written = WriteFile(kNever, *client, Id(0, 1, 1), "a");
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(written.error().code(), ErrorCode::kAlreadyExists);
  std::filesystem::remove(Root());
}

INSTANTIATE_TEST_SUITE_P(Sftp, SftpServer, ::testing::Values("sshd", "plain", "rclone"),
                         [](const auto& info) { return std::string(info.param); });

// ---- Only OpenSSH

TEST(SftpLogin, KeysOfEveryKind) {
  for (const char* key : {"key", "rsa_key", "ecdsa_key"}) {
    SCOPED_TRACE(key);
    auto options = SftpTestOptions("sshd");
    options.path = SftpTestPath("sshd", "none");
    options.connect.key_path = SftpTestDirectory() / key;
    EXPECT_EQ(ListError(options).message(), "no error");
    options.connect.host_key = SftpTestSetting("rsa_host_key.pub");
    EXPECT_EQ(ListError(options).message(), "no error") << "with the server's other key";
  }
}

TEST(SftpLogin, KeysThatDoNotHelp) {
  auto options = SftpTestOptions("sshd");
  const auto with = [&](const std::string& key, const std::string& password = "") {
    options.connect.key_path = SftpTestDirectory() / key;
    options.connect.password = password;
    return ListError(options);
  };
  EXPECT_EQ(with("foreign_key").code(), ErrorCode::kDenied);
  EXPECT_THAT(with("foreign_key").message(), HasSubstr("does not let user"));
  EXPECT_THAT(with("foreign_key").message(), HasSubstr("foreign_key"));
  EXPECT_EQ(with("missing").code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(with("missing").message(), HasSubstr("cannot read it"));
  EXPECT_THAT(with("host_key.pub").message(), HasSubstr("no private key that can be used"));
  EXPECT_THAT(with("locked_key").message(), HasSubstr("it is encrypted; give its passphrase"));
  EXPECT_THAT(with("locked_key", "secret-of-mine").message(), HasSubstr("does not open it"));
  EXPECT_THAT(with("locked_key", "secret-of-mine").message(), Not(HasSubstr("secret-of-mine")));
  EXPECT_EQ(with("locked_key", SftpTestSetting("passphrase")).message(), "no error");
  options.connect.key_path.clear();
  options.connect.password = "secret-of-mine";
  const Error error = ListError(options);
  EXPECT_EQ(error.code(), ErrorCode::kDenied);
  EXPECT_THAT(error.message(), HasSubstr("it takes a key"));
  EXPECT_THAT(error.message(), Not(HasSubstr("secret-of-mine")));
}

TEST(SftpLogin, Passwords) {
  auto options = SftpTestOptions("rclone");
  EXPECT_EQ(ListError(options).message(), "no error");
  options.connect.password = "another";
  EXPECT_EQ(ListError(options).code(), ErrorCode::kDenied);
  EXPECT_THAT(ListError(options).message(), HasSubstr("refused the password"));
  EXPECT_THAT(ListError(options).message(), Not(HasSubstr("another")));
  options.connect.user = "nobody-there";
  EXPECT_EQ(ListError(options).code(), ErrorCode::kDenied);
}

TEST(SftpLease, OtherServersHaveNone) {
  auto options = SftpTestOptions("rclone");
  options.path = "/lease";
  const auto put = Connect(options)->PutObject(kNever, "lock.json", "x", "");
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code(), ErrorCode::kUnsupported);
  EXPECT_THAT(put.error().message(), HasSubstr("leases need a server of OpenSSH"));
  EXPECT_THAT(put.error().message(), HasSubstr("lease: off"));
}

// What a killed process leaves: a content that no name points to, a directory that got no name.
TEST(SftpLease, WhatAKilledWriterLeavesDoesNoHarm) {
  auto options = SftpTestOptions("sshd");
  options.path = SftpTestPath("sshd", "killed");
  const auto client = Connect(options);
  const auto root = SftpTestRoot("sshd") / "killed";
  std::filesystem::create_directories(root / "lock.json.d.1-2.tmp");
  std::ofstream(root / "lock.json.d.1-2.tmp/at-00000000000000000000000000000000") << "";
  EXPECT_FALSE(client->GetObject(kNever, "lock.json").ok());
  const auto first = client->PutObject(kNever, "lock.json", "one", "");
  ASSERT_TRUE(first.ok()) << first.error().message();
  std::ofstream(root / "lock.json.d" / std::string(32, '0')) << "never in force";
  EXPECT_EQ(client->GetObject(kNever, "lock.json").value().content, "one");
  EXPECT_TRUE(client->PutObject(kNever, "lock.json", "two", first.value()).ok());
  // An empty directory is what is left if a removal was broken off.
  std::filesystem::remove_all(root / "lock.json.d");
  std::filesystem::create_directory(root / "lock.json.d");
  EXPECT_FALSE(client->GetObject(kNever, "lock.json").ok());
  EXPECT_TRUE(client->PutObject(kNever, "lock.json", "three", "").ok());
  EXPECT_EQ(client->GetObject(kNever, "lock.json").value().content, "three");
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

}  // namespace
}  // namespace litestream
