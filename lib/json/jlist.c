// SPDX-License-Identifier: Apache-2.0
/*
 * The outer object and the array are stepped through by hand; each value inside is taken by jread,
 * or, when it does not take it, cut out and given to jparse, which has the last word. Failure
 * modes: whatever is no JSON ends the reading there.
 */
#include "json/jlist.h"

#include "json/jread.h"

static void skip_space(struct slice *rest)
{
    while (rest->len > 0 && memchr(" \n\t\r", rest->ptr[0], 4) != NULL) {
        *rest = slice_sub(*rest, 1, rest->len);
    }
}

static bool take(struct slice *rest, char wanted)
{
    skip_space(rest);
    if (rest->len == 0 || rest->ptr[0] != wanted) {
        return false;
    }
    *rest = slice_sub(*rest, 1, rest->len);
    return true;
}

/* How far the value at the front goes, by its quotes and brackets alone. */
static size_t extent(struct slice text)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            i += c == '\\' ? 1 : 0;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
            return i;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return text.len;
}

static int take_value(struct slice *rest, const char *const *without, json_t **out,
                      struct error *err)
{
    skip_space(rest);
    *out = jread_front(rest, without, JPARSE_DEPTH_MAX);
    if (*out != NULL) {
        return 0;
    }
    size_t len = extent(*rest);
    int rc = jparse(slice_sub(*rest, 0, len), len, out, err);
    *rest = slice_sub(*rest, len, rest->len);
    return rc;
}

static int broken(struct error *err)
{
    return error_set(err, ERR_INVALID, "JSON: no list of objects");
}

static int read_item(struct slice *rest, const char *const *without, jlist_item_cb fn, void *arg,
                     struct error *err)
{
    CLEANUP(jfree) json_t *item = NULL;
    int rc = take_value(rest, without, &item, err);
    if (rc == 0 && !json_is_object(item)) {
        rc = broken(err);
    }
    if (rc == 0 && !fn(arg, item)) {
        rc = error_set(err, ERR_CANCELED, "no more is wanted");
    }
    return rc;
}

static int read_items(struct slice *rest, const char *const *without, jlist_item_cb fn, void *arg,
                      struct error *err)
{
    int rc = 0;
    if (take(rest, ']')) {
        return 0;
    }
    do {
        rc = read_item(rest, without, fn, arg, err);
    } while (rc == 0 && take(rest, ','));
    return rc == 0 && !take(rest, ']') ? broken(err) : rc;
}

/* One member of the outer object. */
static int read_entry(struct slice *rest, const char *const *without, jlist_item_cb fn, void *arg,
                      json_t *out, struct error *err)
{
    CLEANUP(jfree) json_t *key = NULL;
    json_t *value = NULL;
    int rc = take_value(rest, NULL, &key, err);
    if (rc == 0 && (!json_is_string(key) || !take(rest, ':'))) {
        rc = broken(err);
    }
    if (rc < 0) {
        return rc;
    }
    if (strcmp(json_string_value(key), "items") == 0 && take(rest, '[')) {
        return read_items(rest, without, fn, arg, err);
    }
    rc = take_value(rest, NULL, &value, err);
    return rc == 0 && json_object_set_new(out, json_string_value(key), value) < 0 ? broken(err)
                                                                                  : rc;
}

int jlist_read(struct slice text, const char *const *without, jlist_item_cb fn, void *arg,
               json_t **out_rest, struct error *err)
{
    CLEANUP(jfree) json_t *out = json_object();
    int rc = take(&text, '{') ? 0 : broken(err);
    if (rc == 0 && !take(&text, '}')) {
        do {
            rc = read_entry(&text, without, fn, arg, out, err);
        } while (rc == 0 && take(&text, ','));
        rc = rc == 0 && !take(&text, '}') ? broken(err) : rc;
    }
    skip_space(&text);
    if (rc == 0 && text.len > 0) {
        rc = broken(err);
    }
    if (rc == 0) {
        *out_rest = json_incref(out);
    }
    return rc;
}
