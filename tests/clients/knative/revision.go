// SPDX-License-Identifier: Apache-2.0
package main

import (
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/kmeta"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

func envLabelsAnnotations(c *client) error {
	s, err := c.update("first", func(s *servingv1.Service) {
		s.Labels = map[string]string{"team": "a"}
		s.Annotations["note"] = "kept"
		s.Spec.Template.Labels = map[string]string{"tier": "front"}
		s.Spec.Template.Annotations = map[string]string{"build": "7"}
		container(s).Env = []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "two words"}}
	})
	if err != nil {
		return err
	}
	revision, err := c.revisions().Get(c.ctx, s.Status.LatestReadyRevisionName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	env, err := c.answersAs("first", revision.Name)
	return firstError(err,
		must(s.Labels["team"] == "a" && s.Annotations["note"] == "kept", "the Service has %v %v", s.Labels, s.Annotations),
		must(revision.Labels["tier"] == "front" && revision.Annotations["build"] == "7", "the revision has %v %v",
			revision.Labels, revision.Annotations),
		must(env["A"] == "1" && env["B"] == "two words", "the function sees %v", env))
}

func mounts(c *client) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: map[string]string{"password": "s3cret"}}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"LEVEL": "debug", "motd": "hello"}}
	_, err1 := c.core.CoreV1().Secrets(c.ns).Create(c.ctx, secret, metav1.CreateOptions{})
	_, err2 := c.core.CoreV1().ConfigMaps(c.ns).Create(c.ctx, config, metav1.CreateOptions{})
	if err := firstError(err1, err2); err != nil {
		return err
	}
	s, err := c.update("first", func(s *servingv1.Service) {
		container(s).Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "db"}, Key: "password"}}}}
		container(s).EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
		container(s).VolumeMounts = []corev1.VolumeMount{
			{Name: "secret", MountPath: "/tmp/lull-test-secret", ReadOnly: true},
			{Name: "config", MountPath: "/tmp/lull-test-config", ReadOnly: true}}
		s.Spec.Template.Spec.Volumes = []corev1.Volume{
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db"}}},
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}}
	})
	if err != nil {
		return err
	}
	password, motd := "", ""
	env, err := c.answersAs("first", s.Status.LatestReadyRevisionName)
	return firstError(err,
		must(env["PASSWORD"] == "s3cret" && env["LEVEL"] == "debug", "the function sees %v", env),
		c.call("first", "/read/tmp/lull-test-secret/password", &password),
		c.call("first", "/read/tmp/lull-test-config/motd", &motd),
		must(password == "s3cret" && motd == "hello", "the files have %q and %q", password, motd))
}

func target(revision string, percent int64, tag string) servingv1.TrafficTarget {
	latest := revision == ""
	return servingv1.TrafficTarget{RevisionName: revision, LatestRevision: &latest, Percent: &percent, Tag: tag}
}

func traffic(c *client) error {
	s, err := c.update("second", func(s *servingv1.Service) {
		s.Spec.Traffic = []servingv1.TrafficTarget{target("second-00001", 20, "v1"), target("", 80, "current"),
			target("second-00002", 0, "old")}
	})
	if err != nil {
		return err
	}
	errs := []error{must(len(s.Status.Traffic) == 3, "status.traffic %v", s.Status.Traffic)}
	for i, t := range s.Status.Traffic {
		want := s.Spec.Traffic[i]
		errs = append(errs, must(t.Tag == want.Tag && *t.Percent == *want.Percent, "target %d is %v", i, t),
			must(t.URL != nil && t.URL.Host[:len(t.Tag)+1] == t.Tag+"-", "the URL of %s is %v", t.Tag, t.URL))
	}
	errs = append(errs, must(s.Status.Traffic[1].RevisionName == s.Status.LatestReadyRevisionName, "@latest is %v", s.Status.Traffic[1]))
	if err := firstError(errs...); err != nil {
		return err
	}
	if _, err = c.update("second", func(s *servingv1.Service) {
		s.Spec.Traffic = []servingv1.TrafficTarget{target("second-00001", 100, "")}
	}); err != nil {
		return err
	}
	_, err = c.answersAs("second", "second-00001")
	_, refused := c.update("second", func(s *servingv1.Service) {
		s.Spec.Traffic = []servingv1.TrafficTarget{target("second-00001", 50, "")}
	})
	return firstError(err, must(apierrors.IsBadRequest(refused), "50 percent in all: %v", refused))
}

func revisionListDelete(c *client) error {
	of := metav1.ListOptions{LabelSelector: "serving.knative.dev/service=second"}
	revisions, err := c.revisions().List(c.ctx, of)
	if err != nil {
		return err
	}
	sort.Slice(revisions.Items, func(i, k int) bool {
		return revisions.Items[i].Labels["serving.knative.dev/configurationGeneration"] <
			revisions.Items[k].Labels["serving.knative.dev/configurationGeneration"]
	})
	before := len(revisions.Items)
	gone := revisions.Items[1]
	w, watchErr := c.revisions().Watch(c.ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + gone.Name,
		ResourceVersion: revisions.ResourceVersion})
	policy := metav1.DeletePropagationBackground
	err = firstError(c.revisions().Delete(c.ctx, gone.Name, metav1.DeleteOptions{PropagationPolicy: &policy}),
		waitGone(c.ctx, w, watchErr))
	if err != nil {
		return err
	}
	revisions, err = c.revisions().List(c.ctx, of)
	return firstError(err, must(before >= 3 && len(revisions.Items) == before-1, "%d revisions, then %d", before, len(revisions.Items)))
}

// What a tool writes into a file: the Service as its user wrote it, and the revisions that get requests.
func (c *client) export(name string) (string, []servingv1.Revision, error) {
	s, err := c.services().Get(c.ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", nil, err
	}
	out := c.newService(name, func(o *servingv1.Service) {
		o.Labels, o.Spec = s.Labels, s.Spec
		o.Spec.Template.Name = s.Status.LatestCreatedRevisionName
	})
	text, err := yaml.Marshal(withoutStatus(out))
	if err != nil {
		return "", nil, err
	}
	var kept []servingv1.Revision
	for _, t := range s.Spec.Traffic {
		if t.RevisionName == "" || t.RevisionName == s.Status.LatestCreatedRevisionName {
			continue
		}
		r, err := c.revisions().Get(c.ctx, t.RevisionName, metav1.GetOptions{})
		if err != nil {
			return "", nil, err
		}
		kept = append(kept, servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: r.Name, Namespace: r.Namespace,
			Labels: r.Labels, Annotations: r.Annotations}, Spec: r.Spec})
	}
	return string(text), kept, nil
}

func exportImport(c *client) error {
	if _, err := c.update("second", func(s *servingv1.Service) {
		s.Spec.Traffic = []servingv1.TrafficTarget{target("second-00001", 30, "v1"), target("", 70, "")}
	}); err != nil {
		return err
	}
	text, revisions, err := c.export("second")
	if err != nil {
		return err
	}
	before, err := c.services().Get(c.ctx, "second", metav1.GetOptions{})
	if err != nil {
		return err
	}
	policy := metav1.DeletePropagationForeground
	w, watchErr := c.services().Watch(c.ctx, metav1.ListOptions{FieldSelector: "metadata.name=second", ResourceVersion: before.ResourceVersion})
	err = firstError(c.services().Delete(c.ctx, "second", metav1.DeleteOptions{PropagationPolicy: &policy}), waitGone(c.ctx, w, watchErr))
	if err != nil {
		return err
	}
	var again servingv1.Service
	if err := yaml.Unmarshal([]byte(text), &again); err != nil {
		return err
	}
	if _, err := c.services().Create(c.ctx, &again, metav1.CreateOptions{}); err != nil {
		return err
	}
	made, err := c.waitService("second", "with its configuration", func(s *servingv1.Service) bool {
		return s.Status.LatestCreatedRevisionName != ""
	})
	if err != nil {
		return err
	}
	configuration, err := c.serving.Configurations(c.ns).Get(c.ctx, "second", metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, r := range revisions {
		r.OwnerReferences = []metav1.OwnerReference{*kmeta.NewControllerRef(configuration)}
		r.Labels["serving.knative.dev/configurationUID"] = string(configuration.UID)
		r.Labels["serving.knative.dev/serviceUID"] = string(made.UID)
		if _, err := c.revisions().Create(c.ctx, &r, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("revision %s: %w", r.Name, err)
		}
	}
	s, err := c.waitReady("second")
	if err != nil {
		return err
	}
	return firstError(
		must(len(revisions) == 1 && revisions[0].Name == "second-00001", "%d revisions were exported", len(revisions)),
		must(s.UID != before.UID && s.Status.LatestReadyRevisionName == before.Status.LatestReadyRevisionName,
			"latest ready %s, was %s", s.Status.LatestReadyRevisionName, before.Status.LatestReadyRevisionName),
		must(len(s.Status.Traffic) == 2 && *s.Status.Traffic[0].Percent == 30 && s.Status.Traffic[0].Tag == "v1", "traffic %v", s.Status.Traffic))
}
