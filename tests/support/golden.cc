#include "tests/support/golden.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

namespace litestream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

void Check(const std::error_code& error, std::string_view doing, const fs::path& path) {
  if (error) ADD_FAILURE() << doing << " " << path << ": " << error.message();
}

// What a variant lists under `key`, as {path: argument}.
json::object_t Entries(const json& variant, const char* key) {
  return variant.contains(key) ? variant.at(key).get<json::object_t>() : json::object_t();
}

// Runs `change` on a file's content; its time stays.
template <typename Change>
void Rewrite(const fs::path& path, const Change& change) {
  const std::int64_t mtime = GetMtime(path);
  std::vector<std::byte> bytes = ReadWholeFile(path);
  change(bytes);
  WriteWholeFile(path, bytes);
  SetMtime(path, mtime);
}

void Flip(std::vector<std::byte>& bytes, std::size_t offset, unsigned mask) {
  if (offset >= bytes.size()) {
    ADD_FAILURE() << "flip at " << offset << " of " << bytes.size() << " bytes";
    return;
  }
  bytes[offset] ^= static_cast<std::byte>(mask);
}

void Append(std::vector<std::byte>& bytes, std::string_view hex) {
  const std::vector<std::byte> more = BytesFromHex(hex);
  bytes.insert(bytes.end(), more.begin(), more.end());
}

}  // namespace

fs::path GoldenDir() {
  const char* from_environment = std::getenv("LITESTREAM_GOLDEN");
  const fs::path dir = from_environment != nullptr
                           ? fs::path(from_environment)
                           : fs::path(LITESTREAM_SOURCE_DIR).parent_path() / "shared/golden";
  std::error_code ignored;
  if (!fs::is_regular_file(dir / "manifest.json", ignored)) {
    ADD_FAILURE() << "no golden data in " << dir
                  << " (manifest.json is missing); set LITESTREAM_GOLDEN to its directory";
  }
  return dir;
}

std::vector<fs::path> GoldenCases(std::string_view section) {
  std::vector<fs::path> cases;
  std::error_code error;
  const fs::path dir = GoldenDir() / section;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    if (fs::exists(it->path() / "expected.json", error)) cases.push_back(it->path());
  }
  Check(error, "list", dir);
  if (cases.empty()) ADD_FAILURE() << "no cases in " << dir;
  std::ranges::sort(cases);
  return cases;
}

json LoadJson(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    ADD_FAILURE() << "cannot open " << path;
    return {};
  }
  json value = json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    ADD_FAILURE() << path << " is not JSON";
    return {};
  }
  return value;
}

std::vector<std::byte> ReadWholeFile(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  Check(error, "size of", path);
  if (error) return {};
  std::vector<std::byte> bytes(size);
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!in) ADD_FAILURE() << "cannot read " << path;
  return bytes;
}

void WriteWholeFile(const fs::path& path, std::span<const std::byte> bytes) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  Check(error, "make directory of", path);
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) ADD_FAILURE() << "cannot write " << path;
}

std::vector<std::byte> BytesFromHex(std::string_view hex) {
  const auto digit = [](char c) {
    const std::string_view digits = "0123456789abcdef";
    const std::size_t value = digits.find(c);
    if (value == std::string_view::npos) ADD_FAILURE() << "not a lower-case hex digit: " << c;
    return value;
  };
  if (hex.size() % 2 != 0) ADD_FAILURE() << "odd number of hex digits: " << hex;
  std::vector<std::byte> bytes(hex.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  return bytes;
}

std::int64_t GetMtime(const fs::path& path) {
  struct stat st = {};
  if (::stat(path.c_str(), &st) != 0) ADD_FAILURE() << "cannot stat " << path;
  return st.st_mtim.tv_sec * kNanosecondsPerSecond + st.st_mtim.tv_nsec;
}

void SetMtime(const fs::path& path, std::int64_t unix_nanoseconds) {
  const timespec time = {.tv_sec = unix_nanoseconds / kNanosecondsPerSecond,
                         .tv_nsec = unix_nanoseconds % kNanosecondsPerSecond};
  const std::array<timespec, 2> access_and_modification = {time, time};
  if (::utimensat(AT_FDCWD, path.c_str(), access_and_modification.data(), 0) != 0) {
    ADD_FAILURE() << "cannot set the time of " << path;
  }
}

void CopyTreeWithTimes(const fs::path& from, const fs::path& to, const json& files) {
  std::error_code error;
  fs::create_directories(to, error);
  Check(error, "make directory", to);
  // Not fs::copy, which would take over that nobody may write there.
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const fs::path target = to / entry.path().lexically_relative(from);
    if (entry.is_directory()) {
      fs::create_directory(target, error);
      Check(error, "make directory", target);
    } else {
      WriteWholeFile(target, ReadWholeFile(entry.path()));
    }
  }
  for (const json& file : files) {
    SetMtime(to / file.at("path").get<std::string>(), file.at("mtime_ns").get<std::int64_t>());
  }
}

void ApplyVariant(const fs::path& root, const json& variant) {
  for (const json& path : variant.value("remove", json::array())) {
    std::error_code error;
    const fs::path target = root / path.get<std::string>();
    // Some are directories.
    if (fs::remove_all(target, error) == 0) ADD_FAILURE() << "nothing to remove at " << target;
    Check(error, "remove", target);
  }
  for (const auto& entry : Entries(variant, "truncate")) {
    Rewrite(root / entry.first, [&](auto& bytes) {
      const auto length = entry.second.template get<std::size_t>();
      EXPECT_LE(length, bytes.size()) << "truncate would extend " << entry.first;
      bytes.resize(length);
    });
  }
  for (const auto& entry : Entries(variant, "flip")) {
    Rewrite(root / entry.first, [&](auto& bytes) {
      Flip(bytes, entry.second.at(0).template get<std::size_t>(),
           entry.second.at(1).template get<unsigned>());
    });
  }
  for (const auto& entry : Entries(variant, "append")) {
    Rewrite(root / entry.first,
            [&](auto& bytes) { Append(bytes, entry.second.template get<std::string>()); });
  }
  for (const auto& entry : Entries(variant, "replace")) {
    Rewrite(root / entry.first,
            [&](auto& bytes) { bytes = BytesFromHex(entry.second.template get<std::string>()); });
  }
  for (const auto& entry : Entries(variant, "copy")) {
    const fs::path from = root / entry.first;
    const fs::path to = root / entry.second.get<std::string>();
    WriteWholeFile(to, ReadWholeFile(from));
    SetMtime(to, GetMtime(from));
  }
  for (const auto& entry : Entries(variant, "mtime_ns")) {
    SetMtime(root / entry.first, entry.second.get<std::int64_t>());
  }
}

std::vector<std::byte> ApplyEdit(std::span<const std::byte> bytes, const json& edit) {
  std::vector<std::byte> edited(bytes.begin(), bytes.end());
  const auto op = edit.at("op").get<std::string>();
  if (op == "cut") {
    const auto length = edit.at("length").get<std::size_t>();
    EXPECT_LE(length, edited.size()) << "a cut would extend";
    edited.resize(length);
  } else if (op == "flip") {
    Flip(edited, edit.at("offset").get<std::size_t>(), edit.at("mask").get<unsigned>());
  } else if (op == "append" && edit.contains("hex")) {
    Append(edited, edit.at("hex").get<std::string>());
  } else if (op == "append") {
    edited.insert(edited.end(), edit.at("count").get<std::size_t>(),
                  static_cast<std::byte>(edit.at("byte").get<unsigned>()));
  } else {
    ADD_FAILURE() << "unknown edit: " << edit;
  }
  return edited;
}

}  // namespace litestream
