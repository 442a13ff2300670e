// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package suite names what tests/conformance/build makes of Knative's module, so that go.mod and go.sum
// hold what that needs; the tools of go.mod are the programs in the images.
package suite

import (
	_ "knative.dev/serving/test/conformance/api/v1"
	_ "knative.dev/serving/test/conformance/api/v1beta1"
	_ "knative.dev/serving/test/conformance/runtime"
)
