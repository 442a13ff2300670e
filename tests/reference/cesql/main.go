// SPDX-License-Identifier: Apache-2.0
//
// Evaluates expressions of CloudEvents SQL with the reference: a line of JSON {"expression", "event"} in, a
// line {"parse": false} or {"value", "error"} out.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	sqlerrors "github.com/cloudevents/sdk-go/sql/v2/errors"
	"github.com/cloudevents/sdk-go/sql/v2/parser"
	"github.com/cloudevents/sdk-go/v2/event"
)

type question struct {
	Expression string      `json:"expression"`
	Event      event.Event `json:"event"`
}

type answer struct {
	Parse bool   `json:"parse"`
	Value any    `json:"value"`
	Error string `json:"error"`
}

func kind(err error) string {
	switch {
	case err == nil:
		return "none"
	case sqlerrors.IsMathError(err):
		return "math"
	case sqlerrors.IsCastError(err):
		return "cast"
	case sqlerrors.IsMissingAttributeError(err):
		return "missingAttribute"
	case sqlerrors.IsMissingFunctionError(err):
		return "missingFunction"
	case sqlerrors.IsFunctionEvaluationError(err):
		return "functionEvaluation"
	}
	return "generic"
}

func ask(line []byte) (answer, error) {
	var q question
	if err := json.Unmarshal(line, &q); err != nil {
		return answer{}, err
	}
	expression, err := parser.Parse(q.Expression)
	if err != nil || expression == nil {
		return answer{}, nil
	}
	value, err := expression.Evaluate(q.Event)
	return answer{Parse: true, Value: value, Error: kind(err)}, nil
}

func main() {
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		a, err := ask(in.Bytes())
		if err == nil {
			err = json.NewEncoder(out).Encode(a)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, errors.Join(err, errors.New(in.Text())))
			os.Exit(1)
		}
	}
	out.Flush()
}
