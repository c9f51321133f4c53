#!/usr/bin/env bash
# Needs: Go.
#
# Guess: an unquoted date in a manifest, `validFrom: 2026-01-01`, reaches the API server as it was written: it does with kubectl apply and with Helm.
# Seen:  kustomize 5.8.1 writes a resource's date as the text "2026-01-01T00:00:00Z", even when it transforms nothing, while the value of a JSON patch
#        in the same kustomization stays "2026-05-05". sigs.k8s.io/yaml 1.6.0, which kubectl and Helm read with, keeps the date as text.
# Why it matters: Flux runs kustomize over every directory. A custom resource with `format: date` is refused there by the very API server that took the same
#        file from kubectl.
# Ours:  every example quotes dates and codes, and a test sends the examples through `kubectl kustomize`.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT; cd "$work"

GOBIN=$work/bin go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.1 2>/dev/null
mkdir base && cat > base/iban.yaml <<'X'
apiVersion: example.org/v1
kind: Iban
metadata: {name: tesoreria}
spec:
  plain: 2026-01-01
  quoted: "2026-01-01"
X
cat > base/kustomization.yaml <<'X'
resources: [iban.yaml]
patches:
  - target: {kind: Iban}
    patch: |-
      - {op: add, path: /spec/patched, value: 2026-05-05}
X
mkdir reader && cat > reader/main.go <<'X'
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	text, _ := os.ReadFile("base/iban.yaml")
	json, err := yaml.YAMLToJSON(text)
	fmt.Println(string(json), err)
}
X
(cd reader && go mod init reader && go get sigs.k8s.io/yaml@v1.6.0 && go build -o ../bin/reader .) >/dev/null 2>&1

{ bin/kustomize build base | grep -E '^ +(plain|quoted|patched):'; bin/reader; } | tee seen
cat > expected <<'X'
  patched: "2026-05-05"
  plain: "2026-01-01T00:00:00Z"
  quoted: "2026-01-01"
{"apiVersion":"example.org/v1","kind":"Iban","metadata":{"name":"tesoreria"},"spec":{"plain":"2026-01-01","quoted":"2026-01-01"}} <nil>
X
diff expected seen && echo "as it was seen"
