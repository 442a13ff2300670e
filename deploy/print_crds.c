// SPDX-License-Identifier: Apache-2.0
//
// print-crds DIR [--check]: writes deploy/chart/files/crds/*.yaml from the tables of kinds and
// structures (serving/kinds.def, serving/schema.def), or says which file differs from them. So a
// cluster and the API server of one machine show the same kinds, columns and short names.
//
// The plan: each row of the two groups of ours becomes one file in memory; it is written, or
// compared. Failure: a file that cannot be read or written, or differs, is named; exit 1.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serving/kinds.h"
#include "serving/schema.h"

static bool is_ours(const struct kind *kind)
{
    return kind_is_custom(kind);
}

// A list as YAML has it: "a,b" becomes [a, b].
static void print_list(FILE *out, const char *key, const char *list)
{
    if (list[0] == '\0') {
        return;
    }
    fprintf(out, "    %s: [", key);
    for (const char *at = list; *at != '\0'; at++) {
        fputs(*at == ',' ? ", " : (char[]){*at, '\0'}, out);
    }
    fputs("]\n", out);
}

// A YAML string in single quotes, in which a quote is doubled.
static void print_quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (const char *at = text; *at != '\0'; at++) {
        fputs(*at == '\'' ? "''" : (char[]){*at, '\0'}, out);
    }
    fputc('\'', out);
}

static void print_columns(FILE *out, const struct kind *kind)
{
    fputs("    additionalPrinterColumns:\n", out);
    for (size_t i = 0; i < kind->n_columns; i++) {
        const struct kind_column *column = &kind->columns[i];
        fprintf(out, "    - name: %s\n      type: %s\n      jsonPath: ", column->name,
                column->type);
        print_quoted(out, column->path);
        fputs("\n      description: ", out);
        print_quoted(out, column->description);
        fputc('\n', out);
        if (column->priority != 0) {
            fprintf(out, "      priority: %d\n", column->priority);
        }
    }
}

// Where a structure is printed: its indentation, and its kind when it is a whole object.
struct level {
    int indent;
    const struct schema *schema;
    const struct kind *root;
};

static void print_object(FILE *out, const struct level *level);

static void print_line(FILE *out, int indent, const char *key, const char *value)
{
    fprintf(out, "%*s%s:%s%s\n", indent, "", key, value[0] == '\0' ? "" : " ", value);
}

// Integers and texts that a schema of a CRD can tell apart.
static void print_scalar(FILE *out, int indent, const struct schema_field *f)
{
    switch ((enum schema_type)f->type) {
    case SCHEMA_TYPE_INT32:
    case SCHEMA_TYPE_INT64:
        print_line(out, indent, "type", "integer");
        print_line(out, indent, "format", f->type == SCHEMA_TYPE_INT32 ? "int32" : "int64");
        break;
    case SCHEMA_TYPE_BOOL:
        print_line(out, indent, "type", "boolean");
        break;
    case SCHEMA_TYPE_QUANTITY:
        print_line(out, indent, "pattern", "'" SCHEMA_QUANTITY_PATTERN "'");
        __attribute__((fallthrough));
    case SCHEMA_TYPE_INT_OR_STRING:
        fprintf(out, "%*sanyOf:\n%*s- type: integer\n%*s- type: string\n", indent, "", indent, "",
                indent, "");
        print_line(out, indent, "x-kubernetes-int-or-string", "true");
        break;
    case SCHEMA_TYPE_OPEN:
    case SCHEMA_TYPE_OBJECT:
    case SCHEMA_TYPE_STRING:
    case SCHEMA_TYPE_TIME:
    case SCHEMA_TYPE_MICRO_TIME:
    case SCHEMA_TYPE_BYTES:
        print_line(out, indent, "type", "string");
        break;
    }
}

// One value of the field, or one element.
static void print_one(FILE *out, int indent, const struct schema_field *f)
{
    if (schema_is_open(f, true)) {
        print_line(out, indent, "type", "object");
        print_line(out, indent, "x-kubernetes-preserve-unknown-fields", "true");
    } else if (f->type == SCHEMA_TYPE_OBJECT) {
        print_object(out, &(struct level){indent, schema_row((enum schema_id)f->ref), NULL});
    } else {
        print_scalar(out, indent, f);
    }
}

static void print_field(FILE *out, int indent, const struct schema_field *f)
{
    fprintf(out, "%*s%s:\n", indent, "", f->name);
    indent += 2;
    if (f->description[0] != '\0') {
        fprintf(out, "%*sdescription: ", indent, "");
        print_quoted(out, f->description);
        fputc('\n', out);
    }
    if (f->initial != NULL) {
        fprintf(out, "%*sdefault: ", indent, "");
        print_quoted(out, f->initial);
        fputc('\n', out);
    }
    if (f->shape == SCHEMA_ONE) {
        print_one(out, indent, f);
        return;
    }
    bool list = f->shape == SCHEMA_LIST;
    print_line(out, indent, "type", list ? "array" : "object");
    if (list && f->keys != NULL) {
        fprintf(out, "%*sx-kubernetes-list-map-keys: [%s]\n", indent, "", f->keys);
        print_line(out, indent, "x-kubernetes-list-type", "map");
    }
    fprintf(out, "%*s%s:\n", indent, "", list ? "items" : "additionalProperties");
    print_one(out, indent + 2, f);
}

static void print_root_fields(FILE *out, int indent)
{
    fprintf(out,
            "%*sapiVersion:\n%*stype: string\n%*skind:\n%*stype: string\n"
            "%*smetadata:\n%*stype: object\n",
            indent, "", indent + 2, "", indent, "", indent + 2, "", indent, "", indent + 2, "");
}

static void print_object(FILE *out, const struct level *level)
{
    const struct schema_field *f;
    bool any = false;
    print_line(out, level->indent, "type", "object");
    if (level->root != NULL) {
        fprintf(out, "%*sdescription: ", level->indent, "");
        print_quoted(out, level->schema->description);
        fputc('\n', out);
    }
    if (level->schema->keeps) {
        print_line(out, level->indent, "x-kubernetes-preserve-unknown-fields", "true");
    }
    for (size_t at = 0; (f = schema_next(level->schema, true, &at)) != NULL;) {
        if (schema_is_required(f, true)) {
            if (any) {
                fputs(", ", out);
            } else {
                fprintf(out, "%*srequired: [", level->indent, "");
            }
            fputs(f->name, out);
            any = true;
        }
    }
    fputs(any ? "]\n" : "", out);
    print_line(out, level->indent, "properties", "");
    if (level->root != NULL) {
        print_root_fields(out, level->indent + 2);
    }
    for (size_t at = 0; (f = schema_next(level->schema, true, &at)) != NULL;) {
        print_field(out, level->indent + 2, f);
    }
}

static void print_crd(FILE *out, const struct kind *kind)
{
    fprintf(out,
            "# SPDX-License-Identifier: Apache-2.0\n"
            "# Made from lib/serving/kinds.def and schema.def: ninja -C build update-crds\n"
            "apiVersion: apiextensions.k8s.io/v1\n"
            "kind: CustomResourceDefinition\n"
            "metadata:\n"
            "  name: %s.%s\n"
            "  labels:\n"
            "    app.kubernetes.io/part-of: lull\n"
            "  annotations:\n"
            "    helm.sh/resource-policy: keep # what users made outlives an uninstall\n"
            "spec:\n"
            "  group: %s\n"
            "  scope: %s\n"
            "  names:\n"
            "    kind: %s\n"
            "    plural: %s\n"
            "    singular: %s\n",
            kind->plural, kind->group, kind->group, kind->namespaced ? "Namespaced" : "Cluster",
            kind->kind, kind->plural, kind->singular);
    print_list(out, "categories", kind->categories);
    print_list(out, "shortNames", kind->short_names);
    fprintf(out, "  versions:\n  - name: %s\n    served: true\n    storage: true\n", kind->version);
    if ((kind->subresources & KIND_SUB_STATUS) != 0) {
        fputs("    subresources:\n      status: {}\n", out);
    }
    print_columns(out, kind);
    fputs("    schema:\n"
          "      openAPIV3Schema:\n",
          out);
    print_object(out, &(struct level){8, schema_of(kind), kind});
}

static bool same(const char *path, const char *want, size_t len)
{
    FILE *in = fopen(path, "r");
    if (in == NULL) {
        return false;
    }
    char *have = malloc(len + 1);
    bool equal = have != NULL && fread(have, 1, len + 1, in) == len && memcmp(have, want, len) == 0;
    free(have);
    fclose(in);
    return equal;
}

static bool save(const char *path, const char *text, size_t len)
{
    FILE *out = fopen(path, "w");
    bool good = out != NULL && fwrite(text, 1, len, out) == len;
    if (out != NULL && fclose(out) != 0) {
        good = false;
    }
    if (!good) {
        fprintf(stderr, "print-crds: %s: %s\n", path, strerror(errno));
    }
    return good;
}

// One kind: written, or compared.
static bool treat(const struct kind *kind, const char *dir, bool check)
{
    char path[4096];
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL ||
        snprintf(path, sizeof(path), "%s/%s.yaml", dir, kind->singular) >= (int)sizeof(path)) {
        fputs("print-crds: out of memory, or the folder's name is too long\n", stderr);
        return false;
    }
    print_crd(out, kind);
    fclose(out);
    bool good = check ? same(path, text, len) : save(path, text, len);
    if (check && !good) {
        fprintf(stderr, "%s is not what lib/serving/kinds.def says: ninja -C build update-crds\n",
                path);
    }
    free(text);
    return good;
}

int main(int argc, char **argv)
{
    bool check = argc == 3 && strcmp(argv[2], "--check") == 0;
    if (argc != 2 && !check) {
        fputs("usage: print-crds DIR [--check]\n", stderr);
        return 2;
    }
    int seen = 0;
    bool good = true;
    for (int id = 0; id < KIND_COUNT; id++) {
        const struct kind *kind = kind_row((enum kind_id)id);
        if (is_ours(kind)) {
            seen++;
            good = treat(kind, argv[1], check) && good;
        }
    }
    printf("%d kinds\n", seen);
    return good && seen > 0 ? 0 : 1;
}
