// Package gate stands between Pods and the API server, and disturbs their requests when told to.
//
// The Service `kubernetes` leads to it. Requests pass with their tokens; client certificates do not.
package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faults are what the gate does to requests.
type Faults struct {
	// Delay before a request is passed on or answered.
	Delay time.Duration `json:"delay,omitempty"`
	// Status answers requests in place of the API server; 0: they are passed on.
	Status int `json:"status,omitempty"`
	// Cut ends each watch this long after its begin; 0: never.
	Cut time.Duration `json:"cut,omitempty"`
	// Only names the requests that are concerned: `writes`, `reads`, `watches`; empty: all.
	Only string `json:"only,omitempty"`
}

// kinds of requests that Only may name.
var kinds = []string{"writes", "reads", "watches"}

// Parse reads `delay=5s`, `status=429`, `cut=2s`, `only=writes` in any number, or `none`.
func Parse(words []string) (Faults, error) {
	var faults Faults
	if len(words) == 0 {
		return faults, errors.New("say delay=DURATION, status=CODE, cut=DURATION, only=writes|reads|watches, or none")
	}
	for _, word := range words {
		if word == "none" && len(words) == 1 {
			break
		}
		name, value, _ := strings.Cut(word, "=")
		var err error
		switch name {
		case "delay":
			faults.Delay, err = time.ParseDuration(value)
		case "cut":
			faults.Cut, err = time.ParseDuration(value)
		case "status":
			if faults.Status, err = strconv.Atoi(value); err == nil && (faults.Status < 400 || faults.Status > 599) {
				err = errors.New("from 400 to 599")
			}
		case "only":
			if faults.Only = value; !slices.Contains(kinds, value) {
				err = fmt.Errorf("one of %v", kinds)
			}
		default:
			err = errors.New("unknown fault")
		}
		if err != nil {
			return Faults{}, fmt.Errorf("%s: %w", word, err)
		}
	}
	return faults, nil
}

// concern tells whether a request is disturbed.
func (f Faults) concern(request *http.Request) bool {
	isWatch := request.URL.Query().Get("watch") == "true" || request.URL.Query().Get("watch") == "1"
	isRead := request.Method == http.MethodGet || request.Method == http.MethodHead
	switch f.Only {
	case "writes":
		return !isRead
	case "reads":
		return isRead && !isWatch
	case "watches":
		return isWatch
	default:
		return true
	}
}

// Write puts faults where the gate looks for them; requests that are under way keep the old ones, except
// that watches are ended by a new Cut.
func Write(path string, faults Faults) error {
	data, err := json.Marshal(faults)
	if err != nil {
		return err
	}
	// Readers never see half of it.
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// read returns no faults where none were written.
func read(path string) Faults {
	var faults Faults
	if data, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(data, &faults)
	}
	return faults
}
