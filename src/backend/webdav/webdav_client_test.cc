#include "backend/webdav/webdav_client.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/webdav/multistatus.h"
#include "backend/webdav/upload.h"
#include "http/uri.h"
#include "tests/contract/bodies.h"
#include "tests/support/http_server.h"

// What servers do now and then, and what none may do. That all is well with servers that behave is
// shown by the contract suite, against real ones.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::TextSource;
using contract::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

const Context kNever = Context::Background();
constexpr char kName1[] = "0000000000000001-0000000000000001.ltx";
constexpr WallTime kCreated{std::chrono::milliseconds(1'767'323'045'678)};

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.ok()) << "should have failed";
  return result.ok() ? ErrorCode::kInternal : result.error().code();
}

std::string Entry(const std::string& href, const std::string& properties) {
  return fmt::format(
      "<response><href>{}</href><propstat><prop>{}</prop><status>HTTP/1.1 200 OK</status>"
      "</propstat></response>",
      href, properties);
}
std::string Folder(const std::string& href) {
  return Entry(href, "<resourcetype><collection/></resourcetype>");
}
std::string Size(std::size_t bytes) {
  return fmt::format("<resourcetype/><getcontentlength>{}</getcontentlength>", bytes);
}
std::string Multistatus(const std::string& responses) {
  return "<multistatus xmlns=\"DAV:\">" + responses + "</multistatus>";
}

// A small server with files in memory. `interfere` may answer in its place, before or after it has
// done its work.
class WebdavClientTest : public ::testing::Test {
 protected:
  enum class Outcome { kGoOn, kAnswered };
  using Interfere = std::function<Outcome(const ServedRequest&, ServedPeer&)>;

  std::unique_ptr<ReplicaClient> Connect(webdav::Options options = {}) {
    if (options.url.empty()) options.url = server_.url() + "/dav";
    options.path = "db";
    options.retry = {.attempts = 4,
                     .first_delay = std::chrono::milliseconds(1),
                     .max_delay = std::chrono::milliseconds(1)};
    auto client = MakeWebdavClient(options, http_);
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  // The numbers of requests by method.
  int Count(std::string_view method) {
    const std::lock_guard lock(mu_);
    return static_cast<int>(std::ranges::count(asked_, method, &ServedRequest::method));
  }
  std::vector<ServedRequest> Asked() {
    const std::lock_guard lock(mu_);
    return asked_;
  }
  std::vector<std::string> Files() {
    const std::lock_guard lock(mu_);
    std::vector<std::string> names;
    for (const auto& [path, content] : files_) {
      if (!path.ends_with('/')) names.push_back(path);
    }
    return names;
  }
  void Put(const std::string& path, const std::string& content) {
    const std::lock_guard lock(mu_);
    files_["/dav/db/"] = files_["/dav/db/ltx/"] = files_["/dav/db/ltx/0/"] = "";
    files_[path] = content;
  }

  // Does what was asked; the status.
  int Work(const ServedRequest& request, const std::string& body, std::string& answer);
  std::string List(const std::string& path, bool members);

  std::mutex mu_;
  std::vector<ServedRequest> asked_;
  std::map<std::string, std::string> files_{{"/dav/", ""}};  // Folders end with a slash.
  std::map<std::string, std::string> times_;                 // Our property.
  bool keeps_properties_ = true;
  Interfere before_ = [](const ServedRequest&, ServedPeer&) { return Outcome::kGoOn; };
  Interfere after_ = before_;
  HttpServer server_{[this](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    {
      const std::lock_guard lock(mu_);
      asked_.push_back(request);
    }
    if (before_(request, peer) == Outcome::kAnswered) return;
    std::string answer;
    const int status = Work(request, body, answer);
    if (after_(request, peer) == Outcome::kAnswered) return;
    peer.Answer(status, {}, answer);
  }};
  const std::shared_ptr<http::Client> http_ = std::make_shared<http::Client>();
};

std::string WebdavClientTest::List(const std::string& path, bool members) {
  std::string responses;
  for (const auto& [name, content] : files_) {
    const std::string rest = name.starts_with(path) ? name.substr(path.size()) : "";
    const bool self = name == path || name == path + "/";
    const bool member = members && !rest.empty() && rest.find('/') >= rest.size() - 1;
    if (!self && !member) continue;
    const auto time = times_.find(name);
    responses += name.ends_with('/')
                     ? Folder(http::EscapePath(name))
                     : Entry(http::EscapePath(name),
                             Size(content.size()) +
                                 (time == times_.end()
                                      ? ""
                                      : fmt::format("<created-at xmlns=\"{}\">{}</created-at>",
                                                    webdav::kOurNamespace, time->second)));
  }
  return Multistatus(responses);
}

int WebdavClientTest::Work(const ServedRequest& request, const std::string& body,
                           std::string& answer) {
  const std::lock_guard lock(mu_);
  const std::string path = http::Unescape(request.target).value_or("?");
  const std::string parent = path.substr(0, path.rfind('/', path.size() - 2) + 1);
  const bool there = files_.contains(path);
  if (request.method == "MKCOL") {
    if (there) return 405;
    if (!files_.contains(parent)) return 409;
    files_[path] = "";
    return 201;
  }
  if (request.method == "PUT") {
    if (!files_.contains(parent)) return 409;
    files_[path] = body;
    return 201;
  }
  if (!there) return 404;
  if (request.method == "PROPFIND") {
    answer = List(path, request.header("depth") == "1");
    return 207;
  }
  if (request.method == "PROPPATCH") {
    const std::size_t begin = body.find('Z') == std::string::npos ? 0 : body.find('Z') - 23;
    if (keeps_properties_) times_[path] = body.substr(begin, 24);
    answer = Multistatus(fmt::format(
        "<response><href>{}</href><propstat><prop><created-at xmlns=\"{}\"/></prop><status>"
        "HTTP/1.1 {} x</status></propstat></response>",
        request.target, webdav::kOurNamespace, keeps_properties_ ? 200 : 403));
    return 207;
  }
  if (request.method == "MOVE") {
    const auto to = webdav::PathOfHref(request.header("destination")).value_or("?");
    if (request.header("overwrite") == "F" && files_.contains(to)) return 412;
    files_[to] = files_[path];
    if (times_.contains(path)) times_[to] = times_[path];
    files_.erase(path);
    times_.erase(path);
    return 201;
  }
  if (request.method == "DELETE") {
    std::erase_if(files_, [&](const auto& file) {
      return file.first == path || (path.ends_with('/') && file.first.starts_with(path));
    });
    return 204;
  }
  answer = files_[path];
  return 200;
}

// ---- Writing

TEST_F(WebdavClientTest, AWriteAsItGoesOver) {
  const auto info = WriteFile(kNever, *Connect(), Id(0, 1, 1), "hello",
                              {.created_at = kCreated, .if_absent = true});
  ASSERT_TRUE(info.ok()) << info.error().message();
  const auto asked = Asked();
  std::vector<std::string> lines;
  for (const auto& request : asked) lines.push_back(request.method + " " + request.target);
  ASSERT_THAT(lines, SizeIs(8)) << "MKCOL up and down, then the file";
  EXPECT_THAT(lines[0], "MKCOL /dav/db/ltx/0/");
  EXPECT_THAT(lines[2], "MKCOL /dav/db/");
  EXPECT_THAT(lines[5], StartsWith(fmt::format("PUT /dav/db/ltx/0/{}.", kName1)));
  EXPECT_EQ(asked[5].header("content-length"), "5");
  EXPECT_EQ(asked[5].header("transfer-encoding"), "");
  EXPECT_EQ(asked[5].header("x-oc-mtime"), "1767323045");
  EXPECT_THAT(lines[6], StartsWith("PROPPATCH "));
  EXPECT_THAT(lines[7], StartsWith("MOVE "));
  EXPECT_EQ(asked[7].target, asked[5].target);
  EXPECT_EQ(asked[7].header("destination"),
            fmt::format("{}/dav/db/ltx/0/{}", server_.url(), kName1));
  EXPECT_EQ(asked[7].header("overwrite"), "F");
  EXPECT_THAT(Files(), ElementsAre(fmt::format("/dav/db/ltx/0/{}", kName1)));
}

TEST_F(WebdavClientTest, ASecondWriteMakesNoFolders) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "hello").ok());
  const int before = server_.requests();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 2, 2), "hello").ok());
  EXPECT_EQ(server_.requests() - before, 3);
}

TEST_F(WebdavClientTest, WithoutPropertiesNoneIsSetAgain) {
  keeps_properties_ = false;
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "hello").ok());
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 2, 2), "hello").ok());
  EXPECT_EQ(Count("PROPPATCH"), 1);
  EXPECT_THAT(Files(), SizeIs(2));
}

TEST_F(WebdavClientTest, WhatMayWorkTheNextTimeIsTriedAgain) {
  const struct {
    const char* why;
    std::function<void(ServedPeer&)> act;
  } cases[] = {
      {"500", [](ServedPeer& peer) { peer.Answer(500, {}, ""); }},
      {"503", [](ServedPeer& peer) { peer.Answer(503, {"Retry-After: 0"}, ""); }},
      {"429", [](ServedPeer& peer) { peer.Answer(429, {}, ""); }},
      {"423", [](ServedPeer& peer) { peer.Answer(423, {}, ""); }},
      {"cut", [](ServedPeer& peer) { peer.Close(); }},
      {"reset", [](ServedPeer& peer) { peer.Reset(); }},
  };
  std::uint64_t txid = 0;
  for (const auto& c : cases) {
    for (const char* method : {"MKCOL", "PUT", "PROPPATCH", "MOVE"}) {
      for (const bool done : {false, true}) {
        SCOPED_TRACE(fmt::format("{} {}{}", c.why, method, done ? ", and it is done" : ""));
        ++txid;
        std::atomic<int> failures = 0;
        before_ = after_ = [](const ServedRequest&, ServedPeer&) { return Outcome::kGoOn; };
        (done ? after_ : before_) = [&](const ServedRequest& request, ServedPeer& peer) {
          if (request.method != method || ++failures > 2) return Outcome::kGoOn;
          c.act(peer);
          return Outcome::kAnswered;
        };
        const auto info = WriteFile(kNever, *Connect(), Id(0, txid, txid), "hello",
                                    {.created_at = kCreated, .if_absent = true});
        EXPECT_TRUE(info.ok()) << info.error().message();
        EXPECT_EQ(ReadFile(kNever, *Connect(), Id(0, txid, txid)).value(), "hello");
        EXPECT_THAT(Files(), SizeIs(txid)) << "and nothing else";
      }
    }
  }
}

// The answer to a MOVE gets lost. What servers say to the next one: Apache that the file is not
// there, rclone that this is forbidden, others that the name is taken.
TEST_F(WebdavClientTest, AMoveWhoseAnswerIsLost) {
  for (const int next : {404, 403, 412, 409}) {
    SCOPED_TRACE(next);
    std::atomic<int> moves = 0;
    before_ = [&](const ServedRequest& request, ServedPeer& peer) {
      if (request.method != "MOVE" || ++moves == 1) return Outcome::kGoOn;
      peer.Answer(next, {}, "");
      return Outcome::kAnswered;
    };
    after_ = [&](const ServedRequest& request, ServedPeer& peer) {
      if (request.method != "MOVE") return Outcome::kGoOn;
      peer.Answer(500, {}, "");
      return Outcome::kAnswered;
    };
    const auto id = Id(0, static_cast<std::uint64_t>(next), static_cast<std::uint64_t>(next));
    const auto info = WriteFile(kNever, *Connect(), id, "hello", {.if_absent = true});
    EXPECT_TRUE(info.ok()) << info.error().message();
    EXPECT_EQ(ReadFile(kNever, *Connect(), id).value(), "hello");
  }
}

TEST_F(WebdavClientTest, ATakenNameStaysAndNothingElse) {
  Put(fmt::format("/dav/db/ltx/0/{}", kName1), "first");
  for (const std::size_t size : {std::size_t{5}, std::size_t{2} << 20}) {
    const auto info = WriteFile(kNever, *Connect(), Id(0, 1, 1), MakeContent(size, 1),
                                {.size_bytes = size, .if_absent = true});
    EXPECT_EQ(CodeOf(info), ErrorCode::kAlreadyExists) << info.error().message();
    EXPECT_EQ(ReadFile(kNever, *Connect(), Id(0, 1, 1)).value(), "first");
    EXPECT_THAT(Files(), SizeIs(1));
  }
}

// Apache behind a proxy that ends TLS.
TEST_F(WebdavClientTest, ADestinationThatIsNotKnownByItsUrl) {
  before_ = [](const ServedRequest& request, ServedPeer& peer) {
    if (request.method != "MOVE" || request.header("destination").starts_with('/')) {
      return Outcome::kGoOn;
    }
    peer.Answer(502, {}, "Destination URI refers to a different scheme or port");
    return Outcome::kAnswered;
  };
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "one").ok());
  EXPECT_EQ(Count("MOVE"), 2);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 2, 2), "two").ok());
  EXPECT_EQ(Count("MOVE"), 3) << "learned";
}

TEST_F(WebdavClientTest, FoldersThatGoAreMadeAgain) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "one").ok());
  const std::string large = MakeContent(3 << 20, 1);
  for (const std::string& content : {std::string("small"), large}) {
    {
      const std::lock_guard lock(mu_);
      files_ = {{"/dav/", ""}};
    }
    auto written = WriteFile(kNever, *client, Id(0, 2, 2), content, {.size_bytes = content.size()});
    if (!written.ok()) {
      EXPECT_EQ(written.error().code(), ErrorCode::kUnavailable);
      written = WriteFile(kNever, *client, Id(0, 2, 2), content, {.size_bytes = content.size()});
    }
    EXPECT_TRUE(written.ok()) << written.error().message();
    EXPECT_TRUE(ReadFile(kNever, *client, Id(0, 2, 2)).value() == content);
  }
}

TEST_F(WebdavClientTest, WhatFailsIsDeleted) {
  for (const char* method : {"PROPPATCH", "MOVE"}) {
    SCOPED_TRACE(method);
    before_ = [&](const ServedRequest& request, ServedPeer& peer) {
      if (request.method != method) return Outcome::kGoOn;
      peer.Answer(503, {}, "");
      return Outcome::kAnswered;
    };
    EXPECT_EQ(CodeOf(WriteFile(kNever, *Connect(), Id(0, 1, 1), "x")), ErrorCode::kUnavailable);
    EXPECT_THAT(Files(), IsEmpty());
  }
}

TEST_F(WebdavClientTest, AnEndDoesNotWaitForTheServer) {
  for (const char* method : {"MKCOL", "PUT", "PROPPATCH", "MOVE", "DELETE"}) {
    SCOPED_TRACE(method);
    std::stop_source stop;
    before_ = [&](const ServedRequest& request, ServedPeer& peer) {
      // The temporary file is deleted at the end, and even that must not take long.
      if (request.method == "DELETE") {
        peer.WaitForClose();
        return Outcome::kAnswered;
      }
      if (request.method != method) return Outcome::kGoOn;
      stop.request_stop();
      peer.WaitForClose();
      return Outcome::kAnswered;
    };
    const Context ctx(stop.get_token());
    if (std::string_view(method) == "DELETE") {
      const FileId id = Id(0, 1, 1);
      std::jthread stopping([&] {
        while (Count("DELETE") == 0) std::this_thread::yield();
        stop.request_stop();
      });
      {
        const std::lock_guard lock(mu_);
        asked_.clear();
      }
      EXPECT_EQ(CodeOf(Connect()->Delete(ctx, std::span(&id, 1))), ErrorCode::kCancelled);
      continue;
    }
    EXPECT_EQ(CodeOf(WriteFile(ctx, *Connect(), Id(0, 1, 1), "x")), ErrorCode::kCancelled);
    before_ = [](const ServedRequest&, ServedPeer&) { return Outcome::kGoOn; };
    EXPECT_TRUE(Connect()->DeleteAll(kNever).ok());
  }
}

// ---- Temporary files of the dead

TEST_F(WebdavClientTest, WhatTheDeadLeftGoesWithAWrite) {
  const WallTime now = Clock::Real().Now();
  const std::string path = fmt::format("/dav/db/ltx/0/{}", kName1);
  const std::string dead = webdav::TempName(path, now - std::chrono::hours(25), 7);
  const std::string young = webdav::TempName(path, now - std::chrono::hours(23), 7);
  Put(dead, "x");
  Put(young, "x");
  const auto client = Connect();
  EXPECT_THAT(client->List(kNever, kLevel0, {}).value(), IsEmpty());
  EXPECT_THAT(Files(), SizeIs(2)) << "who reads removes nothing";
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 2, 2), "x").ok());
  EXPECT_THAT(Files(), Not(::testing::Contains(dead)));
  EXPECT_THAT(Files(), ::testing::Contains(young));
}

TEST(TempTest, WhatIsDead) {
  const WallTime now(std::chrono::hours(24 * 365 * 50));
  const std::string name = webdav::TempName(kName1, now - std::chrono::hours(48), 0xabc);
  EXPECT_EQ(name, fmt::format("{}.{:012x}-0000000000000abc.tmp", kName1,
                              (now - std::chrono::hours(48)).time_since_epoch().count()));
  const auto dead = [&](const std::string& file, std::chrono::hours modified = {},
                        bool folder = false) {
    return webdav::IsDeadTemp(
        {.name = file, .is_collection = folder, .modified_at = WallTime(modified)}, now);
  };
  EXPECT_TRUE(dead(name));
  EXPECT_FALSE(dead(name, {}, true));
  EXPECT_FALSE(dead(name, std::chrono::hours(24 * 365 * 50 - 1))) << "it is still being written";
  EXPECT_FALSE(dead(webdav::TempName(kName1, now, 1)));
  for (const std::string& other :
       {std::string(kName1), std::string(kName1) + ".tmp", "x" + name, name + "x",
        std::string("lock.json.tmp"), std::string(".tmp"), std::string()}) {
    EXPECT_FALSE(dead(other)) << other;
  }
}

// ---- Lists and times

TEST_F(WebdavClientTest, ListsThatMustNotBeBelieved) {
  const std::string self = Folder("/dav/db/ltx/0/");
  const std::string file = Entry(fmt::format("/dav/db/ltx/0/{}", kName1), Size(5));
  const std::string whole = Multistatus(self + file);
  const struct {
    const char* why;
    int status;
    std::string body;
    ErrorCode want;
  } cases[] = {
      {"cut off", 207, whole.substr(0, whole.size() - 20), ErrorCode::kUnavailable},
      {"nothing", 207, "", ErrorCode::kUnavailable},
      {"empty, without the folder", 207, Multistatus(""), ErrorCode::kUnavailable},
      {"of another folder", 207,
       Multistatus(Folder("/other/") + Entry(fmt::format("/other/{}", kName1), Size(5))),
       ErrorCode::kUnavailable},
      {"a file of another folder", 207,
       Multistatus(self + Entry(fmt::format("/dav/db/ltx/1/{}", kName1), Size(5))),
       ErrorCode::kUnavailable},
      {"climbing", 207,
       Multistatus(self + Entry(fmt::format("/dav/db/ltx/0/../0/{}", kName1), Size(5))),
       ErrorCode::kUnavailable},
      {"without a size", 207,
       Multistatus(self + Entry(fmt::format("/dav/db/ltx/0/{}", kName1), "<resourcetype/>")),
       ErrorCode::kUnavailable},
      {"a file that cannot be looked at", 207,
       Multistatus(self + fmt::format("<response><href>/dav/db/ltx/0/{}</href><status>HTTP/1.1 "
                                      "500 x</status></response>",
                                      kName1)),
       ErrorCode::kUnavailable},
      {"no folder", 207, Multistatus(Entry("/dav/db/ltx/0", Size(5))), ErrorCode::kInvalidArgument},
      {"a page for people", 200, "<html>welcome</html>", ErrorCode::kInvalidArgument},
      {"no WebDAV", 405, "", ErrorCode::kInvalidArgument},
      {"forbidden", 403, "", ErrorCode::kDenied},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    before_ = [&](const ServedRequest&, ServedPeer& peer) {
      peer.Answer(c.status, {}, c.body);
      return Outcome::kAnswered;
    };
    const auto listed = Connect()->List(kNever, kLevel0, {});
    EXPECT_EQ(CodeOf(listed), c.want) << listed.error().message();
    EXPECT_THAT(listed.error().message(), HasSubstr("/dav/db/ltx/0"));
  }
}

TEST_F(WebdavClientTest, EverySpellingOfAnHref) {
  for (const char* prefix : {"/dav/db/ltx/0", "http://inside:8080/dav/db/ltx/0",
                             "/%64av/db//ltx/./%30", "https://inside/dav/db/ltx/0"}) {
    SCOPED_TRACE(prefix);
    before_ = [&](const ServedRequest&, ServedPeer& peer) {
      // The folder itself in the middle, with and without its slash, and what lies deeper.
      peer.Answer(207, {},
                  Multistatus(Entry(fmt::format("{}/{}", prefix, kName1), Size(5)) +
                              Folder(prefix) + Folder(fmt::format("{}/x/", prefix)) +
                              Entry(fmt::format("{}/x/{}", prefix, kName1), Size(7))));
      return Outcome::kAnswered;
    };
    const auto listed = Connect()->List(kNever, kLevel0, {});
    ASSERT_TRUE(listed.ok()) << listed.error().message();
    ASSERT_THAT(listed.value(), SizeIs(1));
    EXPECT_EQ(listed.value()[0].size_bytes, 5U);
  }
}

TEST_F(WebdavClientTest, AListThatIsCutOffIsAskedForAgain) {
  Put(fmt::format("/dav/db/ltx/0/{}", kName1), "hello");
  std::atomic<int> lists = 0;
  before_ = [&](const ServedRequest& request, ServedPeer& peer) {
    if (request.method != "PROPFIND" || ++lists > 2) return Outcome::kGoOn;
    peer.Answer(207, {}, Multistatus(Folder("/dav/db/ltx/0/")).substr(0, 80));
    return Outcome::kAnswered;
  };
  const auto listed = Connect()->List(kNever, kLevel0, {});
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_THAT(listed.value(), SizeIs(1));
}

// Five minutes pass with each look at it.
class HastyClock final : public Clock {
 public:
  WallTime Now() const override { return Clock::Real().Now(); }
  MonoTime Monotonic() const override { return MonoTime(std::chrono::minutes(5) * ++looks_); }
  void Wait(const std::stop_token&, std::chrono::nanoseconds) const override {}

 private:
  mutable std::atomic<int> looks_ = 0;
};

TEST_F(WebdavClientTest, AListThatDripsHasAnEnd) {
  before_ = [&](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(207, {}, Multistatus(Folder("/dav/db/ltx/0/") + std::string(200'000, ' ')));
    return Outcome::kAnswered;
  };
  const auto client = Connect();
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  const HastyClock clock;
  const auto listed = client->List(Context({}, std::nullopt, clock), kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kTimeout);
  EXPECT_THAT(listed.error().message(), HasSubstr("the answer is too slow"));
}

TEST_F(WebdavClientTest, AMissingFolderIsNoEmptyReplica) {
  EXPECT_THAT(Connect()->List(kNever, kLevel0, {}).value(), IsEmpty());
  {
    const std::lock_guard lock(mu_);
    files_.clear();
  }
  const auto client = Connect();
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kInvalidArgument);
  EXPECT_THAT(listed.error().message(), HasSubstr("create the folder, or correct webdav-url"));
  EXPECT_EQ(CodeOf(ReadFile(kNever, *client, Id(0, 1, 1))), ErrorCode::kInvalidArgument);
  const auto written = WriteFile(kNever, *client, Id(0, 1, 1), "x");
  EXPECT_EQ(CodeOf(written), ErrorCode::kInvalidArgument);
  EXPECT_THAT(written.error().message(), HasSubstr("create the folder"));
}

TEST_F(WebdavClientTest, TimesOfHeadersWhereThereIsNoProperty) {
  keeps_properties_ = false;
  const auto client = Connect();
  for (std::uint64_t txid = 1; txid <= 50; ++txid) {
    const WallTime time = kCreated + std::chrono::seconds(txid);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, txid, txid), contract::MakeFileOf(time)).ok());
  }
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 51, 51), "no LTX file").ok());
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 52, 52), "").ok());
  std::atomic<int> gets = 0;
  before_ = [&](const ServedRequest& request, ServedPeer& peer) {
    if (request.method != "GET") return Outcome::kGoOn;
    EXPECT_EQ(request.header("range"), "bytes=0-99");
    // One has gone, some fail at first.
    if (request.target.find("0000000000000007-") != std::string::npos) {
      peer.Answer(404, {}, "");
      return Outcome::kAnswered;
    }
    if (++gets % 3 != 0) return Outcome::kGoOn;
    peer.Answer(503, {}, "");
    return Outcome::kAnswered;
  };
  EXPECT_THAT(client->List(kNever, kLevel0, {}).value(), SizeIs(52));
  EXPECT_EQ(Count("GET"), 0);
  const auto listed = client->List(kNever, kLevel0, {.exact_times = true});
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  ASSERT_THAT(listed.value(), SizeIs(51));
  for (const FileInfo& file : listed.value()) {
    const std::uint64_t txid = file.id.txids.min.value;
    if (txid > 50) continue;
    EXPECT_EQ(file.created_at, kCreated + std::chrono::seconds(txid));
  }
}

TEST_F(WebdavClientTest, WherePropertiesAreKeptNoFileIsOpened) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x", {.created_at = kCreated}).ok());
  for (const bool exact : {false, true}) {
    const auto listed = client->List(kNever, kLevel0, {.exact_times = exact});
    EXPECT_EQ(listed.value().at(0).created_at, kCreated);
  }
  EXPECT_EQ(Count("GET"), 0);
}

// ---- Reading

TEST_F(WebdavClientTest, AServerWithoutRanges) {
  const std::string content = MakeContent(100'000, 1);
  Put(fmt::format("/dav/db/ltx/0/{}", kName1), content);
  const auto client = Connect();
  const ByteRange ranges[] = {{.offset_bytes = 0, .length_bytes = 100},
                              {.offset_bytes = 70'000, .length_bytes = 0},
                              {.offset_bytes = 70'000, .length_bytes = 1'000},
                              {.offset_bytes = 99'999, .length_bytes = 5},
                              {.offset_bytes = 100'000, .length_bytes = 5},
                              {.offset_bytes = 200'000, .length_bytes = 0}};
  for (const ByteRange& range : ranges) {
    SCOPED_TRACE(range.offset_bytes);
    const auto read = ReadFile(kNever, *client, Id(0, 1, 1), range);
    ASSERT_TRUE(read.ok()) << read.error().message();
    const std::size_t offset = std::min<std::size_t>(range.offset_bytes, content.size());
    const std::size_t length = range.length_bytes == 0 ? content.npos : range.length_bytes;
    EXPECT_TRUE(read.value() == content.substr(offset, length));
  }
  before_ = [](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(206, {"Content-Range: bytes 0-4/100"}, "hello");
    return Outcome::kAnswered;
  };
  EXPECT_EQ(CodeOf(ReadFile(kNever, *client, Id(0, 1, 1), {.offset_bytes = 10})),
            ErrorCode::kUnsupported);
}

TEST_F(WebdavClientTest, ABodyThatIsCutOffIsAnError) {
  before_ = [](const ServedRequest&, ServedPeer& peer) {
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    peer.Close();
    return Outcome::kAnswered;
  };
  EXPECT_EQ(CodeOf(ReadFile(kNever, *Connect(), Id(0, 1, 1))), ErrorCode::kUnavailable);
}

// ---- Deleting

TEST_F(WebdavClientTest, ADeleteThatIsOnlyHalfDone) {
  before_ = [](const ServedRequest& request, ServedPeer& peer) {
    const auto one = [&](const char* name, int status) {
      return fmt::format("<response><href>{}{}</href><status>HTTP/1.1 {} x</status></response>",
                         request.target, name, status);
    };
    peer.Answer(207, {}, Multistatus(one("", 424) + one("ltx/", 424) + one("ltx/0/x", 403)));
    return Outcome::kAnswered;
  };
  const auto deleted = Connect()->DeleteAll(kNever);
  EXPECT_EQ(CodeOf(deleted), ErrorCode::kDenied);
  EXPECT_THAT(deleted.error().message(), HasSubstr("403"));
}

TEST_F(WebdavClientTest, TheFolderOfTheUrlStays) {
  Put("/dav/lost+found", "somebody's");
  webdav::Options options{.url = server_.url() + "/dav"};
  auto client = MakeWebdavClient(options, http_);
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE(WriteFile(kNever, *client.value(), Id(0, 1, 1), "x").ok());
  EXPECT_TRUE(client.value()->DeleteAll(kNever).ok());
  EXPECT_THAT(Files(), ElementsAre("/dav/lost+found"));
}

// ---- Who asks

TEST_F(WebdavClientTest, NothingGoesToAnotherHost) {
  HttpServer other([](const ServedRequest&, ServedPeer& peer) { peer.Answer(200, {}, ""); });
  before_ = [&](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(307, {"Location: " + other.url() + "/x?key=hidden"}, "");
    return Outcome::kAnswered;
  };
  const auto client = Connect({.username = "me", .password = "top-secret"});
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kInvalidArgument);
  EXPECT_THAT(listed.error().message(), HasSubstr("moved to " + other.url() + "/x"));
  EXPECT_THAT(listed.error().message(), Not(HasSubstr("hidden")));
  EXPECT_EQ(CodeOf(ReadFile(kNever, *client, Id(0, 1, 1))), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(WriteFile(kNever, *client, Id(0, 1, 1), "x")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(other.requests(), 0);
}

TEST_F(WebdavClientTest, ANonceThatGetsOldWhileTheBodyFlows) {
  std::atomic<int> nonce = 1;
  std::atomic<bool> ages = true;
  const auto ask = [&](ServedPeer& peer) {
    peer.Answer(401,
                {fmt::format("WWW-Authenticate: Digest realm=\"r\", qop=\"auth\", nonce=\"n{}\", "
                             "stale=true",
                             nonce.load())},
                "");
    return Outcome::kAnswered;
  };
  before_ = [&](const ServedRequest& request, ServedPeer& peer) {
    if (request.method == "PUT" && ages.exchange(false)) ++nonce;
    const std::string want = fmt::format("nonce=\"n{}\"", nonce.load());
    if (request.header("authorization").find(want) == std::string::npos) return ask(peer);
    return Outcome::kGoOn;
  };
  const auto client = Connect({.username = "me", .password = "top-secret"});
  const std::string content = MakeContent(5 << 20, 1);
  const WriteOptions options{.size_bytes = content.size()};
  const auto first = WriteFile(kNever, *client, Id(0, 1, 1), content, options);
  EXPECT_EQ(CodeOf(first), ErrorCode::kUnavailable) << "to be tried again";
  const auto second = WriteFile(kNever, *client, Id(0, 1, 1), content, options);
  EXPECT_TRUE(second.ok()) << second.error().message();
  ages = true;
  const auto staged = WriteFile(kNever, *client, Id(0, 2, 2), content);
  EXPECT_TRUE(staged.ok()) << "what is staged can be sent again: " << staged.error().message();
  EXPECT_TRUE(ReadFile(kNever, *client, Id(0, 2, 2)).value() == content);
  for (const auto& request : Asked()) {
    EXPECT_THAT(request.header("authorization"), Not(HasSubstr("top-secret")));
  }
}

TEST_F(WebdavClientTest, NoSecretInAnError) {
  before_ = [](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(401, {"WWW-Authenticate: Basic realm=\"r\""}, "");
    return Outcome::kAnswered;
  };
  const auto client =
      Connect({.url = fmt::format("http://me:top-secret@{}/dav", server_.authority())});
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kDenied);
  EXPECT_THAT(listed.error().message(), HasSubstr("webdav-password is wrong"));
  EXPECT_THAT(listed.error().message(), Not(HasSubstr("top-secret")));
  EXPECT_EQ(client->Describe(), fmt::format("webdav://{}/dav/db", server_.authority()));
}

TEST(WebdavOptionsTest, WhatDoesNotGoTogether) {
  const auto http = std::make_shared<http::Client>();
  for (const webdav::Options& options :
       {webdav::Options{}, webdav::Options{.url = "ftp://h"},
        webdav::Options{.url = "http://h", .username = "a:b"},
        webdav::Options{.url = "http://h", .username = "a", .password = "b\nc"}}) {
    EXPECT_EQ(CodeOf(MakeWebdavClient(options, http)), ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace litestream
