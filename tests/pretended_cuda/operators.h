// The operators: all of them run the CPU's kernel on the device's memory.
#pragma once

#include "loans.h"
#include "queue.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <torch/library.h>

#include <algorithm>
#include <set>
#include <string>

namespace pretended {

/// Operators whose result's size depends on numbers on the device: the host waits for them.
const std::set<std::string> WAITS = {
    "aten::_unique",       "aten::_unique2", "aten::bincount",          "aten::equal",      "aten::masked_select",
    "aten::nonzero",       "aten::nonzero_static", "aten::repeat_interleave", "aten::unique_consecutive",
    "aten::unique_dim"};

/// Operators that take a number of the CPU as a tensor without dimensions.
const std::set<std::string> TAKES_NUMBERS = {
    "aten::add",  "aten::add_",  "aten::clamp",       "aten::div",          "aten::div_",       "aten::eq",
    "aten::fill_", "aten::ge",   "aten::gt",          "aten::index_fill_",  "aten::index_put_", "aten::le",
    "aten::lt",   "aten::masked_fill_", "aten::maximum", "aten::minimum",   "aten::mul",        "aten::mul_",
    "aten::ne",   "aten::pow",   "aten::sub",         "aten::sub_",         "aten::where"};

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

void run(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto& name = schema.name();
  const bool indexes = starts_with(name, "aten::index") || starts_with(name, "aten::_index");
  Loans loans;
  bool wait = WAITS.count(name) > 0;
  size_t kernels = 1;

  auto argument = [&](const Tensor& tensor, const std::string& what) -> Tensor {
    if (!tensor.defined() || tensor.unsafeGetTensorImpl()->is_wrapped_number()) return tensor;
    if (tensor.is_cuda()) return loans.lend(tensor);
    if (tensor.dim() == 0 && TAKES_NUMBERS.count(name)) return tensor;
    log().add("refused", name, false, tensor.numel());
    TORCH_CHECK(false, name, " got `", what, "` on the CPU (shape ", tensor.sizes(), ", ", tensor.scalar_type(),
                ") beside tensors on cuda:0");
  };
  auto index = [&](const Tensor& tensor, const std::string& what) -> Tensor {
    const bool mask = tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte;
    wait |= mask || tensor.is_cpu();  // counts the mask, or uploads the index
    return tensor.is_cpu() ? tensor : argument(tensor, what);
  };

  const size_t first = stack->size() - schema.arguments().size();
  for (size_t at = first; at < stack->size(); ++at) {
    auto& value = (*stack)[at];
    const auto& what = schema.arguments()[at - first].name();
    if (value.isTensor()) {
      value = argument(value.toTensor(), what);
    } else if (value.isTensorList()) {
      const auto given = value.toTensorVector();
      auto other = [&](const Tensor& tensor) { return tensor.scalar_type() != given.front().scalar_type(); };
      // A device joins tensors of several number types by one copy each.
      if (name == "aten::cat" && std::any_of(given.begin(), given.end(), other)) kernels = given.size();
      c10::List<Tensor> list;
      for (const Tensor& tensor : given) list.push_back(argument(tensor, what));
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const std::optional<Tensor>& tensor : value.toOptionalTensorList().vec()) {
        const bool there = tensor.has_value() && tensor->defined();
        list.push_back(there ? std::optional<Tensor>(indexes ? index(*tensor, what) : argument(*tensor, what)) : tensor);
      }
      value = list;
    } else if (value.isDevice()) {
      value = HOST;
    }
  }
  const auto full_name = schema.overload_name().empty() ? name : name + "." + schema.overload_name();
  for (size_t at = 0; at < kernels; ++at) log().add("kernel", full_name, wait, loans.elements());
  if (wait) queue().wait();

  op.redispatchBoxed(DispatchKeySet(DispatchKey::CPU), stack);
  loans.settle();
  for (size_t at = stack->size() - schema.returns().size(); at < stack->size(); ++at) {
    auto& value = (*stack)[at];
    if (value.isTensor()) {
      value = loans.take_back(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& tensor : value.toTensorVector()) list.push_back(loans.take_back(tensor));
      value = list;
    }
  }
}

// ---- Operators on memory and shapes, which start no work on a device, and copies

Tensor empty(c10::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<Device>, std::optional<bool> pinned, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pinned.value_or(false), "only memory of the CPU can be pinned");
  return at::detail::empty_generic(sizes, &device_memory, DispatchKeySet(DispatchKey::CUDA), type.value_or(at::kFloat),
                                   format);
}

Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &device_memory, DispatchKeySet(DispatchKey::CUDA),
                                           type.value_or(at::kFloat));
}

Tensor as_strided(const Tensor& self, c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<int64_t> offset) {
  auto view = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(self.storage()),
                                                       self.key_set(), self.dtype());
  view.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, offset.value_or(self.storage_offset()));
  return view;
}

Tensor reshape_alias(const Tensor& self, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  return as_strided(self, sizes, strides, std::nullopt);
}

Tensor view(const Tensor& self, c10::IntArrayRef sizes) {
  auto host = on_host(self).view(sizes);
  return as_strided(self, host.sizes(), host.strides(), host.storage_offset());
}

const Tensor& resize_(const Tensor& self, c10::IntArrayRef sizes, std::optional<at::MemoryFormat> format) {
  const auto elements = c10::multiply_integers(sizes) + self.storage_offset();
  const auto bytes = static_cast<size_t>(elements) * self.element_size();
  auto* storage = self.storage().unsafeGetStorageImpl();
  if (storage->nbytes() < bytes) {
    auto larger = device_memory.allocate(bytes);
    if (storage->nbytes()) std::memcpy(larger.get(), storage->data(), storage->nbytes());
    storage->set_data_ptr(std::move(larger));
    storage->set_nbytes(bytes);
  }
  auto* tensor = self.unsafeGetTensorImpl();
  tensor->set_sizes_contiguous(sizes);
  if (format.value_or(at::MemoryFormat::Preserve) != at::MemoryFormat::Preserve) tensor->empty_tensor_restride(*format);
  return self;
}

Tensor& set_storage(Tensor& self, at::Storage storage, int64_t offset, c10::IntArrayRef sizes,
                    c10::IntArrayRef strides) {
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(std::move(storage));
  self.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, offset);
  return self;
}

Tensor& copy_(Tensor& self, const Tensor& from, bool asynchronous) {
  if (!self.numel()) return self;
  if (self.is_cuda() && from.is_cuda()) {
    log().add("copy", "aten::copy_", false, self.numel());
    on_host(self).copy_(on_host(from));
  } else if (self.is_cuda()) {
    // Without pinned memory the host waits until the data has left.
    const bool wait = !asynchronous || !pinned_memory().holds(from.data_ptr());
    log().add("upload", "aten::copy_", wait, self.numel());
    if (wait) queue().wait();
    on_host(self).copy_(from);
  } else {
    const bool wait = !asynchronous || !pinned_memory().holds(self.data_ptr()) || !self.is_contiguous();
    log().add("download", "aten::copy_", wait, self.numel());
    if (wait) {
      queue().wait();
      self.copy_(on_host(from));
    } else {
      queue().copy_later(self, on_host(from));
    }
  }
  return self;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  Tensor target = to;
  if (target.sizes() != from.sizes()) target.resize_(from.sizes());
  return copy_(target, from, false);
}

at::Scalar item(const Tensor& self) {
  log().add("download", "aten::_local_scalar_dense", true, 1);
  queue().wait();
  return at::_local_scalar_dense(on_host(self));
}

TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&run>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", TORCH_FN(empty));
  library.impl("empty_strided", TORCH_FN(empty_strided));
  library.impl("as_strided", TORCH_FN(as_strided));
  library.impl("_reshape_alias", TORCH_FN(reshape_alias));
  library.impl("view", TORCH_FN(view));
  library.impl("resize_", TORCH_FN(resize_));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(set_storage));
  library.impl("copy_", TORCH_FN(copy_));
  library.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  library.impl("_local_scalar_dense", TORCH_FN(item));
  // libtorch would make these of other operators on a device without kernels of its own. A CUDA device has them.
  for (const char* whole : {"_batch_norm_with_update", "addr", "addr.out", "all.dims_out", "any.dims_out", "convolution",
                            "convolution_backward", "native_group_norm", "native_layer_norm"})
    library.impl(whole, torch::CppFunction::makeFromBoxedFunction<&run>());
}

}  // namespace pretended
