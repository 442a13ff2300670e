// SPDX-License-Identifier: Apache-2.0
/*
 * Preloaded into a program (LD_PRELOAD): counts its system calls, as far as they go through the C
 * library, and its heap allocations, in the file named by COUNT_CALLS_FILE. Each counter is a line
 * of LINE bytes ("recv 0000000012"), so that a test can read them at any time.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define CALLS(X)   \
    X(read)        \
    X(write)       \
    X(readv)       \
    X(writev)      \
    X(recv)        \
    X(recvfrom)    \
    X(recvmsg)     \
    X(send)        \
    X(sendto)      \
    X(sendmsg)     \
    X(epoll_wait)  \
    X(epoll_pwait) \
    X(epoll_ctl)   \
    X(socket)      \
    X(connect)     \
    X(accept)      \
    X(accept4)     \
    X(shutdown)    \
    X(close)       \
    X(getsockopt)  \
    X(setsockopt)  \
    X(getsockname) \
    X(getpeername) \
    X(fcntl)       \
    X(ioctl)       \
    X(open)        \
    X(openat)      \
    X(poll)        \
    X(mmap)        \
    X(munmap)      \
    X(malloc)

#define ENUM(name) CALL_##name,
enum call { CALLS(ENUM) CALL_N };

#define NAME(name) #name,
static const char *const names[CALL_N] = {CALLS(NAME)};

static _Atomic uint64_t own[CALL_N]; /* until the file is there, and where there is none */
static _Atomic uint64_t *counts = own;

static void count(enum call which)
{
    atomic_fetch_add_explicit(&counts[which], 1, memory_order_relaxed);
}

/* The file: a table of u64, in the order of names; its second half is the names. */
__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("COUNT_CALLS_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    for (size_t i = 0; i < CALL_N; i++) {
        (void)!pwrite(fd, names[i], strlen(names[i]), (off_t)(4096 + i * 16));
    }
    (void)!ftruncate(fd, 8192);
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) {
        counts = at;
    }
}

/* Calls the function that would have been called without us. */
#define PASS(type, name, params, args)                 \
    type name params;                                  \
    type name params                                   \
    {                                                  \
        static type(*next) params;                     \
        if (next == NULL) {                            \
            *(void **)&next = dlsym(RTLD_NEXT, #name); \
        }                                              \
        count(CALL_##name);                            \
        return next args;                              \
    }

PASS(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n))
PASS(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n))
PASS(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n))
PASS(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
PASS(ssize_t, recv, (int fd, void *b, size_t n, int f), (fd, b, n, f))
PASS(ssize_t, recvfrom, (int fd, void *b, size_t n, int f, struct sockaddr *a, socklen_t *l),
     (fd, b, n, f, a, l))
PASS(ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f))
PASS(ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f))
PASS(ssize_t, sendto,
     (int fd, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l),
     (fd, b, n, f, a, l))
PASS(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f))
PASS(int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms))
PASS(int, epoll_pwait, (int fd, struct epoll_event *e, int n, int ms, const sigset_t *s),
     (fd, e, n, ms, s))
PASS(int, epoll_ctl, (int e, int how, int fd, struct epoll_event *v), (e, how, fd, v))
PASS(int, socket, (int d, int t, int p), (d, t, p))
PASS(int, connect, (int fd, const struct sockaddr *a, socklen_t l), (fd, a, l))
PASS(int, accept, (int fd, struct sockaddr *a, socklen_t *l), (fd, a, l))
PASS(int, accept4, (int fd, struct sockaddr *a, socklen_t *l, int f), (fd, a, l, f))
PASS(int, shutdown, (int fd, int how), (fd, how))
PASS(int, close, (int fd), (fd))
PASS(int, getsockopt, (int fd, int l, int o, void *v, socklen_t *n), (fd, l, o, v, n))
PASS(int, setsockopt, (int fd, int l, int o, const void *v, socklen_t n), (fd, l, o, v, n))
PASS(int, getsockname, (int fd, struct sockaddr *a, socklen_t *l), (fd, a, l))
PASS(int, getpeername, (int fd, struct sockaddr *a, socklen_t *l), (fd, a, l))
PASS(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
PASS(void *, mmap, (void *a, size_t n, int p, int f, int fd, off_t o), (a, n, p, f, fd, o))
PASS(int, munmap, (void *a, size_t n), (a, n))

/* One more argument, which may not have been given, and is passed on all the same. */
#define PASS_MORE(name, params, args, last)            \
    int name params;                                   \
    int name params                                    \
    {                                                  \
        static int(*next) params;                      \
        va_list ap;                                    \
        if (next == NULL) {                            \
            *(void **)&next = dlsym(RTLD_NEXT, #name); \
        }                                              \
        va_start(ap, last);                            \
        uintptr_t more = va_arg(ap, uintptr_t);        \
        va_end(ap);                                    \
        count(CALL_##name);                            \
        return next args;                              \
    }

PASS_MORE(fcntl, (int fd, int how, ...), (fd, how, more), how)
PASS_MORE(ioctl, (int fd, unsigned long how, ...), (fd, how, more), how)
PASS_MORE(open, (const char *path, int how, ...), (path, how, more), how)
PASS_MORE(openat, (int at, const char *path, int how, ...), (at, path, how, more), how)

/* The allocator's own names, since dlsym allocates. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    count(CALL_malloc);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count(CALL_malloc);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count(CALL_malloc);
    return __libc_realloc(p, n);
}
