// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target without libFuzzer: over each file of the corpus folders named as arguments,
// and over mutations of each file from a fixed seed, so that a run is the same every time. It fails
// when there was no corpus file to run.

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX      (64u * 1024)
#define MUTATIONS_EACH 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

// Hands the target an exact-sized copy, so that a sanitizer sees a read past its end.
static void run_one(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_mutations(uint8_t *data, size_t size, uint32_t *seed)
{
    for (int i = 0; i < MUTATIONS_EACH && size > 0; i++) {
        size_t at = next_random(seed) % size;
        if (i % 2) {
            run_one(data, at);
            continue;
        }
        uint8_t was = data[at];
        data[at] = (uint8_t)next_random(seed);
        run_one(data, size);
        data[at] = was;
    }
}

static int run_file(const char *folder, const char *name, uint32_t *seed)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    uint8_t *data = malloc(INPUT_MAX);
    if (!data)
        abort();
    size_t size = fread(data, 1, INPUT_MAX, f);
    fclose(f);
    run_one(data, size);
    run_mutations(data, size, seed);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    uint32_t seed = 0x6c756c6c;
    int files = 0;
    run_one((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            fprintf(stderr, "%s: %s; a fuzz target needs a corpus folder\n", argv[i],
                    strerror(errno));
            return 1;
        }
        for (struct dirent *e; (e = readdir(dir));)
            if (e->d_name[0] != '.')
                files += run_file(argv[i], e->d_name, &seed);
        closedir(dir);
    }
    printf("%d corpus files\n", files);
    return files > 0 ? 0 : 1;
}
