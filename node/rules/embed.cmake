# SPDX-License-Identifier: MPL-2.0
# Turns the rules file IN into the C array OUT that rules_default() reads.
file(READ ${IN} text HEX)
if(text MATCHES "^(..)*[89a-f].")
	string(REGEX MATCHALL ".." bytes "${text}")
	foreach(byte IN LISTS bytes)
		if(byte MATCHES "^([89a-f].|00)")
			message(FATAL_ERROR "${IN}: holds the byte 0x${byte}; write it as \\xNN in a pattern")
		endif()
	endforeach()
endif()
string(REGEX REPLACE "(..)" "0x\\1," bytes "${text}")
string(REGEX REPLACE "((0x..,)(0x..,)?(0x..,)?(0x..,)?(0x..,)?(0x..,)?(0x..,)?(0x..,)?)" "\\1\n"
	bytes "${bytes}")
file(WRITE ${OUT} "/* Generated from kerio.rules. */
#include <stddef.h>

extern const char rules_builtin[];
extern const size_t rules_builtin_len;
const char rules_builtin[] = {
${bytes}0};
const size_t rules_builtin_len = sizeof(rules_builtin) - 1;
")
