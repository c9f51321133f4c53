// Evaluates a Tiltfile with the calls of Tilt that it uses, and prints the resources that it declares as JSON.
// A call that Tilt has and this does not is an error: add it here when the Tiltfile needs it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// Resource is a call of local_resource.
type Resource struct {
	Name         string   `json:"name"`
	Cmd          string   `json:"cmd"`
	ServeCmd     string   `json:"serve_cmd"`
	Deps         []string `json:"deps"`
	ResourceDeps []string `json:"resource_deps"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: tiltfile FILE"))
	}
	resources, err := evaluate(os.Args[1])
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(resources); err != nil {
		fail(err)
	}
}

func evaluate(file string) ([]Resource, error) {
	resources := []Resource{}
	record := func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var name, cmd, serveCmd string
		var deps, resourceDeps, labels *starlark.List
		var env, serveEnv *starlark.Dict
		var readiness starlark.Value
		var parallel bool
		err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &name, "cmd?", &cmd, "deps?", &deps,
			"resource_deps?", &resourceDeps, "serve_cmd?", &serveCmd, "env?", &env, "serve_env?", &serveEnv,
			"allow_parallel?", &parallel, "labels?", &labels, "readiness_probe?", &readiness)
		if err != nil {
			return nil, err
		}
		resource := Resource{Name: name, Cmd: cmd, ServeCmd: serveCmd}
		if resource.Deps, err = texts(deps); err != nil {
			return nil, err
		}
		if resource.ResourceDeps, err = texts(resourceDeps); err != nil {
			return nil, err
		}
		resources = append(resources, resource)
		return starlark.None, nil
	}
	predeclared := starlark.StringDict{
		"local_resource": starlark.NewBuiltin("local_resource", record),
		"probe":          accepting("probe", "initial_delay_secs", "timeout_secs", "period_secs", "failure_threshold", "exec"),
		"exec_action":    accepting("exec_action", "command"),
		"os": starlarkstruct.FromStringDict(starlark.String("os"), starlark.StringDict{
			"getenv": starlark.NewBuiltin("getenv", getenv),
			"path": starlarkstruct.FromStringDict(starlark.String("path"), starlark.StringDict{
				"abspath": starlark.NewBuiltin("abspath", abspath),
			}),
		}),
	}
	thread := &starlark.Thread{Name: "Tiltfile"}
	_, err := starlark.ExecFileOptions(&syntax.FileOptions{TopLevelControl: true}, thread, file, nil, predeclared)
	return resources, err
}

// accepting stands for a call whose arguments matter to Tilt alone; their names are still checked.
func accepting(name string, parameters ...string) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		values := make([]starlark.Value, len(parameters))
		pairs := make([]any, 0, 2*len(parameters))
		for i, parameter := range parameters {
			pairs = append(pairs, parameter+"?", &values[i])
		}
		return starlark.None, starlark.UnpackArgs(b.Name(), args, kwargs, pairs...)
	})
}

func getenv(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	var absent starlark.Value = starlark.None
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "key", &name, "default?", &absent); err != nil {
		return nil, err
	}
	if value, found := os.LookupEnv(name); found {
		return starlark.String(value), nil
	}
	return absent, nil
}

func abspath(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var path string
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "path", &path); err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(path)
	return starlark.String(absolute), err
}

func texts(list *starlark.List) ([]string, error) {
	found := []string{}
	if list == nil {
		return found, nil
	}
	for i := range list.Len() {
		text, ok := starlark.AsString(list.Index(i))
		if !ok {
			return nil, fmt.Errorf("%v is no string", list.Index(i))
		}
		found = append(found, text)
	}
	return found, nil
}

func fail(err error) {
	if evaluation, ok := err.(*starlark.EvalError); ok {
		fmt.Fprintln(os.Stderr, evaluation.Backtrace())
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}
