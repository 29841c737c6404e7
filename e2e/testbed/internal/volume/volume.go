// Package volume renders the volumes of Pods: what files they hold, from the objects that they name.
package volume

import (
	"context"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/kubernetes/pkg/fieldpath"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
)

// Files are the contents of a volume by relative path.
type Files map[string]volumeutil.FileProjection

// Objects gives access to what volumes are made of; a missing object is a NotFound error.
type Objects interface {
	Secret(namespace, name string) (*corev1.Secret, error)
	ConfigMap(namespace, name string) (*corev1.ConfigMap, error)
	// Token returns a service-account token bound to the Pod, new or from memory while it is young.
	Token(ctx context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection) (string, error)
}

// Rendered tells whether a volume consists of files that follow objects; others are plain folders.
func Rendered(volume *corev1.Volume) bool {
	return volume.Secret != nil || volume.ConfigMap != nil || volume.Projected != nil || volume.DownwardAPI != nil
}

// Render returns the files of a rendered volume as they shall be now.
func Render(ctx context.Context, objects Objects, pod *corev1.Pod, volume *corev1.Volume) (Files, error) {
	files := Files{}
	var err error
	switch {
	case volume.Secret != nil:
		source := volume.Secret
		err = addSecret(files, objects, pod, source.SecretName, source.Items, source.Optional, mode(source.DefaultMode))
	case volume.ConfigMap != nil:
		source := volume.ConfigMap
		err = addConfigMap(files, objects, pod, source.Name, source.Items, source.Optional, mode(source.DefaultMode))
	case volume.DownwardAPI != nil:
		err = addDownward(files, pod, volume.DownwardAPI.Items, mode(volume.DownwardAPI.DefaultMode))
	case volume.Projected != nil:
		err = addProjected(ctx, files, objects, pod, volume.Projected)
	}
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", volume.Name, err)
	}
	return files, nil
}

func addProjected(ctx context.Context, files Files, objects Objects, pod *corev1.Pod,
	projected *corev1.ProjectedVolumeSource,
) error {
	fallback := mode(projected.DefaultMode)
	for _, source := range projected.Sources {
		var err error
		switch {
		case source.Secret != nil:
			err = addSecret(files, objects, pod, source.Secret.Name, source.Secret.Items, source.Secret.Optional, fallback)
		case source.ConfigMap != nil:
			from := source.ConfigMap
			err = addConfigMap(files, objects, pod, from.Name, from.Items, from.Optional, fallback)
		case source.DownwardAPI != nil:
			err = addDownward(files, pod, source.DownwardAPI.Items, fallback)
		case source.ServiceAccountToken != nil:
			var token string
			if token, err = objects.Token(ctx, pod, source.ServiceAccountToken); err == nil {
				files[source.ServiceAccountToken.Path] = tokenFile(pod, token)
			}
		default:
			err = fmt.Errorf("this kind of projected source is not supported: %v", source)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tokenFile is readable by its owner alone, or by the Pod's group; without a known user by everybody, as
// the user of the image may be any.
func tokenFile(pod *corev1.Pod, token string) volumeutil.FileProjection {
	file := volumeutil.FileProjection{Data: []byte(token), Mode: 0o644}
	if context := pod.Spec.SecurityContext; context != nil && context.FSGroup != nil {
		file.Mode = 0o640
	}
	return file
}

func addSecret(files Files, objects Objects, pod *corev1.Pod, name string, items []corev1.KeyToPath,
	optional *bool, fallback int32,
) error {
	secret, err := objects.Secret(pod.Namespace, name)
	if err != nil {
		return unlessOptional(err, optional)
	}
	return addKeys(files, secret.Data, items, optional, fallback, "Secret "+name)
}

func addConfigMap(files Files, objects Objects, pod *corev1.Pod, name string, items []corev1.KeyToPath,
	optional *bool, fallback int32,
) error {
	configMap, err := objects.ConfigMap(pod.Namespace, name)
	if err != nil {
		return unlessOptional(err, optional)
	}
	data := map[string][]byte{}
	for key, value := range configMap.Data {
		data[key] = []byte(value)
	}
	for key, value := range configMap.BinaryData {
		data[key] = value
	}
	return addKeys(files, data, items, optional, fallback, "ConfigMap "+name)
}

func unlessOptional(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return err
}

// addKeys takes all keys, or the listed ones under the listed paths.
func addKeys(files Files, data map[string][]byte, items []corev1.KeyToPath, optional *bool, fallback int32,
	owner string,
) error {
	if len(items) == 0 {
		for key, value := range data {
			files[key] = volumeutil.FileProjection{Data: value, Mode: fallback}
		}
		return nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok {
			if optional != nil && *optional {
				continue
			}
			return fmt.Errorf("%s has no key %q", owner, item.Key)
		}
		file := volumeutil.FileProjection{Data: value, Mode: fallback}
		if item.Mode != nil {
			file.Mode = *item.Mode
		}
		files[item.Path] = file
	}
	return nil
}

func addDownward(files Files, pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile, fallback int32) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("downward API file %s: only fieldRef is supported", item.Path)
		}
		value, err := fieldpath.ExtractFieldPathAsString(pod, item.FieldRef.FieldPath)
		if err != nil {
			return err
		}
		file := volumeutil.FileProjection{Data: []byte(value), Mode: fallback}
		if item.Mode != nil {
			file.Mode = *item.Mode
		}
		files[path.Clean(item.Path)] = file
	}
	return nil
}

// mode is 0644 where nothing is said, as in Kubernetes.
func mode(given *int32) int32 {
	if given == nil {
		return corev1.SecretVolumeSourceDefaultMode
	}
	return *given
}

// Names tells whether a volume reads a certain Secret or ConfigMap.
func Names(volume *corev1.Volume, kind, name string) bool {
	secret, configMap := kind == "Secret", kind == "ConfigMap"
	switch {
	case volume.Secret != nil:
		return secret && volume.Secret.SecretName == name
	case volume.ConfigMap != nil:
		return configMap && volume.ConfigMap.Name == name
	case volume.Projected != nil:
		for _, source := range volume.Projected.Sources {
			if secret && source.Secret != nil && source.Secret.Name == name ||
				configMap && source.ConfigMap != nil && source.ConfigMap.Name == name {
				return true
			}
		}
	}
	return false
}

// HasToken tells whether a volume holds a token, which has to be renewed.
func HasToken(volume *corev1.Volume) bool {
	if volume.Projected == nil {
		return false
	}
	for _, source := range volume.Projected.Sources {
		if source.ServiceAccountToken != nil {
			return true
		}
	}
	return false
}

// Folder is the folder of a volume below the folder of its Pod.
func Folder(pod, name string) string {
	return path.Join(pod, "volumes", strings.ReplaceAll(name, "/", "_"))
}
