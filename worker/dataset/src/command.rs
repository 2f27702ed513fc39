//! `sweep-worker dataset`: synthetic pictures, packs, and what a data set holds.

use std::{
    io::IsTerminal,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread::available_parallelism,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use terminal::output;

use super::{
    DataError, PackedDataset,
    cache::{default_cache_dir, keep},
    fingerprint::{self, Fingerprint},
    pack::Packing,
    progress::Progress,
    source::Source,
    synthetic::{self, Layout, Made, Recipe},
};
use terms::LeftOut;

/// Lines that a bar writes where there is no terminal: one for each tenth.
const PLAIN_STEPS: u32 = 10;

/// What to do with data sets.
#[derive(Debug, clap::Subcommand)]
pub enum DatasetCommand {
    /// Make a synthetic stand-in for Dogs vs. Cats: striped "cats" and blotched "dogs".
    Synth(SynthArgs),
    /// Pack a folder, a flat folder or a .zip of pictures into one .safetensors file.
    Pack(PackArgs),
    /// Show what a folder, a .zip or a packed file holds.
    Inspect(InspectArgs),
}

/// Arguments of `dataset synth`.
#[derive(Debug, clap::Args)]
pub struct SynthArgs {
    /// Folder to create; reused if it holds the same pictures already.
    folder: PathBuf,
    /// How many pictures, half of each class.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    images: u32,
    /// The same seed makes the same pictures.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// All in one folder as Kaggle delivers them, or one folder per class.
    #[arg(long, value_enum, default_value = "flat")]
    format: Layout,
}

/// Arguments of `dataset pack`.
#[derive(Debug, clap::Args)]
pub struct PackArgs {
    /// Image folder, flat folder or .zip.
    source: PathBuf,
    /// The .safetensors file to write.
    target: PathBuf,
    /// Side of the square images, in pixels.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(8..=1024))]
    image_size: u32,
    /// Leave out pictures that cannot be decoded.
    #[arg(long)]
    skip_corrupt: bool,
    /// Folder or .zip with the validation set, if it is not a folder `val` next to `train`.
    #[arg(long, value_name = "PATH")]
    val_path: Option<PathBuf>,
}

/// Arguments of `dataset inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Folder, .zip or packed .safetensors.
    path: PathBuf,
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: InspectFormat,
}

/// Forms of `dataset inspect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum InspectFormat {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub fn run(command: &DatasetCommand) -> anyhow::Result<()> {
    match command {
        DatasetCommand::Synth(arguments) => synth(arguments),
        DatasetCommand::Pack(arguments) => pack_file(arguments),
        DatasetCommand::Inspect(arguments) => inspect(arguments),
    }
}

fn synth(arguments: &SynthArgs) -> anyhow::Result<()> {
    let recipe = Recipe::new(arguments.images, arguments.seed, arguments.format);
    let bar = Bar::new("drawing");
    let total = f64::from(arguments.images);
    let made = synthetic::make(&arguments.folder, &recipe, &|done| bar.at(f64::from(done) / total))?;
    bar.end();
    let (images, place) = (arguments.images, arguments.folder.display());
    Ok(match made {
        Made::Now => output::print(&format!("{images} synthetic pictures are in {place}\n")),
        Made::Before => output::print(&format!("{images} synthetic pictures are in {place} already\n")),
    }?)
}

fn pack_file(arguments: &PackArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        arguments.target.extension().is_some_and(|extension| extension == "safetensors"),
        "{} must end in .safetensors, because that is how sweep tells a packed data set",
        arguments.target.display()
    );
    let packed = pack(arguments, &default_cache_dir().join("sources"))?;
    let (size, target) = (packed.image_size(), arguments.target.as_path());
    let images = packed.len();
    let mut told = format!(
        "{} of {size}×{size} pixels {} in {}\n",
        terms::count(images as u64, "image"),
        if images == 1 { "is" } else { "are" },
        target.display()
    );
    if let Some(validation) = packed.validation() {
        let count = packed.validation_count();
        told.push_str(&format!("{count} of them are the validation set, from {validation}\n"));
    }
    for skipped in packed.skipped() {
        told.push_str(&format!("left out, as it cannot be decoded: {skipped}\n"));
    }
    terms::notes_on_classes(packed.classes()).for_each(|note| told.push_str(&format!("{note}\n")));
    told.push_str(&left_out_lines(packed.left_out()));
    Ok(output::print(&told)?)
}

/// Packs, with the help of the memos in the folder `memos`.
fn pack(arguments: &PackArgs, memos: &Path) -> Result<PackedDataset, DataError> {
    let bar = Bar::new("packing");
    let told = |progress| bar.tell(progress);
    let source = Source::open(&arguments.source, arguments.val_path.as_deref(), &told)?;
    let target = arguments.target.as_path();
    let fingerprint = Fingerprint::of(&source, memos, &told)?;
    let packing = Packing {
        source: &source,
        content_hash: fingerprint.remembered(),
        image_size: arguments.image_size,
        skip_corrupt: arguments.skip_corrupt,
        threads: available_parallelism().map_or(1, NonZeroUsize::get),
    };
    let packed = packing.run(target, &told);
    if matches!(packed, Err(DataError::Changed { .. })) {
        // The memo may be wrong: the next try reads everything.
        fingerprint::forget(&source, memos);
    }
    let packed = packed?;
    keep(packed.file, target)?;
    fingerprint.remember(&packed.content_hash);
    bar.end();
    PackedDataset::open(target)
}

/// What `inspect` shows.
struct Findings {
    kind: &'static str,
    classes: Vec<(String, usize)>,
    image_size: Option<u32>,
    content_hash: String,
    /// How many of the images are the validation set, and where it is from.
    validation: Option<(usize, String)>,
    left_out: Vec<LeftOut>,
    skipped: Vec<String>,
    skipped_count: u64,
}

fn inspect(arguments: &InspectArgs) -> anyhow::Result<()> {
    let findings = if arguments.path.extension().is_some_and(|extension| extension == "safetensors") {
        inspect_packed(&arguments.path)?
    } else {
        inspect_source(&arguments.path)?
    };
    let told = match arguments.output {
        InspectFormat::Json => terminal::text::json(&format!("{}\n", json(&findings))).into_owned(),
        InspectFormat::Text => text(&arguments.path, &findings),
    };
    Ok(output::print(&told)?)
}

fn inspect_packed(path: &Path) -> anyhow::Result<Findings> {
    let packed = PackedDataset::open(path)?;
    let mut counts = vec![0usize; packed.classes().len()];
    for label in packed.labels() {
        *counts.get_mut(usize::from(*label)).context("a label is beyond the classes")? += 1;
    }
    Ok(Findings {
        kind: "packed",
        classes: packed.classes().iter().cloned().zip(counts).collect(),
        image_size: Some(packed.image_size()),
        content_hash: packed.content_hash().to_owned(),
        validation: packed.validation().map(|from| (packed.validation_count(), from.to_owned())),
        left_out: packed.left_out().to_vec(),
        skipped: packed.skipped().to_vec(),
        skipped_count: packed.skipped_count(),
    })
}

fn inspect_source(path: &Path) -> anyhow::Result<Findings> {
    let bar = Bar::new("reading");
    let told = |progress| bar.tell(progress);
    let source = Source::open(path, None, &told)?;
    let content_hash = fingerprint::content_hash(&source, &default_cache_dir().join("sources"), &told)?;
    bar.end();
    let mut counts = vec![0usize; source.classes.len()];
    for picture in &source.pictures {
        counts[usize::from(picture.class)] += 1;
    }
    Ok(Findings {
        kind: if path.is_dir() { "folder" } else { "zip" },
        classes: source.classes.iter().map(|class| class.shown.clone()).zip(counts).collect(),
        image_size: None,
        content_hash,
        left_out: source.left_out.list(),
        validation: source.validation.map(|from| (source.pictures.len() - source.train, from)),
        skipped: Vec::new(),
        skipped_count: 0,
    })
}

fn json(findings: &Findings) -> serde_json::Value {
    let classes: serde_json::Map<_, _> =
        findings.classes.iter().map(|(class, count)| (class.clone(), (*count).into())).collect();
    serde_json::json!({
        "kind": findings.kind,
        "images": findings.classes.iter().map(|(_, count)| count).sum::<usize>(),
        "classes": classes,
        "image_size": findings.image_size,
        "content_hash": findings.content_hash,
        "validation": findings.validation.as_ref().map(|(count, from)| {
            serde_json::json!({"images": count, "from": from})
        }),
        "ignored_files": findings.left_out.iter().map(|left_out| left_out.count).sum::<u64>(),
        "left_out": findings.left_out,
        "skipped_count": findings.skipped_count,
        "skipped": findings.skipped,
    })
}

fn text(path: &Path, findings: &Findings) -> String {
    let images: usize = findings.classes.iter().map(|(_, count)| count).sum();
    let mut text =
        format!("{}: {} with {}\n", path.display(), findings.kind, terms::count(images as u64, "image"));
    for (class, count) in &findings.classes {
        text.push_str(&format!("  {class}: {count}\n"));
    }
    if let Some(size) = findings.image_size {
        text.push_str(&format!("image size: {size}×{size} pixels\n"));
    }
    text.push_str(&format!("content hash: {}\n", findings.content_hash));
    if let Some((count, from)) = &findings.validation {
        text.push_str(&format!("validation set: {count} of them, from {from}\n"));
    }
    let classes: Vec<String> = findings.classes.iter().map(|(class, _)| class.clone()).collect();
    terms::notes_on_classes(&classes).for_each(|note| text.push_str(&format!("{note}\n")));
    text.push_str(&left_out_lines(&findings.left_out));
    if findings.skipped_count > 0 {
        text.push_str(&format!(
            "left out: {} that could not be decoded\n",
            terms::count(findings.skipped_count, "picture")
        ));
        for skipped in &findings.skipped {
            text.push_str(&format!("  {skipped}\n"));
        }
    }
    text
}

/// A line for each reason why something is not used.
fn left_out_lines(left_out: &[LeftOut]) -> String {
    left_out.iter().map(|left_out| format!("left out: {}\n", left_out.words())).collect()
}

/// A bar on a terminal, a line for each tenth elsewhere.
struct Bar {
    what: &'static str,
    bar: Option<ProgressBar>,
    told: AtomicU32,
}

impl Bar {
    fn new(what: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}");
            let bar =
                ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr()).with_message(what);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { what, bar, told: AtomicU32::new(0) }
    }

    fn at(&self, share: f64) {
        match &self.bar {
            Some(bar) => bar.set_position((share * 1_000.0) as u64),
            None => {
                let step = (share * f64::from(PLAIN_STEPS)) as u32;
                if self.told.fetch_max(step, Ordering::Relaxed) < step {
                    output::say(&format!("{} {}%", self.what, step * 100 / PLAIN_STEPS));
                }
            }
        }
    }

    fn tell(&self, progress: Progress) {
        if let Some(bar) = &self.bar {
            bar.set_message(progress.to_string());
        }
        self.at(progress.share);
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_memo_that_is_wrong_costs_a_packing_one_try() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir(place("set")).unwrap();
        for (number, name) in ["cat.0.png", "dog.0.png"].into_iter().enumerate() {
            let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([number as u8; 3]));
            picture.save(place("set").join(name)).unwrap();
        }
        let arguments = PackArgs {
            source: place("set"),
            target: place("set.safetensors"),
            image_size: 8,
            skip_corrupt: false,
            val_path: None,
        };
        let packed = pack(&arguments, &place("memos")).unwrap();
        let memo = fs::read_dir(place("memos")).unwrap().next().unwrap().unwrap().path();
        let wrong = fs::read_to_string(&memo).unwrap().replace(packed.content_hash(), &"0".repeat(64));
        fs::write(&memo, wrong).unwrap();
        let failed = pack(&arguments, &place("memos")).map(|packed| packed.len());
        assert!(matches!(failed, Err(DataError::Changed { .. })), "{failed:?}");
        assert_eq!(pack(&arguments, &place("memos")).unwrap().content_hash(), packed.content_hash());
    }
}
