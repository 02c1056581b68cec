// A pretended CUDA device for tests, built as libtorch_cuda.so. A program that opens the library of that name finds
// one device, cuda:0. Its memory is the host's and its kernels are those of the CPU, so that it computes the same
// numbers. What a real device refuses it refuses too, and what a real device does later it does later:
//
// - An operator that gets a tensor of the CPU beside tensors of the device fails.
// - Memory that nothing has been written to is not a number.
// - An asynchronous copy to the host arrives only when the host has waited for an event after it, or for the device.
//   Until then its target holds rubbish.
//
// Every operation is one line of a log, of tab-separated columns:
//
//     stage  thread  kind  operation  wait  elements
//
// `kind` is kernel, upload, download, copy (within the device), event or refused; `wait` is "wait" where the host
// waits for the device, else "-"; `stage` is what `pretended_cuda_stage` last named. The log goes to the file in
// PRETENDED_CUDA_LOG, or to that given to `pretended_cuda_log`.
//
// What it cannot show: limits of CUDA's own kernels (number types, cuDNN), the size of a device's memory, rounding,
// and how long anything takes.

#include "hooks.h"
#include "operators.h"
#include "runtime.h"

// For tests in the same process.
extern "C" {

/// From now on the log says `name`, which must stay where it is.
void pretended_cuda_stage(const char* name) { pretended::log().stage = name; }

/// The log goes to another file from now on; to none without a path.
void pretended_cuda_log(const char* path) { pretended::log().open(path); }
}
