// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: an object goes through a ring of the latest ones and is packed when it leaves. Packing
 * tries the sample that suited last, the others when the result is poor, and makes a sample of the
 * text when it stays poor. Failure mode: a kind whose objects have nothing in common keeps them
 * hardly smaller, at the price of one attempt for each sample.
 */

#include "local/store/small.h"

#include <stdlib.h>

#include "base/mem.h"

#define POOR_PART    3   /* packed to more than a third of it */
#define SAMPLE_LEAST 256 /* a shorter text makes no sample */

struct small_sample {
    struct pack pack;
    char text[];
};

/* --- packing ------------------------------------------------------------------------------- */

struct packed {
    const struct pack *pack;
    char *text;
    size_t len;
};

/* The better one of *best and what this sample gives. */
static void try_sample(const struct pack *pack, struct slice body, struct packed *best)
{
    struct packed got = {.pack = pack};
    got.text = pack_text(pack, body, &got.len);
    if (best->text == NULL || got.len < best->len) {
        free(best->text);
        *best = got;
    } else {
        free(got.text);
    }
}

static void to_front(struct small_kind *kind, unsigned i)
{
    struct small_sample *sample = kind->samples[i];
    for (; i > 0; i--) {
        kind->samples[i] = kind->samples[i - 1];
    }
    kind->samples[0] = sample;
}

static void add_sample(struct small_kind *kind, struct slice body)
{
    size_t len = body.len < PACK_SAMPLE_MAX ? body.len : PACK_SAMPLE_MAX;
    struct small_sample *sample = xmalloc(sizeof(*sample) + len);
    memcpy(sample->text, body.ptr, len);
    pack_init(&sample->pack, slice_of(sample->text, len));
    kind->samples[kind->count++] = sample;
}

void small_pack(struct small_kind *kind, struct object *o)
{
    if (object_full(o)->pack != NULL) {
        return;
    }
    struct slice body = object_body(o);
    struct packed best = {0};
    unsigned tried = 0;
    bool poor = true;
    for (; tried < kind->count && poor; tried++) {
        try_sample(&kind->samples[tried]->pack, body, &best);
        poor = best.len > body.len / POOR_PART;
    }
    if (poor && kind->count < SMALL_SAMPLES && body.len >= SAMPLE_LEAST) {
        add_sample(kind, body);
        try_sample(&kind->samples[kind->count - 1]->pack, body, &best);
        tried = kind->count;
    }
    if (best.text == NULL || best.len >= body.len) {
        free(best.text);
        return;
    }
    if (tried > 1 && best.pack == &kind->samples[tried - 1]->pack) {
        to_front(kind, tried - 1);
    }
    object_keep_packed(o, best.pack, best.text, best.len);
}

void small_kind_fini(struct small_kind *kind)
{
    for (unsigned i = 0; i < kind->count; i++) {
        free(kind->samples[i]);
    }
    *kind = (struct small_kind){0};
}

/* --- the latest ---------------------------------------------------------------------------- */

static void let_go(struct small_latest *latest, bool pack)
{
    size_t i = latest->first++ % SMALL_LATEST;
    struct object *o = latest->ring[i].object;
    latest->bytes -= object_json_len(o);
    if (pack) {
        small_pack(latest->ring[i].kind, o);
    }
    object_unref(o);
    latest->ring[i].object = NULL;
}

void small_add(struct small_latest *latest, struct small_kind *kind, struct object *o)
{
    while (latest->next - latest->first == SMALL_LATEST ||
           (latest->bytes > SMALL_LATEST_BYTES && latest->first < latest->next)) {
        let_go(latest, true);
    }
    size_t i = latest->next++ % SMALL_LATEST;
    latest->ring[i].kind = kind;
    latest->ring[i].object = object_ref(o);
    latest->bytes += object_json_len(o);
}

void small_latest_fini(struct small_latest *latest)
{
    while (latest->first < latest->next) {
        let_go(latest, false);
    }
}
