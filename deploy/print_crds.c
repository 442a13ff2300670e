// SPDX-License-Identifier: Apache-2.0
//
// print-crds DIR [--check]: writes deploy/crds/*.yaml from the table of kinds (serving/kinds.def),
// or says which file differs from it. So a cluster and the API server of one machine show the same
// kinds, columns and short names.
//
// The plan: each row of the two groups of ours becomes one file in memory; it is written, or
// compared. Failure: a file that cannot be read or written, or differs, is named; exit 1.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serving/kinds.h"

static bool is_ours(const struct kind *kind)
{
    return strstr(kind->group, "knative.dev") != NULL;
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

static void print_crd(FILE *out, const struct kind *kind)
{
    fprintf(out,
            "# SPDX-License-Identifier: Apache-2.0\n"
            "# Made from lib/serving/kinds.def: ninja -C build update-crds\n"
            "apiVersion: apiextensions.k8s.io/v1\n"
            "kind: CustomResourceDefinition\n"
            "metadata:\n"
            "  name: %s.%s\n"
            "  labels:\n"
            "    app.kubernetes.io/part-of: lull\n"
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
          "      openAPIV3Schema:\n"
          "        type: object\n"
          "        properties:\n"
          "          spec:\n"
          "            type: object\n"
          "            x-kubernetes-preserve-unknown-fields: true\n"
          "          status:\n"
          "            type: object\n"
          "            x-kubernetes-preserve-unknown-fields: true\n",
          out);
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
