// SPDX-License-Identifier: Apache-2.0
/* The blocks that connections read into: kept without a copy, used again, freed when not needed. */
#include "base/clock.h"
#include "http/shared.h"
#include "test.h"
#include "test_loop.h"

#define MANY 5

/* Reads what `mark` stands for, and keeps it. */
static struct http_block *read_and_keep(struct http_shared *s, char mark, struct slice *out_kept)
{
    struct stream_buffer b = http_shared_buffer(s);
    assert_int_equal(b.len, HTTP_READ_SIZE);
    memset(b.ptr, mark, b.len);
    *out_kept = slice_of(b.ptr + 100, b.len - 100);
    struct http_block *block = http_shared_keep(s, *out_kept);
    assert_non_null(block);
    return block;
}

static void what_is_kept_stays(void **state)
{
    struct http_shared *s = http_shared_ref(*state);
    struct http_block *blocks[MANY];
    struct slice kept[MANY];
    for (int i = 0; i < MANY; i++) {
        blocks[i] = read_and_keep(s, (char)('a' + i), &kept[i]);
    }
    memset(http_shared_buffer(s).ptr, 'x', HTTP_READ_SIZE);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(kept[i].ptr[0], 'a' + i);
        assert_int_equal(kept[i].ptr[kept[i].len - 1], 'a' + i);
        http_shared_let_go(s, blocks[i]);
    }
    http_shared_let_go(s, NULL);
    http_shared_unref(s);
}

static void bytes_of_others_are_not_kept(void **state)
{
    struct http_shared *s = http_shared_ref(*state);
    struct slice kept;
    struct http_block *block = read_and_keep(s, 'a', &kept);
    http_shared_buffer(s);
    assert_null(http_shared_keep(s, SLICE_LIT("not read at all")));
    assert_null(http_shared_keep(s, kept)); /* the last read is another one */
    http_shared_let_go(s, block);
    http_shared_unref(s);
}

/* One request after the other takes turns with two blocks; none of them is allocated anew. */
static void blocks_are_used_again(void **state)
{
    struct http_shared *s = http_shared_ref(*state);
    struct slice kept;
    struct http_block *first = read_and_keep(s, 'a', &kept);
    struct http_block *second = read_and_keep(s, 'b', &kept);
    http_shared_let_go(s, first);
    for (int i = 0; i < 10; i++) {
        struct http_block *next = read_and_keep(s, 'c', &kept);
        assert_ptr_equal(next, i % 2 == 0 ? first : second);
        http_shared_let_go(s, i % 2 == 0 ? second : first);
    }
    http_shared_let_go(s, first);
    http_shared_let_go(s, second);
    http_shared_unref(s);
}

static void what_a_second_does_not_need_is_freed(void **state)
{
    struct loop *loop = *state;
    struct http_shared *s = http_shared_ref(loop);
    struct http_block *blocks[MANY];
    struct slice kept;
    uint64_t now_ns = loop_now_ns(loop);
    for (int i = 0; i < MANY; i++) {
        blocks[i] = read_and_keep(s, 'a', &kept);
    }
    http_shared_buffer(s);
    for (int i = 0; i < MANY; i++) {
        http_shared_let_go(s, blocks[i]);
    }
    assert_int_equal(s->n_spare, MANY);
    http_shared_buffer(s); /* they were all in use until now */
    assert_int_equal(s->n_spare, MANY);
    loop->now_ns = now_ns + CLOCK_NS_PER_S;
    blocks[0] = read_and_keep(s, 'a', &kept);
    http_shared_let_go(s, blocks[0]);
    loop->now_ns = now_ns + 2 * CLOCK_NS_PER_S;
    http_shared_buffer(s);
    assert_in_range(s->n_spare, 0, 1);
    http_shared_unref(s);
}

#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_kept_stays),
        T(bytes_of_others_are_not_kept),
        T(blocks_are_used_again),
        T(what_a_second_does_not_need_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
