// SPDX-License-Identifier: Apache-2.0
//
// What can be wrong on one machine. Failure modes: the supervisor does not run, then only what lies
// in the state directory is looked at.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/doctor.h"
#include "cli/home.h"

#define DISK_LEAST_MIB  512
#define FILES_LEAST     4096
#define CERTIFICATE_MAX (64u << 10)

static void check_parts(struct doctor *d)
{
    CLEANUP(jfree) json_t *up = NULL;
    struct error err;
    size_t i;
    json_t *part;
    if (home_read_up(d->cli->home, &up, &err) < 0) {
        doctor_fail(d, "parts", "start it: `lull up`", "%s", err.msg);
        return;
    }
    json_array_foreach(jpeek_arr(up, "parts"), i, part)
    {
        const char *name = jpeek_cstr(part, "name");
        long long restarts = (long long)jpeek_i64(part, "restarts");
        CLEANUP(cleanup_free)
        char *advice = xasprintf("see %s/logs/%s.log", d->cli->home,
                                 name + (strncmp(name, "lull-", 5) == 0 ? 5 : 0));
        if (!jpeek_bool(part, "ready")) {
            doctor_fail(d, "parts", advice, "%s is not ready", name);
        } else if (restarts > 0) {
            doctor_warn(d, "parts", advice, "%s was started again %lld times", name, restarts);
        } else {
            doctor_ok(d, "parts", "%s is ready", name);
        }
    }
}

static bool check_api(struct doctor *d)
{
    CLEANUP(jfree) json_t *list = NULL;
    struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_NAMESPACE))};
    struct error err;
    if (cli_call(d->cli, kube_list, &call, &list, &err) < 0) {
        doctor_fail(d, "api", "see `lull status` and the log of lull-local", "%s", err.msg);
        return false;
    }
    doctor_ok(d, "api", "it answers");
    return true;
}

static void check_state(struct doctor *d)
{
    const char *home = d->cli->home;
    CLEANUP(cleanup_free) char *token = fs_join(home, "token");
    struct statvfs disk;
    struct stat st;
    if (statvfs(home, &disk) == 0) {
        unsigned long long mib = (unsigned long long)disk.f_bavail * disk.f_frsize >> 20;
        if (mib < DISK_LEAST_MIB) {
            doctor_warn(d, "disk", "make room: writes fail when it is full",
                        "%llu MiB are free where %s is", mib, home);
        } else {
            doctor_ok(d, "disk", "%llu MiB are free where %s is", mib, home);
        }
    }
    if (stat(token, &st) == 0 && (st.st_mode & 077) != 0) {
        doctor_fail(d, "token", "chmod 600 it, and make a new one if others could read it",
                    "%s can be read by other users", token);
    } else {
        doctor_ok(d, "token", "only its owner can read it");
    }
}

static void check_certificate(struct doctor *d)
{
    CLEANUP(cleanup_free) char *path = fs_join(d->cli->home, "pki/server.crt");
    CLEANUP(strbuf_fini) struct strbuf pem;
    struct error err;
    strbuf_init(&pem, CERTIFICATE_MAX);
    if (fs_read_file(path, CERTIFICATE_MAX, &pem, &err) < 0) {
        doctor_fail(d, "certificates", "`lull down`, then `lull up`: it is made again", "%s",
                    err.msg);
        return;
    }
    doctor_certificate(d, "certificates", "the API's", strbuf_slice(&pem),
                       "`lull down`, remove that file and server.key, `lull up`");
}

static void check_limits(struct doctor *d)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max < FILES_LEAST) {
        doctor_warn(d, "limits", "raise it: ulimit -Hn, or LimitNOFILE of the unit",
                    "a process may have %llu open files: every connection takes one",
                    (unsigned long long)files.rlim_max);
    } else {
        doctor_ok(d, "limits", "enough open files are allowed");
    }
}

bool doctor_machine(struct doctor *d)
{
    check_parts(d);
    check_state(d);
    check_certificate(d);
    check_limits(d);
    return check_api(d);
}
