#include "db/holdings.h"

#include <utility>

namespace litestream {

std::optional<Catalogue> Holdings::Look() const {
  MutexLock lock(mu_);
  return catalogue_;
}

std::uint64_t Holdings::changes() const {
  MutexLock lock(mu_);
  return changes_;
}

bool Holdings::Learn(Catalogue listed, std::uint64_t changes) {
  MutexLock lock(mu_);
  if (changes != changes_) return false;
  catalogue_ = std::move(listed);
  return true;
}

void Holdings::Forget() {
  MutexLock lock(mu_);
  ++changes_;
  catalogue_.reset();
}

void Holdings::Add(const FileInfo& file) {
  MutexLock lock(mu_);
  ++changes_;
  if (catalogue_) catalogue_->Add(file);
}

void Holdings::Doubt(const FileId& id) {
  MutexLock lock(mu_);
  ++changes_;
  if (catalogue_) catalogue_->Doubt(id);
}

void Holdings::Remove(const FileId& id) {
  MutexLock lock(mu_);
  ++changes_;
  if (catalogue_) catalogue_->Remove(id);
}

}  // namespace litestream
