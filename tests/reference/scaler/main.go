// SPDX-License-Identifier: Apache-2.0

// Command scaler lets the reconciler of Knative's autoscaler judge decisions: what becomes of a
// desired scale, and of the condition Active. A line of JSON for each case (../README.md), with its
// outcomes added, one for each step.
//
//	scaler <cases >answers
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/pkg/apis"
	"knative.dev/pkg/logging"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	asconfig "knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/deployment"
	"knative.dev/serving/pkg/reconciler/autoscaling/config"
)

type step struct {
	After     int64 `json:"after"` // seconds since the last step
	Desired   int32 `json:"desired"`
	Reachable bool  `json:"reachable"`
	Replicas  int32 `json:"replicas"`
	Ready     int   `json:"ready"`
	PathFor   int64 `json:"pathFor"` // seconds that activators have been in the path
}

type testCase struct {
	Name        string            `json:"name"`
	ConfigMap   map[string]string `json:"configMap"`
	Annotations map[string]string `json:"annotations"`
	Start       struct {
		Active      string `json:"active"`
		For         int64  `json:"for"`
		Initialized bool   `json:"initialized"`
	} `json:"start"`
	Steps    []step    `json:"steps"`
	Outcomes []outcome `json:"outcomes"`
}

type outcome struct {
	Want        int32  `json:"want"`
	Write       bool   `json:"write"`
	Active      string `json:"active"`
	For         int64  `json:"for"`
	Initialized bool   `json:"initialized"`
}

// --- what the reference reads and writes

// target is the scaled Deployment: what it has, and what it is told.
type target struct {
	replicas int32
	written  *int32
	cache.GenericLister
	cache.GenericNamespaceLister
	dynamic.Interface
	dynamic.NamespaceableResourceInterface
}

type lister struct{ *target }

func (l lister) List(labels.Selector) ([]runtime.Object, error)  { return nil, nil }
func (l lister) ByNamespace(string) cache.GenericNamespaceLister { return one{l.target} }
func (l lister) Get(string) (runtime.Object, error)              { return nil, nil }

type one struct{ *target }

func (o one) List(labels.Selector) ([]runtime.Object, error) { return nil, nil }
func (o one) Get(name string) (runtime.Object, error) {
	return &v1alpha1.PodScalable{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       v1alpha1.PodScalableSpec{Replicas: &o.replicas},
	}, nil
}

type client struct{ *target }

func (c client) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return resource{target: c.target}
}

type resource struct {
	*target
	dynamic.ResourceInterface
}

func (r resource) Namespace(string) dynamic.ResourceInterface {
	return scaleOf{target: r.target}
}

type scaleOf struct {
	*target
	dynamic.ResourceInterface
}

func (s scaleOf) Patch(_ context.Context, _ string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*unstructured.Unstructured, error) {
	var ops []struct {
		Value int32 `json:"value"`
	}
	if err := json.Unmarshal(data, &ops); err != nil {
		return nil, err
	}
	s.target.written = &ops[0].Value
	return nil, nil
}

type noProber struct{}

func (noProber) Offer(context.Context, string, any, time.Duration, time.Duration, ...any) bool {
	return true
}

// --- a case

type world struct {
	ctx    context.Context
	target target
	scaler scaler
	pa     *v1alpha1.PodAutoscaler
	since  int64 // the case's time at which Active became what it is
	now    int64
}

// As the reference marks them: another text would count as a change.
var active = map[string]func(*v1alpha1.PodAutoscalerStatus){
	"activating": func(s *v1alpha1.PodAutoscalerStatus) {
		s.MarkActivating("Queued", "Requests to the target are being buffered as resources are provisioned.")
	},
	"active": func(s *v1alpha1.PodAutoscalerStatus) { s.MarkActive() },
	"inactive": func(s *v1alpha1.PodAutoscalerStatus) {
		s.MarkInactive("NoTraffic", "The target is not receiving traffic.")
	},
}

func newWorld(c *testCase) (*world, error) {
	autoscaler, err := asconfig.NewConfigFromMap(c.ConfigMap)
	if err != nil {
		return nil, err
	}
	deploy, err := deployment.NewConfigFromMap(map[string]string{"queue-sidecar-image": "q"})
	if err != nil {
		return nil, err
	}
	w := &world{now: c.Start.For}
	w.ctx = config.ToContext(logging.WithLogger(context.Background(), zap.NewNop().Sugar()), &config.Config{Autoscaler: autoscaler, Deployment: deploy})
	w.scaler = scaler{
		listerFactory:  func(schema.GroupVersionResource) (cache.GenericLister, error) { return lister{&w.target}, nil },
		dynamicClient:  client{&w.target},
		activatorProbe: func(*v1alpha1.PodAutoscaler, http.RoundTripper) (bool, error) { return true, nil },
		probeManager:   noProber{},
		enqueueCB:      func(any, time.Duration) {},
	}
	w.pa = &v1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "r", Annotations: c.Annotations},
		Spec: v1alpha1.PodAutoscalerSpec{
			ScaleTargetRef: corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "r"},
		},
	}
	w.pa.Status.InitializeConditions()
	w.pa.Status.ServiceName = "r"
	mark, ok := active[c.Start.Active]
	if !ok {
		return nil, fmt.Errorf("start: active is %q", c.Start.Active)
	}
	mark(&w.pa.Status)
	if c.Start.Initialized {
		w.pa.Status.MarkScaleTargetInitialized()
	}
	return w, nil
}

// backdate moves the conditions to where they would have been by the clock on the wall, which the
// reference reads.
func (w *world) backdate(real time.Time) {
	then := apis.VolatileTime{Inner: metav1.NewTime(real.Add(-time.Duration(w.now-w.since) * time.Second))}
	for i := range w.pa.Status.Conditions {
		w.pa.Status.Conditions[i].LastTransitionTime = then
	}
}

func (w *world) sks(real time.Time, pathFor int64) *netv1alpha1.ServerlessService {
	sks := &netv1alpha1.ServerlessService{}
	sks.Status.InitializeConditions()
	sks.Status.MarkActivatorEndpointsPopulated()
	for i := range sks.Status.Conditions {
		sks.Status.Conditions[i].LastTransitionTime = apis.VolatileTime{
			Inner: metav1.NewTime(real.Add(-time.Duration(pathFor) * time.Second))}
	}
	return sks
}

func (w *world) reconcile(s *step) (int32, error) {
	real := time.Now()
	w.backdate(real)
	before := w.state()
	want, err := scale(&w.scaler, w.ctx, w.pa, w.sks(real, s.PathFor), s.Desired)
	if err != nil {
		return 0, err
	}
	computeActiveCondition(w.ctx, w.pa, podCounts{want: int(want), ready: s.Ready})
	if w.state() != before {
		w.since = w.now
	}
	return want, nil
}

// state: why it is inactive does not matter. The reference says TimedOut until it looks again, which is
// at once, and counts from then; ours says so until there is traffic.
func (w *world) state() string {
	switch {
	case w.pa.Status.IsActive():
		return "active"
	case w.pa.Status.IsActivating():
		return "activating"
	}
	return "inactive"
}

// step: what leaves Active is looked at again at once, as the change of its own status has the
// reference do.
func (w *world) step(s *step) (outcome, error) {
	w.now += s.After
	w.pa.Spec.Reachability = v1alpha1.ReachabilityUnreachable
	if s.Reachable {
		w.pa.Spec.Reachability = v1alpha1.ReachabilityReachable
	}
	w.target.replicas, w.target.written = s.Replicas, nil
	before := w.state()
	want, err := w.reconcile(s)
	if err == nil && before == "active" && w.state() == "inactive" && w.target.written == nil {
		want, err = w.reconcile(s)
	}
	return outcome{
		Want: want, Write: w.target.written != nil, Active: w.state(), For: w.now - w.since,
		Initialized: w.pa.Status.IsScaleTargetInitialized(),
	}, err
}

func answer(c *testCase) error {
	w, err := newWorld(c)
	if err != nil {
		return err
	}
	c.Outcomes = nil
	for i := range c.Steps {
		o, err := w.step(&c.Steps[i])
		if err != nil {
			return err
		}
		c.Outcomes = append(c.Outcomes, o)
	}
	return nil
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	write := bufio.NewWriter(out)
	encoder := json.NewEncoder(write)
	for n := 1; lines.Scan(); n++ {
		c := testCase{}
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = answer(&c)
		}
		if err == nil {
			err = encoder.Encode(c)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return write.Flush()
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scaler:", err)
		os.Exit(1)
	}
}
