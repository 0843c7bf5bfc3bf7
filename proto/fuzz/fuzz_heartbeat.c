/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/fuzz/fuzz.h"

#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t signature[KBAN_SIGNATURE_SIZE];
	struct kban_sealed sealed = {data, size, signature}, again;
	struct kban_keypair k = {.seed = {1}};
	struct kban_heartbeat h;
	uint8_t *bytes;

	if (kban_heartbeat_decode(&h, &sealed))
		return 0;
	k.sign_public = h.author;
	kban_heartbeat_seal(&h, &k, &bytes, &again);
	fuzz_must(again.report_len == size && !memcmp(again.report, data, size));
	free(bytes);
	return 0;
}
