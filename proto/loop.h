/* SPDX-License-Identifier: MPL-2.0
 *
 * The one loop of a daemon: file descriptors, ZeroMQ sockets, timers and signals, over czmq's
 * zloop. Everything runs in the thread that called kban_loop_run(); a callback does bounded work
 * and returns. A callback may add and remove anything, itself too.
 *
 * Descriptors and sockets are level-triggered: a callback that leaves something unread is called
 * again, so it reads a bounded number of messages and returns. That holds for a ZeroMQ socket only
 * because the socket itself is watched (zmq_poll(3) asks it for ZMQ_EVENTS each round). Its ZMQ_FD
 * is edge-triggered and may stay silent with messages waiting: never give that descriptor to
 * kban_loop_fd(), and never read or write a watched socket while ignoring what arrived for it
 * meanwhile.
 *
 * Signals: SIGTERM, SIGINT and SIGHUP are blocked and read from a signalfd; SIGPIPE is ignored. A
 * process that is started from this one inherits the mask and unblocks them before exec. One loop
 * per process.
 */
#ifndef KBAN_PROTO_LOOP_H
#define KBAN_PROTO_LOOP_H

#include <stdint.h>

#include "proto/mem.h"

struct kban_loop;

typedef void kban_loop_fn(void *arg);
typedef void kban_loop_signal_fn(void *arg, int signo);

/* 0 or -errno. To be made before the process's first ZeroMQ socket: czmq takes the signals
 * otherwise. */
int kban_loop_new(struct kban_loop **out) kban_must_check;
/* Closes none of what was watched. Puts the signal mask back. */
void kban_loop_free(struct kban_loop *loop);
KBAN_DEFINE_AUTO(struct kban_loop *, kban_loop_free)

/* Calls fn while fd is readable, at its end or in error. Keeps fd: remove it before closing it. */
void kban_loop_fd(struct kban_loop *loop, int fd, kban_loop_fn *fn, void *arg);
void kban_loop_remove_fd(struct kban_loop *loop, int fd);
/* Calls fn while the socket (libzmq's, or a zsock_t) has something to receive. Remove it before
 * closing. */
void kban_loop_socket(struct kban_loop *loop, void *zmq_socket, kban_loop_fn *fn, void *arg);
void kban_loop_remove_socket(struct kban_loop *loop, void *zmq_socket);

/* Calls fn every interval_ms, or once after delay_ms (CLOCK_MONOTONIC). The answer, never 0, is for
 * kban_loop_cancel(). For a handful of timers: each costs every round; peers' deadlines go into a
 * list of their own that one timer walks. */
uint64_t kban_loop_timer(struct kban_loop *loop, unsigned interval_ms, kban_loop_fn *fn, void *arg);
uint64_t kban_loop_after(struct kban_loop *loop, unsigned delay_ms, kban_loop_fn *fn, void *arg);
/* Does nothing for 0, a timer that has run out or one that was cancelled. */
void kban_loop_cancel(struct kban_loop *loop, uint64_t timer);

/* Calls fn for each of the three signals; after SIGTERM and SIGINT the loop stops. */
void kban_loop_signal(struct kban_loop *loop, kban_loop_signal_fn *fn, void *arg);

/* Runs until kban_loop_stop() or SIGTERM or SIGINT: 0; -errno when it can't go on. */
int kban_loop_run(struct kban_loop *loop) kban_must_check;
void kban_loop_stop(struct kban_loop *loop);

/* Tells the service manager that the program serves, and status, one line for `systemctl status`;
 * from then on feeds its watchdog, if WatchdogSec= is set. May be called again with another status.
 */
void kban_loop_ready(struct kban_loop *loop, const char *status);

#endif
