// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: a reader puts slices in, nothing is copied, event_check looks once at each value.
 * Failure modes: a text from outside that breaks a rule is said with its attribute's name; nothing
 * grows beyond the limits of the header.
 */
#include "events/event.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/utf8.h"
#include "events/carried.h"
#include "events/rules.h"

#define BLOCK_BYTES 512
#define SPARE       4 /* extensions that are likely to be added to a copy */

struct event_block {
    struct event_block *next;
    size_t used;
    size_t cap;
    char *bytes; /* behind the struct, or memory of its own */
    bool apart;
};

struct event_wire {
    struct slice name;
    struct slice text;
};

#define NAME_ROW(id, text) [id] = SLICE_LIT(text),
static const struct slice NAMES[EVENT_ATTR_N] = {EVENT_ATTR_MAP(NAME_ROW)};

/* --- life ------------------------------------------------------------------------------------- */

void event_init(struct event *ev)
{
    *ev = (struct event){.data = {NULL, 0}};
}

void event_fini(struct event *ev)
{
    for (struct event_block *b = ev->own; b != NULL;) {
        struct event_block *next = b->next;
        if (b->apart) {
            free(b->bytes);
        }
        free(b);
        b = next;
    }
    free(ev->extensions);
    free(ev->wires);
    free(ev->carried);
    event_init(ev);
}

void event_borrow(struct event *out, const struct event *from)
{
    *out = *from;
    out->own = NULL;
    out->extensions = NULL;
    out->cap_extensions = 0;
    out->wires = NULL;
    if (from->n_extensions > 0) {
        out->cap_extensions = from->n_extensions + SPARE;
        out->extensions = xcalloc(out->cap_extensions, sizeof(*out->extensions));
        memcpy(out->extensions, from->extensions, from->n_extensions * sizeof(*out->extensions));
    }
    if (from->n_wires > 0) {
        out->wires = xcalloc(from->n_wires, sizeof(*out->wires));
        memcpy(out->wires, from->wires, from->n_wires * sizeof(*out->wires));
    }
    out->carried = NULL;
    if (from->n_carried > 0) {
        out->carried = xcalloc(from->n_carried, sizeof(*out->carried));
        memcpy(out->carried, from->carried, from->n_carried * sizeof(*out->carried));
    }
}

char *event_room(struct event *ev, size_t len)
{
    struct event_block *b = ev->own;
    if (b == NULL || b->cap - b->used <= len) {
        size_t cap = len < BLOCK_BYTES ? BLOCK_BYTES : len + 1;
        b = xmalloc(sizeof(*b) + cap);
        *b = (struct event_block){.next = ev->own, .cap = cap, .bytes = (char *)(b + 1)};
        ev->own = b;
    }
    char *room = b->bytes + b->used;
    room[len] = '\0';
    b->used += len + 1;
    return room;
}

struct slice event_keep(struct event *ev, struct slice bytes)
{
    char *room = event_room(ev, bytes.len);
    if (bytes.len > 0) {
        memcpy(room, bytes.ptr, bytes.len);
    }
    return slice_of(room, bytes.len);
}

struct slice event_adopt(struct event *ev, struct strbuf *text)
{
    size_t len;
    struct event_block *b = NEW(struct event_block);
    b->bytes = strbuf_take(text, &len);
    b->apart = true;
    b->next = ev->own == NULL ? NULL : ev->own->next; /* the newest with room stays in front */
    if (ev->own == NULL) {
        ev->own = b;
    } else {
        ev->own->next = b;
    }
    return slice_of(b->bytes, len);
}

/* --- looking ---------------------------------------------------------------------------------- */

enum event_attr_id event_attr_id(struct slice name)
{
    enum event_attr_id id;
    switch (name.len) {
    case 2:
        id = EVENT_ID;
        break;
    case 4:
        id = name.ptr[1] == 'y' ? EVENT_TYPE : EVENT_TIME;
        break;
    case 6:
        id = EVENT_SOURCE;
        break;
    case 7:
        id = EVENT_SUBJECT;
        break;
    case 10:
        id = EVENT_DATASCHEMA;
        break;
    case 11:
        id = EVENT_SPECVERSION;
        break;
    case 15:
        id = EVENT_DATACONTENTTYPE;
        break;
    default:
        return EVENT_EXTENSION;
    }
    return memcmp(name.ptr, NAMES[id].ptr, name.len) == 0 ? id : EVENT_EXTENSION;
}

struct slice event_attr_name(enum event_attr_id id)
{
    REQUIRE(id < EVENT_ATTR_N);
    return NAMES[id];
}

bool event_is_v03(const struct event *ev)
{
    return slice_eq(ev->known[EVENT_SPECVERSION], SLICE_LIT("0.3"));
}

static struct event_attr *find_extension(const struct event *ev, struct slice name)
{
    for (unsigned i = 0; i < ev->n_extensions; i++) {
        if (slice_eq(ev->extensions[i].name, name)) {
            return &ev->extensions[i];
        }
    }
    return NULL;
}

const struct event_attr *event_extension(const struct event *ev, struct slice name)
{
    return find_extension(ev, name);
}

bool event_get(const struct event *ev, struct slice name, struct slice *out_value)
{
    enum event_attr_id id = event_attr_id(name);
    const struct event_attr *attr = id == EVENT_EXTENSION ? find_extension(ev, name) : NULL;
    struct slice value = id != EVENT_EXTENSION ? ev->known[id]
                         : attr != NULL        ? attr->value
                                               : (struct slice){NULL, 0};
    if (value.ptr == NULL) {
        return false;
    }
    *out_value = value;
    return true;
}

static struct event_wire *find_wire(const struct event *ev, struct slice name)
{
    for (unsigned i = 0; i < ev->n_wires; i++) {
        if (slice_eq(ev->wires[i].name, name)) {
            return &ev->wires[i];
        }
    }
    return NULL;
}

struct slice event_wire(const struct event *ev, struct slice name)
{
    const struct event_wire *wire = find_wire(ev, name);
    return wire == NULL ? (struct slice){NULL, 0} : wire->text;
}

/* --- changing --------------------------------------------------------------------------------- */

void event_keep_wire(struct event *ev, struct slice name, struct slice text)
{
    ev->wires = xreallocarray(ev->wires, ev->n_wires + 1, sizeof(*ev->wires));
    ev->wires[ev->n_wires++] = (struct event_wire){.name = name, .text = text};
}

static void forget_wire(struct event *ev, struct slice name)
{
    struct event_wire *wire = find_wire(ev, name);
    if (wire != NULL) {
        *wire = ev->wires[--ev->n_wires];
    }
}

int event_set_borrowed(struct event *ev, struct slice name, struct slice value,
                       enum event_kind kind, struct error *err)
{
    int rc = event_check_name(name, err);
    rc = rc < 0 ? rc : event_check_value(name, value, err);
    if (rc < 0) {
        return rc;
    }
    value = value.ptr == NULL ? SLICE_EMPTY : value;
    forget_wire(ev, name);
    enum event_attr_id id = event_attr_id(name);
    if (id != EVENT_EXTENSION) {
        ev->known[id] = value;
        return 0;
    }
    struct event_attr *attr = find_extension(ev, name);
    if (attr == NULL && ev->n_extensions == EVENT_EXTENSIONS_MAX) {
        return error_set(err, ERR_TOO_BIG, "more than %d extension attributes",
                         EVENT_EXTENSIONS_MAX);
    }
    if (attr == NULL && ev->n_extensions == ev->cap_extensions) {
        ev->cap_extensions = ev->cap_extensions == 0 ? 8 : ev->cap_extensions * 2;
        ev->extensions = xreallocarray(ev->extensions, ev->cap_extensions, sizeof(*ev->extensions));
    }
    attr = attr == NULL ? &ev->extensions[ev->n_extensions++] : attr;
    *attr = (struct event_attr){.name = name, .value = value, .kind = kind};
    return 0;
}

static int set_copied(struct event *ev, struct slice name, struct slice value, enum event_kind kind,
                      struct error *err)
{
    int rc = event_check_name(name, err);
    rc = rc < 0 ? rc : event_check_value(name, value, err);
    if (rc < 0) {
        return rc;
    }
    enum event_attr_id id = event_attr_id(name);
    const struct event_attr *old = id == EVENT_EXTENSION ? find_extension(ev, name) : NULL;
    struct slice kept = id != EVENT_EXTENSION ? NAMES[id]
                        : old != NULL         ? old->name
                                              : event_keep(ev, name);
    return event_set_borrowed(ev, kept, event_keep(ev, value), kind, err);
}

int event_set(struct event *ev, struct slice name, struct slice value, struct error *err)
{
    return set_copied(ev, name, value, EVENT_STRING, err);
}

int event_set_i64(struct event *ev, struct slice name, int64_t value, struct error *err)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%lld", (long long)value);
    bool fits = value >= INT32_MIN && value <= INT32_MAX;
    return set_copied(ev, name, slice_of(text, (size_t)len), fits ? EVENT_INTEGER : EVENT_STRING,
                      err);
}

bool event_remove(struct event *ev, struct slice name)
{
    forget_wire(ev, name);
    enum event_attr_id id = event_attr_id(name);
    if (id != EVENT_EXTENSION) {
        bool there = ev->known[id].ptr != NULL;
        ev->known[id] = (struct slice){NULL, 0};
        return there;
    }
    struct event_attr *attr = find_extension(ev, name);
    if (attr == NULL) {
        return false;
    }
    unsigned behind = ev->n_extensions - (unsigned)(attr - ev->extensions) - 1;
    memmove(attr, attr + 1, behind * sizeof(*attr));
    ev->n_extensions--;
    return true;
}

/* --- rules ------------------------------------------------------------------------------------ */

int event_check_name(struct slice name, struct error *err)
{
    if (name.len == 0) {
        return error_set(err, ERR_INVALID, "an attribute without a name");
    }
    if (name.len > EVENT_NAME_MAX) {
        return error_set(err, ERR_INVALID, "%.*s…: an attribute's name has at most %d bytes", 32,
                         name.ptr, EVENT_NAME_MAX);
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) {
            return error_set(err, ERR_INVALID,
                             "%.*s: an attribute's name has lower-case letters and digits only",
                             SLICE_FMT(name));
        }
    }
    if (slice_eq(name, SLICE_LIT("data"))) {
        return error_set(err, ERR_INVALID, "data is not an attribute");
    }
    return 0;
}

static bool forbidden(uint32_t code)
{
    return (code >= 0x80 && code < 0xa0) || (code >= 0xfdd0 && code <= 0xfdef) ||
           (code & 0xfffe) == 0xfffe;
}

#define EACH(byte) (0x0101010101010101ull * (byte))

/* How many bytes at the front, of eights of them, are printable ASCII. */
static size_t printable(struct slice value)
{
    size_t i = 0;
    for (uint64_t word; value.len - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, value.ptr + i, sizeof(word));
        uint64_t deleted = word ^ EACH(0x7f);
        uint64_t low = ((word - EACH(0x20)) & ~word) | ((deleted - EACH(1)) & ~deleted);
        if (((low | word) & EACH(0x80)) != 0) {
            break;
        }
    }
    return i;
}

/* 0, or where the first byte stands that a value must not have, plus one. */
static size_t bad_byte(struct slice value)
{
    for (size_t i = printable(value); i < value.len;) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c >= 0x20 && c < 0x7f) {
            i++;
            continue;
        }
        size_t len = c < 0x80 ? 0 : utf8_len(value.ptr + i, value.len - i);
        if (len == 0 || forbidden(utf8_code(value.ptr + i, len))) {
            return i + 1;
        }
        i += len;
    }
    return 0;
}

int event_check_value(struct slice name, struct slice value, struct error *err)
{
    if (value.len > EVENT_VALUE_MAX) {
        return error_set(err, ERR_TOO_BIG, "%.*s: %zu bytes, at most %d are allowed",
                         SLICE_FMT(name), value.len, EVENT_VALUE_MAX);
    }
    size_t at = bad_byte(value);
    if (at == 0) {
        return 0;
    }
    unsigned char c = (unsigned char)value.ptr[at - 1];
    if (c < 0x80) {
        return error_set(err, ERR_INVALID, "%.*s: has a control character (byte %zu is 0x%02x)",
                         SLICE_FMT(name), at - 1, c);
    }
    return error_set(err, ERR_INVALID,
                     "%.*s: byte %zu is not UTF-8, or a character that an attribute must not have",
                     SLICE_FMT(name), at - 1);
}

int event_check(const struct event *ev, struct error *err)
{
    static const enum event_attr_id required[] = {EVENT_ID, EVENT_SOURCE, EVENT_TYPE};
    struct slice version = ev->known[EVENT_SPECVERSION];
    if (version.ptr == NULL) {
        return error_set(err, ERR_INVALID, "specversion: missing");
    }
    if (!slice_eq(version, SLICE_LIT("1.0")) && !event_is_v03(ev)) {
        return error_set(err, ERR_INVALID, "specversion: must be 1.0 or 0.3, is \"%.*s\"",
                         SLICE_FMT(slice_sub(version, 0, 32)));
    }
    for (size_t i = 0; i < ARRAY_LEN(required); i++) {
        struct slice value = ev->known[required[i]];
        if (value.len == 0) {
            return error_set(err, ERR_INVALID, "%s: %s", NAMES[required[i]].ptr,
                             value.ptr == NULL ? "missing" : "must not be empty");
        }
    }
    struct slice subject = ev->known[EVENT_SUBJECT];
    if (subject.ptr != NULL && subject.len == 0) {
        return error_set(err, ERR_INVALID, "subject: must not be empty when it is there");
    }
    return event_check_forms(ev, err);
}

/* --- packing ---------------------------------------------------------------------------------- */

static const char MARKS[] = {[EVENT_STRING] = '=', [EVENT_INTEGER] = '#', [EVENT_BOOLEAN] = '?'};

#define WIRE_MARK    '%'
#define CARRIED_MARK ':'

static void pack_line(struct strbuf *out, struct slice name, char mark, struct slice value)
{
    strbuf_append_slice(out, name);
    strbuf_append_char(out, mark);
    strbuf_append_slice(out, value);
    strbuf_append_char(out, '\n');
}

void event_pack(const struct event *ev, struct strbuf *out)
{
    for (int id = 0; id < EVENT_ATTR_N; id++) {
        if (ev->known[id].ptr != NULL) {
            pack_line(out, NAMES[id], '=', ev->known[id]);
        }
    }
    for (unsigned i = 0; i < ev->n_extensions; i++) {
        const struct event_attr *attr = &ev->extensions[i];
        pack_line(out, attr->name, MARKS[attr->kind], attr->value);
    }
    for (unsigned i = 0; i < ev->n_wires; i++) {
        pack_line(out, ev->wires[i].name, WIRE_MARK, ev->wires[i].text);
    }
    for (unsigned i = 0; i < ev->n_carried; i++) {
        strbuf_append_char(out, CARRIED_MARK);
        pack_line(out, ev->carried[i].name, CARRIED_MARK, ev->carried[i].value);
    }
}

/* ":name:value" */
static bool unpack_carried(struct event *ev, struct slice line)
{
    struct slice rest = slice_sub(line, 1, line.len);
    ptrdiff_t mark = slice_find(rest, CARRIED_MARK);
    unsigned before = ev->n_carried;
    if (mark <= 0) {
        return false;
    }
    event_carry(ev, slice_sub(rest, 0, (size_t)mark), slice_sub(rest, (size_t)mark + 1, rest.len));
    return ev->n_carried > before;
}

/* One line without its end into the event; false: it is none. */
static bool unpack_line(struct event *ev, struct slice line)
{
    size_t n = 0;
    if (line.len > 0 && line.ptr[0] == CARRIED_MARK) {
        return unpack_carried(ev, line);
    }
    while (n < line.len && line.ptr[n] >= '0' && line.ptr[n] != '=' && line.ptr[n] != '?') {
        n++;
    }
    if (n == 0 || n == line.len || line.ptr[n] == '\0') {
        return false;
    }
    struct slice seen;
    struct slice name = slice_of(line.ptr, n);
    struct slice value = slice_of(line.ptr + n + 1, line.len - n - 1);
    if (line.ptr[n] == WIRE_MARK) {
        bool fine = ev->n_wires < EVENT_ATTR_N + EVENT_EXTENSIONS_MAX &&
                    event_get(ev, name, &seen) && find_wire(ev, name) == NULL &&
                    event_check_value(name, value, NULL) == 0;
        if (fine) {
            event_keep_wire(ev, name, value);
        }
        return fine;
    }
    const char *mark = memchr(MARKS, line.ptr[n], sizeof(MARKS));
    return mark != NULL &&
           event_set_borrowed(ev, name, value, (enum event_kind)(mark - MARKS), NULL) == 0;
}

int event_unpack(struct slice packed, struct slice data, struct event *out, struct error *err)
{
    struct event ev;
    event_init(&ev);
    while (packed.len > 0) {
        ptrdiff_t end = slice_find(packed, '\n');
        if (end < 0 || !unpack_line(&ev, slice_sub(packed, 0, (size_t)end))) {
            event_fini(&ev);
            return error_set(err, ERR_PROTOCOL, "no packed event: \"%.*s\"",
                             SLICE_FMT(slice_sub(packed, 0, 64)));
        }
        packed = slice_sub(packed, (size_t)end + 1, packed.len);
    }
    ev.data = data;
    *out = ev;
    return 0;
}
