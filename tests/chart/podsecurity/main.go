// Checks pods against the profile `restricted` of the Pod Security Standards with the code that the API server runs.
//
// Standard input: a stream of JSON objects {"name": ..., "pod": {...}}. Standard output: a line `name<TAB>what is
// forbidden` for each pod that is not allowed. Exit code 0 if every pod is allowed, 1 if one is not, 2 on wrong input.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

type input struct {
	Name string                 `json:"name"`
	Pod  corev1.PodTemplateSpec `json:"pod"`
}

func main() {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		fail(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	code := 0
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	for {
		var next input
		if err := decoder.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fail(err)
		}
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &next.Pod.ObjectMeta, &next.Pod.Spec))
		if !result.Allowed {
			code = 1
			fmt.Printf("%s\t%s\n", next.Name, result.ForbiddenDetail())
		}
	}
	os.Exit(code)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
