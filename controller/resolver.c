// SPDX-License-Identifier: Apache-2.0
/*
 * One job per Revision, one step of it at a time: the service account, its pull secrets and the
 * Revision's, the images one after the other. Happy path: every image has its digest. Failure
 * modes: what the API refuses to show counts as no credentials; a registry's refusal fails the job,
 * which is tried again after a back-off when somebody asks.
 */
#include "controller/resolver.h"

#include "base/backoff.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/meta.h"
#include "controller/registry.h"

enum {
    KEY_MAX = 2 * OBJECT_BUF,
    CALL_TIMEOUT_MS = 5000,
    SECRETS_MAX = 16,
    CA_MAX = 1 << 20,
    AUTH_MAX = 16384,
    CONNECTIONS = 32,
    RETRY_MIN_MS = 1000,
    RETRY_MAX_MS = 60000,
};

enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED };

struct job {
    struct resolver *r;
    char *key; /* "ns/name", owned */
    char *ns;
    const char *name; /* within key */
    char uid[64];
    enum job_state state;
    bool known_failed; /* a run has failed: its message stands while the next one is under way */
    bool forgotten;    /* nobody asks any more: freed at the end of its run */
    json_t *names;     /* container name -> image as the user wrote it */
    json_t *images;    /* container name -> image with its digest, "" when it stays as it is */
    json_t *pulls;     /* names of Secrets still to be read */
    json_t *secrets;   /* those that were */
    void *at;          /* of names: the iterator */
    struct kube_request *call; /* under way; NULL: none */
    char account[OBJECT_BUF];
    struct error why; /* of the last run that failed */
    char image[ERROR_MSG_MAX];
    struct backoff backoff;
    uint64_t retry_ms;
};

struct resolver {
    struct loop *loop;
    struct resolver_options options;
    struct fetch *fetch;
    struct map jobs; /* key -> struct job */
    size_t running;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void step(struct job *job);

/* --- jobs ---------------------------------------------------------------------------------- */

static void drop_run(struct job *job)
{
    json_decref(job->names);
    json_decref(job->pulls);
    json_decref(job->secrets);
    job->names = job->pulls = job->secrets = NULL;
    job->at = NULL;
}

static void job_free(struct job *job)
{
    drop_run(job);
    json_decref(job->images);
    free(job->ns);
    free(job->key);
    free(job);
}

/* Once nothing is under way any more. */
static void maybe_closed(struct resolver *r)
{
    if (!r->closing || r->running > 0 || r->fetch != NULL) {
        return;
    }
    void (*cb)(void *arg) = r->close_cb;
    void *cb_arg = r->close_arg;
    map_foreach (it, &r->jobs) {
        job_free(it.value);
    }
    map_fini(&r->jobs);
    free(r);
    if (cb != NULL) {
        cb(cb_arg);
    }
}

static void on_fetch_closed(void *arg)
{
    struct resolver *r = arg;
    r->fetch = NULL;
    maybe_closed(r);
}

static void ended(struct job *job, enum job_state state)
{
    struct resolver *r = job->r;
    job->state = state;
    drop_run(job);
    r->running--;
    if (job->forgotten) {
        job_free(job);
    } else if (!r->closing) {
        r->options.on_done(r->options.arg, job->ns, job->name);
    }
    maybe_closed(r);
}

static void failed(struct job *job, const char *image, const struct error *err)
{
    if (job->r->closing) {
        ended(job, JOB_FAILED);
        return;
    }
    snprintf(job->image, sizeof(job->image), "%s", image);
    (void)error_copy(&job->why, err);
    (void)error_prefix(&job->why, err->code, "failed to resolve image to digest");
    job->known_failed = true;
    job->retry_ms = loop_now_ms(job->r->loop) + backoff_next_ms(&job->backoff);
    LOG_WARN("cannot resolve an image to its digest", LOG_STR("revision", job->key),
             LOG_STR("image", job->image), LOG_ERR(err));
    ended(job, JOB_FAILED);
}

/* --- images -------------------------------------------------------------------------------- */

static void on_digest(void *arg, struct slice digest, const struct error *err)
{
    struct job *job = arg;
    const char *container = json_object_iter_key(job->at);
    const char *image = json_string_value(json_object_iter_value(job->at));
    if (err != NULL) {
        failed(job, image, err);
        return;
    }
    /* Without its tag: the digest is what counts. */
    struct slice name = slice_str(image);
    ptrdiff_t slash = slice_rfind(name, '/'), colon = slice_rfind(name, ':');
    name = colon > slash ? slice_sub(name, 0, (size_t)colon) : name;
    CLEANUP(cleanup_free)
    char *fixed = xasprintf("%.*s@%.*s", SLICE_FMT(name), SLICE_FMT(digest));
    json_object_set_new(job->images, container, json_string(fixed));
    job->at = json_object_iter_next(job->names, job->at);
    step(job);
}

static void find_auth(const struct job *job, const char *registry, struct strbuf *out)
{
    size_t i;
    const json_t *secret;
    json_array_foreach(job->secrets, i, secret)
    {
        if (image_credentials(secret, registry, out, NULL) == 0) {
            return;
        }
        strbuf_clear(out);
    }
}

static void ask_registry(struct job *job, const char *image)
{
    const struct deployment_config *config = &job->r->options.settings->deployment;
    CLEANUP(strbuf_fini) struct strbuf auth;
    struct image_ref ref;
    struct error err = {0};
    strbuf_init(&auth, AUTH_MAX);
    int rc = image_ref_parse(image, &ref, &err);
    if (rc == 0 && (ref.has_digest || image_ref_listed(&ref, config->skipped_registries))) {
        json_object_set_new(job->images, json_object_iter_key(job->at), json_string(""));
        job->at = json_object_iter_next(job->names, job->at);
        step(job);
        return;
    }
    if (rc == 0) {
        find_auth(job, ref.registry, &auth);
        struct registry_spec spec = {
            .ref = &ref,
            .auth = auth.len > 0 ? auth.ptr : NULL,
            .timeout_ms = (uint64_t)config->digest_timeout_ms,
            .cb = on_digest,
            .arg = job,
        };
        rc = registry_ask(job->r->fetch, job->r->loop, &spec, &err);
    }
    if (rc < 0) {
        failed(job, image, &err);
    }
}

/* --- credentials --------------------------------------------------------------------------- */

static void add_pulls(struct job *job, const json_t *list)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        if (json_array_size(job->pulls) < SECRETS_MAX) {
            json_array_append_new(job->pulls, json_string(jpeek_cstr(one, "name")));
        }
    }
}

static void on_account(void *arg, json_t *object, const struct error *err)
{
    struct job *job = arg;
    job->call = NULL;
    if (err == NULL) {
        add_pulls(job, jpeek_arr(object, "imagePullSecrets"));
    }
    job->account[0] = '\0';
    step(job);
}

static void on_secret(void *arg, json_t *object, const struct error *err)
{
    struct job *job = arg;
    job->call = NULL;
    if (err == NULL) {
        json_array_append(job->secrets, object);
    } else if (err->code != ERR_NOT_FOUND) {
        LOG_DEBUG("cannot read a pull secret", LOG_STR("revision", job->key), LOG_ERR(err));
    }
    step(job);
}

/* False: it could not even be asked; the job goes on without. */
static bool get(struct job *job, enum kind_id kind, const char *name, kube_cb cb)
{
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(kind)),
        .ns = job->ns,
        .name = name,
        .timeout_ms = CALL_TIMEOUT_MS,
        .cb = cb,
        .arg = job,
    };
    return name[0] != '\0' && kube_get(job->r->options.client, &call, &job->call, NULL) == 0;
}

/* Whatever is next; one call is under way afterwards, or the job is over. */
static void step(struct job *job)
{
    if (job->r->closing) {
        ended(job, JOB_FAILED);
        return;
    }
    if (job->account[0] != '\0') {
        if (get(job, KIND_SERVICEACCOUNT, job->account, on_account)) {
            return;
        }
        job->account[0] = '\0';
    }
    while (json_array_size(job->pulls) > 0) {
        char name[OBJECT_BUF];
        (void)slice_copy(slice_str(json_string_value(json_array_get(job->pulls, 0))), name,
                         sizeof(name));
        json_array_remove(job->pulls, 0);
        if (get(job, KIND_SECRET, name, on_secret)) {
            return;
        }
    }
    if (job->at == NULL) {
        ended(job, JOB_DONE);
        return;
    }
    ask_registry(job, json_string_value(json_object_iter_value(job->at)));
}

/* --- questions ----------------------------------------------------------------------------- */

static void add_names(json_t *names, const json_t *containers)
{
    size_t i;
    const json_t *container;
    json_array_foreach(containers, i, container)
    {
        json_object_set_new(names, jpeek_cstr(container, "name"),
                            json_string(jpeek_cstr(container, "image")));
    }
}

/* Whether any image has to be asked about at all: credentials are not needed otherwise. */
static bool needs_registry(const struct job *job)
{
    const char *container;
    json_t *image;
    json_object_foreach(job->names, container, image)
    {
        struct image_ref ref;
        const char *skipped = job->r->options.settings->deployment.skipped_registries;
        if (image_ref_parse(json_string_value(image), &ref, NULL) < 0 ||
            !(ref.has_digest || image_ref_listed(&ref, skipped))) {
            return true;
        }
    }
    return false;
}

/* Everything is known without asking anybody. */
static void all_as_they_are(struct job *job)
{
    const char *container;
    json_t *image;
    json_object_foreach(job->names, container, image)
    {
        json_object_set_new(job->images, container, json_string(""));
    }
    drop_run(job);
    job->state = JOB_DONE;
}

static void begin(struct job *job, const json_t *revision)
{
    const json_t *spec = jpeek_obj(revision, "spec");
    const char *account = jpeek_cstr(spec, "serviceAccountName");
    json_decref(job->images);
    job->names = json_object();
    job->images = json_object();
    job->pulls = json_array();
    job->secrets = json_array();
    add_names(job->names, jpeek_arr(spec, "containers"));
    add_names(job->names, jpeek_arr(spec, "initContainers"));
    if (!needs_registry(job)) {
        all_as_they_are(job);
        return;
    }
    snprintf(job->account, sizeof(job->account), "%s", account[0] == '\0' ? "default" : account);
    add_pulls(job, jpeek_arr(spec, "imagePullSecrets"));
    job->at = json_object_iter(job->names);
    job->state = JOB_RUNNING;
    job->r->running++;
    step(job);
}

static struct job *job_of(struct resolver *r, const json_t *revision)
{
    char key[KEY_MAX];
    int len = snprintf(key, sizeof(key), "%s/%s", meta_ns(revision), meta_name(revision));
    struct job *job = map_get(&r->jobs, slice_of(key, (size_t)len));
    if (job != NULL && strcmp(job->uid, meta_uid(revision)) != 0) {
        resolver_forget(r, meta_ns(revision), meta_name(revision));
        job = NULL;
    }
    if (job == NULL) {
        job = NEW(struct job);
        job->r = r;
        job->key = xstrdup(key);
        job->ns = xstrdup(meta_ns(revision));
        job->name = strchr(job->key, '/') + 1;
        backoff_init(&job->backoff, RETRY_MIN_MS, RETRY_MAX_MS);
        snprintf(job->uid, sizeof(job->uid), "%s", meta_uid(revision));
        map_set(&r->jobs, slice_str(job->key), job);
    }
    return job;
}

void resolver_ask(struct resolver *r, const json_t *revision, struct digests *out)
{
    *out = (struct digests){.state = DIGESTS_WAIT};
    if (r->closing) {
        return;
    }
    struct job *job = job_of(r, revision);
    uint64_t now_ms = loop_now_ms(r->loop);
    if (job->names == NULL && job->images == NULL) {
        begin(job, revision);
    } else if (job->state == JOB_FAILED && now_ms >= job->retry_ms) {
        begin(job, revision);
    }
    if (job->state == JOB_DONE) {
        out->state = DIGESTS_KNOWN;
        out->images = json_incref(job->images);
    } else if (job->known_failed) {
        out->state = DIGESTS_FAILED;
        snprintf(out->message, sizeof(out->message), "Unable to fetch image \"%s\": %s", job->image,
                 job->why.msg);
        out->again_ms = job->state == JOB_FAILED && job->retry_ms > now_ms ? job->retry_ms - now_ms
                                                                           : RETRY_MAX_MS;
    }
}

void resolver_forget(struct resolver *r, const char *ns, const char *revision)
{
    char key[KEY_MAX];
    int len = snprintf(key, sizeof(key), "%s/%s", ns, revision);
    struct job *job = map_get(&r->jobs, slice_of(key, (size_t)len));
    if (job == NULL) {
        return;
    }
    map_remove(&r->jobs, slice_of(key, (size_t)len));
    if (job->state == JOB_RUNNING) {
        job->forgotten = true;
    } else {
        job_free(job);
    }
}

/* --- life ---------------------------------------------------------------------------------- */

int resolver_new(struct loop *loop, const struct resolver_options *options, struct resolver **out,
                 struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf ca;
    strbuf_init(&ca, CA_MAX);
    if (options->ca_file[0] != '\0') {
        int rc = fs_read_file(options->ca_file, CA_MAX, &ca, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--registry-ca");
        }
    }
    struct resolver *r = NEW(struct resolver);
    r->loop = loop;
    r->options = *options;
    map_init(&r->jobs, MAP_BORROW_KEYS);
    struct fetch_options fetch = {.ca_pem = ca.len > 0 ? ca.ptr : NULL,
                                  .max_connections = CONNECTIONS};
    int rc = fetch_new(loop, &fetch, &r->fetch, err);
    if (rc < 0) {
        map_fini(&r->jobs);
        free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void resolver_close(struct resolver *r, void (*cb)(void *arg), void *arg)
{
    if (r == NULL) {
        if (cb != NULL) {
            cb(arg);
        }
        return;
    }
    r->closing = true;
    r->close_cb = cb;
    r->close_arg = arg;
    map_foreach (it, &r->jobs) {
        const struct job *job = it.value;
        if (job->call != NULL) {
            kube_cancel(job->call);
        }
    }
    fetch_close(r->fetch, on_fetch_closed, r);
}
