/* SPDX-License-Identifier: MPL-2.0
 *
 * Which reports the queries `log` and `refused` ask for: those with at least one event of the kinds
 * asked for that overlaps the prefix asked for, by the author asked for. Pure. An event that names
 * no address overlaps none; a broker's addresses count as its event's.
 */
#ifndef KBAN_BROKER_FILTER_H
#define KBAN_BROKER_FILTER_H

#include "proto/wire.h"

bool filter_event(const struct kban_query *q, const struct kban_event *e);
bool filter_report(const struct kban_query *q, const struct kban_report *r);

#endif
