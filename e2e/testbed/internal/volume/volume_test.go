package volume

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

type objects struct {
	secrets    map[string]map[string][]byte
	configMaps map[string]map[string]string
}

func (o objects) Secret(_, name string) (*corev1.Secret, error) {
	if data, ok := o.secrets[name]; ok {
		return &corev1.Secret{Data: data}, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

func (o objects) ConfigMap(_, name string) (*corev1.ConfigMap, error) {
	if data, ok := o.configMaps[name]; ok {
		return &corev1.ConfigMap{Data: data}, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
}

func (o objects) Token(_ context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection) (string, error) {
	return "token of " + pod.Name + " for " + source.Audience, nil
}

var pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
	Namespace: "shop", Name: "p", Labels: map[string]string{"app": "a"},
}}

var known = objects{
	secrets:    map[string]map[string][]byte{"tls": {"tls.crt": []byte("C"), "tls.key": []byte("K")}},
	configMaps: map[string]map[string]string{"settings": {"a.yaml": "x"}},
}

func render(t *testing.T, text string) (map[string]string, error) {
	t.Helper()
	var volume corev1.Volume
	if err := yaml.UnmarshalStrict([]byte(text), &volume); err != nil {
		t.Fatal(err)
	}
	files, err := Render(context.Background(), known, pod, &volume)
	contents := map[string]string{}
	for name, file := range files {
		contents[name] = string(file.Data)
	}
	return contents, err
}

func check(t *testing.T, text string, want map[string]string) {
	t.Helper()
	got, err := render(t, text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	if len(got) != len(want) {
		t.Errorf("%s: got %v", text, got)
	}
	for name, content := range want {
		if got[name] != content {
			t.Errorf("%s: %s holds %q", text, name, got[name])
		}
	}
}

func TestRender(t *testing.T) {
	check(t, "{name: v, secret: {secretName: tls}}", map[string]string{"tls.crt": "C", "tls.key": "K"})
	check(t, "{name: v, secret: {secretName: tls, items: [{key: tls.crt, path: a/b.pem}]}}",
		map[string]string{"a/b.pem": "C"})
	check(t, "{name: v, configMap: {name: settings}}", map[string]string{"a.yaml": "x"})
	check(t, "{name: v, configMap: {name: none, optional: true}}", nil)
	check(t, "{name: v, downwardAPI: {items: [{path: app, fieldRef: {fieldPath: \"metadata.labels['app']\"}}]}}",
		map[string]string{"app": "a"})
	check(t, `{name: v, projected: {sources: [
	  {serviceAccountToken: {path: token, audience: me}},
	  {configMap: {name: settings}},
	  {downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}}]}}`,
		map[string]string{"token": "token of p for me", "a.yaml": "x", "namespace": "shop"})
}

func TestRenderFails(t *testing.T) {
	for _, text := range []string{
		"{name: v, secret: {secretName: none}}",
		"{name: v, secret: {secretName: tls, items: [{key: none, path: x}]}}",
	} {
		if got, err := render(t, text); err == nil {
			t.Errorf("%s gave %v", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	var volume corev1.Volume
	text := "{name: v, projected: {sources: [{secret: {name: tls}}, {serviceAccountToken: {path: t}}]}}"
	if err := yaml.Unmarshal([]byte(text), &volume); err != nil {
		t.Fatal(err)
	}
	if !Names(&volume, "Secret", "tls") || Names(&volume, "ConfigMap", "tls") || !HasToken(&volume) {
		t.Fatal("sources of a projected volume")
	}
}

func TestWriteReplacesAtOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "v")
	write := func(files Files) string {
		t.Helper()
		if err := Write(folder, files, nil); err != nil {
			t.Fatal(err)
		}
		data, err := os.Readlink(filepath.Join(folder, "..data"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := write(Files{"a": {Data: []byte("1"), Mode: 0o644}, "b": {Data: []byte("2"), Mode: 0o600}})
	if same := write(Files{"a": {Data: []byte("1"), Mode: 0o644}, "b": {Data: []byte("2"), Mode: 0o600}}); same != first {
		t.Error("an unchanged volume was written again")
	}
	if next := write(Files{"a": {Data: []byte("3"), Mode: 0o644}}); next == first {
		t.Error("..data was not exchanged")
	}
	if data, err := os.ReadFile(filepath.Join(folder, "a")); err != nil || string(data) != "3" {
		t.Errorf("a holds %q, %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "b")); !os.IsNotExist(err) {
		t.Errorf("b is still there: %v", err)
	}
}
