/*
 * One-sided reads and writes by libfabric, and nothing else: what bench/peers/rma.ts compares with.
 *
 *   rma PROVIDER HOST OPERATIONS BYTES IN-FLIGHT    prints: write SECONDS, read SECONDS
 *
 * Two processes: the parent transfers to and from memory of the child, which does nothing but poll. Every transfer asks
 * for delivery, as ours do.
 */
#define _GNU_SOURCE
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (64UL << 20)

struct side {
	struct fi_info *info;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
};

/* What the target tells: its name, key and the address of its memory. */
struct target {
	char name[256];
	uint64_t key, base;
};

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, fi_strerror(-result));
	exit(1);
}

static void open_side(struct side *side, const char *provider, const char *host)
{
	struct fi_info *hints = fi_allocinfo();
	struct fi_av_attr av = { .type = FI_AV_TABLE };
	struct fi_cq_attr cq = { .size = 256, .format = FI_CQ_FORMAT_CONTEXT, .wait_obj = FI_WAIT_NONE };

	hints->caps = FI_RMA | FI_MSG;
	hints->ep_attr->type = FI_EP_RDM;
	hints->tx_attr->op_flags = FI_DELIVERY_COMPLETE;
	hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	hints->domain_attr->threading = FI_THREAD_DOMAIN;
	hints->fabric_attr->prov_name = strdup(provider);
	check(fi_getinfo(FI_VERSION(1, 17), strcmp(provider, "shm") ? host : NULL, NULL,
			 strcmp(provider, "shm") ? FI_SOURCE : 0, hints, &side->info), "fi_getinfo");
	fi_freeinfo(hints);
	check(fi_fabric(side->info->fabric_attr, &side->fabric, NULL), "fi_fabric");
	check(fi_domain(side->fabric, side->info, &side->domain, NULL), "fi_domain");
	check(fi_av_open(side->domain, &av, &side->av, NULL), "fi_av_open");
	check(fi_cq_open(side->domain, &cq, &side->cq, NULL), "fi_cq_open");
	check(fi_endpoint(side->domain, side->info, &side->ep, NULL), "fi_endpoint");
	check(fi_ep_bind(side->ep, &side->av->fid, 0), "fi_ep_bind");
	check(fi_ep_bind(side->ep, &side->cq->fid, FI_TRANSMIT | FI_RECV), "fi_ep_bind");
	check(fi_enable(side->ep), "fi_enable");
}

static void run_target(struct side *side, int told)
{
	struct target target = { 0 };
	struct fi_cq_entry entry;
	struct fid_mr *mr;
	size_t length = sizeof(target.name);
	char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	check(fi_mr_reg(side->domain, memory, MEMORY, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 42, 0, &mr, NULL), "fi_mr_reg");
	check(fi_getname(&side->ep->fid, target.name, &length), "fi_getname");
	target.key = fi_mr_key(mr);
	target.base = side->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t) memory : 0;
	if (write(told, &target, sizeof(target)) != sizeof(target))
		exit(1);
	for (;;)
		fi_cq_read(side->cq, &entry, 1);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static double transfer(struct side *side, fi_addr_t peer, const struct target *target, char *buffer, int reading,
		       long operations, size_t bytes, int in_flight)
{
	struct fi_cq_entry entries[64];
	double begin = seconds();
	long begun = 0, done = 0;

	while (done < operations) {
		while (begun < operations && begun - done < in_flight) {
			uint64_t at = target->base + (begun * bytes) % (MEMORY - bytes + 1) / bytes * bytes;
			char *local = buffer + (begun % in_flight) * bytes;
			ssize_t result = reading
				? fi_read(side->ep, local, bytes, NULL, peer, at, target->key, NULL)
				: fi_write(side->ep, local, bytes, NULL, peer, at, target->key, NULL);
			if (result == -FI_EAGAIN)
				break;
			check(result, "transfer");
			begun++;
		}
		ssize_t count = fi_cq_read(side->cq, entries, 64);
		if (count != -FI_EAGAIN) {
			check(count, "fi_cq_read");
			done += count;
		}
	}
	return seconds() - begin;
}

int main(int argc, char **argv)
{
	struct side side;
	struct target target;
	int pipes[2];
	fi_addr_t peer;

	if (argc != 6)
		return 2;
	long operations = atol(argv[3]);
	size_t bytes = atol(argv[4]);
	int in_flight = atoi(argv[5]);
	if (pipe(pipes) < 0)
		return 1;
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		open_side(&side, argv[1], argv[2]);
		run_target(&side, pipes[1]);
	}
	close(pipes[1]);
	if (read(pipes[0], &target, sizeof(target)) != sizeof(target))
		return 1;
	open_side(&side, argv[1], argv[2]);
	check(fi_av_insert(side.av, target.name, 1, &peer, 0, NULL) - 1, "fi_av_insert");
	char *buffer = aligned_alloc(4096, bytes * in_flight);
	memset(buffer, 7, bytes * in_flight);
	transfer(&side, peer, &target, buffer, 0, in_flight, bytes, in_flight);
	transfer(&side, peer, &target, buffer, 1, in_flight, bytes, in_flight);
	printf("write %.9f\n", transfer(&side, peer, &target, buffer, 0, operations, bytes, in_flight));
	printf("read %.9f\n", transfer(&side, peer, &target, buffer, 1, operations, bytes, in_flight));
	fflush(stdout);
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
	fi_close(&side.ep->fid);
	return 0;
}
