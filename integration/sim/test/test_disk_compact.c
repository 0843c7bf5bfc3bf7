/* SPDX-License-Identifier: MPL-2.0
 *
 * Compaction on the simulator's disk, which is full or crashes now and then.
 */
#include "store/test/compact_suite.h"

#include "integration/sim/disk.h"

static struct disk *disks[STORES];

static struct store *sim_open(unsigned which, const struct kban_cluster_id *cluster)
{
	struct store *s;

	(void)cluster;
	disk_open(disks[which], &s);
	return s;
}

static void sim_wipe(unsigned which, const struct kban_cluster_id *cluster)
{
	disk_free(disks[which]);
	disk_new(&disks[which], cluster);
}

static void sim_fault(struct chance *chance)
{
	static const enum disk_fault faults[] = {DISK_FULL, DISK_CRASH_BEFORE, DISK_CRASH_AFTER};

	disks[0]->fault = faults[below(chance, KBAN_ARRAY_LEN(faults))];
}

static void sim_sound(void)
{
	disks[0]->fault = DISK_SOUND;
}

static struct compact_engine compact_engine = {sim_open, sim_wipe, sim_fault, sim_sound, 80};

int main(void)
{
	kban_crypto_setup();
	pools_fill();
	int failed = cmocka_run_group_tests(compact_suite_tests, NULL, NULL);
	for (unsigned i = 0; i < STORES; i++)
		disk_free(disks[i]);
	return failed;
}
