// SPDX-License-Identifier: Apache-2.0
// Input: a letter for the door, then the body of a request to the admission webhook. Whatever it
// is: there is an answer, or an error that says why there is none; an answer is an AdmissionReview
// with the uid that was asked, a refusal has a reason, and the same question has the same answer.

#include "json/jget.h"
#include "json/jparse.h"
#include "controller/review.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct serving_config config;
    struct review_env env = {&config, "lull-system"};
    struct error err = {0};
    CLEANUP(strbuf_fini) struct strbuf out, again;
    CLEANUP(jfree) json_t *asked = NULL;
    CLEANUP(jfree) json_t *answer = NULL;
    bool allowed = false;
    if (size < 1) {
        return 0;
    }
    serving_config_init(&config);
    strbuf_init(&out, REVIEW_ANSWER_MAX);
    strbuf_init(&again, REVIEW_ANSWER_MAX);
    enum review_door door = (enum review_door)(data[0] % 3);
    struct slice body = {(const char *)data + 1, size - 1};
    if (review_answer(&env, door, body, &out, &allowed, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        return 0;
    }
    MUST_HOLD(jparse(strbuf_slice(&out), REVIEW_ANSWER_MAX, &answer, &err) == 0);
    MUST_HOLD(jparse(body, REVIEW_BODY_MAX, &asked, &err) == 0);
    MUST_HOLD(slice_eq(jpeek_str(answer, "response.uid"), jpeek_str(asked, "request.uid")));
    MUST_HOLD(allowed == jpeek_bool(answer, "response.allowed"));
    MUST_HOLD(allowed || jpeek_str(answer, "response.status.message").len > 0);
    MUST_HOLD(review_answer(&env, door, body, &again, &allowed, &err) == 0);
    MUST_HOLD(slice_eq(strbuf_slice(&out), strbuf_slice(&again)));
    return 0;
}
