// SPDX-License-Identifier: Apache-2.0
/* Plan: attributes from the name and the numbers, then data or its place. */
#include "broker/file_event.h"

#include "base/clock.h"
#include "broker/redis_event.h"

#define TEXT_MAX 16384

static const struct {
    const char *end;
    const char *type;
} types[] = {
    {".csv", "text/csv"},          {".gif", "image/gif"},       {".gz", "application/gzip"},
    {".html", "text/html"},        {".jpeg", "image/jpeg"},     {".jpg", "image/jpeg"},
    {".json", "application/json"}, {".md", "text/markdown"},    {".pdf", "application/pdf"},
    {".png", "image/png"},         {".txt", "text/plain"},      {".xml", "application/xml"},
    {".yaml", "application/yaml"}, {".zip", "application/zip"},
};

static const char *type_of(const struct file_object *source, const char *name)
{
    if (source->content_type != NULL) {
        return source->content_type;
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct slice end = slice_str(types[i].end);
        struct slice text = slice_str(name);
        if (text.len > end.len &&
            slice_eq_nocase(slice_sub(text, text.len - end.len, end.len), end)) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

bool file_by_reference(const struct file_object *source, const struct folder_file *file)
{
    return source->mode == FILE_REFERENCE ||
           (source->mode == FILE_AUTO && file->size > source->data_max);
}

char *file_stamp(const struct folder_file *file, char buf[static FILE_STAMP_MAX])
{
    snprintf(buf, FILE_STAMP_MAX, "%llx-%llx-%llx", (unsigned long long)file->inode,
             (unsigned long long)file->size, (unsigned long long)file->modified_ns);
    return buf;
}

static void append_uri(struct strbuf *out, const char *text)
{
    static const char plain[] = "-._~/";
    for (const char *c = text; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                      (*c >= '0' && *c <= '9') || strchr(plain, *c) != NULL;
        if (letter) {
            strbuf_append_char(out, *c);
        } else {
            strbuf_appendf(out, "%%%02X", (unsigned char)*c);
        }
    }
}

static int set_place(const struct file_object *source, const struct folder_file *file,
                     struct event *ev, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf uri;
    strbuf_init(&uri, TEXT_MAX);
    strbuf_append_str(&uri, "file://");
    append_uri(&uri, source->path);
    strbuf_append_char(&uri, '/');
    append_uri(&uri, file->name);
    int rc = event_set(ev, SLICE_LIT("dataref"), strbuf_slice(&uri), err);
    return rc < 0 ? rc : event_set_i64(ev, SLICE_LIT("filesize"), file->size, err);
}

int file_event(const struct file_object *source, const struct folder_file *file,
               struct strbuf *data, struct event *out, struct error *err)
{
    const struct source_common *c = &source->common;
    char stamp[FILE_STAMP_MAX];
    char time[CLOCK_RFC3339_MAX];
    CLEANUP(strbuf_fini) struct strbuf subject;
    strbuf_init(&subject, TEXT_MAX);
    event_text(slice_str(file->name), &subject);
    event_init(out);
    clock_format_rfc3339(file->modified_ns > 0 ? file->modified_ns : 0, 9, time, sizeof(time));
    int rc = event_set(out, SLICE_LIT("specversion"), SLICE_LIT("1.0"), err);
    rc = rc < 0 ? rc : event_set(out, SLICE_LIT("id"), slice_str(file_stamp(file, stamp)), err);
    rc = rc < 0 ? rc : event_set(out, SLICE_LIT("source"), slice_str(c->source), err);
    rc = rc < 0 ? rc
                : event_set(out, SLICE_LIT("type"),
                            slice_str(c->type != NULL ? c->type : FILE_TYPE), err);
    rc = rc < 0 ? rc : event_set(out, SLICE_LIT("subject"), strbuf_slice(&subject), err);
    rc = rc < 0 ? rc : event_set(out, SLICE_LIT("time"), slice_str(time), err);
    rc = rc < 0 ? rc
                : event_set(out, SLICE_LIT("datacontenttype"),
                            slice_str(type_of(source, file->name)), err);
    if (rc == 0 && data != NULL) {
        out->data = event_adopt(out, data);
    } else if (rc == 0) {
        rc = set_place(source, file, out, err);
    }
    return rc < 0 ? rc : source_finish_event(c, out, err);
}
