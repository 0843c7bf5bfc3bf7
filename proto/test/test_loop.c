/* SPDX-License-Identifier: MPL-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "proto/loop.h"

#define DEADLINE_MS 10000

static struct kban_loop *loop;

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("nothing stopped the loop");
}

static int make_loop(void **state)
{
	(void)state;
	if (kban_loop_new(&loop))
		return -1;
	kban_loop_after(loop, DEADLINE_MS, too_late, NULL);
	return 0;
}

static int free_loop(void **state)
{
	(void)state;
	kban_loop_free(loop);
	return 0;
}

static void run(void)
{
	assert_int_equal(kban_loop_run(loop), 0);
}

/* Counts, and stops at a number. */
struct counter {
	int n, stop_at;
	uint64_t timer, other;
	int fd;
};

static void count(struct counter *c)
{
	if (++c->n == c->stop_at)
		kban_loop_stop(loop);
}

static void on_tick(void *arg)
{
	count(arg);
}

static void a_timer_repeats(void **state)
{
	struct counter c = {.stop_at = 3};
	(void)state;

	kban_loop_timer(loop, 1, on_tick, &c);
	run();
	assert_int_equal(c.n, 3);
}

static void stop(void *arg)
{
	(void)arg;
	kban_loop_stop(loop);
}

static void a_single_shot_fires_once(void **state)
{
	struct counter c = {0};
	(void)state;

	uint64_t once = kban_loop_after(loop, 1, on_tick, &c);
	kban_loop_after(loop, 30, stop, NULL);
	run();
	assert_int_equal(c.n, 1);
	kban_loop_cancel(loop, once); /* has run out: nothing happens */
	kban_loop_cancel(loop, 0);
}

static void on_tick_cancel(void *arg)
{
	struct counter *c = arg;

	kban_loop_cancel(loop, c->timer);
	kban_loop_cancel(loop, c->other);
	count(c);
}

static void a_cancelled_timer_stays_silent(void **state)
{
	struct counter c = {0}, other = {0};
	(void)state;

	/* due in the same round, so that one is cancelled when it was found due already */
	c.timer = kban_loop_timer(loop, 1, on_tick_cancel, &c);
	c.other = kban_loop_timer(loop, 1, on_tick, &other);
	kban_loop_after(loop, 30, stop, NULL);
	run();
	assert_int_equal(c.n, 1);
	assert_int_equal(other.n, 0);
}

static void on_byte(void *arg)
{
	struct counter *c = arg;
	char byte;

	if (read(c->fd, &byte, 1) == 1) {
		count(c);
		return;
	}
	kban_loop_remove_fd(loop, c->fd);
	kban_loop_stop(loop);
}

static void what_is_left_in_a_descriptor_calls_again(void **state)
{
	struct counter c = {0};
	int ends[2];
	(void)state;

	assert_int_equal(pipe(ends), 0);
	c.fd = ends[0];
	kban_loop_fd(loop, ends[0], on_byte, &c);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	close(ends[1]); /* then its end, which a tolerant loop reports too */
	run();
	assert_int_equal(c.n, 3);
	close(ends[0]);
}

struct receiver {
	void *socket;
	int n, stop_at;
};

/* One message a call, which must be enough. */
static void on_message(void *arg)
{
	struct receiver *r = arg;
	char bytes[16];

	assert_true(zmq_recv(r->socket, bytes, sizeof(bytes), ZMQ_DONTWAIT) >= 0);
	if (++r->n == r->stop_at)
		kban_loop_stop(loop);
}

static void what_is_left_in_a_socket_calls_again(void **state)
{
	void *context = zmq_ctx_new(), *in = zmq_socket(context, ZMQ_PULL);
	void *out = zmq_socket(context, ZMQ_PUSH);
	struct receiver r = {in, 0, 100};
	(void)state;

	assert_int_equal(zmq_bind(in, "inproc://loop"), 0);
	assert_int_equal(zmq_connect(out, "inproc://loop"), 0);
	kban_loop_socket(loop, in, on_message, &r);
	for (int i = 0; i < r.stop_at; i++)
		assert_int_equal(zmq_send(out, "x", 1, 0), 1);
	run();
	assert_int_equal(r.n, 100);
	kban_loop_remove_socket(loop, in);
	assert_int_equal(zmq_send(out, "x", 1, 0), 1);
	kban_loop_after(loop, 20, stop, NULL);
	run();
	assert_int_equal(r.n, 100);
	zmq_close(in);
	zmq_close(out);
	zmq_ctx_term(context);
}

static void on_byte_swap(void *arg)
{
	struct counter *c = arg;

	kban_loop_remove_fd(loop, c->fd);
	kban_loop_fd(loop, c->fd, on_byte, c);
}

static void a_callback_may_replace_itself(void **state)
{
	struct counter c = {.stop_at = 2};
	int ends[2];
	(void)state;

	assert_int_equal(pipe(ends), 0);
	c.fd = ends[0];
	kban_loop_fd(loop, ends[0], on_byte_swap, &c);
	assert_int_equal(write(ends[1], "ab", 2), 2);
	run();
	assert_int_equal(c.n, 2);
	kban_loop_remove_fd(loop, ends[0]);
	kban_loop_remove_fd(loop, ends[0]); /* again: nothing happens */
	close(ends[0]);
	close(ends[1]);
}

static void on_signal(void *arg, int signo)
{
	*(int *)arg = *(int *)arg * 100 + signo;
	if (signo == SIGHUP)
		kill(getpid(), SIGTERM);
}

static void sighup_is_told_and_sigterm_stops(void **state)
{
	int seen = 0;
	(void)state;

	kban_loop_signal(loop, on_signal, &seen);
	kill(getpid(), SIGHUP);
	run();
	assert_int_equal(seen, SIGHUP * 100 + SIGTERM);
	kill(getpid(), SIGINT);
	run();
	assert_int_equal(seen % 100, SIGINT);
}

static void a_stop_before_the_run_counts(void **state)
{
	(void)state;
	kban_loop_stop(loop);
	run();
}

/* Stopping and continuing a process interrupts its poll(2). */
static void the_loop_survives_an_interrupted_poll(void **state)
{
	int ends[2], status;
	char byte;
	(void)state;

	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct kban_loop *own;
		if (kban_loop_new(&own) || write(ends[1], "r", 1) != 1)
			_exit(9);
		_exit(kban_loop_run(own) ? 8 : 0);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	for (int i = 0; i < 20; i++) {
		kill(pid, SIGSTOP);
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		assert_true(WIFSTOPPED(status));
		kill(pid, SIGCONT);
		assert_int_equal(waitpid(pid, &status, WCONTINUED), pid);
	}
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(ends[0]);
	close(ends[1]);
}

static void the_mask_is_put_back(void **state)
{
	static const int taken[] = {SIGTERM, SIGINT, SIGHUP};
	sigset_t before, during, after;
	struct kban_loop *other;
	(void)state;

	sigprocmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(kban_loop_new(&other), 0);
	sigprocmask(SIG_BLOCK, NULL, &during);
	kban_loop_free(other);
	sigprocmask(SIG_BLOCK, NULL, &after);
	for (size_t i = 0; i < KBAN_ARRAY_LEN(taken); i++) {
		assert_true(sigismember(&during, taken[i]));
		assert_int_equal(sigismember(&before, taken[i]), sigismember(&after, taken[i]));
	}
}

/* Reads one notification a call, until the watchdog was fed twice. */
struct manager {
	int fd, fed;
	bool ready;
};

static void on_notification(void *arg)
{
	struct manager *m = arg;
	char text[256];
	ssize_t n = read(m->fd, text, sizeof(text) - 1);

	assert_true(n > 0);
	text[n] = 0;
	if (!strcmp(text, "WATCHDOG=1"))
		m->fed++;
	else
		m->ready = !strcmp(text, "READY=1\nSTATUS=serving 3 nodes");
	if (m->fed == 2)
		kban_loop_stop(loop);
}

static void readiness_and_watchdog_reach_the_manager(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct manager m = {socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), 0, false};
	char pid[16];
	(void)state;

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/kban-test-notify-%d",
		 (int)getpid());
	assert_int_equal(bind(m.fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	setenv("WATCHDOG_USEC", "20000", 1);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	kban_loop_fd(loop, m.fd, on_notification, &m);
	kban_loop_ready(loop, "serving 3 nodes");
	run();
	assert_true(m.ready);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	kban_loop_remove_fd(loop, m.fd);
	close(m.fd);
	unlink(address.sun_path);
}

int main(void)
{
#define LOOP(test) cmocka_unit_test_setup_teardown(test, make_loop, free_loop)
	const struct CMUnitTest tests[] = {
		LOOP(a_timer_repeats),
		LOOP(a_single_shot_fires_once),
		LOOP(a_cancelled_timer_stays_silent),
		LOOP(what_is_left_in_a_descriptor_calls_again),
		LOOP(what_is_left_in_a_socket_calls_again),
		LOOP(a_callback_may_replace_itself),
		LOOP(sighup_is_told_and_sigterm_stops),
		LOOP(a_stop_before_the_run_counts),
		cmocka_unit_test(the_loop_survives_an_interrupted_poll),
		cmocka_unit_test(the_mask_is_put_back),
		LOOP(readiness_and_watchdog_reach_the_manager),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
