// SPDX-License-Identifier: Apache-2.0

// A client of the Knative Serving API that does with the generated clientset what people's tools do
// with it. Each step prints "ok NAME", or "failed NAME: WHY" and ends the program with status 1.
//
//	knative-client -kubeconfig FILE -image IMAGE -url http://127.0.0.1:PORT/_lull [-namespace NS]
//
// IMAGE is a function that answers /env, /read/PATH (tests/integration/serve_files.py).
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/client/clientset/versioned"
	typedv1 "knative.dev/serving/pkg/client/clientset/versioned/typed/serving/v1"
)

const deadline = 60 * time.Second

type client struct {
	ctx     context.Context
	serving typedv1.ServingV1Interface
	core    kubernetes.Interface
	ns      string
	image   string
	url     string
}

type step struct {
	name string
	run  func(c *client) error
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "of the API")
	image := flag.String("image", "", "of the function")
	url := flag.String("url", "", "under which functions are called: URL/NAMESPACE/NAME/PATH")
	ns := flag.String("namespace", "default", "to work in")
	flag.Parse()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fail("kubeconfig", err)
	}
	config.QPS, config.Burst = 200, 400
	c := &client{ctx: context.Background(), ns: *ns, image: *image, url: *url,
		serving: versioned.NewForConfigOrDie(config).ServingV1(), core: kubernetes.NewForConfigOrDie(config)}
	for _, s := range steps {
		begun := time.Now()
		if err := s.run(c); err != nil {
			fail(s.name, err)
		}
		fmt.Printf("ok %s (%d ms)\n", s.name, time.Since(begun).Milliseconds())
	}
	fmt.Printf("%d steps done\n", len(steps))
}

func fail(name string, err error) {
	fmt.Printf("failed %s: %v\n", name, err)
	os.Exit(1)
}

// must is for expectations: a sentence when cond does not hold.
func must(cond bool, format string, args ...any) error {
	if cond {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *client) services() typedv1.ServiceInterface   { return c.serving.Services(c.ns) }
func (c *client) revisions() typedv1.RevisionInterface { return c.serving.Revisions(c.ns) }

// newService is the smallest Service, with what the caller changes in it.
func (c *client) newService(name string, edit func(s *servingv1.Service)) *servingv1.Service {
	s := &servingv1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "serving.knative.dev/v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: c.ns},
	}
	s.Spec.Template.Spec.Containers = []corev1.Container{{Image: c.image}}
	if edit != nil {
		edit(s)
	}
	return s
}

func container(s *servingv1.Service) *corev1.Container { return &s.Spec.Template.Spec.Containers[0] }

// waitService follows the Service on a watch until done says so; a watch that ends is opened again.
func (c *client) waitService(name, what string, done func(s *servingv1.Service) bool) (*servingv1.Service, error) {
	ctx, cancel := context.WithTimeout(c.ctx, deadline)
	defer cancel()
	var last *servingv1.Service
	for ctx.Err() == nil {
		s, err := c.services().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		last = s
		if done(s) {
			return s, nil
		}
		seconds := int64(deadline / time.Second)
		w, err := c.services().Watch(ctx, metav1.ListOptions{
			FieldSelector:   fields.OneTermEqualSelector("metadata.name", name).String(),
			ResourceVersion: s.ResourceVersion, TimeoutSeconds: &seconds})
		if err != nil {
			return nil, err
		}
		for event := range w.ResultChan() {
			s, ok := event.Object.(*servingv1.Service)
			if !ok || event.Type == watch.Deleted {
				break
			}
			last = s
			if done(s) {
				w.Stop()
				return s, nil
			}
		}
		w.Stop()
	}
	return nil, fmt.Errorf("%s: not %s: %s", name, what, conditions(last))
}

func conditions(s *servingv1.Service) string {
	text, _ := json.Marshal(s.Status)
	return string(text)
}

func ready(s *servingv1.Service) bool {
	return s.Status.ObservedGeneration == s.Generation && s.IsReady()
}

func (c *client) waitReady(name string) (*servingv1.Service, error) {
	return c.waitService(name, "ready", ready)
}

// waitGone follows a watch until the object is deleted.
func waitGone(ctx context.Context, w watch.Interface, err error) error {
	if err != nil {
		return err
	}
	defer w.Stop()
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for {
		select {
		case event, open := <-w.ResultChan():
			if !open {
				return fmt.Errorf("the watch ended before the object was deleted")
			}
			if event.Type == watch.Deleted {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("not deleted after %v", deadline)
		}
	}
}

// call asks the function by its path URL, which needs no name resolution.
func (c *client) call(name, path string, into any) error {
	answer, err := http.Get(fmt.Sprintf("%s/%s/%s%s", c.url, c.ns, name, path))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: %d %s %v", name, path, answer.StatusCode, body, err)
	}
	return json.Unmarshal(body, into)
}

// answersAs waits until requests reach the revision: the proxies learn of a new route when we do, not before.
func (c *client) answersAs(name, revision string) (map[string]string, error) {
	env := map[string]string{}
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		env = map[string]string{}
		if err := c.call(name, "/env", &env); err != nil {
			return nil, err
		}
		if env["K_REVISION"] == revision {
			return env, nil
		}
	}
	return nil, fmt.Errorf("%s: %s answers, not %s", name, env["K_REVISION"], revision)
}

func conditionTrue(conds []apis.Condition, kind apis.ConditionType) bool {
	for _, cond := range conds {
		if cond.Type == kind {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}
