/*
 * One row of the benchmark, in one process: `workload ROW DIR COUNT SERVER` does COUNT operations in DIR and prints
 *
 *     OPERATIONS SECONDS CLIENT SERVER
 *
 * the seconds on the clock, and the processor seconds of this process and of the server (process id, 0: there is none)
 * meanwhile. In C because a client of any cost of its own would hide what the server costs. Buffers are made and touched
 * before the clock starts, nothing is forked, and what a row needs is prepared outside of the clock.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KIB4 4096L
#define MIB (1L << 20)

static pid_t server;
static char *buffer;
static long count;
static struct { double clock, client, server; } started;

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "workload: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static double seconds(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) != 0)
		fail("clock_gettime", "of the server");
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* clock_getcpuclockid(3): all threads of the server, those that ended too, in nanoseconds. */
static double server_seconds(void)
{
	clockid_t clock;
	if (server == 0)
		return 0;
	if ((errno = clock_getcpuclockid(server, &clock)) != 0)
		fail("clock_getcpuclockid", "of the server");
	return seconds(clock);
}

static void start(void)
{
	started.server = server_seconds();
	started.client = seconds(CLOCK_PROCESS_CPUTIME_ID);
	started.clock = seconds(CLOCK_MONOTONIC);
}

static void stop(long operations)
{
	double clock = seconds(CLOCK_MONOTONIC) - started.clock;
	double client = seconds(CLOCK_PROCESS_CPUTIME_ID) - started.client;
	printf("%ld %.9f %.9f %.9f\n", operations, clock, client, server_seconds() - started.server);
}

static const char *name(const char *prefix, long i)
{
	static char text[64];
	snprintf(text, sizeof text, "%s%07ld", prefix, i);
	return text;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags, 0644);
	if (fd < 0)
		fail("open", path);
	return fd;
}

static void close_file(int fd)
{
	if (close(fd) != 0)
		fail("close", "a file");
}

static void write_at(int fd, long size, long offset)
{
	if (pwrite(fd, buffer, size, offset) != size)
		fail("pwrite", "a file");
}

static void read_at(int fd, long size, long offset)
{
	if (pread(fd, buffer, size, offset) != size)
		fail("pread", "a file");
}

static void create(void)
{
	start();
	for (long i = 0; i < count; i++)
		close_file(open_file(name("f", i), O_CREAT | O_EXCL | O_WRONLY));
	stop(count);
}

static void write_file(void)
{
	start();
	for (long i = 0; i < count; i++) {
		int fd = open_file(name("f", i), O_WRONLY);
		write_at(fd, KIB4, 0);
		close_file(fd);
	}
	stop(count);
}

static void stat_files(void)
{
	struct stat st;
	start();
	for (long i = 0; i < count; i++)
		if (stat(name("f", i), &st) != 0)
			fail("stat", name("f", i));
	stop(count);
}

static void rename_files(void)
{
	start();
	for (long i = 0; i < count; i++) {
		char from[64];
		strcpy(from, name("f", i));
		if (rename(from, name("g", i)) != 0)
			fail("rename", from);
	}
	stop(count);
}

static void unlink_files(void)
{
	start();
	for (long i = 0; i < count; i++)
		if (unlink(name("g", i)) != 0)
			fail("unlink", name("g", i));
	stop(count);
}

static const long listed = 3000;

/* Listings of a directory of 3000 files, which is made first where it is missing. */
static void read_directory(void)
{
	if (mkdir("list", 0755) == 0) {
		for (long i = 0; i < listed; i++) {
			char path[80];
			snprintf(path, sizeof path, "list/%s", name("f", i));
			close_file(open_file(path, O_CREAT | O_EXCL | O_WRONLY));
		}
	} else if (errno != EEXIST)
		fail("mkdir", "list");
	start();
	for (long i = 0; i < count; i++) {
		DIR *dir = opendir("list");
		long seen = 0;
		if (dir == NULL)
			fail("opendir", "list");
		while (readdir(dir) != NULL)
			seen++;
		closedir(dir);
		if (seen != listed + 2) {
			fprintf(stderr, "workload: readdir shows %ld entries, not %ld\n", seen, listed + 2);
			exit(1);
		}
	}
	stop(count);
}

/* The file of COUNT pieces that the rows of its size work on; `fill` writes it where it is missing. */
static int data_file(const char *path, int flags, long size, int fill)
{
	struct stat st;
	int fd = open_file(path, flags);
	if (fstat(fd, &st) != 0)
		fail("fstat", path);
	if (fill && st.st_size < count * size)
		for (long i = 0; i < count; i++)
			write_at(fd, size, i * size);
	return fd;
}

/* Nothing of the file stays in the kernel's cache, and nothing is read ahead of a random access. */
static void drop_pages(int fd, int advice)
{
	if (fsync(fd) != 0 || (errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) != 0 ||
	    (errno = posix_fadvise(fd, 0, 0, advice)) != 0)
		fail("posix_fadvise", "the file");
}

/* Every number below COUNT once, the same order for everybody. */
static long *shuffled(void)
{
	long *order = malloc(count * sizeof *order);
	unsigned long seed = 88172645463325252UL;
	for (long i = 0; i < count; i++) {
		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		long at = seed % (i + 1);
		order[i] = order[at];
		order[at] = i;
	}
	return order;
}

static void random_write(void)
{
	long *order = shuffled();
	int fd = data_file("random", O_CREAT | O_RDWR, KIB4, 1);
	start();
	for (long i = 0; i < count; i++)
		write_at(fd, KIB4, order[i] * KIB4);
	stop(count);
}

static void random_read(int flags)
{
	long *order = shuffled();
	int fd = data_file("random", O_CREAT | O_RDWR | flags, KIB4, 1);
	drop_pages(fd, POSIX_FADV_RANDOM);
	start();
	for (long i = 0; i < count; i++)
		read_at(fd, KIB4, order[i] * KIB4);
	stop(count);
}

static void each_piece(int fd, void (*transfer)(int fd, long size, long offset))
{
	start();
	for (long i = 0; i < count; i++)
		transfer(fd, MIB, i * MIB);
	stop(count);
}

static void write_new(void)
{
	unlink("large");
	each_piece(data_file("large", O_CREAT | O_WRONLY, MIB, 0), write_at);
}

/* As cp, dd and tar open what they write, or as databases do. */
static void rewrite(int flags)
{
	int fd = data_file("large", O_CREAT | flags, MIB, 1);
	if (flags & O_DIRECT)
		drop_pages(fd, POSIX_FADV_NORMAL);
	each_piece(fd, write_at);
}

static void read_all(int flags)
{
	int fd = data_file("large", O_CREAT | O_RDWR | flags, MIB, 1);
	drop_pages(fd, POSIX_FADV_NORMAL);
	each_piece(fd, read_at);
}

static pthread_barrier_t ready;

static void *sync_writes(void *number)
{
	int fd = open_file(name("sync", (long)number), O_CREAT | O_WRONLY);
	write_at(fd, KIB4, 0);
	if (fsync(fd) != 0)
		fail("fsync", "a file");
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&ready);
	for (long i = 0; i < count; i++) {
		write_at(fd, KIB4, 0);
		if (fsync(fd) != 0)
			fail("fsync", "a file");
	}
	close_file(fd);
	return NULL;
}

/* Each thread writes COUNT times to a file of its own and syncs it each time. */
static void fsync_threads(int threads)
{
	pthread_t *thread = calloc(threads, sizeof *thread);
	pthread_barrier_init(&ready, NULL, threads + 1);
	for (long i = 0; i < threads; i++)
		if ((errno = pthread_create(&thread[i], NULL, sync_writes, (void *)i)) != 0)
			fail("pthread_create", "");
	pthread_barrier_wait(&ready);
	start();
	pthread_barrier_wait(&ready);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	stop(threads * count);
}

/* The files of a tree of SIZE are d0000000/f0000000 and so on, a thousand in each directory. */
static const long per_directory = 1000;

static long common_divisor(long a, long b)
{
	return b == 0 ? a : common_divisor(b, a % b);
}

/*
 * COUNT of them, each once, those that follow each other far apart; others in another round. None twice, since the kernel
 * would know it from the first time.
 */
static void tree_stat(const char *numbers)
{
	struct stat st;
	char path[80];
	long size = 0, round = 0;
	sscanf(numbers, "%ld-%ld", &size, &round);
	long step = size * 0.618 + 1;
	while (common_divisor(step, size) != 1)
		step++;
	start();
	for (long i = 0; i < count; i++) {
		long at = (round * count + i) % size * step % size;
		snprintf(path, sizeof path, "d%07ld/f%07ld", at / per_directory, at);
		if (stat(path, &st) != 0)
			fail("stat", path);
	}
	stop(count);
}

/* Listed and stat'ed, all of them. */
static void tree_walk(long size)
{
	long seen = 0;
	start();
	for (long at = 0; at < size; at += per_directory) {
		struct stat st;
		struct dirent *entry;
		DIR *dir = opendir(name("d", at / per_directory));
		if (dir == NULL)
			fail("opendir", name("d", at / per_directory));
		while ((entry = readdir(dir)) != NULL) {
			if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
				fail("fstatat", entry->d_name);
			seen += S_ISREG(st.st_mode);
		}
		closedir(dir);
	}
	stop(seen);
	if (seen != size) {
		fprintf(stderr, "workload: a walk shows %ld files, not %ld\n", seen, size);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: workload ROW DIR COUNT SERVER\n");
		return 2;
	}
	const char *row = argv[1];
	count = atol(argv[3]);
	server = atoi(argv[4]);
	if (posix_memalign((void **)&buffer, KIB4, MIB) != 0)
		fail("posix_memalign", "");
	memset(buffer, 0x5a, MIB);
	if (chdir(argv[2]) != 0)
		fail("chdir", argv[2]);

	if (!strcmp(row, "create")) create();
	else if (!strcmp(row, "write-file")) write_file();
	else if (!strcmp(row, "stat") || !strcmp(row, "stat-again") || !strcmp(row, "stat-dropped")) stat_files();
	else if (!strcmp(row, "rename")) rename_files();
	else if (!strcmp(row, "unlink")) unlink_files();
	else if (!strcmp(row, "readdir")) read_directory();
	else if (!strcmp(row, "random-write")) random_write();
	else if (!strcmp(row, "random-read")) random_read(0);
	else if (!strcmp(row, "random-read-direct")) random_read(O_DIRECT);
	else if (!strcmp(row, "write")) write_new();
	else if (!strcmp(row, "rewrite")) rewrite(O_WRONLY);
	else if (!strcmp(row, "rewrite-open-rw")) rewrite(O_RDWR);
	else if (!strcmp(row, "rewrite-direct")) rewrite(O_RDWR | O_DIRECT);
	else if (!strcmp(row, "read")) read_all(0);
	else if (!strcmp(row, "read-direct")) read_all(O_DIRECT);
	else if (!strncmp(row, "fsync-", 6)) fsync_threads(atoi(row + 6));
	else if (!strncmp(row, "tree-stat-", 10)) tree_stat(row + 10);
	else if (!strncmp(row, "tree-walk-", 10)) tree_walk(atol(row + 10));
	else {
		fprintf(stderr, "workload: no row %s\n", row);
		return 2;
	}
	return 0;
}
