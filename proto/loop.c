/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/loop.h"

#include <czmq.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum watch_kind {
	WATCH_FD,
	WATCH_SOCKET,
	WATCH_TIMER,
	WATCH_ONCE,
};

/* czmq gets the id and not the pointer: a timer that another one cancels in the same round fires
 * still. */
struct watch {
	struct watch *next;
	uint64_t id;
	enum watch_kind kind;
	int fd, timer;
	void *socket;
	kban_loop_fn *fn;
	void *arg;
};

struct kban_loop {
	zloop_t *zloop;
	struct watch *watches;
	uint64_t ids;
	int signals;
	sigset_t old_mask;
	bool masked, stopped;
	kban_loop_signal_fn *signal_fn;
	void *signal_arg;
	uint64_t watchdog;
};

static struct watch **watch_find(struct kban_loop *loop, uint64_t id)
{
	struct watch **w = &loop->watches;

	while (*w && (*w)->id != id)
		w = &(*w)->next;
	return w;
}

static struct watch *watch_add(struct kban_loop *loop, enum watch_kind kind, kban_loop_fn *fn,
			       void *arg)
{
	struct watch *w = kban_zalloc(sizeof(*w));

	w->id = ++loop->ids;
	w->kind = kind;
	w->fd = -1;
	w->fn = fn;
	w->arg = arg;
	w->next = loop->watches;
	loop->watches = w;
	return w;
}

static void watch_drop(struct watch **at)
{
	struct watch *w = *at;

	*at = w->next;
	free(w);
}

/* zloop's callbacks know one argument; the loop itself is found through this. One loop per process.
 */
static struct kban_loop *running;

static int dispatch(void *arg)
{
	struct watch **at = watch_find(running, (uint64_t)(uintptr_t)arg);

	if (*at) {
		kban_loop_fn *fn = (*at)->fn;
		void *fn_arg = (*at)->arg;
		if ((*at)->kind == WATCH_ONCE)
			watch_drop(at);
		fn(fn_arg);
	}
	return running->stopped ? -1 : 0;
}

static int on_poll(zloop_t *zloop, zmq_pollitem_t *item, void *arg)
{
	(void)zloop;
	(void)item;
	return dispatch(arg);
}

static int on_timer(zloop_t *zloop, int timer, void *arg)
{
	(void)zloop;
	(void)timer;
	return dispatch(arg);
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "kban: the loop cannot watch a %s\n", what);
	abort();
}

static void watch_poll(struct kban_loop *loop, struct watch *w)
{
	zmq_pollitem_t item = {.socket = w->socket, .fd = w->fd, .events = ZMQ_POLLIN};

	must(!zloop_poller(loop->zloop, &item, on_poll, (void *)(uintptr_t)w->id), "descriptor");
	zloop_poller_set_tolerant(loop->zloop, &item); /* otherwise an error removes it unseen */
}

static void unwatch_poll(struct kban_loop *loop, struct watch **at)
{
	zmq_pollitem_t item = {.socket = (*at)->socket, .fd = (*at)->fd, .events = ZMQ_POLLIN};

	zloop_poller_end(loop->zloop, &item);
	watch_drop(at);
}

void kban_loop_fd(struct kban_loop *loop, int fd, kban_loop_fn *fn, void *arg)
{
	struct watch *w = watch_add(loop, WATCH_FD, fn, arg);

	w->fd = fd;
	watch_poll(loop, w);
}

void kban_loop_remove_fd(struct kban_loop *loop, int fd)
{
	for (struct watch **w = &loop->watches; *w; w = &(*w)->next) {
		if ((*w)->kind == WATCH_FD && (*w)->fd == fd) {
			unwatch_poll(loop, w);
			return;
		}
	}
}

void kban_loop_socket(struct kban_loop *loop, void *zmq_socket, kban_loop_fn *fn, void *arg)
{
	struct watch *w = watch_add(loop, WATCH_SOCKET, fn, arg);

	w->socket = zsock_resolve(zmq_socket);
	watch_poll(loop, w);
}

void kban_loop_remove_socket(struct kban_loop *loop, void *zmq_socket)
{
	void *socket = zsock_resolve(zmq_socket);

	for (struct watch **w = &loop->watches; *w; w = &(*w)->next) {
		if ((*w)->kind == WATCH_SOCKET && (*w)->socket == socket) {
			unwatch_poll(loop, w);
			return;
		}
	}
}

static uint64_t add_timer(struct kban_loop *loop, enum watch_kind kind, unsigned ms,
			  kban_loop_fn *fn, void *arg)
{
	struct watch *w = watch_add(loop, kind, fn, arg);

	w->timer = zloop_timer(loop->zloop, ms, kind == WATCH_ONCE ? 1 : 0, on_timer,
			       (void *)(uintptr_t)w->id);
	must(w->timer >= 0, "timer");
	return w->id;
}

uint64_t kban_loop_timer(struct kban_loop *loop, unsigned interval_ms, kban_loop_fn *fn, void *arg)
{
	return add_timer(loop, WATCH_TIMER, interval_ms, fn, arg);
}

uint64_t kban_loop_after(struct kban_loop *loop, unsigned delay_ms, kban_loop_fn *fn, void *arg)
{
	return add_timer(loop, WATCH_ONCE, delay_ms, fn, arg);
}

void kban_loop_cancel(struct kban_loop *loop, uint64_t timer)
{
	struct watch **w = watch_find(loop, timer);

	if (!*w || ((*w)->kind != WATCH_TIMER && (*w)->kind != WATCH_ONCE))
		return;
	zloop_timer_end(loop->zloop, (*w)->timer);
	watch_drop(w);
}

void kban_loop_signal(struct kban_loop *loop, kban_loop_signal_fn *fn, void *arg)
{
	loop->signal_fn = fn;
	loop->signal_arg = arg;
}

static void on_signal(void *arg)
{
	struct kban_loop *loop = arg;
	struct signalfd_siginfo info;

	if (read(loop->signals, &info, sizeof(info)) != sizeof(info))
		return;
	int signo = (int)info.ssi_signo;
	if (signo == SIGTERM || signo == SIGINT) {
		sd_notify(0, "STOPPING=1");
		loop->stopped = true;
	}
	if (loop->signal_fn)
		loop->signal_fn(loop->signal_arg, signo);
}

static int watch_signals(struct kban_loop *loop)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &mask, &loop->old_mask))
		return -errno;
	loop->masked = true;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	loop->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (loop->signals < 0)
		return -errno;
	kban_loop_fd(loop, loop->signals, on_signal, loop);
	return 0;
}

int kban_loop_new(struct kban_loop **out)
{
	kban_auto(kban_loop_free) struct kban_loop *loop = kban_zalloc(sizeof(*loop));

	loop->signals = -1;
	setenv("ZSYS_SIGHANDLER", "false", 1);
	loop->zloop = zloop_new();
	if (!loop->zloop)
		return -ENOMEM;
	zloop_set_nonstop(loop->zloop, true);
	int r = watch_signals(loop);
	if (r)
		return r;
	*out = loop;
	loop = NULL;
	return 0;
}

void kban_loop_free(struct kban_loop *loop)
{
	if (!loop)
		return;
	zloop_destroy(&loop->zloop);
	while (loop->watches)
		watch_drop(&loop->watches);
	kban_close(loop->signals);
	if (loop->masked)
		sigprocmask(SIG_SETMASK, &loop->old_mask, NULL);
	free(loop);
}

int kban_loop_run(struct kban_loop *loop)
{
	int r = 0;

	running = loop;
	/* zloop ends when poll(2) is interrupted, by a debugger for one; that is no reason to end.
	 */
	while (!loop->stopped && !r) {
		errno = 0;
		if (zloop_start(loop->zloop) == 0 && !loop->stopped && errno != EINTR)
			r = errno ? -errno : -EIO;
	}
	running = NULL;
	loop->stopped = false;
	return r;
}

void kban_loop_stop(struct kban_loop *loop)
{
	loop->stopped = true;
}

static void feed_watchdog(void *arg)
{
	(void)arg;
	sd_notify(0, "WATCHDOG=1");
}

void kban_loop_ready(struct kban_loop *loop, const char *status)
{
	uint64_t usec;

	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
	if (!loop->watchdog && sd_watchdog_enabled(0, &usec) > 0)
		loop->watchdog = kban_loop_timer(loop, (unsigned)(usec / 2000), feed_watchdog,
						 NULL);
}
