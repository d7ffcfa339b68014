//! The cache of calibration: the result never depends on it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Bench;

const LONG_AGO: SystemTime = SystemTime::UNIX_EPOCH;

impl Bench {
    /// The files of the cache in `folder`.
    fn kept(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Compiles the bundled model with steps that change its weights; the blob.
    fn cached(&self, more: &str) -> Vec<u8> {
        let outcome = self.compile(&format!(
            "--step equalize-channels=on --step correct-bias=on --emit tin,onnx {more}"
        ));
        assert_eq!(outcome.works().stderr, "");
        [self.path("digits.tin"), self.path("digits.qdq.onnx")]
            .map(|path| fs::read(path).unwrap())
            .concat()
    }
}

fn age(path: &PathBuf) {
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(LONG_AGO)
        .unwrap();
}

fn is_fresh(path: &PathBuf) -> bool {
    fs::metadata(path).unwrap().modified().unwrap() > LONG_AGO + Duration::from_secs(1)
}

#[test]
fn the_next_run_finds_what_the_last_one_kept() {
    let bench = Bench::new();
    let plain = bench.cached("");
    assert_eq!(bench.cached("--cache kept/here"), plain);
    let [kept] = &bench.kept("kept/here")[..] else {
        panic!()
    };
    // Only who finds it marks it as used.
    age(kept);
    assert_eq!(bench.cached("--cache kept/here"), plain);
    assert!(is_fresh(kept));
    assert_eq!(bench.kept("kept/here").len(), 1);
    age(kept);
    assert_eq!(bench.cached("--cache none"), plain);
    assert!(!is_fresh(kept));
    // The same for another target, for another verb, and at any number of threads.
    let evaluate = "evaluate digits.onnx --target mps2-an385 --calibration calib_x.npy --data eval_x.npy --labels eval_y.npy \
         --step equalize-channels=on --step correct-bias=on --format json";
    let found = bench
        .run(&format!("{evaluate} --threads 1 --cache kept/here"))
        .works();
    assert!(is_fresh(kept));
    assert_eq!(found.json(), bench.run(evaluate).works().json());
    assert_eq!(bench.kept("kept/here").len(), 1);
}

#[test]
fn what_decides_the_result_decides_the_key() {
    let bench = Bench::new();
    let compile = |more: &str| bench.compile(&format!("--cache kept {more}")).works();
    compile("");
    for (others, more) in [
        (1, ""),
        (1, "--io-layout channels-last"),
        (2, "--calibrator mse"),
        (3, "--scale 0.5"),
        (4, "--step correct-bias=on"),
    ] {
        compile(more);
        assert_eq!(bench.kept("kept").len(), others, "{more}");
    }
    bench
        .run("compile digits.onnx --target mps2-an386 --calibration eval_x.npy --cache kept")
        .works();
    assert_eq!(bench.kept("kept").len(), 5);
}

#[test]
fn what_is_damaged_is_told_and_made_anew() {
    let bench = Bench::new();
    let plain = bench.cached("--cache kept");
    let [kept] = &bench.kept("kept")[..] else { panic!() };
    let whole = fs::read(kept).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for damaged in [
        &flipped,
        &whole[..whole.len() - 1].to_vec(),
        &whole[..7].to_vec(),
        &Vec::new(),
    ] {
        fs::write(kept, damaged).unwrap();
        let outcome = bench
            .compile("--step equalize-channels=on --step correct-bias=on --emit tin,onnx --cache kept")
            .works();
        assert!(outcome.stderr.contains("calibrated anew"), "{}", outcome.stderr);
        assert_eq!(fs::read(kept).unwrap(), whole);
        assert_eq!(bench.cached("--cache kept"), plain);
    }
    // A place that cannot be one.
    let outcome = bench.compile("--cache digits.onnx").works();
    assert!(
        outcome.stderr.contains("`--cache none` turns it off"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn files_that_were_not_used_for_longest_make_room() {
    let bench = Bench::new();
    fs::create_dir(bench.path("kept")).unwrap();
    let sparse = |name: &str, bytes: u64, age: u64| {
        let file = File::create(bench.path("kept").join(name)).unwrap();
        file.set_len(bytes).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    };
    sparse("old.calibration", 700 << 20, 300_000);
    sparse("new.calibration", 700 << 20, 200_000);
    sparse(".unfinished-old", 1, 200_000);
    sparse(".unfinished-new", 1, 0);
    sparse("of another kind", 700 << 20, 400_000);
    bench.cached("--cache kept");
    let names: Vec<_> = bench.kept("kept");
    let names: Vec<_> = names
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in [".unfinished-new", "new.calibration", "of another kind"] {
        assert!(names.contains(&name), "{names:?}");
    }
}
