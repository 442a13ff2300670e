// SPDX-License-Identifier: Apache-2.0
/* Files as events, and what a folder may hold. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jparse.h"
#include "broker/file_event.h"
#include "broker/folder.h"
#include "broker/redis_event.h"
#include "test.h"

static void texts(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } rows[] = {
        {"plain name", "plain name"}, {"50%", "50%25"},         {"a\nb", "a%0Ab"},
        {"\xff\xc3", "%FF%C3"},       {"\xc3\xa9", "\xc3\xa9"}, {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(strbuf_fini) struct strbuf out;
        strbuf_init(&out, 4096);
        event_text(slice_str(rows[i].text), &out);
        assert_string_equal(out.ptr, rows[i].want);
    }
}

static void read_source(const char *spec, struct file_object *out)
{
    struct error err = {0};
    json_t *json = NULL;
    CLEANUP(cleanup_free)
    char *text =
        xasprintf("{\"metadata\":{\"namespace\":\"ns\",\"name\":\"f\"},\"spec\":%s}", spec);
    *out = (struct file_object){.path = NULL};
    ASSERT_OK(jparse(slice_str(text), 65536, &json, &err));
    ASSERT_OK(file_object_project(NULL, json, out, &err));
    json_decref(json);
}

static void files(void **state)
{
    char name[] = "a b\n\xff.CSV";
    const struct folder_file file = {name, 0x10, 300, 1577836800000000000};
    struct file_object source;
    struct event ev;
    struct error err = {0};
    struct strbuf data;
    read_source("{\"path\":\"/srv/in box\",\"maxDataBytes\":299}", &source);
    assert_true(file_by_reference(&source, &file));
    ASSERT_OK(file_event(&source, &file, NULL, &ev, &err));
    assert_true(slice_eq_str(event_extension(&ev, SLICE_LIT("dataref"))->value,
                             "file:///srv/in%20box/a%20b%0A%FF.CSV"));
    assert_true(slice_eq_str(event_extension(&ev, SLICE_LIT("filesize"))->value, "300"));
    assert_true(slice_eq_str(ev.known[EVENT_SUBJECT], "a b%0A%FF.CSV"));
    assert_true(slice_eq_str(ev.known[EVENT_ID], "10-12c-15e5a96d99e70000") ||
                ev.known[EVENT_ID].len > 8);
    assert_true(slice_eq_str(ev.known[EVENT_DATACONTENTTYPE], "text/csv"));
    assert_null(ev.data.ptr);
    event_fini(&ev);
    strbuf_init(&data, 16);
    strbuf_append_str(&data, "x,y");
    ASSERT_OK(file_event(&source, &file, &data, &ev, &err));
    assert_true(slice_eq_str(ev.data, "x,y"));
    assert_null(event_extension(&ev, SLICE_LIT("dataref")));
    event_fini(&ev);
    strbuf_fini(&data);
    file_object_release(NULL, &source);
}

/* --- a real folder --------------------------------------------------------------------------- */

static char *make(const char *folder, const char *name, const char *text)
{
    struct error err = {0};
    char *path = fs_join(folder, name);
    ASSERT_OK(fs_write_atomic(path, slice_str(text), 0600, &err));
    return path;
}

static const struct folder_file *find(const struct folder_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

static void folders(void **state)
{
    char folder[] = "/tmp/lull-folder-XXXXXX";
    struct folder_list list;
    struct error err = {0};
    struct strbuf data;
    assert_non_null(mkdtemp(folder));
    CLEANUP(cleanup_free) char *plain = make(folder, "plain", "text");
    free(make(folder, ".hidden", "text"));
    CLEANUP(cleanup_free) char *twice = make(folder, "twice", "text");
    CLEANUP(cleanup_free) char *again = fs_join(folder, "again");
    CLEANUP(cleanup_free) char *link = fs_join(folder, "link");
    CLEANUP(cleanup_free) char *pipe = fs_join(folder, "pipe");
    assert_int_equal(linkat(AT_FDCWD, twice, AT_FDCWD, again, 0), 0);
    assert_int_equal(symlink(plain, link), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    ASSERT_OK(folder_look(folder, NULL, &list, &err));
    assert_int_equal(list.n, 1);
    assert_int_equal(list.others, 4);
    const struct folder_file *file = find(&list, "plain");
    assert_non_null(file);
    ASSERT_OK(folder_read(folder, file, &data, &err));
    assert_true(slice_eq_str(strbuf_slice(&data), "text"));
    strbuf_fini(&data);

    /* Another file, or a link, in its place is not that one. */
    free(make(folder, "plain", "other"));
    ASSERT_ERR(ERR_CONFLICT, folder_read(folder, file, NULL, &err));
    assert_int_equal(unlink(plain), 0);
    ASSERT_ERR(ERR_NOT_FOUND, folder_read(folder, file, NULL, &err));
    assert_int_equal(symlink("/etc/hostname", plain), 0);
    ASSERT_ERR(ERR_CONFLICT, folder_read(folder, file, NULL, &err));
    assert_int_equal(unlink(plain), 0);
    assert_int_equal(mkfifo(plain, 0600), 0);
    ASSERT_ERR(ERR_CONFLICT, folder_read(folder, file, NULL, &err)); /* and does not hang */
    folder_list_fini(&list);

    /* `done` may not lead elsewhere. */
    CLEANUP(cleanup_free) char *done = fs_join(folder, "done");
    free(make(folder, "moves", "1"));
    assert_int_equal(symlink("/tmp", done), 0);
    assert_true(folder_move(folder, "moves", "done", &err) < 0);
    assert_int_equal(unlink(done), 0);
    ASSERT_OK(folder_move(folder, "moves", "done", &err));
    free(make(folder, "moves", "2"));
    ASSERT_OK(folder_move(folder, "moves", "done", &err));
    ASSERT_ERR(ERR_NOT_FOUND, folder_move(folder, "moves", "done", &err));
    ASSERT_OK(folder_look(done, "moves*", &list, &err));
    assert_int_equal(list.n, 2);
    folder_list_fini(&list);
    ASSERT_OK(fs_remove_tree(folder, &err));
    ASSERT_ERR(ERR_NOT_FOUND, folder_look(folder, NULL, &list, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(files),
        cmocka_unit_test(folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
