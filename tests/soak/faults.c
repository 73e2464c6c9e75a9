/* Faults in the calls that change files: the n-th one below a folder fails, is cut short, kills the
   process or stops it. Loaded before libc (LD_PRELOAD); tests/soak/faults.py says what happens.  */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { KILL_BEFORE = -1, KILL_AFTER = -2, STOP = -3, SHORT = -4 };

static char folder[PATH_MAX];
static int armed, nth, what, stays, calls, happened, no_locks;

void faults_arm(const char *place, int number, int kind, int lasting) {
    snprintf(folder, sizeof folder, "%s", place);
    nth = number, what = kind, stays = lasting, calls = happened = 0, armed = 1;
}
void faults_disarm(void) { armed = 0; }
int faults_calls(void) { return calls; }
int faults_happened(void) { return happened; }
void faults_without_locks(int yes) { no_locks = yes; }

static int below(const char *path) {
    char full[2 * PATH_MAX], here[PATH_MAX];
    if (!armed || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(full, sizeof full, "%s/%s", here, path);
        path = full;
    }
    return strncmp(path, folder, strlen(folder)) == 0;
}
static int opened_below(int file) {
    char link[64], path[PATH_MAX];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}
/* Whether this call is to be left out: it fails, with errno set. */
static int fails(int can_fill) {
    if (++calls != nth && !(stays && happened)) return 0;
    if (stays && happened && !can_fill) return 0;
    happened = 1;
    if (what > 0) { errno = what; return 1; }
    if (what == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (what == STOP) raise(SIGSTOP);
    return 0;
}
static void after(void) {
    if (happened && what == KILL_AFTER && calls == nth) kill(getpid(), SIGKILL);
}
#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        int counts = (flags & (O_CREAT | O_WRONLY | O_RDWR)) && below(path); \
        if (counts && fails(1)) return -1; \
        int found = real(path, flags, mode); \
        if (counts) after(); \
        return found; \
    }
OPENS(open) OPENS(open64)
#define OPENS_AT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        int counts = (flags & (O_CREAT | O_WRONLY | O_RDWR)) && below(path); \
        if (counts && fails(1)) return -1; \
        int found = real(at, path, flags, mode); \
        if (counts) after(); \
        return found; \
    }
OPENS_AT(openat) OPENS_AT(openat64)
ssize_t write(int file, const void *data, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    int counts = opened_below(file);
    if (counts && fails(1)) return -1;
    if (counts && what == SHORT && calls == nth && count > 1) count /= 2;
    ssize_t found = real(file, data, count);
    if (counts) after();
    return found;
}
#define WRITES_AT(name, offset) \
    ssize_t name(int file, const void *data, size_t count, offset place) { \
        REAL(ssize_t, name, int, const void *, size_t, offset); \
        int counts = opened_below(file); \
        if (counts && fails(1)) return -1; \
        if (counts && what == SHORT && calls == nth && count > 1) count /= 2; \
        ssize_t found = real(file, data, count, place); \
        if (counts) after(); \
        return found; \
    }
WRITES_AT(pwrite, off_t) WRITES_AT(pwrite64, off64_t)
#define ON_FILE(name, parameters, arguments, can_fill, ...) \
    int name parameters { \
        REAL(int, name, __VA_ARGS__); \
        int counts = opened_below(file); \
        if (counts && fails(can_fill)) return -1; \
        int found = real arguments; \
        if (counts) after(); \
        return found; \
    }
ON_FILE(fsync, (int file), (file), 1, int)
ON_FILE(fdatasync, (int file), (file), 1, int)
ON_FILE(ftruncate, (int file, off_t size), (file, size), 0, int, off_t)
ON_FILE(ftruncate64, (int file, off64_t size), (file, size), 0, int, off64_t)
#define ON_PATH(name, parameters, arguments, can_fill, ...) \
    int name parameters { \
        REAL(int, name, __VA_ARGS__); \
        int counts = below(path); \
        if (counts && fails(can_fill)) return -1; \
        int found = real arguments; \
        if (counts) after(); \
        return found; \
    }
ON_PATH(rename, (const char *path, const char *to), (path, to), 1, const char *, const char *)
ON_PATH(link, (const char *path, const char *to), (path, to), 1, const char *, const char *)
ON_PATH(unlink, (const char *path), (path), 0, const char *)
ON_PATH(rmdir, (const char *path), (path), 0, const char *)
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), 1, const char *, mode_t)
int flock(int file, int how) {
    REAL(int, flock, int, int);
    if (no_locks) { errno = ENOLCK; return -1; }
    return real(file, how);
}
