/* SPDX-License-Identifier: MPL-2.0 */
#include "proto/fuzz/fuzz.h"

#include "proto/report.h"

/* The signature is not checked when decoding, so any will do. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t signature[KBAN_SIGNATURE_SIZE];
	struct kban_sealed sealed = {data, size, signature}, again;
	struct kban_keypair k = {.seed = {1}};
	struct kban_report *r;
	uint8_t *bytes;

	if (kban_report_decode(&r, &sealed))
		return 0;
	k.sign_public = r->author;
	fuzz_must(kban_report_seal(r, &k, &bytes, &again) == 0);
	fuzz_must(again.report_len == size && !memcmp(again.report, data, size));
	free(bytes);
	kban_report_free(r);
	return 0;
}
