// Package apply sends YAML documents to the API server by server-side apply.
package apply

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// fieldManager owns the fields that are applied.
const fieldManager = "testbed"

// Paths applies files, folders (all *.yaml, *.yml, *.json below them) and "-" (standard input).
// Definitions come first, CRDs are waited for, then Namespaces, then the rest in their order.
func Paths(ctx context.Context, kubeconfig string, paths []string) (int, error) {
	var objects []*unstructured.Unstructured
	for _, path := range paths {
		found, err := read(path)
		if err != nil {
			return 0, err
		}
		objects = append(objects, found...)
	}
	client, err := newClient(kubeconfig)
	if err != nil {
		return 0, err
	}
	sort.SliceStable(objects, func(i, j int) bool { return rank(objects[i]) < rank(objects[j]) })
	established := true
	for _, object := range objects {
		if !established && rank(object) > 0 {
			if err := client.awaitDefinitions(ctx, objects); err != nil {
				return 0, err
			}
			established = true
		}
		if err := client.apply(ctx, object); err != nil {
			return 0, fmt.Errorf("%s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
		established = established && rank(object) > 0
	}
	if !established {
		return len(objects), client.awaitDefinitions(ctx, objects)
	}
	return len(objects), nil
}

// rank orders what others depend on to the front.
func rank(object *unstructured.Unstructured) int {
	switch object.GetKind() {
	case "CustomResourceDefinition":
		return 0
	case "Namespace":
		return 1
	default:
		return 2
	}
}

func read(path string) ([]*unstructured.Unstructured, error) {
	if path == "-" {
		return decode(os.Stdin, "standard input")
	}
	var objects []*unstructured.Unstructured
	err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		extension := filepath.Ext(file)
		if file != path && extension != ".yaml" && extension != ".yml" && extension != ".json" {
			return nil
		}
		// The list of files that kustomize keeps beside the manifests.
		if file != path && strings.TrimSuffix(entry.Name(), extension) == "kustomization" {
			return nil
		}
		opened, err := os.Open(file)
		if err != nil {
			return err
		}
		defer opened.Close()
		found, err := decode(opened, file)
		objects = append(objects, found...)
		return err
	})
	return objects, err
}

// decode reads the documents of a stream; lists are taken apart, and files that speak to kustomize are
// left out.
func decode(stream io.Reader, name string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(stream))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(object.Object) == 0 || strings.HasPrefix(object.GetAPIVersion(), "kustomize.config.k8s.io/") {
			continue
		}
		if object.GetKind() == "" || object.GetAPIVersion() == "" {
			return nil, fmt.Errorf("%s: a document lacks kind or apiVersion", name)
		}
		if !object.IsList() {
			objects = append(objects, object)
			continue
		}
		err = object.EachListItem(func(item runtime.Object) error {
			objects = append(objects, item.(*unstructured.Unstructured))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// client knows the API server's kinds as they are when first asked for.
type client struct {
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

func newClient(kubeconfig string) (*client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &client{objects, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found))}, nil
}

func (c *client) apply(ctx context.Context, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = c.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		if object.GetNamespace() == "" {
			object.SetNamespace(metav1.NamespaceDefault)
		}
		resource = c.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	// The API server compiles the policies of a new CRD for a moment, and says so by a temporary error.
	return retry.OnError(retry.DefaultBackoff, temporary, func() error {
		_, err := resource.Apply(ctx, object.GetName(), object, options)
		return err
	})
}

func temporary(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}

// awaitDefinitions waits until the API server serves the kinds of all CRDs among the objects.
func (c *client) awaitDefinitions(ctx context.Context, objects []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, object := range objects {
		if rank(object) != 0 {
			continue
		}
		mapping, err := c.mapper.RESTMapping(object.GroupVersionKind().GroupKind())
		if err != nil {
			return err
		}
		for {
			current, err := c.dynamic.Resource(mapping.Resource).Get(ctx, object.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if isEstablished(current) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("CRD %s is not established", object.GetName())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	c.mapper.Reset()
	return nil
}

func isEstablished(object *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, entry := range conditions {
		condition, ok := entry.(map[string]any)
		if ok && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}
