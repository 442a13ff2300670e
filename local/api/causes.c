// SPDX-License-Identifier: Apache-2.0
/* Plan. Text, then an element of the list; what users wrote is cut, and made UTF-8 again. */
#include "local/api/causes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jbuild.h"

void cause_add(json_t *causes, const char *field, const char *fmt, ...)
{
    static const struct {
        const char *text, *reason;
    } reasons[] = {
        {"Required value", "FieldValueRequired"},
        {"Duplicate value", "FieldValueDuplicate"},
        {"Unsupported value", "FieldValueNotSupported"},
        {"Forbidden", "FieldValueForbidden"},
        {"Too long", "FieldValueTooLong"},
        {"Too many", "FieldValueTooMany"},
        {"", "FieldValueInvalid"},
    };
    char message[2048];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    size_t i = 0;
    while (strncmp(message, reasons[i].text, strlen(reasons[i].text)) != 0) {
        i++;
    }
    json_t *cause =
        json_pack("{s:s,s:o,s:o}", "reason", reasons[i].reason, "message",
                  jstring_lossy(slice_str(message)), "field", jstring_lossy(slice_str(field)));
    REQUIRE(json_array_append_new(causes, cause) == 0);
}

void cause_unless_one_of(json_t *causes, const char *field, const char *value,
                         const char *const allowed[])
{
    CLEANUP(strbuf_fini) struct strbuf names;
    strbuf_init(&names, 256);
    for (size_t i = 0; allowed[i] != NULL; i++) {
        if (strcmp(value, allowed[i]) == 0) {
            return;
        }
        (void)strbuf_appendf(&names, "%s\"%s\"", i > 0 ? ", " : "", allowed[i]);
    }
    cause_add(causes, field, "Unsupported value: \"%.1000s\": supported values: %s", value,
              names.ptr);
}

bool field_is_set(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL && !json_is_null(value) &&
           !(json_is_string(value) && json_string_length(value) == 0);
}
