/* Counts what a process asks of the allocator, and its large copies. Loaded before the C library by allocations.py,
 * which reads the counters from the file that ALLOCATIONS names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE = 64 << 10, COPY = 4 << 10 };

struct counters {
    atomic_ulong allocations, bytes, large, large_bytes, copies, copied_bytes;
};

static struct counters nowhere, *counters = &nowhere;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ALLOCATIONS");
    int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (file < 0 || ftruncate(file, sizeof(struct counters)))
        return;
    void *shared = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED)
        counters = shared;
    close(file);
}

static void count(size_t size) {
    atomic_fetch_add_explicit(&counters->allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->bytes, size, memory_order_relaxed);
    if (size >= LARGE) {
        atomic_fetch_add_explicit(&counters->large, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&counters->large_bytes, size, memory_order_relaxed);
    }
}

/* The C library's own, which it also exports under these names. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
    count(size);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(number * size);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count(size);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(size);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    count(size);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12;
}

static void *copy(void *to, const void *from, size_t size, const char *name, void *(**real)(void *, const void *, size_t)) {
    if (size >= COPY) {
        atomic_fetch_add_explicit(&counters->copies, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&counters->copied_bytes, size, memory_order_relaxed);
    }
    if (!*real)
        *real = (void *(*)(void *, const void *, size_t))dlsym(RTLD_NEXT, name);
    return (*real)(to, from, size);
}

void *memcpy(void *to, const void *from, size_t size) {
    static void *(*real)(void *, const void *, size_t);
    return copy(to, from, size, "memcpy", &real);
}

void *memmove(void *to, const void *from, size_t size) {
    static void *(*real)(void *, const void *, size_t);
    return copy(to, from, size, "memmove", &real);
}
