// SPDX-License-Identifier: Apache-2.0

// Command hpa asks Kubernetes' own replica calculator about random Pods, the same for the same seed: a
// line of JSON for each case, with its answer. Times are seconds before now.
//
//	hpa SEED COUNT >answers
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"time"
	"unsafe"

	autoscaling "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

type fake struct{ m metrics.PodMetricsInfo }

func (f fake) GetResourceMetric(ctx context.Context, r v1.ResourceName, ns string, s labels.Selector, c string) (metrics.PodMetricsInfo, time.Time, error) {
	out := metrics.PodMetricsInfo{}
	for k, v := range f.m {
		out[k] = v
	}
	if len(out) == 0 {
		return nil, time.Time{}, fmt.Errorf("no metrics returned from resource metrics API")
	}
	return out, time.Now(), nil
}
func (f fake) GetRawMetric(string, string, labels.Selector, labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	return nil, time.Time{}, nil
}
func (f fake) GetObjectMetric(string, string, *autoscaling.CrossVersionObjectReference, labels.Selector) (int64, time.Time, error) {
	return 0, time.Time{}, nil
}
func (f fake) GetExternalMetric(string, string, labels.Selector) ([]int64, time.Time, error) {
	return nil, time.Time{}, nil
}

type pod struct {
	Ignored, Pending, HasReady, Unready, Measured, Unrequested bool
	Started, Changed, At, Window                               int64 // s before now
	Request, Usage                                             int64
}
type line struct {
	Pods        []pod
	Current     int32
	CPU, Util   bool
	Target      int64
	Replicas    int32
	Utilization int32
	Average     int64
	Err         string
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: hpa SEED COUNT")
		os.Exit(2)
	}
	seed, _ := strconv.ParseInt(os.Args[1], 10, 64)
	count, _ := strconv.Atoi(os.Args[2])
	rng := rand.New(rand.NewSource(seed))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	// not exported; its fields are these
	tol := struct{ d, u float64 }{0.1, 0.1}
	tolerances := *(*podautoscaler.Tolerances)(unsafe.Pointer(&tol))
	for n := 0; n < count; n++ {
		l := line{Current: int32(rng.Intn(8)), CPU: rng.Intn(3) > 0, Util: rng.Intn(3) > 0}
		l.Target = []int64{1, 50, 80, 100, 150, 200}[rng.Intn(6)]
		now := time.Now()
		idx := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		m := metrics.PodMetricsInfo{}
		res := v1.ResourceCPU
		if !l.CPU {
			res = v1.ResourceMemory
		}
		base := int64(rng.Intn(250))
		unrequested := false // of several it is chance which one the calculator names
		for i := 0; i < rng.Intn(7); i++ {
			p := pod{Ignored: rng.Intn(10) == 0, Pending: rng.Intn(8) == 0, HasReady: rng.Intn(10) > 0, Unready: rng.Intn(5) == 0,
				Measured: rng.Intn(5) > 0, Unrequested: !unrequested && rng.Intn(60) == 0}
			unrequested = unrequested || p.Unrequested
			p.Started = []int64{1000, 400, 299, 301, 100, 20}[rng.Intn(6)]
			p.Changed = p.Started - int64(rng.Intn(60))
			if rng.Intn(3) == 0 {
				p.Changed = int64(rng.Intn(40))
			}
			p.At, p.Window = int64(rng.Intn(20)), int64(1+rng.Intn(30))
			p.Request = int64(rng.Intn(200))
			p.Usage = base + int64(rng.Intn(40))
			if rng.Intn(4) == 0 {
				p.Usage = int64(rng.Intn(400))
			}
			name := fmt.Sprintf("p%d", i)
			k := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "d"}}
			k.Status.Phase = v1.PodRunning
			if p.Pending {
				k.Status.Phase = v1.PodPending
			}
			if p.Ignored {
				t := metav1.Now()
				k.DeletionTimestamp = &t
			}
			if p.HasReady {
				st := metav1.NewTime(now.Add(-time.Duration(p.Started) * time.Second))
				k.Status.StartTime = &st
				status := v1.ConditionTrue
				if p.Unready {
					status = v1.ConditionFalse
				}
				k.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(now.Add(-time.Duration(p.Changed) * time.Second))}}
			}
			c := v1.Container{Name: "c"}
			if !p.Unrequested {
				c.Resources.Requests = v1.ResourceList{res: *resource.NewMilliQuantity(p.Request, resource.DecimalSI)}
			}
			k.Spec.Containers = []v1.Container{c}
			idx.Add(k)
			if p.Measured {
				m[name] = metrics.PodMetric{Timestamp: now.Add(-time.Duration(p.At) * time.Second), Window: time.Duration(p.Window) * time.Second, Value: p.Usage}
			}
			l.Pods = append(l.Pods, p)
		}
		calc := podautoscaler.NewReplicaCalculator(fake{m}, corelisters.NewPodLister(idx), 300*time.Second, 30*time.Second)
		var err error
		if l.Util {
			l.Replicas, l.Utilization, l.Average, _, err = calc.GetResourceReplicas(context.Background(), l.Current, int32(l.Target), res, tolerances, "d", labels.Everything(), "")
		} else {
			l.Replicas, l.Average, _, err = calc.GetRawResourceReplicas(context.Background(), l.Current, l.Target, res, tolerances, "d", labels.Everything(), "")
		}
		if err != nil {
			l.Err = err.Error()
			l.Replicas = 0
			l.Average = 0
			l.Utilization = 0
		}
		b, _ := json.Marshal(l)
		out.Write(b)
		out.WriteByte('\n')
	}
}
