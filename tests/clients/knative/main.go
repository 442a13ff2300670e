// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/client/clientset/versioned"
	"sigs.k8s.io/yaml"
)

func main() {
	fmt.Println(context.Background(), corev1.Pod{}, apierrors.IsConflict(nil), metav1.ListOptions{}, types.MergePatchType, strategicpatch.StrategicMergePatch, watch.Added, kubernetes.NewForConfig, clientcmd.LoadFromFile, retry.DefaultRetry, servingv1.Service{}, versioned.NewForConfig, yaml.Marshal)
}
