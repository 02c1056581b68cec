// What libtorch asks of a device: which there are, their streams, memory and random numbers.
#pragma once

#include "memory.h"
#include "queue.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace pretended {

using c10::Device;
using c10::DeviceType;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  const c10::Stream stream{c10::Stream::DEFAULT, DEVICE};

  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device) const override { return DEVICE; }
  Device getDevice() const override { return DEVICE; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  c10::Stream getStream(Device) const override { return stream; }
  c10::Stream getDefaultStream(Device) const override { return stream; }
  c10::Stream exchangeStream(c10::Stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  // The backward pass has a thread of its own and orders it by events. All is in one stream here.
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { synchronise("synchronizeStream"); }
  void synchronizeEvent(void*) const override { synchronise("synchronizeEvent"); }
  void synchronizeDevice(const c10::DeviceIndex) const override { synchronise("synchronizeDevice"); }
};

}  // namespace pretended

namespace at {

/// libtorch looks for a class of this name.
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  bool isPinnedPtr(const void* pointer) const override { return pretended::pinned_memory().holds(pointer); }
  Allocator* getPinnedMemoryAllocator() const override { return &pretended::pinned_memory(); }
  Allocator* getCUDADeviceAllocator() const override { return &pretended::device_memory; }
  Device getDeviceFromPtr(void*) const override { return pretended::DEVICE; }
  void deviceSynchronize(c10::DeviceIndex) const override { pretended::synchronise("deviceSynchronize"); }
  // The CPU's generator, so that the device draws what the CPU would.
  const Generator& getDefaultGenerator(c10::DeviceIndex) const override { return detail::getDefaultCPUGenerator(); }
};

REGISTER_CUDA_HOOKS(CUDAHooks)

}  // namespace at

namespace c10::impl {
using pretended::Guard;
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
}  // namespace c10::impl

namespace pretended {
const bool memory_is_registered = (c10::SetAllocator(DeviceType::CUDA, &device_memory), true);
}
