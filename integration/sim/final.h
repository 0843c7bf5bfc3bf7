/* SPDX-License-Identifier: MPL-2.0
 *
 * What must be true once a fleet has healed and is in step.
 */
#ifndef KBAN_SIM_FINAL_H
#define KBAN_SIM_FINAL_H

#include "integration/sim/world.h"

/* NULL, or what is broken: an offence that a node had made durable and that is not in the log, or a kernel that is
 * not what the broker's ledger says. */
const char *world_final(struct world *w);

#endif
