/* A wall clock that a test sets. Preloaded, it adds to what CLOCK_REALTIME shows the microseconds that stand in the file
   $TRIBUTARY_TEST_CLOCK (8 bytes, the machine's order).

   Only clock_gettime: librdkafka waits on condition variables until moments that it takes from timespec_get, and the
   kernel's clock, by which they end, does not jump. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("TRIBUTARY_TEST_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) ahead = mapped;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (failed || clock != CLOCK_REALTIME || !ahead) return failed;
  int64_t nanos = now->tv_nsec + *ahead % 1000000 * 1000;
  now->tv_sec += *ahead / 1000000 + (nanos >= 1000000000) - (nanos < 0);
  now->tv_nsec = nanos + (nanos < 0 ? 1000000000 : 0) - (nanos >= 1000000000 ? 1000000000 : 0);
  return 0;
}
