// SPDX-License-Identifier: Apache-2.0
#include "events/cesql.h"

int cesql_compile(struct slice text, struct cesql **out, struct error *err)
{
    (void)text;
    (void)out;
    return error_set(err, ERR_UNSUPPORTED, "CESQL expressions are not there yet");
}

void cesql_free(struct cesql *c)
{
    (void)c;
}

bool cesql_match(const struct cesql *c, const struct event *ev)
{
    (void)c;
    (void)ev;
    return false;
}
