// SPDX-License-Identifier: Apache-2.0
package main

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/client-go/util/retry"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

var steps = []step{
	{"create and wait by watch", create},
	{"create again is refused", createAgain},
	{"invalid is refused and named", invalid},
	{"list", list},
	{"update with conflict retry", updateWithRetry},
	{"apply", apply},
	{"describe", describe},
	{"scale bounds", scaleBounds},
	{"concurrency limit", concurrencyLimit},
	{"env, labels and annotations", envLabelsAnnotations},
	{"mounts and variables from Secrets and ConfigMaps", mounts},
	{"traffic with percents and tags", traffic},
	{"revision list and delete", revisionListDelete},
	{"export and import", exportImport},
	{"delete and wait by watch", remove},
}

func create(c *client) error {
	made, err := c.services().Create(c.ctx, c.newService("first", nil), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	s, err := c.waitReady("first")
	if err != nil {
		return err
	}
	env, err := c.answersAs("first", "first-00001")
	return firstError(err,
		must(made.UID != "" && made.Generation == 1, "created without uid or generation: %v", made.ObjectMeta),
		must(s.Status.LatestReadyRevisionName == "first-00001", "latest ready is %q", s.Status.LatestReadyRevisionName),
		must(s.Status.URL != nil && s.Status.Address != nil && s.Status.Address.URL != nil, "no URL: %s", conditions(s)),
		must(conditionTrue(s.Status.Conditions, "ConfigurationsReady") && conditionTrue(s.Status.Conditions, "RoutesReady"),
			"conditions: %s", conditions(s)),
		must(env["K_SERVICE"] == "first" && env["K_CONFIGURATION"] == "first", "the function sees %v", env))
}

func createAgain(c *client) error {
	_, err := c.services().Create(c.ctx, c.newService("first", nil), metav1.CreateOptions{})
	return must(apierrors.IsAlreadyExists(err), "got %v", err)
}

func invalid(c *client) error {
	_, err := c.services().Create(c.ctx, c.newService("bad", func(s *servingv1.Service) {
		s.Spec.Template.Spec.Containers = nil
	}), metav1.CreateOptions{})
	status, isStatus := err.(apierrors.APIStatus)
	if !isStatus {
		return fmt.Errorf("not a Status: %v", err)
	}
	_, missing := c.services().Get(c.ctx, "bad", metav1.GetOptions{})
	return firstError(
		// 422 by the schema, which a cluster asks before the webhook; 400 by the webhook's rules.
		must(apierrors.IsInvalid(err) || apierrors.IsBadRequest(err), "%v", err),
		must(strings.Contains(status.Status().Message, "spec.template.spec.containers"), "%v", err),
		must(apierrors.IsNotFound(missing), "it was stored: %v", missing))
}

func list(c *client) error {
	_, err := c.services().Create(c.ctx, c.newService("second", func(s *servingv1.Service) {
		s.Labels = map[string]string{"app": "x"}
	}), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	all, err1 := c.services().List(c.ctx, metav1.ListOptions{})
	some, err2 := c.services().List(c.ctx, metav1.ListOptions{LabelSelector: "app in (x,y)"})
	named, err3 := c.services().List(c.ctx, metav1.ListOptions{FieldSelector: "metadata.name=first"})
	page, err4 := c.services().List(c.ctx, metav1.ListOptions{Limit: 1})
	if err := firstError(err1, err2, err3, err4); err != nil {
		return err
	}
	rest, err := c.services().List(c.ctx, metav1.ListOptions{Limit: 10, Continue: page.Continue})
	if err != nil {
		return err
	}
	return firstError(
		must(len(all.Items) >= 2 && all.ResourceVersion != "", "%d in all", len(all.Items)),
		must(len(some.Items) == 1 && some.Items[0].Name == "second", "%d by label", len(some.Items)),
		must(len(named.Items) == 1 && named.Items[0].Name == "first", "%d by field", len(named.Items)),
		must(len(page.Items) == 1 && page.Continue != "", "%d on the page", len(page.Items)),
		must(len(page.Items)+len(rest.Items) == len(all.Items), "%d on both pages", len(page.Items)+len(rest.Items)))
}

// Two writers with the same version: the second is refused, reads again, and both changes are there.
func updateWithRetry(c *client) error {
	stale, err := c.waitReady("second")
	if err != nil {
		return err
	}
	other := stale.DeepCopy()
	other.Spec.Template.Annotations = map[string]string{"writer": "one"}
	if _, err := c.services().Update(c.ctx, other, metav1.UpdateOptions{}); err != nil {
		return err
	}
	conflicts := 0
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		container(stale).Env = []corev1.EnvVar{{Name: "WRITER", Value: "two"}}
		_, err := c.services().Update(c.ctx, stale, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			conflicts++
			var readErr error
			if stale, readErr = c.services().Get(c.ctx, "second", metav1.GetOptions{}); readErr != nil {
				return readErr
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	s, err := c.waitReady("second")
	if err != nil {
		return err
	}
	return firstError(
		must(conflicts > 0, "the stale version was taken"),
		must(s.Spec.Template.Annotations["writer"] == "one" && container(s).Env[0].Value == "two", "a change was lost"),
		must(s.Generation == 3 && s.Status.LatestReadyRevisionName == "second-00003", "generation %d, %s", s.Generation,
			s.Status.LatestReadyRevisionName))
}

// A three-way merge with the last applied configuration in its annotation; twice the same is no change.
func apply(c *client) error {
	wanted := c.newService("second", func(s *servingv1.Service) {
		s.Labels = map[string]string{"app": "y"}
		container(s).Env = []corev1.EnvVar{{Name: "APPLIED", Value: "1"}}
	})
	once, err := c.applyOne(wanted)
	if err != nil {
		return err
	}
	delete(wanted.Labels, "app")
	twice, err := c.applyOne(wanted)
	if err != nil {
		return err
	}
	s, err := c.waitReady("second")
	if err != nil {
		return err
	}
	return firstError(
		must(once.Labels["app"] == "y", "the label is %q", once.Labels["app"]),
		must(twice.Labels["app"] == "", "the label stayed"),
		must(len(container(s).Env) == 1 && container(s).Env[0].Name == "APPLIED", "env is %v", container(s).Env),
		must(twice.Generation == once.Generation, "the same template made a new generation"))
}

func (c *client) applyOne(wanted *servingv1.Service) (*servingv1.Service, error) {
	live, err := c.services().Get(c.ctx, wanted.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	original := []byte(live.Annotations[corev1.LastAppliedConfigAnnotation])
	plain, err := json.Marshal(withoutStatus(wanted))
	if err != nil {
		return nil, err
	}
	noted := withoutStatus(wanted)
	noted["metadata"].(map[string]any)["annotations"] = map[string]any{corev1.LastAppliedConfigAnnotation: string(plain)}
	modified, err := json.Marshal(noted)
	if err != nil {
		return nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, modified, current)
	if err != nil {
		return nil, err
	}
	return c.services().Patch(c.ctx, wanted.Name, types.MergePatchType, patch, metav1.PatchOptions{})
}

func withoutStatus(s *servingv1.Service) map[string]any {
	text, _ := json.Marshal(s)
	object := map[string]any{}
	_ = json.Unmarshal(text, &object)
	delete(object, "status")
	return object
}

func describe(c *client) error {
	s, err := c.services().Get(c.ctx, "second", metav1.GetOptions{})
	if err != nil {
		return err
	}
	revisions, err := c.revisions().List(c.ctx, metav1.ListOptions{LabelSelector: "serving.knative.dev/service=second"})
	if err != nil {
		return err
	}
	configuration, err1 := c.serving.Configurations(c.ns).Get(c.ctx, "second", metav1.GetOptions{})
	route, err2 := c.serving.Routes(c.ns).Get(c.ctx, "second", metav1.GetOptions{})
	if err := firstError(err1, err2); err != nil {
		return err
	}
	owner := metav1.GetControllerOf(configuration)
	return firstError(
		must(len(s.Status.Traffic) == 1 && *s.Status.Traffic[0].Percent == 100 && *s.Status.Traffic[0].LatestRevision,
			"traffic %v", s.Status.Traffic),
		must(len(revisions.Items) >= 3, "%d revisions", len(revisions.Items)),
		must(owner != nil && owner.Kind == "Service" && owner.UID == s.UID, "its Configuration's owner is %v", owner),
		must(route.Status.URL != nil && route.Status.URL.String() == s.Status.URL.String(), "the Route's URL is %v", route.Status.URL),
		must(s.Annotations["serving.knative.dev/creator"] != "", "no creator"))
}

func (c *client) update(name string, edit func(s *servingv1.Service)) (*servingv1.Service, error) {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		s, err := c.services().Get(c.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		edit(s)
		_, err = c.services().Update(c.ctx, s, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.waitReady(name)
}

func scaleBounds(c *client) error {
	s, err := c.update("first", func(s *servingv1.Service) {
		s.Spec.Template.Annotations = map[string]string{autoscaling.MinScaleAnnotationKey: "2",
			autoscaling.MaxScaleAnnotationKey: "3", autoscaling.InitialScaleAnnotationKey: "2"}
	})
	if err != nil {
		return err
	}
	revision, err := c.revisions().Get(c.ctx, s.Status.LatestReadyRevisionName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pods, err := c.core.CoreV1().Pods(c.ns).List(c.ctx, metav1.ListOptions{LabelSelector: "serving.knative.dev/revision=" + revision.Name})
	if err != nil {
		return err
	}
	_, refused := c.update("first", func(s *servingv1.Service) {
		s.Spec.Template.Annotations[autoscaling.MinScaleAnnotationKey] = "9"
	})
	return firstError(
		must(revision.Annotations[autoscaling.MinScaleAnnotationKey] == "2", "annotations %v", revision.Annotations),
		must(len(pods.Items) == 2, "%d Pods", len(pods.Items)),
		must(apierrors.IsBadRequest(refused), "min above max: %v", refused))
}

func concurrencyLimit(c *client) error {
	limit := int64(5)
	s, err := c.update("first", func(s *servingv1.Service) {
		s.Spec.Template.Annotations = nil
		s.Spec.Template.Spec.ContainerConcurrency = &limit
	})
	if err != nil {
		return err
	}
	revision, err := c.revisions().Get(c.ctx, s.Status.LatestReadyRevisionName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return must(revision.Spec.ContainerConcurrency != nil && *revision.Spec.ContainerConcurrency == 5,
		"the revision's limit is %v", revision.Spec.ContainerConcurrency)
}

func remove(c *client) error {
	for _, name := range []string{"first", "second"} {
		s, err := c.services().Get(c.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		w, watchErr := c.services().Watch(c.ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name,
			ResourceVersion: s.ResourceVersion})
		policy := metav1.DeletePropagationForeground
		err = c.services().Delete(c.ctx, name, metav1.DeleteOptions{PropagationPolicy: &policy})
		if err := firstError(err, waitGone(c.ctx, w, watchErr)); err != nil {
			return err
		}
		left, err := c.revisions().List(c.ctx, metav1.ListOptions{LabelSelector: "serving.knative.dev/service=" + name})
		if err := firstError(err, must(len(left.Items) == 0, "%d revisions stayed", len(left.Items))); err != nil {
			return err
		}
	}
	return nil
}
