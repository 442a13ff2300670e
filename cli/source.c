// SPDX-License-Identifier: Apache-2.0
//
// Reading how to run a folder (source.h). lull.yaml is a flat file: anything in it that is not
// known is refused, so that a misspelt key is not silently without effect.
#include "cli/source.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jget.h"
#include "json/jparse.h"

#define FILE_MAX (1u << 20)

static json_t *shell(const char *text)
{
    // A plain command takes the shell's place, so that signals and exit statuses are its own.
    bool plain = !strpbrk(text, "&|;(){}`\n") && strcspn(text, "=") >= strcspn(text, " \t");
    return json_pack("[s, s, s+]", "/bin/sh", "-c", plain ? "exec " : "", text);
}

// ---- lull.yaml

static const char *scalar(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int yaml_wrong(struct error *err, const yaml_node_t *node, const char *what)
{
    return error_set(err, ERR_INVALID, "lull.yaml, line %zu: %s", node->start_mark.line + 1, what);
}

static int yaml_command(yaml_document_t *doc, const yaml_node_t *node, struct source *out,
                        struct error *err)
{
    if (scalar(node)) {
        out->command = shell(scalar(node));
        return 0;
    }
    if (node->type != YAML_SEQUENCE_NODE) {
        return yaml_wrong(err, node, "command must be a text or a list of texts");
    }
    out->command = json_array();
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        const char *text = scalar(yaml_document_get_node(doc, *i));
        if (!text || json_array_append_new(out->command, json_string(text)) != 0) {
            return yaml_wrong(err, node, "command must be a text or a list of texts");
        }
    }
    return 0;
}

static int yaml_env(yaml_document_t *doc, const yaml_node_t *node, struct source *out,
                    struct error *err)
{
    if (node->type != YAML_MAPPING_NODE) {
        return yaml_wrong(err, node, "env must be a map of names to texts");
    }
    for (yaml_node_pair_t *i = node->data.mapping.pairs.start; i < node->data.mapping.pairs.top;
         i++) {
        const char *key = scalar(yaml_document_get_node(doc, i->key));
        const char *value = scalar(yaml_document_get_node(doc, i->value));
        if (!key || !value || json_object_set_new(out->env, key, json_string(value)) != 0) {
            return yaml_wrong(err, node, "env must be a map of names to texts");
        }
    }
    return 0;
}

static int yaml_root(yaml_document_t *doc, struct source *out, struct error *err)
{
    yaml_node_t *root = yaml_document_get_root_node(doc);

    if (!root || root->type != YAML_MAPPING_NODE) {
        return error_set(err, ERR_INVALID, "lull.yaml must be a map with `command:`");
    }
    for (yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top;
         i++) {
        yaml_node_t *key = yaml_document_get_node(doc, i->key);
        yaml_node_t *value = yaml_document_get_node(doc, i->value);
        const char *name = scalar(key) ?: "";
        int rc = 0;
        if ((strcmp(name, "command") == 0 && out->command) ||
            (strcmp(name, "build") == 0 && out->build)) {
            rc = yaml_wrong(err, key, "a key stands there twice");
        } else if (strcmp(name, "command") == 0) {
            rc = yaml_command(doc, value, out, err);
        } else if (strcmp(name, "env") == 0) {
            rc = yaml_env(doc, value, out, err);
        } else if (strcmp(name, "build") == 0 && scalar(value)) {
            out->build = xstrdup(scalar(value));
        } else {
            rc = yaml_wrong(err, key, "known keys are command, env and build");
        }
        if (rc < 0) {
            return rc;
        }
    }
    return json_array_size(out->command) > 0
               ? 0
               : error_set(err, ERR_INVALID, "lull.yaml: command is missing");
}

static int read_yaml(const char *text, struct source *out, struct error *err)
{
    yaml_parser_t parser;
    yaml_document_t doc;

    if (!yaml_parser_initialize(&parser)) {
        return error_set(err, ERR_NOMEM, "no memory for the YAML reader");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    int rc;
    if (!yaml_parser_load(&parser, &doc)) {
        rc = error_set(err, ERR_INVALID, "lull.yaml, line %zu: %s", parser.problem_mark.line + 1,
                       parser.problem ? parser.problem : "cannot be read");
    } else {
        rc = yaml_root(&doc, out, err);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return rc;
}

// ---- the other ways

static int read_procfile(const char *text, struct source *out, struct error *err)
{
    struct slice rest = slice_str(text), line;

    while (slice_split(&rest, '\n', &line)) {
        if (slice_starts_with(line, SLICE_LIT("web:"))) {
            CLEANUP(cleanup_free)
            char *command = slice_dup(slice_trim(slice_sub(line, 4, line.len)));
            out->command = shell(command);
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "Procfile has no line `web: COMMAND`");
}

static int read_package(const char *text, struct source *out, struct error *err)
{
    json_t *root = NULL;
    int rc = jparse_object(slice_str(text), FILE_MAX, &root, err);

    if (rc < 0) {
        return error_prefix(err, rc, "package.json");
    }
    const char *start = jpeek_cstr(root, "scripts.start");
    if (start && start[0]) {
        out->command = shell(start);
    } else {
        rc = error_set(err, ERR_INVALID,
                       "package.json has no scripts.start, and there is no server.js");
    }
    json_decref(root);
    return rc;
}

static int read_main_py(const char *text, struct source *out, struct error *err)
{
    (void)text;
    (void)err;
    out->command = json_pack("[s, s, s]", "python3", "-u", "main.py");
    return 0;
}

static int read_server_js(const char *text, struct source *out, struct error *err)
{
    (void)text;
    (void)err;
    out->command = json_pack("[s, s]", "node", "server.js");
    return 0;
}

static int executable_find(const char *dir, struct source *out, struct error *err)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    char found[260] = "";
    int count = 0;

    while (d && (entry = readdir(d)) != NULL) {
        struct stat st;
        CLEANUP(cleanup_free) char *path = fs_join(dir, entry->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IXUSR)) {
            snprintf(found, sizeof found, "./%s", entry->d_name);
            count++;
        }
    }
    if (d) {
        closedir(d);
    }
    if (count != 1) {
        return error_set(
            err, ERR_NOT_FOUND,
            "%s: nothing says how to run it (%s). Add lull.yaml with `command:`, a Procfile, "
            "main.py, server.js, or package.json with a start script",
            dir, count ? "several executable files" : "no executable file");
    }
    out->command = json_pack("[s]", found);
    return 0;
}

static const struct way {
    const char *file;
    int (*read)(const char *text, struct source *out, struct error *err);
} WAYS[] = {
    {"lull.yaml", read_yaml},      {"Procfile", read_procfile},    {"main.py", read_main_py},
    {"server.js", read_server_js}, {"package.json", read_package},
};

int source_read(const char *dir, struct source *out, struct error *err)
{
    struct source s = {.env = json_object(), .how = "an executable file"};
    int rc = ERR_NOT_FOUND;

    if (!fs_is_dir(dir)) {
        json_decref(s.env);
        return error_set(err, ERR_NOT_FOUND, "%s is not a folder", dir);
    }
    for (size_t i = 0; i < ARRAY_LEN(WAYS) && rc == ERR_NOT_FOUND; i++) {
        CLEANUP(strbuf_fini) struct strbuf text;
        CLEANUP(cleanup_free) char *path = fs_join(dir, WAYS[i].file);
        strbuf_init(&text, FILE_MAX);
        rc = fs_read_file(path, FILE_MAX, &text, err);
        if (rc == 0) {
            s.how = WAYS[i].file;
            rc = WAYS[i].read(text.ptr, &s, err);
            rc = rc == ERR_NOT_FOUND ? ERR_INVALID : rc;
        }
    }
    if (rc == ERR_NOT_FOUND) {
        rc = executable_find(dir, &s, err);
    }
    if (rc == 0 && !s.command) {
        rc = error_set(err, ERR_INVALID, "%s: the command of %s is not UTF-8", dir, s.how);
    }
    if (rc < 0) {
        source_fini(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void source_fini(struct source *s)
{
    json_decref(s->command);
    json_decref(s->env);
    free(s->build);
    *s = (struct source){0};
}
