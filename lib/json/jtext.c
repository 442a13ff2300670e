// SPDX-License-Identifier: Apache-2.0
/* No failure modes but those of the buffer, which remembers them. */
#include "json/jtext.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **jtext_names(const json_t *object)
{
    const char **names = xcalloc(json_object_size(object) + 1, sizeof(*names));
    const char *name;
    json_t *value;
    size_t count = 0;
    /* jansson's iterators are not const */
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        names[count++] = name;
    }
    qsort(names, count, sizeof(*names), by_name);
    return names;
}

void jtext_scalar(struct strbuf *out, const json_t *scalar)
{
    char number[NUM_DOUBLE_MAX];
    if (json_is_integer(scalar)) {
        strbuf_appendf(out, "%lld", (long long)json_integer_value(scalar));
    } else if (json_is_real(scalar)) {
        strbuf_append_str(out, num_format_double(json_real_value(scalar), number, sizeof(number)));
    } else if (json_is_string(scalar)) {
        strbuf_append(out, json_string_value(scalar), json_string_length(scalar));
    } else {
        strbuf_append_str(out, json_is_true(scalar)    ? "true"
                               : json_is_false(scalar) ? "false"
                                                       : "null");
    }
}
