package volume

import (
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
)

// Write replaces the files of a volume as a kubelet does: readers see the old files or the new ones and
// nothing in between, since `..data` is a link that is exchanged as a whole. An unchanged volume is not
// touched.
func Write(folder string, files Files, group *int64) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	writer, err := volumeutil.NewAtomicWriter(folder, "volume "+folder)
	if err != nil {
		return err
	}
	return writer.Write(files, func(fresh string) error {
		if group == nil {
			return nil
		}
		return own(filepath.Join(folder, fresh), int(*group))
	})
}

// own gives a tree to the Pod's fsGroup.
func own(root string, group int) error {
	return filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, -1, group)
	})
}

// Prepare makes the folder of a volume that is not rendered and returns what to bind.
func Prepare(folder string, volume *corev1.Volume, group *int64) (string, error) {
	switch {
	case volume.EmptyDir != nil:
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return "", err
		}
		// MkdirAll is subject to the umask.
		if err := os.Chmod(folder, 0o777); err != nil {
			return "", err
		}
		if group != nil {
			return folder, own(folder, int(*group))
		}
		return folder, nil
	case volume.HostPath != nil:
		kind := corev1.HostPathUnset
		if volume.HostPath.Type != nil {
			kind = *volume.HostPath.Type
		}
		if kind == corev1.HostPathDirectoryOrCreate {
			return volume.HostPath.Path, os.MkdirAll(volume.HostPath.Path, 0o755)
		}
		_, err := os.Stat(volume.HostPath.Path)
		return volume.HostPath.Path, err
	default:
		return "", fmt.Errorf("volume %s: this kind is not supported by the test bed", volume.Name)
	}
}
