package apply

import (
	"sort"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	objects, err := decode(strings.NewReader(`
# nothing but a comment
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- {apiVersion: v1, kind: Namespace, metadata: {name: b}}
---
{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "c"}}
`), "test")
	if err != nil {
		t.Fatal(err)
	}
	sort.SliceStable(objects, func(i, j int) bool { return rank(objects[i]) < rank(objects[j]) })
	var names []string
	for _, object := range objects {
		names = append(names, object.GetName())
	}
	if got := strings.Join(names, " "); got != "c b a" {
		t.Errorf("got %s", got)
	}
	if objects, err := decode(strings.NewReader("kind: ConfigMap\n"), "test"); err == nil {
		t.Errorf("got %v", objects)
	}
}
