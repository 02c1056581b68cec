// Tensors of one memory on two devices: how a kernel of the CPU gets the device's tensors.
#pragma once

#include "memory.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace pretended {

using at::Tensor;
using c10::Device;
using c10::DispatchKey;
using c10::DispatchKeySet;

/// Returns the same memory as a storage of another device, which keeps the first alive.
inline c10::Storage shared(const c10::Storage& storage, Device device) {
  auto* kept = new c10::Storage(storage);
  auto release = [](void* kept) { delete static_cast<c10::Storage*>(kept); };
  at::DataPtr memory(const_cast<void*>(storage.data()), kept, release, device);
  return c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(memory),
                      c10::GetAllocator(device.type()), /*resizable=*/true);
}

/// Returns a tensor shaped like `like` in a storage.
inline Tensor in(c10::Storage storage, DispatchKey key, const Tensor& like) {
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), DispatchKeySet(key), like.dtype());
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return tensor;
}

inline Tensor on_host(const Tensor& tensor) { return in(shared(tensor.storage(), HOST), DispatchKey::CPU, tensor); }

/// The device's tensors in a call of an operator, each with the host's tensor that the kernel sees.
class Loans {
 public:
  Tensor lend(const Tensor& tensor) {
    for (auto& [device, host] : pairs_)
      if (device.is_same(tensor)) return host;
    pairs_.emplace_back(tensor, on_host(tensor));
    return pairs_.back().second;
  }

  /// Gives the device's tensors the size, and the new memory, that a kernel has given to the host's.
  void settle() {
    for (auto& [device, host] : pairs_) {
      auto* tensor = device.unsafeGetTensorImpl();
      if (host.storage().data() != device.storage().data())
        tensor->set_storage_keep_dtype(shared(host.storage(), DEVICE));
      if (host.sizes() != device.sizes() || host.strides() != device.strides() ||
          host.storage_offset() != device.storage_offset())
        tensor->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
    }
  }

  /// Returns a kernel's result as a tensor of the device: one that was lent, a view of one, or a new one.
  Tensor take_back(const Tensor& result) {
    if (!result.defined() || !result.device().is_cpu()) return result;
    for (auto& [device, host] : pairs_)
      if (host.is_same(result)) return device;
    for (auto& [device, host] : pairs_)
      if (host.storage().is_alias_of(result.storage())) return in(device.storage(), DispatchKey::CUDA, result);
    return in(shared(result.storage(), DEVICE), DispatchKey::CUDA, result);
  }

  int64_t elements() const {
    int64_t most = 0;
    for (auto& [device, host] : pairs_) most = std::max(most, device.numel());
    return most;
  }

 private:
  std::vector<std::pair<Tensor, Tensor>> pairs_;
};

}  // namespace pretended
