#include "tests/contract/contract_test.h"

#include "tests/contract/bodies.h"

namespace litestream::contract {

std::vector<FileInfo> ContractTest::List(Level level, const ListOptions& options) {
  auto files = client().List(ctx_, level, options);
  if (files.ok()) return std::move(files).value();
  ADD_FAILURE() << "list level " << int{level.value} << ": " << files.error().message();
  return {};
}

std::string ContractTest::Listed(int level, const ListOptions& options) {
  return Ranges(List(Level{static_cast<std::uint8_t>(level)}, options));
}

std::string ContractTest::Read(const FileId& id, const ByteRange& range) {
  auto content = ReadFile(ctx_, client(), id, range);
  if (content.ok()) return std::move(content).value();
  ADD_FAILURE() << content.error().message();
  return {};
}

void ContractTest::Write(const FileId& id, std::string_view content, const WriteOptions& options) {
  const auto info = WriteFile(ctx_, client(), id, content, options);
  if (!info.ok()) ADD_FAILURE() << info.error().message();
}

void ObjectTest::SetUp() {
  ContractTest::SetUp();
  if (!backend().conditional_puts) GTEST_SKIP() << "no conditional writes here";
}

std::string ObjectTest::Put(std::string_view content, std::string_view tag) {
  auto put = client().PutObject(ctx_, "lock.json", content, tag);
  if (put.ok()) return std::move(put).value();
  ADD_FAILURE() << put.error().message();
  return "";
}

std::string ObjectTest::Get() {
  auto object = client().GetObject(ctx_, "lock.json");
  if (object.ok()) return std::move(object).value().content;
  ADD_FAILURE() << object.error().message();
  return "";
}

}  // namespace litestream::contract
