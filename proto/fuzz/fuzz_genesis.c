/* SPDX-License-Identifier: MPL-2.0
 *
 * The genesis file, as a broker reads it.
 */
#include <stdlib.h>

#include "proto/genesis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kban_sealed sealed;

	kban_crypto_setup();
	if (!kban_genesis_parse(&sealed, data, size) &&
	    sealed.signature + KBAN_SIGNATURE_SIZE != data + size)
		abort();
	return 0;
}
