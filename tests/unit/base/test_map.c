// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "test.h"

static int values[8];

static void sets_replaces_and_removes(void **state)
{
    struct map m;
    map_init(&m, MAP_COPY_KEYS);
    assert_null(map_get(&m, SLICE_LIT("a")));
    assert_null(map_remove(&m, SLICE_LIT("a")));
    assert_null(map_set(&m, SLICE_LIT("a"), &values[0]));
    assert_null(map_set(&m, SLICE_EMPTY, &values[1]));
    assert_null(map_set(&m, SLICE_LIT("a\0b"), &values[2]));
    assert_ptr_equal(map_get(&m, SLICE_LIT("a")), &values[0]);
    assert_ptr_equal(map_get(&m, SLICE_EMPTY), &values[1]);
    assert_ptr_equal(map_get(&m, SLICE_LIT("a\0b")), &values[2]);
    assert_ptr_equal(map_set(&m, SLICE_LIT("a"), &values[3]), &values[0]);
    assert_int_equal(map_len(&m), 3);
    assert_ptr_equal(map_remove(&m, SLICE_LIT("a")), &values[3]);
    assert_null(map_get(&m, SLICE_LIT("a")));
    assert_int_equal(map_len(&m), 2);
    map_clear(&m);
    assert_null(map_get(&m, SLICE_EMPTY));
    assert_null(map_set(&m, SLICE_LIT("again"), &values[0]));
    map_fini(&m);
    struct map zeroed = {.len = 0};
    map_fini(&zeroed);
}

static void keys_are_copied_or_borrowed(void **state)
{
    struct map m;
    char key[] = "key";
    map_init(&m, MAP_COPY_KEYS);
    map_set(&m, slice_str(key), &values[0]);
    key[0] = 'x';
    assert_ptr_equal(map_get(&m, SLICE_LIT("key")), &values[0]);
    map_fini(&m);

    map_init(&m, MAP_BORROW_KEYS);
    char first[] = "key";
    char second[] = "key";
    map_set(&m, slice_str(first), &values[0]);
    map_set(&m, slice_str(second), &values[1]); /* the old bytes may go now */
    memset(first, 'x', sizeof(first));
    assert_ptr_equal(map_get(&m, SLICE_LIT("key")), &values[1]);
    map_fini(&m);
}

static void walks_in_order_and_survives_removal(void **state)
{
    struct map m;
    int seen = 0;
    char key[2] = "a";
    map_init(&m, MAP_COPY_KEYS);
    for (int i = 0; i < 8; i++, key[0]++) {
        map_set(&m, slice_str(key), &values[i]);
    }
    map_remove(&m, SLICE_LIT("c"));
    map_foreach (it, &m) {
        assert_true(it.value == &values[it.key.ptr[0] - 'a']);
        seen = seen * 10 + (it.key.ptr[0] - 'a' + 1);
        if (it.key.ptr[0] == 'd') {
            char here[2] = {'d', '\0'};
            map_remove(&m, slice_str(here));
            map_remove(&m, SLICE_LIT("e"));
            map_remove(&m, SLICE_LIT("a"));
        }
    }
    assert_int_equal(seen, 124678);
    map_fini(&m);
}

/* Against a plain table, with many additions and removals. */
static void agrees_with_a_plain_table(void **state)
{
    enum { KEYS = 2000, STEPS = 200000 };
    struct map m;
    struct prng p;
    static int *table[KEYS];
    static int cells[KEYS];
    size_t live = 0;
    memset(table, 0, sizeof(table));
    prng_seed(&p, 7);
    map_init(&m, MAP_COPY_KEYS);
    for (int step = 0; step < STEPS; step++) {
        uint32_t k = prng_below(&p, KEYS);
        char key[16];
        snprintf(key, sizeof(key), "key-%u", k);
        if (prng_below(&p, 3) == 0) {
            assert_ptr_equal(map_remove(&m, slice_str(key)), table[k]);
            live -= table[k] != NULL ? 1 : 0;
            table[k] = NULL;
        } else {
            assert_ptr_equal(map_set(&m, slice_str(key), &cells[k]), table[k]);
            live += table[k] == NULL ? 1 : 0;
            table[k] = &cells[k];
        }
        assert_int_equal(map_len(&m), live);
    }
    size_t walked = 0;
    map_foreach (it, &m) {
        walked++;
    }
    assert_int_equal(walked, live);
    assert_true(m.cap <= 8 * KEYS); /* holes are used again */
    map_fini(&m);
}

static void hash_matches_the_reference(void **state)
{
    /* SipHash-1-3 with the key 00 01 … 0f over the bytes 00 01 … n-1. */
    static const uint64_t seed[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
    static const struct {
        size_t len;
        uint64_t want;
    } rows[] = {{0, 0xabac0158050fc4dcull},
                {1, 0xc9f49bf37d57ca93ull},
                {7, 0xd3927d989bb11140ull},
                {8, 0x369095118d299a8eull},
                {15, 0xd320d86d2a519956ull}};
    char bytes[16];
    for (int i = 0; i < 16; i++) {
        bytes[i] = (char)i;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(map_hash(seed, slice_of(bytes, rows[i].len)) == rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_replaces_and_removes),
        cmocka_unit_test(keys_are_copied_or_borrowed),
        cmocka_unit_test(walks_in_order_and_survives_removal),
        cmocka_unit_test(agrees_with_a_plain_table),
        cmocka_unit_test(hash_matches_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
