// SPDX-License-Identifier: Apache-2.0
package main

import (
	_ "unsafe" // go:linkname

	"knative.dev/serving/pkg/autoscaler/metrics"
)

// How replicas are sampled is not exported. linked.s is empty; with it in the package the compiler
// takes functions without a body.

//go:linkname populationMeanSampleSize knative.dev/serving/pkg/autoscaler/metrics.populationMeanSampleSize
func populationMeanSampleSize(population float64) float64

//go:linkname computeAverages knative.dev/serving/pkg/autoscaler/metrics.computeAverages
func computeAverages(results <-chan metrics.Stat, sample, total float64) metrics.Stat
