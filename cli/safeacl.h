/* SPDX-License-Identifier: MPL-2.0
 *
 * The states of a safe range, by name.
 */
#ifndef KBAN_CLI_SAFEACL_H
#define KBAN_CLI_SAFEACL_H

#include <stdint.h>

/* "active", "held", "approved", "rejected", "unknown"; state is an enum ledger_safe_state. */
const char *safe_state_name(uint32_t state);

#endif
