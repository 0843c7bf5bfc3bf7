/* SPDX-License-Identifier: MPL-2.0 */
#include "node/test/node_world.h"

#include <utlist.h>

#include "node/outbox.h"

#define S 1000ULL

/* Only keys, clocks and the store of the world are used here. */
struct fixture {
	struct world *w;
	struct outbox o;
	struct stage s;
};

static int setup(void **state)
{
	struct fixture *f = kban_zalloc(sizeof(*f));
	void *w = NULL;

	world_setup(&w);
	f->w = w;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *w = f->w;

	outbox_free(&f->o);
	stage_free(&f->s);
	world_teardown(&w);
	free(f);
	return 0;
}

static void add(struct fixture *f, const char *prefix, uint64_t duration_ms)
{
	struct kban_event e = {
		.kind = KBAN_EVENT_BAN,
		.ban = {.prefix = P(prefix), .duration_ms = duration_ms, .rule = kban_text("r")}};

	assert_int_equal(outbox_add(&f->o, &f->s, &e, duration_ms ? f->w->boot_ms + duration_ms : 0,
				    f->w->wall_ms + duration_ms),
			 0);
}

static bool seal(struct fixture *f, uint64_t floor)
{
	struct outbox_seal how = {
		.keys = &f->w->identity.keys,
		.cluster = f->w->identity.cluster,
		.base = {1, 7},
		.counter_floor = floor,
		.wall_ms = f->w->wall_ms,
		.boot_ms = f->w->boot_ms,
	};

	return outbox_seal(&f->o, &f->s, &how);
}

static void commit(struct fixture *f)
{
	assert_int_equal(stage_commit(&f->s, f->w->store), 0);
}

static void reload(struct fixture *f)
{
	commit(f);
	outbox_free(&f->o);
	assert_int_equal(outbox_load(&f->o, f->w->store, f->w->wall_ms, f->w->boot_ms), 0);
}

static struct kban_report *sealed_report(struct fixture *f)
{
	struct kban_report *r = NULL;

	assert_int_equal(kban_report_decode(&r, &f->o.sealed), 0);
	assert_true(kban_report_check(r, &f->o.sealed));
	return r;
}

static void sealed_report_survives_reopen_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	uint8_t copy[4096];

	add(f, "192.0.2.1", 300 * S);
	add(f, "192.0.2.2", 0);
	assert_true(seal(f, 41));
	add(f, "192.0.2.3", 300 * S);
	size_t len = f->o.sealed.report_len;

	memcpy(copy, f->o.bytes, len + KBAN_SIGNATURE_SIZE);
	f->w->boot_ms += 5000;
	f->w->wall_ms += 5000;
	reload(f);
	assert_int_equal(f->o.sealed.report_len, len);
	assert_memory_equal(f->o.bytes, copy, len + KBAN_SIGNATURE_SIZE);
	assert_int_equal(f->o.n, 3);
	assert_int_equal(f->o.sealed_n, 2);
	assert_int_equal(f->o.counter, 42);
	assert_false(seal(f, 0));
}

static void remaining_duration_is_sealed(void **state)
{
	struct fixture *f = *state;

	add(f, "192.0.2.1", 300 * S);
	add(f, "192.0.2.2", 10 * S);
	reload(f);
	f->w->boot_ms += 100 * S;
	assert_true(seal(f, 0));
	kban_auto(kban_report_free) struct kban_report *r = sealed_report(f);

	assert_int_equal(r->counter, 1);
	assert_int_equal(r->base.seq, 7);
	assert_int_equal(r->events[0].ban.duration_ms, 200 * S);
	assert_int_equal(r->events[1].ban.duration_ms, 0);
}

static void wrong_clock_at_reload_never_makes_a_ban_longer(void **state)
{
	struct fixture *f = *state;

	add(f, "192.0.2.1", 300 * S);
	commit(f);
	f->w->wall_ms -= 86400 * S;
	reload(f);
	assert_int_equal(f->o.items->until_boot_ms, f->w->boot_ms + 300 * S);
}

static void counter_is_spent_for_good(void **state)
{
	struct fixture *f = *state;

	add(f, "192.0.2.1", 300 * S);
	assert_true(seal(f, 0));
	outbox_settle(&f->o, &f->s, NULL, NULL);
	reload(f);
	assert_int_equal(f->o.n, 0);
	assert_null(f->o.bytes);
	add(f, "192.0.2.1", 300 * S);
	assert_true(seal(f, 0));
	assert_int_equal(f->o.counter, 2);
	outbox_unseal(&f->o, &f->s);
	reload(f);
	assert_int_equal(f->o.n, 1);
	assert_true(seal(f, 0));
	assert_int_equal(f->o.counter, 3);
}

static void report_is_filled_up_to_its_limits(void **state)
{
	struct fixture *f = *state;
	char line[KBAN_LINE_MAX + 1], prefix[32];

	memset(line, 'x', KBAN_LINE_MAX);
	line[KBAN_LINE_MAX] = '\0';
	for (unsigned i = 0; i < 600; i++) {
		struct kban_event e = {.kind = KBAN_EVENT_BAN};

		snprintf(prefix, sizeof(prefix), "10.0.%u.%u", i / 200, i % 200);
		e.ban = (struct kban_event_ban){.prefix = P(prefix),
						.duration_ms = 300 * S,
						.line = kban_text(line),
						.count = 10};
		assert_int_equal(outbox_add(&f->o, &f->s, &e, f->w->boot_ms + 300 * S, 1), 0);
	}
	size_t left = 600;

	while (left) {
		assert_true(seal(f, 0));
		assert_true(f->o.sealed.report_len <= KBAN_REPORT_MAX);
		assert_true(f->o.sealed_n > 100 || f->o.sealed_n == left);
		assert_true(f->o.sealed_n <= KBAN_EVENTS_MAX);
		left -= f->o.sealed_n;
		outbox_settle(&f->o, &f->s, NULL, NULL);
		assert_int_equal(f->o.n, left);
	}
}

static void damaged_rows_are_named(void **state)
{
	static const struct {
		const char *key;
		size_t key_len;
		const char *value;
		size_t value_len;
	} rows[] = {
		{"o", 1, "x", 1},
		{"o\0\0\0\0\0\0\0\1", 9, "\0\0\0\0\0\0\0\1garbage", 15},
		{"s", 1, "short", 5},
		{"s", 1, "\0\0\0\0\0\0\0\1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\0\1zz", 46},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < KBAN_ARRAY_LEN(rows); i++) {
		struct kban_span key = kban_span(rows[i].key, rows[i].key_len);

		stage_put(&f->s, key, kban_span(rows[i].value, rows[i].value_len));
		commit(f);
		assert_int_equal(outbox_load(&f->o, f->w->store, f->w->wall_ms, f->w->boot_ms),
				 STORE_DAMAGED);
		outbox_free(&f->o);
		stage_delete(&f->s, key);
		commit(f);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sealed_report_survives_reopen_byte_by_byte),
		T(remaining_duration_is_sealed),
		T(wrong_clock_at_reload_never_makes_a_ban_longer),
		T(counter_is_spent_for_good),
		T(report_is_filled_up_to_its_limits),
		T(damaged_rows_are_named),
	};

	kban_log_setup("test", 0);
	kban_crypto_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
