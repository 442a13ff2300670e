// SPDX-License-Identifier: Apache-2.0
/* Plan: what was configured, else something that no other instance has at the same time. */
#include "activator/instance.h"

#include <unistd.h>

#include "base/mem.h"

char *instance_name(const char *configured)
{
    if (configured != NULL && configured[0] != '\0') {
        return xstrdup(configured);
    }
    char host[65] = {0};
    if (gethostname(host, sizeof(host) - 1) < 0) {
        host[0] = '\0';
    }
    return xasprintf("%s-%d", host[0] == '\0' ? "activator" : host, (int)getpid());
}
