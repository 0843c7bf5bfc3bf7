/* SPDX-License-Identifier: MPL-2.0
 *
 * Every limit on what travels, in one place. A message, token or file over a limit is refused whole,
 * with a name, and never cut. PROTOCOL.md repeats this table.
 */
#ifndef KBAN_PROTO_LIMITS_H
#define KBAN_PROTO_LIMITS_H

#include <stdint.h>

#define KBAN_PROTOCOL_VERSION 1U

/* The newest fold version (store/LEDGER.md, "Versions") that this program knows. */
extern const uint32_t kban_fold_newest;

#define KBAN_MESSAGE_MAX   (1024U * 1024U) /* bytes of one ZeroMQ message */
#define KBAN_REPORT_MAX    (128U * 1024U)  /* bytes of one signed report, without its signature */
#define KBAN_EVENTS_MAX    256U            /* events in a report */
#define KBAN_UNPACK_MAX    (8U * 1024U * 1024U) /* memory that decoding one message may take */
#define KBAN_NAME_MAX      63U  /* bytes of a principal's name: [a-z0-9][a-z0-9.-]* */
#define KBAN_TEXT_MAX      256U /* bytes of a reason or other free text */
#define KBAN_LINE_MAX      512U /* bytes of the log line kept with a ban */
#define KBAN_RULE_MAX      32U  /* bytes of a rule's or a service's name */
#define KBAN_ENDPOINT_MAX  128U /* bytes of a broker's endpoint, tcp://HOST:PORT */
#define KBAN_ADDRESSES_MAX 8U   /* addresses in a broker-address event */
#define KBAN_BROKERS_MAX   8U   /* brokers in a token or an identity file */
#define KBAN_ENTRIES_MAX   512U /* entries in one Entries message */
#define KBAN_ROWS_MAX      1024U /* rows in one page of an Answer */
#define KBAN_PAGE_MAX      32768U /* bytes of one page of the state at the horizon */
#define KBAN_PAGES_MAX     16U   /* such pages in one Answer */
#define KBAN_WINDOW_MAX    4096U /* unacknowledged entries a subscriber may ask for */
#define KBAN_PEERS_MAX     8192U /* connected peers of one broker */
#define KBAN_VERSION_MAX   32U  /* bytes of a program's version text */

#define KBAN_BAN_MAX_MS    (366ULL * 86400000ULL)       /* longest ban */
#define KBAN_INVITE_MAX_MS (30ULL * 86400000ULL)        /* longest life of an invitation */
#define KBAN_SAFE_MAX_MS   (10ULL * 366ULL * 86400000ULL) /* longest temporary safe range */

/* 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write: a broker's times end here, so that
 * adding a duration never overflows. */
#define KBAN_TIME_MAX_MS 253402300799999ULL

#define KBAN_TOKEN_MAX    2048U  /* characters of a join token */
#define KBAN_IDENTITY_MAX 16384U /* bytes of an identity file */

#endif
