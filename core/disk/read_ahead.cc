#include "disk/read_ahead.h"

#include "signals_blocked.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <system_error>

namespace dskvs {
namespace {

constexpr uint64_t kHintBytes = uint64_t{8} << 20;

}  // namespace

std::unique_ptr<ReadAhead> ReadAhead::start(File& file, uint64_t begin, uint64_t end) try {
  std::unique_ptr<ReadAhead> reader(new ReadAhead(file, begin, end));
  for (Slot& slot : reader->slots_) slot.room.reset(new std::byte[kHeadroomBytes + kSlotBytes]);
  const SignalsBlocked blocked;
  reader->thread_ = std::thread([raw = reader.get()] { raw->run(); });
  return reader;
} catch (const std::bad_alloc&) {
  return nullptr;
} catch (const std::system_error&) {
  return nullptr;
}

ReadAhead::~ReadAhead() {
  if (!thread_.joinable()) return;
  stop_.store(true, std::memory_order_relaxed);
  consumed_.fetch_add(kSlots, std::memory_order_release);  // so that it wakes and sees that
  consumed_.notify_one();
  thread_.join();
}

Status ReadAhead::next(std::byte** bytes, size_t* size) {
  if (taken_ > 1) {
    consumed_.store(taken_ - 1, std::memory_order_release);
    consumed_.notify_one();
  }
  produced_.wait(taken_, std::memory_order_acquire);
  const Slot& slot = slots_[taken_ % kSlots];
  ++taken_;
  *bytes = slot.room.get() + kHeadroomBytes;
  *size = slot.size;
  return slot.status == Status::kOk ? Status::kOk : fail(slot.status, "{}", error_.data());
}

// Ends with the slot that reaches the end, that failed, or that found the file to end early.
void ReadAhead::run() noexcept {
  for (uint32_t n = 0; !stop_.load(std::memory_order_relaxed); ++n) {
    uint32_t consumed = consumed_.load(std::memory_order_acquire);
    while (n - consumed == kSlots) {
      consumed_.wait(consumed, std::memory_order_acquire);
      consumed = consumed_.load(std::memory_order_acquire);
    }
    if (stop_.load(std::memory_order_relaxed)) return;
    Slot& slot = slots_[n % kSlots];
    fill(&slot);
    const bool last = slot.status != Status::kOk || slot.size == 0 || next_ == end_;
    produced_.store(n + 1, std::memory_order_release);
    produced_.notify_one();
    if (last) return;
  }
}

void ReadAhead::fill(Slot* slot) noexcept {
  if (hinted_ < next_ + kHintBytes / 2) {
    const uint64_t from = std::max(hinted_, next_);
    if (from < end_) file_.start_reading(from, std::min(kHintBytes, end_ - from));
    hinted_ = from + kHintBytes;
  }
  const size_t want = std::min<uint64_t>(kSlotBytes, end_ - next_);
  slot->status = file_.read(next_, slot->room.get() + kHeadroomBytes, want, &slot->size);
  if (slot->status != Status::kOk) std::strncpy(error_.data(), last_error(), kErrorTextSizeMax);
  next_ += slot->size;
}

}  // namespace dskvs
