//! `sweep-trainer predict`: what weights make of pictures, as CSV: file, class, and a column of probabilities a class.

use std::{
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tch::{Device, Kind, TchError, Tensor};
use terminal::text;
use worker::data;

use super::{
    device::{self, DeviceChoice},
    model::{self, SimpleCnn},
    set_up_process,
    weights::{self, Facts},
};

/// Pictures that go through the model at a time: as in a validation at the report's size.
const BATCH: usize = 64;
/// How deep folders are followed; as deep as a data set's.
const DEPTH_MAX: usize = 8;
/// Largest file that is read as a picture, in bytes.
const PICTURE_BYTES_MAX: u64 = 256 << 20;

/// Arguments of `sweep-trainer predict`.
#[derive(Debug, Clone, clap::Args)]
pub struct PredictOptions {
    /// Weights, as `sweep run` and `sweep artifact get` write them
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Pictures, and folders of pictures with all that is below them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads on the CPU
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
}

/// Classifies pictures and prints a row for each. Those that cannot be read are named on standard error, and the rest goes
/// on.
///
/// Must be called once, on the main thread, before any other use of libtorch.
///
/// # Errors
/// Weights that cannot be read, pictures that could not be, standard output that fails.
pub fn predict(options: &PredictOptions) -> anyhow::Result<()> {
    let device = device::open(options.device)?;
    set_up_process(usize::from(options.threads))?;
    let (facts, model) = weights::load(&options.weights, device)?;
    let mut pictures = Vec::new();
    let mut unreadable = 0;
    for path in &options.paths {
        if let Err(error) = collect(path, &mut Vec::new(), &mut pictures) {
            terminal::say!("{}: {error}", path.display());
            unreadable += 1;
        }
    }
    let mut output = csv::Writer::from_writer(io::stdout().lock());
    let classify = Classify { model, facts, device };
    let written = classify.write(&pictures, &mut output, &mut unreadable);
    match written {
        Err(error) if is_closed_pipe(&error) => return Ok(()),
        written => written.context("the predictions cannot be written")?,
    }
    if unreadable > 0 {
        anyhow::bail!(
            "{} could not be read and {} no row",
            terminal::count(unreadable as u64, "picture"),
            if unreadable == 1 { "has" } else { "have" }
        );
    }
    if pictures.is_empty() {
        anyhow::bail!("there are no pictures there; give files, or folders with pictures in them");
    }
    Ok(())
}

/// Whether nobody reads the output any more, as after `| head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let of = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(of)
            || cause.downcast_ref::<csv::Error>().is_some_and(|error| match error.kind() {
                csv::ErrorKind::Io(error) => of(error),
                _ => false,
            })
    })
}

/// The pictures at a path, those of a folder in the order of their names. What is named itself is a picture, whatever its
/// name. A folder within itself, by way of a link, is looked at once; `above` holds the folders above the path.
fn collect(path: &Path, above: &mut Vec<PathBuf>, pictures: &mut Vec<PathBuf>) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        pictures.push(path.to_owned());
        return Ok(());
    }
    let folder = std::fs::canonicalize(path)?;
    if above.contains(&folder) || above.len() > DEPTH_MAX {
        return Ok(());
    }
    above.push(folder);
    let mut entries =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().as_bytes();
        let is_folder = std::fs::metadata(&entry).is_ok_and(|found| found.is_dir());
        if !name.starts_with(b".") && (is_folder || data::is_picture(name)) {
            // A link to nowhere is a picture that cannot be read, and said to be so.
            if is_folder {
                collect(&entry, above, pictures)?;
            } else {
                pictures.push(entry);
            }
        }
    }
    above.pop();
    Ok(())
}

struct Classify {
    model: SimpleCnn,
    facts: Facts,
    device: Device,
}

impl Classify {
    fn write(
        &self,
        pictures: &[PathBuf],
        output: &mut csv::Writer<impl Write>,
        unreadable: &mut u64,
    ) -> anyhow::Result<()> {
        let columns =
            self.facts.classes.iter().map(|class| text::csv_cell(&format!("p_{class}")).into_owned());
        output.write_record(["file".to_owned(), "class".to_owned()].into_iter().chain(columns))?;
        for some in pictures.chunks(BATCH) {
            let (mut read, mut pixels) = (Vec::with_capacity(some.len()), Vec::new());
            for path in some {
                match decode(path, self.facts.image_size) {
                    Ok(bytes) => {
                        read.push(path);
                        pixels.extend(bytes);
                    }
                    Err(error) => {
                        terminal::say!("{}: {error}", path.display());
                        *unreadable += 1;
                    }
                }
            }
            if read.is_empty() {
                continue;
            }
            for (path, probabilities) in read.iter().zip(self.probabilities(&pixels, read.len())?) {
                let best = (0..probabilities.len())
                    .reduce(|best, next| if probabilities[next] > probabilities[best] { next } else { best });
                match path.to_str() {
                    Some(path) => output.write_field(text::csv_cell(path).as_bytes())?,
                    None => output.write_field(path.as_os_str().as_bytes())?,
                }
                let class = &self.facts.classes[best.unwrap_or(0)];
                output.write_field(text::csv_cell(class).as_bytes())?;
                output.write_record(probabilities.iter().map(ToString::to_string))?;
            }
            output.flush()?;
        }
        output.flush()?;
        Ok(())
    }

    /// The classes' probabilities of pictures of S·S·3 bytes, one after another.
    fn probabilities(&self, pixels: &[u8], pictures: usize) -> Result<Vec<Vec<f32>>, TchError> {
        let _no_gradients = tch::no_grad_guard();
        let side = i64::from(self.facts.image_size);
        let bytes = Tensor::f_from_data_size(pixels, &[pictures as i64, side, side, 3], Kind::Uint8)?;
        let images = model::normalise(&bytes.f_to_device(self.device)?)?;
        let probabilities =
            self.model.forward(&images)?.f_softmax(-1, Kind::Float)?.f_to_device(Device::Cpu)?;
        let all = Vec::<f32>::try_from(probabilities.f_contiguous()?.f_view(-1)?)?;
        Ok(all.chunks(self.facts.classes.len()).map(<[f32]>::to_vec).collect())
    }
}

fn decode(path: &Path, side: u32) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > PICTURE_BYTES_MAX {
        anyhow::bail!("it has {bytes} bytes, more than a picture may have");
    }
    Ok(data::decode_resized(&std::fs::read(path)?, side)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_pictures_in_order_and_files_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(place("a/b")).unwrap();
        for name in ["a/z.PNG", "a/b/y.jpg", "a/notes.txt", "a/.hidden.jpg", "odd"] {
            std::fs::write(place(name), b"").unwrap();
        }
        std::os::unix::fs::symlink("..", place("a/b/loop")).unwrap();
        let mut found = Vec::new();
        collect(&place("a"), &mut Vec::new(), &mut found).unwrap();
        collect(&place("odd"), &mut Vec::new(), &mut found).unwrap();
        assert_eq!(found, [place("a/b/y.jpg"), place("a/z.PNG"), place("odd")]);
        assert!(collect(&place("none"), &mut Vec::new(), &mut found).is_err());
    }
}
