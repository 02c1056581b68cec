// The log of operations. Its columns are explained in device.cpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

#include <sys/syscall.h>
#include <unistd.h>

namespace pretended {

class Log {
 public:
  Log() { open(std::getenv("PRETENDED_CUDA_LOG")); }

  void open(const char* path) {
    std::lock_guard<std::mutex> alone(lock_);
    if (file_) std::fclose(file_);
    file_ = path ? std::fopen(path, "w") : nullptr;
    if (file_) std::setvbuf(file_, nullptr, _IOLBF, 1 << 16);  // a killed process leaves whole lines
  }

  void add(const char* kind, const std::string& operation, bool wait, int64_t elements) {
    std::lock_guard<std::mutex> alone(lock_);
    if (!file_) return;
    std::fprintf(file_, "%s\t%ld\t%s\t%s\t%s\t%ld\n", stage.load(), static_cast<long>(syscall(SYS_gettid)), kind,
                 operation.c_str(), wait ? "wait" : "-", static_cast<long>(elements));
  }

  std::atomic<const char*> stage{"-"};

 private:
  std::mutex lock_;
  std::FILE* file_ = nullptr;
};

inline Log& log() {
  static auto* log = new Log;  // tensors may outlive static objects
  return *log;
}

}  // namespace pretended
