// SPDX-License-Identifier: Apache-2.0
/* Recordings are played as they are written down; what cannot be used is named. */
#include "base/fs.h"
#include "autoscaler/replay.h"
#include "test.h"

#define FILE_MAX (1u << 20)

static void read_sample_file(const char *name, const char *ending, struct strbuf *out)
{
    char path[512];
    struct error err = {0};
    snprintf(path, sizeof(path), "%s/%s%s", REPLAY_SAMPLES, name, ending);
    strbuf_init(out, FILE_MAX);
    ASSERT_OK(fs_read_file(path, FILE_MAX, out, &err));
}

static void play_sample(const char *name)
{
    struct strbuf recording;
    struct strbuf want;
    struct error err = {0};
    char *got;
    size_t len;
    read_sample_file(name, ".jsonl", &recording);
    read_sample_file(name, ".decisions", &want);
    FILE *in = fmemopen(recording.ptr, recording.len, "r");
    FILE *out = open_memstream(&got, &len);
    ASSERT_OK(replay_run(in, out, &err));
    fclose(in);
    fclose(out);
    assert_string_equal(got, want.ptr);
    free(got);
    strbuf_fini(&recording);
    strbuf_fini(&want);
}

static void samples_give_their_decisions(void **state)
{
    play_sample("up-and-to-zero");
    play_sample("panic");
    play_sample("replicas-are-asked");
    play_sample("reports-are-missing");
}

static void what_cannot_be_used_is_named(void **state)
{
    static const char config[] = "{\"time\":0,\"config\":{}}\n";
    static const struct {
        const char *line;
        const char *want;
    } rows[] = {
        {"{\"time\":1,\"stat\":{\"concurency\":1}}",
         "line 2: stat: concurency: there is no such field"},
        {"{\"time\":1,\"stat\":{\"requests\":\"x\"}}",
         "line 2: stat: requests: must be a number, is a string"},
        {"{\"time\":1,\"stat\":{\"concurrency\":-1}}",
         "line 2: stat: concurrency: must be 0 to 1000000000, is -1"},
        {"{\"time\":1,\"stat\":7}", "line 2: stat: must be an object, is a whole number"},
        {"{\"time\":1,\"stat\":{\"seconds\":0}}", "line 2: stat: seconds: must be 1 to 60, is 0"},
        {"{\"time\":1,\"scrape\":{\"ready\":1}}", "line 2: scrape: answers: missing"},
        {"{\"time\":1,\"scrape\":{\"ready\":1,\"answers\":[{\"a\":1}]}}",
         "line 2: scrape.answers[0]: a: there is no such field"},
        {"{\"tick\":true}", "line 2: time: missing"},
        {"{\"time\":-5,\"tick\":true}", "line 2: time: must be 0 to 9007199254740991, is -5"},
        {"{\"time\":1,\"ready\":-1}", "line 2: ready: must be 0 to 2147483647, is -1"},
        {"{\"time\":1,\"config\":{\"configMap\":{\"stable-window\":\"1s\"}}}",
         "line 2: config: configMap: stable-window = 1s, must be in [6s; 1h0m0s] range"},
        {"{\"time\":1,\"config\":{\"active\":\"perhaps\"}}",
         "line 2: config: active: must be activating, active, inactive or timed-out"},
        {"{\"time\":1,\"gone\":\"b\"}", "line 2: gone: no such activator has reported"},
        {"{\"time\":1,",
         "line 2: JSON: line 1, column 10: string or '}' expected near end of file"},
        {"{\"time\":9,\"tick\":true}\n{\"time\":8,\"tick\":true}",
         "line 3: time: goes back from one tick to the next"},
        {"{\"scenario\":\"new\"}\n{\"time\":1,\"tick\":true}",
         "line 3: config: must come before anything else"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        struct error err = {0};
        snprintf(text, sizeof(text), "%s%s", config, rows[i].line);
        FILE *in = fmemopen(text, strlen(text), "r");
        FILE *out = fopen("/dev/null", "we");
        assert_true(replay_run(in, out, &err) < 0);
        assert_string_equal(err.msg, rows[i].want);
        fclose(in);
        fclose(out);
    }
}

static void play_lines(struct replay *r, const char *const *lines, size_t count, struct strbuf *out)
{
    for (size_t i = 0; i < count; i++) {
        struct error err = {0};
        ASSERT_OK(replay_line(r, slice_str(lines[i]), out, &err));
    }
}

/* A process that begins anew knows no numbers, keeps what runs, and does not scale in blindly. */
static void a_restart_holds_what_runs(void **state)
{
    static const char *const lines[] = {
        "{\"time\":0,\"config\":{\"active\":\"active\",\"initialized\":true}}",
        "{\"time\":0,\"ready\":8,\"replicas\":8}",
        "{\"time\":1000,\"stat\":{\"concurrency\":500}}",
        "{\"time\":2000,\"restart\":true}",
        "{\"time\":2000,\"tick\":true}",
        "{\"time\":3000,\"stat\":{\"concurrency\":1}}",
        "{\"time\":4000,\"tick\":true}",
    };
    struct replay r;
    struct strbuf out;
    replay_init(&r);
    strbuf_init(&out, FILE_MAX);
    play_lines(&r, lines, 5, &out);
    assert_false(r.rev->last.valid);
    assert_false(r.rev->plan.write);
    play_lines(&r, lines + 5, 2, &out);
    assert_true(r.rev->last.valid && r.rev->last.panicking);
    assert_int_equal(r.rev->last.desired, 8);
    strbuf_fini(&out);
    replay_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_give_their_decisions),
        cmocka_unit_test(what_cannot_be_used_is_named),
        cmocka_unit_test(a_restart_holds_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
