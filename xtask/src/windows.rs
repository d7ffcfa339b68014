//! `windows`: cuts the streaming data sets of the shared test material into arrays of windows, as their READMEs say.

use std::fs;
use std::path::Path;

use miette::{Context, IntoDiagnostic, miette};
use npyz::{Deserialize, NpyFile};
use tinsmith::data::npy;
use tinsmith::op::tensor::Data;

use crate::shared;

/// Every how many windows of the calibration clips one is taken.
const CALIBRATION_STRIDE: usize = 8;

/// Frames that make a window.
struct Window {
    frames: usize,
    bins: usize,
}

/// The anomaly detector's: 5 frames of 128 bins, concatenated.
const AD: Window = Window { frames: 5, bins: 128 };
/// The wake word's: 30 frames of 40 bins.
const SWW: Window = Window { frames: 30, bins: 40 };

pub(crate) fn run(output: &Path) -> miette::Result<bool> {
    let Some(shared) = shared() else {
        println!("skipped: ../shared is not beside the project");
        return Ok(true);
    };
    cut(&shared, output)?;
    for file in fs::read_dir(output).into_diagnostic()? {
        println!("{}", file.into_diagnostic()?.path().display());
    }
    Ok(true)
}

/// Writes the windows of both data sets into a folder.
pub(crate) fn cut(shared: &Path, output: &Path) -> miette::Result<()> {
    fs::create_dir_all(output).into_diagnostic()?;
    let write = |name: &str, shape: &[usize], data: Data| {
        let path = output.join(name);
        fs::write(&path, npy::encode(shape, &data))
            .into_diagnostic()
            .wrap_err(path.display().to_string())
    };

    let ad = shared.join("data/ad_toycar");
    let (calibration, _) = AD.cut::<i16>(&ad.join("calib_x_i16.npy"))?;
    let calibration: Vec<i16> = calibration
        .into_iter()
        .step_by(CALIBRATION_STRIDE)
        .flat_map(|window| window.into_iter())
        .collect();
    let width = AD.frames * AD.bins;
    write(
        "ad_calib_x_i16.npy",
        &[calibration.len() / width, width],
        Data::I16(calibration),
    )?;
    let (windows, clips) = AD.cut::<i16>(&ad.join("eval_x_i16.npy"))?;
    write("ad_eval_groups.npy", &[clips.len()], Data::I32(clips))?;
    write(
        "ad_eval_x_i16.npy",
        &[windows.len(), width],
        Data::I16(windows.concat()),
    )?;
    let (labels, _) = read::<i32>(&ad.join("eval_y.npy"))?;
    write("ad_eval_y.npy", &[labels.len()], Data::I32(labels))?;

    let sww = shared.join("data/sww_marvin");
    let (windows, _) = SWW.cut::<f32>(&sww.join("eval_stream_frames.npy"))?;
    write(
        "sww_eval_x.npy",
        &[windows.len(), SWW.frames, 1, SWW.bins],
        Data::F32(windows.concat()),
    )?;
    Ok(())
}

impl Window {
    /// All windows of the recordings in a file, `[recordings][frames][bins]` or one recording, each with the index
    /// of its recording. Window `k` is the frames from `k` on.
    fn cut<T: Deserialize + Copy>(&self, path: &Path) -> miette::Result<(Vec<Vec<T>>, Vec<i32>)> {
        let (data, shape) = read::<T>(path)?;
        let [.., frames, bins] = shape[..] else {
            return Err(miette!("{} has no frames of bins", path.display()));
        };
        if bins != self.bins || frames < self.frames {
            return Err(miette!("{} has {frames} frames of {bins} bins", path.display()));
        }
        let (mut windows, mut recordings) = (Vec::new(), Vec::new());
        for (recording, data) in data.chunks_exact(frames * bins).enumerate() {
            for window in data.windows(self.frames * bins).step_by(bins) {
                windows.push(window.to_vec());
                recordings.push(recording as i32);
            }
        }
        Ok((windows, recordings))
    }
}

/// An array's elements and shape.
fn read<T: Deserialize>(path: &Path) -> miette::Result<(Vec<T>, Vec<usize>)> {
    let bytes = fs::read(path)
        .into_diagnostic()
        .wrap_err(path.display().to_string())?;
    let array = NpyFile::new(&bytes[..]).into_diagnostic()?;
    let shape = array.shape().iter().map(|&extent| extent as usize).collect();
    Ok((array.into_vec().into_diagnostic()?, shape))
}
