// Loaded into a job by LD_PRELOAD: makes the n-th call of a kind fail or kill the process, and writes a trace
// of what was written and synced. Only files below FAULT_UNDER count.
//
//   FAULT_UNDER  a folder, with a slash at its end
//   FAULT_OP     write, sync, rename, open, remove, mkdir or accept
//   FAULT_AT     number of the call, from 1
//   FAULT_ERRNO  number of the error; 0 kills the process instead (a write is done by half before)
//   FAULT_FOR    number of calls that fail, from that one on
//   FAULT_TRACE  file of the trace: kind, first byte, number of bytes, path; a tab between each

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *below, *op;
static long at, last;
static int error_number, trace = -1;
static atomic_long calls;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void start(void) {
    below = getenv("FAULT_UNDER");
    op = getenv("FAULT_OP");
    at = number("FAULT_AT");
    last = at + number("FAULT_FOR") - 1;
    error_number = (int)number("FAULT_ERRNO");
    const char *path = getenv("FAULT_TRACE");
    if (path) trace = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int counts(const char *path) { return below && strncmp(path, below, strlen(below)) == 0; }

static void path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

// Writes the path of `name` in the folder `folder`.
static void join(int folder, const char *name, char *path) {
    if (name[0] == '/' || folder == AT_FDCWD) {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    path_of(folder, path);
    size_t length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", name);
}

static void note(const char *kind, long long first, long long bytes, const char *path) {
    char line[PATH_MAX + 100];
    if (trace < 0) return;
    int length = snprintf(line, sizeof line, "%s\t%lld\t%lld\t%s\n", kind, first, bytes, path);
    syscall(SYS_write, trace, line, (size_t)length);
}

// Returns whether this call is to fail, or to end the process.
static int hit(const char *kind, const char *path) {
    if (!op || strcmp(op, kind) || !counts(path)) return 0;
    long call = atomic_fetch_add(&calls, 1) + 1;
    if (call < at || call > last) return 0;
    note("fault", call, error_number, path);
    return 1;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

// Fails or ends the process if this call is to.
#define FAULT(kind, path)                   \
    if (hit(kind, path)) {                  \
        if (!error_number) die();           \
        errno = error_number;               \
        return -1;                          \
    }

static long long place(int file) {
    struct stat of;
    if (fcntl(file, F_GETFL) & O_APPEND) return fstat(file, &of) ? 0 : of.st_size;
    return lseek(file, 0, SEEK_CUR);
}

// Handles a write that is to fail; returns whether it is.
static int write_fails(int file, const void *bytes, size_t count, off_t first, const char *path) {
    if (!hit("write", path)) return 0;
    if (!error_number) {
        long long from = first < 0 ? place(file) : first;
        if (first < 0) syscall(SYS_write, file, bytes, count / 2);
        else syscall(SYS_pwrite64, file, bytes, count / 2, first);
        note("write", from, (long long)(count / 2), path);
        die();
    }
    errno = error_number;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t count) {
    char path[PATH_MAX];
    path_of(file, path);
    if (!counts(path)) return syscall(SYS_write, file, bytes, count);
    if (write_fails(file, bytes, count, -1, path)) return -1;
    long long first = place(file);
    ssize_t written = syscall(SYS_write, file, bytes, count);
    if (written > 0) note("write", first, written, path);
    return written;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    path_of(file, path);
    if (!counts(path)) return syscall(SYS_writev, file, parts, count);
    if (write_fails(file, parts[0].iov_base, parts[0].iov_len, -1, path)) return -1;
    long long first = place(file);
    ssize_t written = syscall(SYS_writev, file, parts, count);
    if (written > 0) note("write", first, written, path);
    return written;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t first) {
    char path[PATH_MAX];
    path_of(file, path);
    if (!counts(path)) return syscall(SYS_pwrite64, file, bytes, count, first);
    if (write_fails(file, bytes, count, first, path)) return -1;
    ssize_t written = syscall(SYS_pwrite64, file, bytes, count, first);
    if (written > 0) note("write", first, written, path);
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t first) {
    return pwrite64(file, bytes, count, first);
}

static int synced(int file, long call) {
    char path[PATH_MAX];
    path_of(file, path);
    FAULT("sync", path);
    int done = (int)syscall(call, file);
    if (!done && counts(path)) note("sync", 0, 0, path);
    return done;
}

int fsync(int file) { return synced(file, SYS_fsync); }
int fdatasync(int file) { return synced(file, SYS_fdatasync); }

int renameat(int from, const char *before, int to, const char *after) {
    char path[PATH_MAX];
    join(to, after, path);
    FAULT("rename", path);
    int done = (int)syscall(SYS_renameat, from, before, to, after);
    if (!done && counts(path)) {
        join(from, before, path);
        note("from", 0, 0, path);
        join(to, after, path);
        note("to", 0, 0, path);
    }
    return done;
}

int rename(const char *before, const char *after) { return renameat(AT_FDCWD, before, AT_FDCWD, after); }

#define MODE                                                              \
    va_list more;                                                         \
    va_start(more, flags);                                                \
    int makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;     \
    unsigned mode = makes ? va_arg(more, unsigned) : 0;                   \
    va_end(more)

int openat64(int folder, const char *name, int flags, ...) {
    MODE;
    char path[PATH_MAX];
    join(folder, name, path);
    FAULT("open", path);
    return (int)syscall(SYS_openat, folder, name, flags, mode);
}

int openat(int folder, const char *name, int flags, ...) {
    MODE;
    return openat64(folder, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    MODE;
    return openat64(AT_FDCWD, name, flags, mode);
}

int open(const char *name, int flags, ...) {
    MODE;
    return openat64(AT_FDCWD, name, flags, mode);
}

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    join(folder, name, path);
    FAULT("remove", path);
    int done = (int)syscall(SYS_unlinkat, folder, name, flags);
    if (!done && counts(path)) note("remove", 0, 0, path);
    return done;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdir(const char *name, mode_t mode) {
    FAULT("mkdir", name);
    return (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
}

// A socket has no path: every call counts.
int accept4(int socket, struct sockaddr *address, socklen_t *length, int flags) {
    if (below) FAULT("accept", below);
    return (int)syscall(SYS_accept4, socket, address, length, flags);
}
