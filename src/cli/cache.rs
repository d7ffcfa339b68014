//! The cache of calibration: quantized graphs in files, by what they were made of, so that the next run starts at once.
//!
//! A file is named by the SHA-256 of the optimized model, every sample, the options and this program's sources, and holds
//! the SHA-256 of its contents in front. What cannot be read or written is told and does without: the result never
//! depends on it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use etcetera::{BaseStrategy, choose_base_strategy};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tinsmith::ir::{FloatGraph, Progress, Samples, stored};
use tinsmith::op::tensor::Values;
use tinsmith::quantize::Quantized;
use tinsmith::target::Target;
use tinsmith::{Error, Options};

/// The most bytes that all files take together.
const MOST_BYTES: u64 = 1 << 30;
/// What the files' names end in.
const EXTENSION: &str = "calibration";
/// What the names of unfinished files begin with.
const UNFINISHED: &str = ".unfinished-";
/// The age from which an unfinished file was left behind by a process that ended.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of a checksum.
const CHECKSUM: usize = 32;

/// Where calibration is kept.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Nowhere.
    None,
    /// In this folder.
    Folder(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "none" => Self::None,
            folder => Self::Folder(folder.into()),
        })
    }
}

/// The cache of calibration.
pub(super) struct Cache {
    folder: Option<PathBuf>,
}

/// What stands for everything that a quantized graph is made of.
struct Key(String);

impl Key {
    /// Reads every sample once.
    fn of(
        target: &Target,
        graph: &FloatGraph,
        samples: &dyn Samples,
        options: &Options,
    ) -> Result<Self, Error> {
        let mut hash = Hasher(Sha256::new());
        hash.part(env!("TINSMITH_SOURCES").as_bytes());
        hash.part(format!("{:?}", options.quantize).as_bytes());
        if let Some(wish) = options.mix {
            // A mix of precisions has to fit.
            hash.part(format!("{wish:?} {target:?} {:?} {:?}", options.schedule, options.emit).as_bytes());
        }
        stored::fingerprint(graph, &mut hash).expect("a hash takes all that it is given");
        for sample in 0..samples.len() {
            let values = samples.get(sample);
            let values = values.map_err(|error| Error::Quantize(error.into()))?;
            for Values { shape, data } in &values {
                hash.part(format!("{shape:?} {}", data.dtype()).as_bytes());
                hash.part(&data.to_le_bytes());
            }
        }
        Ok(Self(hex(&hash.0.finalize())))
    }
}

impl Cache {
    /// The cache in the given place, or in the user's own folder for such data.
    pub(super) fn at(place: Option<&Place>) -> Self {
        let folder = match place {
            Some(Place::None) => None,
            Some(Place::Folder(folder)) => Some(folder.clone()),
            // Who has no home has no cache.
            None => choose_base_strategy()
                .ok()
                .map(|user| user.cache_dir().join("tinsmith")),
        };
        Self { folder }
    }

    /// Quantizes a graph, or finds it quantized.
    pub(super) fn quantize(
        &self,
        target: &Target,
        graph: FloatGraph,
        samples: &dyn Samples,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<Quantized, Error> {
        if samples.is_empty() || self.folder.is_none() {
            return tinsmith::quantize_graph(target, graph, samples, options, progress);
        }
        let key = Key::of(target, &graph, samples, options)?;
        if let Some(found) = self.find(&key, &graph) {
            return Ok(found);
        }
        let quantized = tinsmith::quantize_graph(target, graph.clone(), samples, options, progress)?;
        self.keep(&key, &graph, &quantized);
        Ok(quantized)
    }

    /// What was kept under this key; `None` where nothing was, or what there is cannot be used, which is told. `known` is
    /// the graph that was quantized.
    fn find(&self, key: &Key, known: &FloatGraph) -> Option<Quantized> {
        let path = self.path(key)?;
        let contents = match fs::read(&path) {
            Ok(contents) => contents,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                note(&format!("{}: cannot be read: {error}", path.display()));
                return None;
            }
        };
        match decode(&contents, known) {
            Ok(quantized) => {
                // What was used last goes last; where its time cannot be set, it goes earlier.
                let _ = File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(SystemTime::now()));
                Some(quantized)
            }
            Err(reason) => {
                note(&format!("{}: {reason}; calibrated anew", path.display()));
                None
            }
        }
    }

    /// Keeps a quantized graph, in the place of those that were not used for longest.
    fn keep(&self, key: &Key, known: &FloatGraph, quantized: &Quantized) {
        let Some(path) = self.path(key) else { return };
        let kept = encode(quantized, known).and_then(|contents| write(&path, &contents));
        if let Err(error) = kept {
            note(&format!(
                "{}: calibration cannot be kept: {error}; `--cache DIR` gives it another place, `--cache none` turns it off",
                path.display()
            ));
        }
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("{}.{EXTENSION}", key.0)))
    }
}

/// The contents of a file.
fn encode(quantized: &Quantized, known: &FloatGraph) -> io::Result<Vec<u8>> {
    let mut contents = vec![0; CHECKSUM];
    stored::write(&quantized.float, known, &mut contents).map_err(io::Error::other)?;
    stored::write(&quantized.quant, known, &mut contents).map_err(io::Error::other)?;
    let checksum = Sha256::digest(&contents[CHECKSUM..]);
    contents[..CHECKSUM].copy_from_slice(&checksum);
    Ok(contents)
}

/// What a file holds, or why it is damaged.
fn decode(contents: &[u8], known: &FloatGraph) -> Result<Quantized, String> {
    let (checksum, mut rest) = contents
        .split_at_checked(CHECKSUM)
        .ok_or_else(|| format!("{} bytes are no calibration", contents.len()))?;
    if Sha256::digest(rest)[..] != *checksum {
        return Err("the file is damaged".into());
    }
    let float = stored::read(known, &mut rest).map_err(|error| error.to_string())?;
    let quant = stored::read(known, &mut rest).map_err(|error| error.to_string())?;
    Ok(Quantized { float, quant })
}

/// Writes a file so that it appears whole, and makes room for it.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let bytes = contents.len() as u64;
    let (Some(folder), true) = (path.parent(), bytes <= MOST_BYTES) else {
        return Ok(());
    };
    fs::create_dir_all(folder)?;
    make_room(folder, bytes)?;
    let mut file: NamedTempFile = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
    file.write_all(contents)?;
    file.persist(path)?;
    Ok(())
}

/// Removes the files that were not used for longest, until there is room for so many bytes more; and what processes that
/// ended left behind.
fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    let now = SystemTime::now();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        // Another process may remove a file meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        let used = metadata.modified()?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            if now.duration_since(used).is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(&path);
            }
        } else if path.extension() == Some(OsStr::new(EXTENSION)) {
            files.push((used, path, metadata.len()));
        }
    }
    files.sort();
    let mut total = bytes + files.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
    for (_, path, bytes) in files {
        if total <= MOST_BYTES {
            break;
        }
        let _ = fs::remove_file(&path);
        total -= bytes;
    }
    Ok(())
}

/// Tells what does not matter for the result.
fn note(text: &str) {
    eprintln!("note: {text}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A hash that can be written to.
struct Hasher(Sha256);

impl Hasher {
    /// Takes in bytes so that they do not run together with others.
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
