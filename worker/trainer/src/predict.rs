//! `sweep-trainer predict`: classifies pictures with trained weights. Prints CSV: file, class, and one column of
//! probabilities per class.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tch::{Device, Kind, TchError, Tensor};
use terminal::text;

use super::{
    device::{self, DeviceChoice},
    model::{self, Pass, SimpleCnn},
    set_up_process,
    weights::{self, Facts},
};

/// Pictures per forward pass: as in a validation at the report's size.
const BATCH: usize = 64;

/// Arguments of `sweep-trainer predict`.
#[derive(Debug, Clone, clap::Args)]
pub struct PredictOptions {
    /// Weights, as `sweep run` and `sweep artifact get` write them
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Pictures, and folders of pictures including everything below them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads on the CPU
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
}

/// Classifies pictures and prints a row for each. Those that cannot be read are named on standard error, and the others
/// are still classified.
///
/// Must be called once, on the main thread, before any other use of libtorch.
///
/// # Errors
/// Weights or pictures that cannot be read, standard output that fails.
pub fn predict(options: &PredictOptions) -> anyhow::Result<()> {
    let device = device::open(options.device)?;
    set_up_process(usize::from(options.threads))?;
    let (facts, model) = weights::load(&options.weights, device)?;
    let mut pictures = Vec::new();
    let mut unreadable = 0;
    for path in &options.paths {
        match collect(path) {
            Ok((found, left_out)) => {
                pictures.extend(found);
                left_out.iter().for_each(|line| terminal::say!("{}: {line}", path.display()));
            }
            Err(error) => {
                terminal::say!("{}: {error}", path.display());
                unreadable += 1;
            }
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
            terms::count(unreadable, "picture"),
            if unreadable == 1 { "has" } else { "have" }
        );
    }
    if pictures.is_empty() {
        anyhow::bail!("there are no pictures there; give files, or folders with pictures in them");
    }
    Ok(())
}

/// Whether no one reads the output any more, as after `| head`.
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

/// The pictures at a path, those of a folder in the order of their names, and lines about what is left out. A path that
/// is given itself is a picture, whatever its name.
fn collect(path: &Path) -> anyhow::Result<(Vec<PathBuf>, Vec<String>)> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok((vec![path.to_owned()], Vec::new()));
    }
    let (pictures, left_out) = dataset::pictures_below(path)?;
    Ok((pictures, left_out.iter().map(|one| format!("left out: {}", one.words())).collect()))
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
                // Weights that are not numbers give no answer.
                let said = probabilities.iter().all(|one| one.is_finite());
                let best = (0..probabilities.len())
                    .reduce(|best, next| if probabilities[next] > probabilities[best] { next } else { best });
                let class = best.filter(|_| said).map_or("", |best| &self.facts.classes[best]);
                match path.to_str() {
                    Some(path) => output.write_field(text::csv_cell(path).as_bytes())?,
                    None => output.write_field(path.as_os_str().as_bytes())?,
                }
                output.write_field(text::csv_cell(class).as_bytes())?;
                output.write_record(probabilities.iter().map(ToString::to_string))?;
            }
            output.flush()?;
        }
        output.flush()?;
        Ok(())
    }

    /// The classes' probabilities for consecutive pictures of S·S·3 bytes.
    fn probabilities(&self, pixels: &[u8], pictures: usize) -> Result<Vec<Vec<f32>>, TchError> {
        let _no_gradients = tch::no_grad_guard();
        let side = i64::from(self.facts.image_size);
        let bytes = Tensor::f_from_data_size(pixels, &[pictures as i64, side, side, 3], Kind::Uint8)?;
        let images = model::normalise(&bytes.f_to_device(self.device)?)?;
        let probabilities = self
            .model
            .forward(&images, Pass::Evaluation)?
            .f_softmax(-1, Kind::Float)?
            .f_to_device(Device::Cpu)?;
        let all = Vec::<f32>::try_from(probabilities.f_contiguous()?.f_view(-1)?)?;
        Ok(all.chunks(self.facts.classes.len()).map(<[f32]>::to_vec).collect())
    }
}

fn decode(path: &Path, side: u32) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The size of a given path is not known: it may be a device.
    File::open(path)?.take(dataset::PICTURE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > dataset::PICTURE_BYTES_MAX {
        anyhow::bail!("it has more than {} MiB, which no picture has", dataset::PICTURE_BYTES_MAX >> 20);
    }
    Ok(dataset::decode_resized(&bytes, side)?)
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
        std::fs::create_dir_all(place("a/@eaDir")).unwrap();
        std::fs::write(place("a/@eaDir/thumb.jpg"), b"").unwrap();
        for (target, link) in [("..", "a/b/loop"), ("/dev/zero", "a/endless.jpg"), ("/nowhere", "a/gone.jpg")]
        {
            std::os::unix::fs::symlink(target, place(link)).unwrap();
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, place("a/pipe.jpg"), rustix::fs::Mode::RWXU).unwrap();
        let (found, left_out) = collect(&place("a")).unwrap();
        assert_eq!(found, [place("a/b/y.jpg"), place("a/z.PNG")]);
        for told in [
            "1 .txt file",
            "1 hidden file",
            "1 @eaDir that",
            "2 that are neither files nor folders",
            "in a circle",
            "nowhere",
        ] {
            assert!(left_out.iter().any(|line| line.contains(told)), "{told}: {left_out:?}");
        }
        assert_eq!(collect(&place("odd")).unwrap().0, [place("odd")]);
        assert!(collect(&place("none")).is_err());
        assert!(decode(Path::new("/dev/zero"), 8).unwrap_err().to_string().contains("256 MiB"));
    }

    #[test]
    fn folders_that_lie_deep_or_lead_to_each_other_are_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x/".repeat(20));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("a.jpg"), b"").unwrap();
        for name in 0..10 {
            let own = folder.path().join(format!("{name}"));
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join("b.jpg"), b"").unwrap();
            (0..10).filter(|other| *other != name).for_each(|other| {
                std::os::unix::fs::symlink(format!("../{other}"), own.join(format!("to{other}"))).unwrap();
            });
        }
        assert_eq!(collect(folder.path()).unwrap().0.len(), 11);
    }
}
