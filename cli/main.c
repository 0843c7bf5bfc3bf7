/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/command.h"
#include "proto/key.h"
#include "proto/log.h"

int main(int argc, char **argv)
{
	kban_log_setup("kbanctl", KBAN_LOG_WARNING);
	kban_crypto_setup();
	return cli_main(argc, argv, stdout, stderr, &kban_clock_system);
}
