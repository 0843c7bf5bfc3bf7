/* SPDX-License-Identifier: MPL-2.0 */
#include "integration/bench/traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 256
#define PORT	25

/* The last table's priority is just after that of the tables measured. */
static const char sink[] = "table inet sink {\n"
			   "counter passed { }\n"
			   "chain filter { type filter hook prerouting priority -309; counter name "
			   "passed drop; }\n"
			   "}\n";

static const uint8_t receiver[ETH_ALEN] = {2, 0, 0, 0, 0, 1};

struct frame {
	struct ether_header ether;
	union {
		struct {
			struct iphdr ip;
			struct udphdr udp;
		} v4;
		struct {
			struct ip6_hdr ip;
			struct udphdr udp;
		} v6;
	};
} __attribute__((packed));

struct traffic {
	int fd, ns;
	struct frame frames[TRAFFIC_FRAMES];
	struct iovec vectors[TRAFFIC_FRAMES];
	struct mmsghdr messages[TRAFFIC_FRAMES];
};

int traffic_nft(const char *ruleset)
{
	FILE *f = popen("nft -f -", "w");

	if (!f)
		return -errno;
	fputs(ruleset, f);
	return pclose(f) ? -EINVAL : 0;
}

static int links_make(void)
{
	return system("ip link add v0 type veth peer name v1 && "
		      "ip link set v0 addrgenmode none && ip link set v1 addrgenmode none && "
		      "ip link set v0 up && ip link set v1 address 02:00:00:00:00:01 up")
		       ? -ENODEV
		       : 0;
}

static int sender_open(struct traffic *t)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int on = 1;

	to.sll_ifindex = (int)if_nametoindex("v0");
	t->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: receives nothing */
	if (t->fd < 0)
		return -errno;
	to.sll_protocol = 0;
	if (bind(t->fd, (struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(t->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)))
		return -errno;
	return 0;
}

int traffic_open(struct traffic **out)
{
	kban_auto(traffic_free) struct traffic *t = kban_zalloc(sizeof(*t));

	t->fd = t->ns = -1;
	if (unshare(CLONE_NEWNET))
		return -errno;
	t->ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (t->ns < 0)
		return -errno;
	int r = links_make();
	if (!r)
		r = traffic_nft(sink);
	if (!r)
		r = sender_open(t);
	if (r)
		return r;
	*out = t;
	t = NULL;
	return 0;
}

void traffic_free(struct traffic *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	if (t->ns >= 0)
		close(t->ns);
	free(t);
}

int traffic_enter(const struct traffic *t)
{
	return setns(t->ns, CLONE_NEWNET) ? -errno : 0;
}

static uint16_t checksum(const void *header, size_t n)
{
	const uint8_t *p = header;
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static size_t frame4(struct frame *f, const uint8_t *source)
{
	struct iphdr ip = {.ihl = 5, .version = 4, .ttl = 64, .protocol = IPPROTO_UDP};

	f->ether.ether_type = htons(ETHERTYPE_IP);
	ip.tot_len = htons(sizeof(f->v4));
	memcpy(&ip.saddr, source, 4);
	ip.daddr = htonl(0xc0000201);
	ip.check = checksum(&ip, sizeof(ip));
	memcpy(&f->v4.ip, &ip, sizeof(ip));
	f->v4.udp.dest = htons(PORT);
	f->v4.udp.len = htons(sizeof(f->v4.udp));
	return sizeof(f->ether) + sizeof(f->v4);
}

static size_t frame6(struct frame *f, const uint8_t *source)
{
	struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28), .ip6_nxt = IPPROTO_UDP, .ip6_hlim = 64};

	f->ether.ether_type = htons(ETHERTYPE_IPV6);
	ip.ip6_plen = htons(sizeof(f->v6.udp));
	memcpy(&ip.ip6_src, source, 16);
	memcpy(&ip.ip6_dst, "\x20\x01\x0d\xb8", 4);
	memcpy(&f->v6.ip, &ip, sizeof(ip));
	f->v6.udp.dest = htons(PORT);
	f->v6.udp.len = htons(sizeof(f->v6.udp));
	return sizeof(f->ether) + sizeof(f->v6);
}

void traffic_sources(struct traffic *t, const struct kban_prefix *addresses)
{
	memset(t->frames, 0, sizeof(t->frames));
	for (size_t i = 0; i < TRAFFIC_FRAMES; i++) {
		struct frame *f = &t->frames[i];
		memcpy(f->ether.ether_dhost, receiver, sizeof(receiver));
		t->vectors[i].iov_base = f;
		t->vectors[i].iov_len = addresses[i].family == KBAN_IPV4
						? frame4(f, addresses[i].addr)
						: frame6(f, addresses[i].addr);
		t->messages[i].msg_hdr.msg_iov = &t->vectors[i];
		t->messages[i].msg_hdr.msg_iovlen = 1;
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* whoever else runs here is not measured */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int traffic_burst(struct traffic *t, double *ns)
{
	uint64_t start = now_ns();

	for (unsigned sent = 0; sent < TRAFFIC_FRAMES;) {
		unsigned some = TRAFFIC_FRAMES - sent < AT_ONCE ? TRAFFIC_FRAMES - sent : AT_ONCE;
		int r = sendmmsg(t->fd, t->messages + sent, some, 0);
		if (r < 0)
			return -errno;
		sent += (unsigned)r;
	}
	*ns = (double)(now_ns() - start) / TRAFFIC_FRAMES;
	return 0;
}

int traffic_passed(const struct traffic *t, uint64_t *packets)
{
	char line[128];
	int r = traffic_enter(t);
	FILE *f = r ? NULL : popen("nft list counter inet sink passed", "r");

	*packets = UINT64_MAX;
	if (!f)
		return r ? r : -errno;
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, "packets ");
		if (at)
			*packets = strtoull(at + 8, NULL, 10);
	}
	return pclose(f) || *packets == UINT64_MAX ? -EIO : 0;
}
