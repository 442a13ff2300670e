// SPDX-License-Identifier: Apache-2.0

// Command reference answers what Knative's own code says about objects: it defaults and validates
// them as Knative's webhooks do.
//
//	reference golden <cases >answers   one JSON case per line in, the same line with the answer out
//	reference types                    the Go types behind the objects, as lib/serving/typed.def
package main

import (
	"fmt"
	"os"
)

func main() {
	verb := ""
	if len(os.Args) == 2 {
		verb = os.Args[1]
	}
	var err error
	switch verb {
	case "golden":
		err = golden(os.Stdin, os.Stdout)
	case "types":
		err = printTypes(os.Stdout)
	default:
		err = fmt.Errorf("usage: reference golden|types")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}
