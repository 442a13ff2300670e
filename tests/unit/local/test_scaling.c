// SPDX-License-Identifier: Apache-2.0
/* Defaults and rules of HorizontalPodAutoscalers: the field and Kubernetes' words for each. */
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/api/scaling.h"
#include "test.h"

#define TARGET      "'scaleTargetRef':{'kind':'Deployment','name':'d','apiVersion':'apps/v1'}"
#define CPU(target) "{'type':'Resource','resource':{'name':'cpu','target':{" target "}}}"
#define METRIC(one) TARGET ",'maxReplicas':5,'metrics':[" one "]"
#define RULES(one)  TARGET ",'maxReplicas':5,'behavior':{'scaleDown':{" one "}}"

static json_t *spec_of(const char *text)
{
    CLEANUP(cleanup_free) char *copy = xasprintf("{'spec':{%s}}", text);
    json_t *root = NULL;
    struct error err;
    for (char *p = copy; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    ASSERT_OK(jparse_object(slice_str(copy), 1u << 20, &root, &err));
    return root;
}

static void what_is_missing_is_filled_in(void **state)
{
    json_t *hpa = spec_of(TARGET ",'maxReplicas':5");
    json_t *causes = json_array();
    scaling_default(hpa);
    scaling_check(causes, hpa);
    assert_int_equal(json_array_size(causes), 0);
    assert_int_equal(jpeek_i64(hpa, "spec.minReplicas"), 1);
    assert_string_equal(jpeek_cstr(hpa, "spec.metrics[0].resource.name"), "cpu");
    assert_int_equal(jpeek_i64(hpa, "spec.metrics[0].resource.target.averageUtilization"), 80);
    json_decref(causes);
    json_decref(hpa);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *spec, *field, *message; /* of the first cause; NULL: there is none */
    } cases[] = {
        {TARGET ",'maxReplicas':5", NULL, NULL},
        {METRIC(CPU("'type':'Utilization','averageUtilization':80")), NULL, NULL},
        {METRIC(CPU("'type':'AverageValue','averageValue':'100m'")), NULL, NULL},
        {METRIC("{'type':'Pods','pods':{'metric':{'name':'x'}}}"), NULL, NULL},
        {RULES("'policies':[{'type':'Pods','value':1,'periodSeconds':1800}]"), NULL, NULL},
        {"'maxReplicas':5", "spec.scaleTargetRef.kind", "Required value"},
        {TARGET ",'maxReplicas':0", "spec.maxReplicas", "Invalid value: 0: must be greater than 0"},
        {TARGET ",'maxReplicas':5,'minReplicas':0", "spec.minReplicas",
         "Invalid value: 0: must be greater than or equal to 1"},
        {TARGET ",'maxReplicas':5,'minReplicas':6", "spec.maxReplicas",
         "Invalid value: 5: must be greater than or equal to `minReplicas`"},
        {METRIC("{'type':'Disk'}"), "spec.metrics[0].type",
         "Unsupported value: \"Disk\": supported values: \"ContainerResource\", \"External\", "
         "\"Object\", \"Pods\", \"Resource\""},
        {METRIC("{'type':'Resource'}"), "spec.metrics[0].resource",
         "Required value: must populate information for the given metric source"},
        {METRIC("{'type':'Pods','pods':{'metric':{'name':'x'}},'object':{'metric':{'name':'y'}}}"),
         "spec.metrics[0].object", "Forbidden: must populate the given metric source only"},
        {METRIC("{'type':'Resource','resource':{'target':{'type':'Utilization',"
                "'averageUtilization':80}}}"),
         "spec.metrics[0].resource.name", "Required value: must specify a resource name"},
        {METRIC(CPU("'averageUtilization':80")), "spec.metrics[0].resource.target.type",
         "Required value: must specify a metric target type"},
        {METRIC(CPU("'type':'Most','averageUtilization':80")),
         "spec.metrics[0].resource.target.type",
         "Invalid value: \"Most\": must be either Utilization, Value, or AverageValue"},
        {METRIC(CPU("'type':'Utilization','averageUtilization':0")),
         "spec.metrics[0].resource.target.averageUtilization",
         "Invalid value: 0: must be greater than 0"},
        {METRIC(CPU("'type':'AverageValue','averageValue':'0'")),
         "spec.metrics[0].resource.target.averageValue", "Invalid value: \"0\": must be positive"},
        {METRIC(CPU("'type':'Utilization'")), "spec.metrics[0].resource.target.averageUtilization",
         "Required value: must set either a target raw value or a target utilization"},
        {METRIC(CPU("'type':'Utilization','averageUtilization':80,'averageValue':'1'")),
         "spec.metrics[0].resource.target.averageValue",
         "Forbidden: may not set both a target raw value and a target utilization"},
        {METRIC("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), "spec.metrics",
         "Too many: 17: must have at most 16 items"},
        {RULES("'stabilizationWindowSeconds':-1"),
         "spec.behavior.scaleDown.stabilizationWindowSeconds",
         "Invalid value: -1: must be greater than or equal to zero"},
        {RULES("'stabilizationWindowSeconds':3601"),
         "spec.behavior.scaleDown.stabilizationWindowSeconds",
         "Invalid value: 3601: must be less than or equal to 3600"},
        {RULES("'selectPolicy':'Most'"), "spec.behavior.scaleDown.selectPolicy",
         "Unsupported value: \"Most\": supported values: \"Disabled\", \"Max\", \"Min\""},
        {RULES("'policies':[]"), "spec.behavior.scaleDown.policies",
         "Required value: must specify at least one Policy"},
        {RULES("'policies':[1,1,1,1,1,1,1,1,1]"), "spec.behavior.scaleDown.policies",
         "Too many: 9: must have at most 8 items"},
        {RULES("'policies':[{'type':'All','value':1,'periodSeconds':1}]"),
         "spec.behavior.scaleDown.policies[0].type",
         "Unsupported value: \"All\": supported values: \"Percent\", \"Pods\""},
        {RULES("'policies':[{'type':'Pods','value':0,'periodSeconds':1}]"),
         "spec.behavior.scaleDown.policies[0].value",
         "Invalid value: 0: must be greater than zero"},
        {RULES("'policies':[{'type':'Pods','value':1,'periodSeconds':0}]"),
         "spec.behavior.scaleDown.policies[0].periodSeconds",
         "Invalid value: 0: must be greater than zero"},
        {RULES("'policies':[{'type':'Pods','value':1,'periodSeconds':1801}]"),
         "spec.behavior.scaleDown.policies[0].periodSeconds",
         "Invalid value: 1801: must be less than or equal to 1800"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *hpa = spec_of(cases[i].spec), *causes = json_array();
        scaling_default(hpa);
        scaling_check(causes, hpa);
        const char *field = jpeek_cstr(json_array_get(causes, 0), "field");
        const char *message = jpeek_cstr(json_array_get(causes, 0), "message");
        if (cases[i].field == NULL
                ? json_array_size(causes) > 0
                : strcmp(field, cases[i].field) != 0 || strcmp(message, cases[i].message) != 0) {
            fail_msg("%s: %s: %s", cases[i].spec, field, message);
        }
        json_decref(causes);
        json_decref(hpa);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_filled_in),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
