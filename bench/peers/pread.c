/* pread(2) or pwrite(2) of blocks all over a file: pread FILE read|write BYTES COUNT. Prints the seconds that it took. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int writes = strcmp(argv[2], "write") == 0;
  size_t bytes = strtoull(argv[3], NULL, 10);
  long count = strtol(argv[4], NULL, 10);
  int fd = open(argv[1], O_RDWR);
  struct stat found;
  if (fd < 0 || fstat(fd, &found) != 0 || bytes == 0 || (size_t)found.st_size < bytes) return 1;
  char *buffer = malloc(bytes);
  if (buffer == NULL) return 1;
  memset(buffer, 1, bytes);
  uint32_t places = found.st_size / bytes;
  /* rand(3) of POSIX, as bench/peers/random.ts has it. */
  uint32_t state = 1;
  double begin = now();
  for (long n = 0; n < count; n++) {
    state = state * 1103515245u + 12345u;
    off_t at = (off_t)((state >> 16) % places) * bytes;
    ssize_t moved = writes ? pwrite(fd, buffer, bytes, at) : pread(fd, buffer, bytes, at);
    if (moved != (ssize_t)bytes) return 1;
  }
  printf("%.9f\n", now() - begin);
  return 0;
}
