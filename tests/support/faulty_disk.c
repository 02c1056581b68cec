/* A disk that fails on demand, for LD_PRELOAD: while the file named by FAULTY_DISK exists, data cannot be
 * made durable. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
    const char *switch_file = getenv("FAULTY_DISK");
    if (switch_file == NULL || access(switch_file, F_OK) != 0) {
        return 0;
    }
    errno = EIO;
    return 1;
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails() ? -1 : real(file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails() ? -1 : real(file);
}
