// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	v1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/apis/serving/v1beta1"
)

// Types that are texts (or nothing to look into) on the wire.
var leaves = map[reflect.Type]string{
	reflect.TypeOf(resource.Quantity{}):  "QUANTITY",
	reflect.TypeOf(intstr.IntOrString{}): "INT_OR_STRING",
	reflect.TypeOf(metav1.Time{}):        "STRING",
	reflect.TypeOf(metav1.MicroTime{}):   "STRING",
	reflect.TypeOf(apis.URL{}):           "STRING",
	reflect.TypeOf(metav1.FieldsV1{}):    "ANY",
}

var scalars = map[reflect.Kind]string{
	reflect.String: "STRING", reflect.Bool: "BOOL", reflect.Int32: "INT32", reflect.Int64: "INT64",
}

type table struct {
	out  *bufio.Writer
	seen map[reflect.Type]bool
	todo []reflect.Type
}

func (t *table) want(typ reflect.Type) string {
	if !t.seen[typ] {
		t.seen[typ] = true
		t.todo = append(t.todo, typ)
	}
	return typ.Name()
}

// value gives the kind of a scalar or struct and, of a struct, its name.
func (t *table) value(typ reflect.Type) (string, string) {
	if leaf, ok := leaves[typ]; ok {
		return leaf, "NONE"
	}
	if scalar, ok := scalars[typ.Kind()]; ok {
		return scalar, "NONE"
	}
	if typ.Kind() == reflect.Struct {
		return "STRUCT", t.want(typ)
	}
	panic("no form for " + typ.String())
}

func (t *table) fields(typ reflect.Type, inline string) {
	for i := 0; i < typ.NumField(); i++ {
		field := typ.Field(i)
		tag := strings.Split(field.Tag.Get("json"), ",")
		if tag[0] == "" && field.Anonymous {
			t.fields(field.Type, inline+field.Name+".")
			continue
		}
		omit := "KEPT"
		for _, word := range tag[1:] {
			if strings.HasPrefix(word, "omit") {
				omit = "OMITTED"
			}
		}
		form, inner := "PLAIN", field.Type
		switch inner.Kind() {
		case reflect.Pointer:
			form, inner = "POINTER", inner.Elem()
		case reflect.Slice:
			form, inner = "LIST", inner.Elem()
		case reflect.Map:
			form, inner = "MAP", inner.Elem()
		}
		kind, name := t.value(inner)
		if form == "PLAIN" && inner.Kind() == reflect.Struct && !slices.Contains(tag, "omitzero") {
			omit = "KEPT" // omitempty never leaves a struct out
		}
		fmt.Fprintf(t.out, ",\n     FIELD(%q, %q, %s, %s, %s, %s)", tag[0], inline+field.Name, form, kind, name, omit)
	}
}

func printTypes(w io.Writer) error {
	t := &table{out: bufio.NewWriter(w), seen: map[reflect.Type]bool{}}
	for _, root := range []any{metav1.ObjectMeta{}, v1.ServiceSpec{}, v1.ConfigurationSpec{}, v1.RevisionSpec{},
		v1.RouteSpec{}, v1alpha1.PodAutoscalerSpec{}, v1beta1.DomainMappingSpec{}} {
		t.want(reflect.TypeOf(root))
	}
	fmt.Fprint(t.out, `// SPDX-License-Identifier: Apache-2.0
// Made by tests/reference (reference types): the types behind the objects that are validated.
// TYPE(name, Go's name, fields…); FIELD(JSON name, Go's path, form, kind, type of a STRUCT, whether a
// zero value is OMITTED from JSON). An includer defines TYPE and FIELD.
`)
	for len(t.todo) > 0 {
		typ := t.todo[0]
		t.todo = t.todo[1:]
		fmt.Fprintf(t.out, "TYPE(%s, %q", typ.Name(), typ.String())
		t.fields(typ, "")
		fmt.Fprint(t.out, ")\n")
	}
	return t.out.Flush()
}
