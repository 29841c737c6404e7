//! Finds the files below the given paths, and the directories in which a change of them shows.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Component, Path, PathBuf},
};

use ir::Problem;
use rustc_hash::{FxHashMap, FxHashSet};

use super::problems::{self, STANDARD_INPUT};

/// Symbolic links that are followed for one path: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A regular file, by its path without symbolic links.
    File(PathBuf),
    /// A pipe or a device, which can be read once.
    Stream,
    /// Standard input.
    StandardInput,
}

/// What there is below the given paths.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files to read, by the path that a user would name.
    pub(super) files: BTreeMap<PathBuf, Found>,
    /// Given paths that do not exist.
    pub(super) missing: Vec<PathBuf>,
    /// Problems with the given paths.
    pub(super) problems: Vec<Problem>,
    /// Where changes of all these show.
    pub(super) interest: Interest,
}

/// Which changes in which directories concern us. Directories are named without symbolic links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    directories: FxHashMap<PathBuf, Names>,
}

/// The names in a directory that concern us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    /// All names that [`is_manifest`] accepts.
    manifests: bool,
    /// These, whatever they look like.
    others: FxHashSet<OsString>,
}

impl Interest {
    /// All directories to be watched.
    pub(super) fn directories(&self) -> BTreeSet<&Path> {
        self.directories.keys().map(PathBuf::as_path).collect()
    }

    /// Whether an event about this path concerns us: it is a name of interest, or a watched directory itself.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        if self.directories.contains_key(path) {
            return true;
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.directories
            .get(directory)
            .is_some_and(|names| (names.manifests && is_manifest(name)) || names.others.contains(name))
    }

    fn name(&mut self, directory: &Path, name: &OsStr) {
        self.directories.entry(directory.to_owned()).or_default().others.insert(name.to_owned());
    }

    fn manifests(&mut self, directory: &Path) {
        self.directories.entry(directory.to_owned()).or_default().manifests = true;
    }
}

/// Whether a file in a given directory is read: `*.yaml`, `*.yml` and `*.json`, as with `kubectl apply -f`, but for
/// names that begin with a dot, which belong to editors and to mounted ConfigMaps.
fn is_manifest(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.starts_with(b".") && [&b".yaml"[..], b".yml", b".json"].iter().any(|end| name.ends_with(end))
}

/// Lists the given paths. Directories are not descended into, as `kubectl apply -f` does not without `-R`.
/// A file that is reached by several paths counts once, by the first path in order.
pub(super) fn list(given: &[PathBuf], awaited: bool) -> Listing {
    let mut listing = Listing::default();
    let mut found = Vec::new();
    for path in given {
        if path == Path::new(STANDARD_INPUT) {
            found.push((path.clone(), Found::StandardInput));
            continue;
        }
        match follow(path, &mut listing.interest).and_then(|real| Ok((fs::metadata(&real)?, real))) {
            Ok((metadata, real)) if metadata.is_dir() => {
                match list_directory(path, &real, &mut listing.interest) {
                    Ok(files) if files.is_empty() => listing.problems.push(problems::nothing_in(path)),
                    Ok(files) => found.extend(files),
                    Err(error) => listing.problems.push(problems::unlistable(path, &error)),
                }
            }
            Ok((metadata, real)) if metadata.is_file() => found.push((path.clone(), Found::File(real))),
            Ok(_) => found.push((path.clone(), Found::Stream)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                listing.problems.push(problems::missing(path, awaited));
                listing.missing.push(path.clone());
            }
            Err(error) => listing.problems.push(problems::unlistable(path, &error)),
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut seen = FxHashSet::default();
    for (path, file) in found {
        let is_new = match &file {
            Found::File(real) => seen.insert(real.clone()),
            Found::Stream | Found::StandardInput => true,
        };
        if is_new {
            listing.files.insert(path, file);
        }
    }
    listing
}

/// The manifests in a directory. An entry that vanishes meanwhile, or is no file, is left out.
fn list_directory(given: &Path, real: &Path, interest: &mut Interest) -> io::Result<Vec<(PathBuf, Found)>> {
    interest.manifests(real);
    let mut files = Vec::new();
    for entry in fs::read_dir(real)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_manifest(&name) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push((given.join(&name), Found::File(real.join(&name))));
        } else if kind.is_symlink()
            && let Ok(target) = follow(&real.join(&name), interest)
            && fs::metadata(&target).is_ok_and(|metadata| metadata.is_file())
        {
            files.push((given.join(&name), Found::File(target)));
        }
    }
    Ok(files)
}

/// Resolves a path as the kernel does, and notes every directory entry on the way as of interest: a change of any of
/// them may make the path mean another file. What does not exist ends the walk, its name noted as well.
fn follow(path: &Path, interest: &mut Interest) -> io::Result<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = parts(&std::path::absolute(path)?);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        interest.name(&real, &name);
        let next = real.join(&name);
        if fs::symlink_metadata(&next)?.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::other("too many levels of symbolic links"));
            }
            let target = fs::read_link(&next)?;
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
        } else {
            real = next;
        }
    }
    Ok(real)
}

/// Names between the slashes; `..` stays, since what it means depends on the links before it.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(listing: &Listing, root: &Path) -> Vec<String> {
        listing.files.keys().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn directories_are_flat_and_give_manifests_only() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "c.json", ".d.yaml", "e.yaml~", "f.txt", ".#g.yaml", "4913"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        fs::create_dir(root.path().join("sub.yaml")).unwrap();
        fs::write(root.path().join("sub.yaml/x.yaml"), "").unwrap();
        let listing = list(&[root.path().to_owned()], true);
        assert_eq!(names(&listing, root.path()), ["a.yml", "b.yaml", "c.json"]);
        assert_eq!(listing.problems, []);
    }

    #[test]
    fn one_file_by_two_paths_counts_once() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.yaml"), "").unwrap();
        symlink("a.yaml", root.path().join("b.yaml")).unwrap();
        let listing = list(&[root.path().join("a.yaml"), root.path().to_owned()], true);
        assert_eq!(names(&listing, root.path()), ["a.yaml"]);
    }

    #[test]
    fn a_mounted_config_map_is_followed_through_its_links() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        fs::create_dir(real.join("..1")).unwrap();
        fs::write(real.join("..1/a.yaml"), "").unwrap();
        symlink("..1", real.join("..data")).unwrap();
        symlink("..data/a.yaml", real.join("a.yaml")).unwrap();
        symlink("..data/gone.yaml", real.join("gone.yaml")).unwrap();
        let listing = list(std::slice::from_ref(&real), true);
        assert_eq!(listing.files[&real.join("a.yaml")], Found::File(real.join("..1/a.yaml")));
        assert_eq!(listing.files.len(), 1);
        for name in ["a.yaml", "new.yaml", "..data", "..1/a.yaml", "..1/gone.yaml", ""] {
            assert!(listing.interest.concerns(&real.join(name)), "{name}");
        }
        for name in ["..2", "..data_tmp", "a.yaml~", ".a.yaml.swp"] {
            assert!(!listing.interest.concerns(&real.join(name)), "{name}");
        }
    }

    #[test]
    fn missing_paths_are_awaited_from_the_first_missing_name_on() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        let given = real.join("later/deep");
        let listing = list(std::slice::from_ref(&given), true);
        assert_eq!(listing.missing, [given]);
        assert!(listing.interest.concerns(&real.join("later")));
        assert!(!listing.interest.concerns(&real.join("other")));
    }

    #[test]
    fn circles_of_links_are_a_problem() {
        let root = tempfile::tempdir().unwrap();
        symlink("a", root.path().join("b")).unwrap();
        symlink("b", root.path().join("a")).unwrap();
        let listing = list(&[root.path().join("a")], true);
        assert!(listing.problems[0].message.contains("symbolic links"), "{:?}", listing.problems);
    }
}
