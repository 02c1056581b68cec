// The device's queue: copies to the host that have not arrived. There is one stream, so they arrive in their order.
#pragma once

#include "log.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <cstring>
#include <mutex>
#include <vector>

namespace pretended {

using at::Tensor;

class Queue {
 public:
  /// Takes what `from` holds now; it arrives in `to` later.
  void copy_later(const Tensor& to, const Tensor& from) {
    std::memset(to.mutable_data_ptr(), 0xff, to.nbytes());
    std::lock_guard<std::mutex> alone(lock_);
    copies_.push_back({++last_, to, from.clone()});
  }

  /// A place in the queue, after all that is in it now.
  uint64_t place() {
    std::lock_guard<std::mutex> alone(lock_);
    return last_;
  }

  void wait_until(uint64_t place) {
    std::lock_guard<std::mutex> alone(lock_);
    size_t arrived = 0;
    for (; arrived < copies_.size() && copies_[arrived].place <= place; ++arrived)
      copies_[arrived].to.copy_(copies_[arrived].from);
    copies_.erase(copies_.begin(), copies_.begin() + arrived);
  }

  void wait() { wait_until(UINT64_MAX); }

 private:
  struct Copy {
    uint64_t place;
    Tensor to, from;
  };
  std::mutex lock_;
  uint64_t last_ = 0;
  std::vector<Copy> copies_;
};

inline Queue& queue() {
  static auto* queue = new Queue;
  return *queue;
}

/// The host waits for all that the device has been told to do.
inline void synchronise(const char* operation) {
  log().add("event", operation, true, 0);
  queue().wait();
}

}  // namespace pretended
