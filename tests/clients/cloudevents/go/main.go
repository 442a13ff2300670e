// SPDX-License-Identifier: Apache-2.0

// Sends and receives events with the CloudEvents SDK of Go. tests/lib/sdk_peers.py says what it is told and tells.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

// An event as the test writes it, and as it is told of.
type spec struct {
	Path       string         `json:"path,omitempty"`
	Attributes map[string]any `json:"attributes"`
	JSON       any            `json:"json,omitempty"`
	Text       *string        `json:"text,omitempty"`
	Bytes      []byte         `json:"bytes,omitempty"`
}

type command struct {
	URL    string `json:"url"`
	Mode   string `json:"mode"`
	Events []spec `json:"events"`
}

var says sync.Mutex

func say(what any) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	says.Lock()
	defer says.Unlock()
	fmt.Println(string(text))
}

func setAttribute(e *cloudevents.Event, name string, value any) error {
	text, _ := value.(string)
	switch name {
	case "id":
		e.SetID(text)
	case "source":
		e.SetSource(text)
	case "type":
		e.SetType(text)
	case "subject":
		e.SetSubject(text)
	case "dataschema":
		e.SetDataSchema(text)
	case "time":
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return err
		}
		e.SetTime(t)
	case "datacontenttype":
	default:
		if number, ok := value.(float64); ok {
			value = int32(number)
		}
		e.SetExtension(name, value)
	}
	return nil
}

// made is an event of the SDK.
func made(s spec) (e cloudevents.Event, err error) {
	e = cloudevents.NewEvent()
	for name, value := range s.Attributes {
		if err = setAttribute(&e, name, value); err != nil {
			return
		}
	}
	contentType, _ := s.Attributes["datacontenttype"].(string)
	switch {
	case s.Bytes != nil:
		err = e.SetData(contentType, s.Bytes)
	case s.Text != nil:
		err = e.SetData(contentType, *s.Text)
	case s.JSON != nil:
		err = e.SetData(contentType, s.JSON)
	}
	return
}

// told is what the SDK says of an event.
func told(path string, e *cloudevents.Event) spec {
	s := spec{Path: path, Attributes: map[string]any{
		"specversion": e.SpecVersion(), "id": e.ID(), "source": e.Source(), "type": e.Type()}}
	for name, value := range map[string]string{"subject": e.Subject(), "dataschema": e.DataSchema(),
		"datacontenttype": e.DataContentType()} {
		if value != "" {
			s.Attributes[name] = value
		}
	}
	if !e.Time().IsZero() {
		s.Attributes["time"] = e.Time().Format(time.RFC3339Nano)
	}
	for name, value := range e.Extensions() {
		text, err := types.Format(value)
		if err != nil {
			text = err.Error()
		}
		s.Attributes[name] = text
	}
	data := e.Data()
	var value any
	switch {
	case len(data) == 0:
	case e.DataMediaType() == "application/json" && json.Unmarshal(data, &value) == nil:
		s.JSON = value
	case utf8.Valid(data):
		text := string(data)
		s.Text = &text
	default:
		s.Bytes = data
	}
	return s
}

func request(ctx context.Context, c command) (*http.Request, error) {
	events := []cloudevents.Event{}
	for _, s := range c.Events {
		e, err := made(s)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if c.Mode == "batch" {
		return cehttp.NewHTTPRequestFromEvents(ctx, c.URL, events)
	}
	if c.Mode == "structured" {
		ctx = binding.WithForceStructured(ctx)
	}
	return cehttp.NewHTTPRequestFromEvent(ctx, c.URL, events[0])
}

func send(line []byte) (int, error) {
	var c command
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&c); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := request(ctx, c)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

func receive(w http.ResponseWriter, r *http.Request) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		say(map[string]string{"path": r.URL.Path, "why": err.Error()})
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	say(told(r.URL.Path, e))
	ask, asked := e.Extensions()["ask"]
	if !asked {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	reply := cloudevents.NewEvent()
	reply.SetID("go." + e.ID())
	reply.SetSource("/go")
	reply.SetType("reply")
	reply.SetSubject(e.ID())
	err = reply.SetData("application/json", map[string]string{"by": "go"})
	ctx := r.Context()
	if ask == "structured" {
		ctx = binding.WithForceStructured(ctx)
	}
	if err == nil {
		err = cehttp.WriteResponseWriter(ctx, binding.ToMessage(&reply), http.StatusOK, w)
	}
	if err != nil {
		say(map[string]string{"path": r.URL.Path, "why": err.Error()})
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { panic(http.Serve(listener, http.HandlerFunc(receive))) }()
	say(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port})
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		status, err := send(input.Bytes())
		if err != nil {
			say(map[string]any{"sent": 0, "why": err.Error()})
			continue
		}
		say(map[string]int{"sent": status})
	}
}
