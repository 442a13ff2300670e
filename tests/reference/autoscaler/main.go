// SPDX-License-Identifier: Apache-2.0

// Command autoscaler plays the recordings that `lull-autoscaler replay` plays (docs/replay.md) with
// Knative's own autoscaler, and prints what it decides: a line of JSON for each tick.
//
//	autoscaler <recording >decisions
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	asconfig "knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	kparesources "knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
	"knative.dev/serving/pkg/reconciler/autoscaling/resources"
)

// The recording's time 0. The reference looks at the wall clock when a window changes its length,
// and takes over what is younger than a window: everything is, in the future.
const origin = 4102444800 // 2100-01-01

type stat struct {
	Concurrency        float64 `json:"concurrency"`
	ProxiedConcurrency float64 `json:"proxiedConcurrency"`
	Requests           float64 `json:"requests"`
	ProxiedRequests    float64 `json:"proxiedRequests"`
}

type line struct {
	Time     int64  `json:"time"`
	Scenario string `json:"scenario"`
	Config   *struct {
		ConfigMap            map[string]string `json:"configMap"`
		Annotations          map[string]string `json:"annotations"`
		ContainerConcurrency int64             `json:"containerConcurrency"`
		Reachable            *bool             `json:"reachable"`
	} `json:"config"`
	Restart bool  `json:"restart"`
	Ready   *int  `json:"ready"`
	Stat    *stat `json:"stat"`
	Scrape  *struct {
		Ready   int    `json:"ready"`
		Answers []stat `json:"answers"`
	} `json:"scrape"`
	Tick bool `json:"tick"`
}

type decision struct {
	Time        int64   `json:"time"`
	Scenario    string  `json:"scenario,omitempty"`
	Valid       bool    `json:"valid"`
	Weighted    bool    `json:"weighted,omitempty"` // the averages are
	Desired     int32   `json:"desired"`
	PanicMode   bool    `json:"panicMode"`
	Stable      float64 `json:"stable"`
	Panic       float64 `json:"panic"`
	Target      float64 `json:"target"`
	ExcessBurst int32   `json:"excessBurst"`
}

// world is one scenario: one revision and what the reference keeps for it.
type world struct {
	name      string
	logger    *zap.SugaredLogger
	config    *autoscalerconfig.Config
	pa        *v1alpha1.PodAutoscaler
	decider   *scaling.Decider
	collector *metrics.MetricCollector
	scaler    scaling.UniScaler // made at the first tick
	ready     int
}

var key = types.NamespacedName{Namespace: "default", Name: "replay"}

func (w *world) ReadyCount() (int, error)    { return w.ready, nil }
func (w *world) NotReadyCount() (int, error) { return 0, nil }

func noScraper(*v1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) { return nil, nil }

func (w *world) configure(l *line) error {
	c := l.Config
	config, err := asconfig.NewConfigFromMap(c.ConfigMap)
	if err != nil {
		return err
	}
	w.config = config
	w.pa = &v1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Annotations: c.Annotations},
		Spec:       v1alpha1.PodAutoscalerSpec{ContainerConcurrency: c.ContainerConcurrency, Reachability: v1alpha1.ReachabilityReachable},
	}
	if c.Reachable != nil && !*c.Reachable {
		w.pa.Spec.Reachability = v1alpha1.ReachabilityUnreachable
	}
	w.decider = kparesources.MakeDecider(w.pa, config)
	if w.scaler != nil {
		w.scaler.Update(&w.decider.Spec)
	}
	if w.collector == nil {
		w.collector = metrics.NewMetricCollector(noScraper, w.logger)
	}
	return w.collector.CreateOrUpdate(w.metric())
}

// metric: without a burst target replicas are not scraped.
func (w *world) metric() *v1alpha1.Metric {
	target := "private"
	if w.decider.Spec.TargetBurstCapacity == -1 {
		target = ""
	}
	return resources.MakeMetric(w.pa, target, w.config)
}

func (w *world) close() {
	if w.collector != nil {
		w.collector.Delete(key.Namespace, key.Name)
	}
}

func (w *world) restart(now time.Time) error {
	w.close()
	w.collector = metrics.NewMetricCollector(noScraper, w.logger)
	if err := w.collector.CreateOrUpdate(w.metric()); err != nil {
		return err
	}
	w.start(now)
	return nil
}

// panicTime: when it last was over the threshold. It is not exported, and its start is the wall
// clock's.
func (w *world) panicTime() *time.Time {
	field := reflect.ValueOf(w.scaler).Elem().FieldByName("panicTime")
	return (*time.Time)(unsafe.Pointer(field.UnsafeAddr()))
}

func (w *world) start(now time.Time) {
	w.scaler = scaling.New(attribute.NewSet(), noop.NewMeterProvider(), key.Namespace, key.Name, w.collector, w, &w.decider.Spec)
	if start := w.panicTime(); !start.IsZero() {
		*start = now
	}
}

func (s *stat) convert() metrics.Stat {
	return metrics.Stat{
		PodName:                          "replica",
		AverageConcurrentRequests:        s.Concurrency,
		AverageProxiedConcurrentRequests: s.ProxiedConcurrency,
		RequestCount:                     s.Requests,
		ProxiedRequestCount:              s.ProxiedRequests,
	}
}

func (w *world) scrape(l *line, now time.Time) {
	n := populationMeanSampleSize(float64(l.Scrape.Ready))
	if n == 0 || float64(len(l.Scrape.Answers)) < n {
		return
	}
	answers := make(chan metrics.Stat, int(n))
	for i := range int(n) {
		answers <- l.Scrape.Answers[i].convert()
	}
	close(answers)
	w.collector.Record(key, now, computeAverages(answers, n, float64(l.Scrape.Ready)))
}

func (w *world) tick(l *line, now time.Time) (*decision, error) {
	if w.scaler == nil {
		w.start(now)
	}
	d := &decision{Time: l.Time, Scenario: w.name, Target: w.decider.Spec.TargetValue}
	d.Weighted = w.metric().AggregationAlgorithm() == autoscaling.MetricAggregationAlgorithmWeightedExponential
	result := w.scaler.Scale(w.logger, now)
	d.PanicMode = !w.panicTime().IsZero()
	d.Valid = result.ScaleValid
	if !d.Valid {
		return d, nil
	}
	average := w.collector.StableAndPanicConcurrency
	if w.decider.Spec.ScalingMetric == autoscaling.RPS {
		average = w.collector.StableAndPanicRPS
	}
	var err error
	d.Stable, d.Panic, err = average(key, now)
	d.Desired, d.ExcessBurst = result.DesiredPodCount, result.ExcessBurstCapacity
	return d, err
}

func (w *world) play(l *line, out *json.Encoder) error {
	now := time.UnixMilli(origin*1000 + l.Time)
	if l.Config != nil {
		return w.configure(l)
	}
	if l.Restart {
		if err := w.restart(now); err != nil {
			return err
		}
	}
	if l.Ready != nil {
		w.ready = *l.Ready
	}
	if l.Stat != nil {
		w.collector.Record(key, now, l.Stat.convert())
	}
	if l.Scrape != nil {
		w.scrape(l, now)
	}
	if !l.Tick {
		return nil
	}
	d, err := w.tick(l, now)
	if err == nil {
		err = out.Encode(d)
	}
	return err
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	write := bufio.NewWriter(out)
	encoder := json.NewEncoder(write)
	w := &world{logger: zap.NewNop().Sugar()}
	for n := 1; lines.Scan(); n++ {
		l := line{}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if l.Scenario != "" {
			w.close()
			w = &world{name: l.Scenario, logger: w.logger}
			continue
		}
		if err := w.play(&l, encoder); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	w.close()
	if err := lines.Err(); err != nil {
		return err
	}
	return write.Flush()
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "autoscaler:", err)
		os.Exit(1)
	}
}
