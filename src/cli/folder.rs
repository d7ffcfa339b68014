//! The folder that a model stands in, from which its external data may be read, and nothing else: a model from
//! elsewhere must not make us read other files.
//!
//! A file's path is walked component by component from the opened folder, never following a link, and what was opened
//! is what is examined: there is no moment between a check and an opening.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use tinsmith::import::{FileBytes, Folder};
use tinsmith::op::OpError;

use super::map::map;

/// The folder of a model.
#[derive(Debug)]
pub(super) struct ModelFolder(PathBuf);

impl ModelFolder {
    /// The folder that a file stands in.
    pub(super) fn of(file: &Path) -> Self {
        match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => Self(folder.to_owned()),
            _ => Self(".".into()),
        }
    }

    /// A path inside the folder.
    pub(super) fn path(&self, location: &str) -> PathBuf {
        self.0.join(location)
    }
}

const HELP: &str = "put the file itself into the model's folder, and save the model with a plain path to it";

impl Folder for ModelFolder {
    fn open(&self, location: &str) -> Result<FileBytes, OpError> {
        let components = inside(location).ok_or_else(|| {
            OpError::new(format!(
                "a file inside the model's folder wanted, `{location}` found"
            ))
            .with_help(HELP)
        })?;
        let file = open(&self.0, &components).map_err(|error| match error {
            Refused::Link(at) => OpError::new(format!(
                "a file inside the model's folder wanted, `{location}` leads through the symbolic link `{at}`"
            ))
            .with_help(HELP),
            Refused::Kind(what) => {
                OpError::new(format!("`{location}` as a regular file wanted, {what} found")).with_help(HELP)
            }
            Refused::Io(error) => OpError::new(format!("`{location}` cannot be opened: {error}"))
                .with_help("external data stand beside the model: copy them along with it"),
        })?;
        map(&file).map_err(|error| OpError::new(format!("`{location}` cannot be read: {error}")))
    }
}

/// Why a file is not opened.
enum Refused {
    /// A component is a symbolic link.
    Link(String),
    /// It is no regular file of one name.
    Kind(&'static str),
    /// The system says no.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The components of a path that cannot leave the folder it starts in; `None` of any other.
fn inside(location: &str) -> Option<Vec<&str>> {
    if location.contains(['\0', '\\']) {
        return None;
    }
    let mut components = Vec::new();
    for component in Path::new(location).components() {
        match component {
            Component::Normal(name) => components.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!components.is_empty()).then_some(components)
}

#[cfg(unix)]
fn open(folder: &Path, components: &[&str]) -> Result<File, Refused> {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};

    // Not to wait for the other end of a pipe; regular files do not care.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    // The folder itself is the user's word, links and all.
    let mut at = openat(
        CWD,
        folder,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .map_err(io::Error::from)?;
    for (index, &component) in components.iter().enumerate() {
        let is_last = index + 1 == components.len();
        let kind = if is_last {
            OFlags::empty()
        } else {
            OFlags::DIRECTORY
        };
        at = openat(&at, component, flags | kind, Mode::empty()).map_err(|error| {
            // Only for the message: the opening has failed already.
            let is_link = statat(&at, component, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            if is_link {
                Refused::Link(component.to_owned())
            } else {
                Refused::Io(error.into())
            }
        })?;
    }
    let file = File::from(at);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refused::Kind("another kind of file"));
    }
    // The other name may be anywhere.
    if metadata.nlink() > 1 {
        return Err(Refused::Kind("a hard link, a file of several names,"));
    }
    Ok(file)
}

/// Where files cannot be opened from an open folder: links are looked for before and behind the opening.
#[cfg(not(unix))]
fn open(folder: &Path, components: &[&str]) -> Result<File, Refused> {
    let check = || -> Result<PathBuf, Refused> {
        let mut path = folder.to_owned();
        for &component in components {
            path.push(component);
            if path.symlink_metadata()?.file_type().is_symlink() {
                return Err(Refused::Link(component.to_owned()));
            }
        }
        Ok(path)
    };
    let file = File::open(check()?)?;
    check()?;
    if !file.metadata()?.is_file() {
        return Err(Refused::Kind("another kind of file"));
    }
    Ok(file)
}
