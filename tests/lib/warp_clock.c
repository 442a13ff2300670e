// SPDX-License-Identifier: Apache-2.0
/*
 * Preloaded into a program (LD_PRELOAD): its clocks are off by what the file named by
 * WARP_CLOCK_FILE says, two numbers of 8 bytes in nanoseconds: for the wall clock, and for the
 * clocks that begin with the machine. A test moves them while the program runs.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct offsets {
    _Atomic int64_t wall_ns;
    _Atomic int64_t mono_ns;
};

static struct offsets none;
static struct offsets *offsets = &none;
static int (*real_clock_gettime)(clockid_t id, struct timespec *out);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("WARP_CLOCK_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof(struct offsets), PROT_READ, MAP_SHARED, fd, 0);
        offsets = at == MAP_FAILED ? &none : at;
        close(fd);
    }
}

EXPORT int clock_gettime(clockid_t id, struct timespec *out)
{
    if (real_clock_gettime == NULL) {
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    }
    int rc = real_clock_gettime(id, out);
    int64_t off = 0;
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        off = offsets->wall_ns;
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        off = offsets->mono_ns;
        break;
    default:
        break;
    }
    int64_t ns = (int64_t)out->tv_sec * 1000000000 + out->tv_nsec + off;
    if (rc == 0) {
        out->tv_sec = ns / 1000000000;
        out->tv_nsec = ns % 1000000000;
    }
    return rc;
}

EXPORT int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return rc;
}

EXPORT time_t time(time_t *out)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
