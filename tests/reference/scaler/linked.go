// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"net/http"
	"time"
	_ "unsafe" // go:linkname

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	_ "knative.dev/serving/pkg/reconciler/autoscaling/kpa"
)

// The reconciler's decisions are not exported. linked.s is empty; with it in the package the compiler
// takes functions without a body.

// scaler has the fields of the reference's, in its order.
type scaler struct {
	listerFactory  func(gvr schema.GroupVersionResource) (cache.GenericLister, error)
	dynamicClient  dynamic.Interface
	transport      http.RoundTripper
	activatorProbe func(pa *v1alpha1.PodAutoscaler, transport http.RoundTripper) (bool, error)
	probeManager   prober
	enqueueCB      func(any, time.Duration)
}

type prober interface {
	Offer(context.Context, string, any, time.Duration, time.Duration, ...any) bool
}

type podCounts struct{ want, ready, notReady, pending, terminating int }

//go:linkname scale knative.dev/serving/pkg/reconciler/autoscaling/kpa.(*scaler).scale
func scale(ks *scaler, ctx context.Context, pa *v1alpha1.PodAutoscaler, sks *netv1alpha1.ServerlessService, desired int32) (int32, error)

//go:linkname computeActiveCondition knative.dev/serving/pkg/reconciler/autoscaling/kpa.computeActiveCondition
func computeActiveCondition(ctx context.Context, pa *v1alpha1.PodAutoscaler, pc podCounts)
