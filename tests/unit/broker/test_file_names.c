// SPDX-License-Identifier: Apache-2.0
/* Which files of a folder are sent, and how long it is remembered that one was. */
#include "base/mem.h"
#include "broker/file_names.h"
#include "test.h"

static const struct file_place here = {1, 10}, elsewhere = {1, 11};

struct gone {
    size_t n;
    char last[32];
};

static void on_gone(void *arg, const char *name)
{
    struct gone *g = arg;
    g->n++;
    (void)slice_copy(slice_str(name), g->last, sizeof(g->last));
}

static uint64_t see(struct file_names *n, const char *name, int64_t size, uint64_t now_ms)
{
    char text[32];
    (void)slice_copy(slice_str(name), text, sizeof(text));
    const struct folder_file file = {text, 7, size, 1000000};
    return file_names_look(n, &file, 100, now_ms, 1000000);
}

/* A look at a folder with that one file in it, or none (NULL). */
static void look(struct file_names *n, struct file_place place, const char *name, uint64_t now_ms,
                 struct gone *gone)
{
    file_names_look_begin(n, place);
    if (name != NULL) {
        (void)see(n, name, 1, now_ms);
    }
    file_names_look_end(n, true, now_ms, on_gone, gone);
}

static void note(struct file_names *n, const char *name, struct file_name *known)
{
    char text[32], stamp[FILE_STAMP_MAX];
    (void)slice_copy(slice_str(name), text, sizeof(text));
    const struct folder_file file = {text, 7, 1, 1000000};
    file_stamp(&file, stamp);
    if (known == NULL) {
        file_names_note(n, name, slice_str(stamp));
    } else {
        known->busy = false;
        file_names_noted(n, known, stamp);
    }
}

static void a_file_that_rests_is_next_and_a_version_that_is_noted_is_not(void **state)
{
    struct file_names n;
    struct gone gone = {0};
    file_names_init(&n);
    file_names_look_begin(&n, here);
    assert_int_equal(see(&n, "a", 1, 1000), 100);
    assert_null(file_names_next(&n));
    assert_int_equal(see(&n, "a", 2, 1050), 100); /* it has grown */
    assert_int_equal(see(&n, "a", 2, 1149), 1);
    assert_int_equal(see(&n, "a", 2, 1150), 0);
    assert_int_equal(see(&n, "a", 2, 1151), 0);
    assert_int_equal(file_names_waiting(&n), 1);
    struct file_name *a = file_names_next(&n);
    assert_string_equal(a->name, "a");
    assert_null(file_names_next(&n));
    a->busy = true;
    file_names_look_end(&n, true, 1151, on_gone, &gone);
    note(&n, "a", a);
    look(&n, here, "a", 2000, &gone); /* of one byte: that is what was noted */
    look(&n, here, "a", 3000, &gone);
    assert_null(file_names_next(&n));
    assert_int_equal(see(&n, "a", 3, 4000), 100);
    assert_int_equal(gone.n, 0);
    file_names_fini(&n);
}

static void the_note_of_a_file_that_went_goes_after_a_while(void **state)
{
    struct file_names n;
    struct gone gone = {0};
    file_names_init(&n);
    look(&n, here, "a", 1000, &gone);
    note(&n, "a", file_names_get(&n, "a"));
    look(&n, here, NULL, 2000, &gone);
    look(&n, here, NULL, 2000 + FILE_NOTE_GONE_MS - 1, &gone);
    assert_int_equal(gone.n, 0);
    look(&n, here, "a", 2000 + FILE_NOTE_GONE_MS, &gone); /* it was only away */
    look(&n, here, NULL, 3000 + FILE_NOTE_GONE_MS, &gone);
    look(&n, here, NULL, 2999 + 2 * FILE_NOTE_GONE_MS, &gone);
    assert_int_equal(gone.n, 0);
    look(&n, here, NULL, 3000 + 2 * FILE_NOTE_GONE_MS, &gone);
    assert_int_equal(gone.n, 1);
    assert_string_equal(gone.last, "a");
    assert_null(file_names_get(&n, "a"));
    file_names_fini(&n);
}

static void notes_stay_while_another_folder_is_in_its_place(void **state)
{
    struct file_names n;
    struct gone gone = {0};
    file_names_init(&n);
    note(&n, "a", NULL); /* of an earlier run */
    note(&n, "b", NULL);
    look(&n, elsewhere, NULL, 1000, &gone);
    look(&n, elsewhere, NULL, 1000 + 2 * FILE_NOTE_GONE_MS, &gone);
    assert_int_equal(gone.n, 0);
    look(&n, here, "a", 2000 + 2 * FILE_NOTE_GONE_MS, &gone); /* mounted again */
    assert_null(file_names_next(&n));
    assert_int_equal(gone.n, 1);
    assert_string_equal(gone.last, "b");
    look(&n, elsewhere, NULL, 9 * FILE_NOTE_GONE_MS, &gone);
    look(&n, elsewhere, NULL, 99 * FILE_NOTE_GONE_MS, &gone);
    assert_int_equal(gone.n, 1);
    file_names_fini(&n);
}

static void notes_are_never_more_than_so_many(void **state)
{
    struct file_names n;
    struct gone gone = {0};
    char name[32];
    file_names_init(&n);
    for (int i = 0; i < FILE_NOTES_MAX + 50; i++) {
        snprintf(name, sizeof(name), "%d", i);
        note(&n, name, NULL);
    }
    file_names_look_begin(&n, here);
    (void)see(&n, "1", 1, 1000);
    file_names_look_end(&n, false, 1000, on_gone, &gone); /* the folder is too full to be seen */
    assert_int_equal(gone.n, 50);
    assert_non_null(file_names_get(&n, "1"));
    file_names_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_rests_is_next_and_a_version_that_is_noted_is_not),
        cmocka_unit_test(the_note_of_a_file_that_went_goes_after_a_while),
        cmocka_unit_test(notes_stay_while_another_folder_is_in_its_place),
        cmocka_unit_test(notes_are_never_more_than_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
