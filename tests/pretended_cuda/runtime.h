// The part of CUDA's runtime that the program calls itself. An event is a place in the queue.
#pragma once

#include "queue.h"

extern "C" {

int cudaSetDevice(int device) { return device == 0 ? 0 : 101; }  // cudaErrorInvalidDevice

int cudaEventCreateWithFlags(void** event, unsigned) {
  *event = new uint64_t(0);
  return 0;
}

int cudaEventRecord(void* event, void* stream) {
  if (stream) return 400;  // cudaErrorInvalidResourceHandle: there is only the default stream
  *static_cast<uint64_t*>(event) = pretended::queue().place();
  return 0;
}

int cudaEventSynchronize(void* event) {
  pretended::log().add("event", "cudaEventSynchronize", true, 0);
  pretended::queue().wait_until(*static_cast<uint64_t*>(event));
  return 0;
}

int cudaEventDestroy(void* event) {
  delete static_cast<uint64_t*>(event);
  return 0;
}

const char* cudaGetErrorString(int error) { return error == 101 ? "invalid device ordinal" : "invalid handle"; }
}
