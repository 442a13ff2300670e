// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/config"
	v1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/apis/serving/v1beta1"
	asconfig "knative.dev/serving/pkg/autoscaler/config"
)

type crd interface {
	apis.Defaultable
	apis.Validatable
	runtime.Object
}

// A question, and after golden() the answer in the same line.
type question struct {
	Name   string                       `json:"name"`
	Kind   string                       `json:"kind"`
	User   string                       `json:"user,omitempty"`
	Status bool                         `json:"status,omitempty"` // an update of the status
	Warn   bool                         `json:"warn,omitempty"`   // warnings are of interest
	Ours   *string                      `json:"ours,omitempty"`   // our error, where it is another on purpose
	Loose  bool                         `json:"loose,omitempty"`  // details are printed in another way by us
	Config map[string]map[string]string `json:"config,omitempty"`
	Old    json.RawMessage              `json:"old,omitempty"`
	Object json.RawMessage              `json:"object,omitempty"`

	Decode   string          `json:"decode,omitempty"`  // the object cannot be read as the type
	Refused  string          `json:"refused,omitempty"` // the configuration is refused
	Out      json.RawMessage `json:"out,omitempty"`     // the defaulted object
	Error    string          `json:"error,omitempty"`
	Warnings string          `json:"warnings,omitempty"`
}

// Go prints where a pointer points to; that is another place each time.
var address = regexp.MustCompile("0x[0-9a-f]{6,}")

func object(kind string) (crd, error) {
	switch kind {
	case "Service":
		return &v1.Service{}, nil
	case "Configuration":
		return &v1.Configuration{}, nil
	case "Revision":
		return &v1.Revision{}, nil
	case "Route":
		return &v1.Route{}, nil
	case "PodAutoscaler":
		return &v1alpha1.PodAutoscaler{}, nil
	case "DomainMapping":
		return &v1beta1.DomainMapping{}, nil
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}

func configure(ctx context.Context, maps map[string]map[string]string) (context.Context, error) {
	defaults, err := config.NewDefaultsConfigFromMap(maps["defaults"])
	if err != nil {
		return nil, err
	}
	features, err := config.NewFeaturesConfigFromMap(maps["features"])
	if err != nil {
		return nil, err
	}
	autoscaler, err := asconfig.NewConfigFromMap(maps["autoscaler"])
	if err != nil {
		return nil, err
	}
	return config.ToContext(ctx, &config.Config{Defaults: defaults, Features: features, Autoscaler: autoscaler}), nil
}

func decode(kind string, text []byte) (crd, error) {
	o, err := object(kind)
	if err == nil {
		err = json.Unmarshal(text, o)
	}
	return o, err
}

// update says that old is what is stored, as the API server knows it.
func update(ctx context.Context, q *question, old crd) context.Context {
	if q.Status {
		return apis.WithinSubResourceUpdate(ctx, old, "status")
	}
	return apis.WithinUpdate(ctx, old)
}

func answer(q *question) error {
	ctx, err := configure(context.Background(), q.Config)
	if err != nil {
		q.Refused = err.Error()
		return nil
	}
	user := func(ctx context.Context) context.Context {
		return apis.WithUserInfo(ctx, &authenticationv1.UserInfo{Username: q.User})
	}
	fresh, err := decode(q.Kind, q.Object)
	if err != nil {
		q.Decode = err.Error()
		return nil
	}
	defaulting := apis.WithinCreate(ctx)
	validating := apis.WithinCreate(ctx)
	if q.Old != nil {
		before, err := decode(q.Kind, q.Old)
		if err != nil {
			return err
		}
		stored := before.DeepCopyObject().(crd)
		before.SetDefaults(ctx)
		defaulting, validating = update(ctx, q, before), update(ctx, q, stored)
	}
	fresh.SetDefaults(user(defaulting))
	if q.Out, err = json.Marshal(fresh); err != nil {
		return err
	}
	sent, err := decode(q.Kind, q.Out)
	if err != nil {
		return err
	}
	result := sent.Validate(user(validating))
	if errors := result.Filter(apis.ErrorLevel); errors != nil {
		q.Error = address.ReplaceAllString(errors.Error(), "ADDRESS")
	}
	if q.Error != "" {
		q.Out = nil // what is refused is not stored
	}
	if warnings := result.Filter(apis.WarningLevel); warnings != nil && q.Warn {
		q.Warnings = warnings.Error()
	}
	return nil
}

func golden(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	write := bufio.NewWriter(out)
	for lines.Scan() {
		q := &question{}
		if err := json.Unmarshal(lines.Bytes(), q); err != nil {
			return err
		}
		if err := answer(q); err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
		var line bytes.Buffer
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(q); err != nil {
			return err
		}
		if _, err := write.Write(line.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return write.Flush()
}
