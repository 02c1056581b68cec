// Memory of the device and pinned memory: both are the host's.
#pragma once

#include <c10/core/Allocator.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace pretended {

inline const c10::Device DEVICE(c10::DeviceType::CUDA, 0);
inline const c10::Device HOST(c10::DeviceType::CPU);

inline void* allocated(size_t bytes) {
  void* block = nullptr;
  if (posix_memalign(&block, 64, bytes ? bytes : 1)) throw std::bad_alloc();
  return block;
}

struct DeviceMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    if (!bytes) return {nullptr, nullptr, &std::free, DEVICE};
    void* block = allocated(bytes);
    std::memset(block, 0xff, bytes);  // NaN as a float
    return {block, block, &std::free, DEVICE};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

/// Its blocks are known, so that a pinned tensor can be told from others.
class PinnedMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* block = allocated(bytes);
    std::lock_guard<std::mutex> alone(lock_);
    blocks_[reinterpret_cast<uintptr_t>(block)] = bytes ? bytes : 1;
    return {block, block, &release, HOST};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  bool holds(const void* pointer) const {
    std::lock_guard<std::mutex> alone(lock_);
    auto address = reinterpret_cast<uintptr_t>(pointer);
    auto after = blocks_.upper_bound(address);
    return after != blocks_.begin() && address < std::prev(after)->first + std::prev(after)->second;
  }

 private:
  static void release(void* block);

  mutable std::mutex lock_;
  std::map<uintptr_t, size_t> blocks_;  // address and size
};

inline DeviceMemory device_memory;

inline PinnedMemory& pinned_memory() {
  static auto* memory = new PinnedMemory;  // tensors may outlive static objects
  return *memory;
}

inline void PinnedMemory::release(void* block) {
  auto& memory = pinned_memory();
  {
    std::lock_guard<std::mutex> alone(memory.lock_);
    memory.blocks_.erase(reinterpret_cast<uintptr_t>(block));
  }
  std::free(block);
}

}  // namespace pretended
