//! The data set of the current jobs: prepared by `data`, split, and kept where the training reads it. On the CPU that
//! is the map of the packed file, which all trainers of a machine share; on CUDA it is a copy on the device, which
//! stays from job to job as long as the content is the same.

use std::{path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use tch::{Device, Kind, TchError, Tensor};

use dataset::{
    DataError, PackedDataset, PrepareOptions,
    progress::{Progress, Step},
};
use trainer_protocol::{DatasetSpec, DatasetSummary};

use super::{
    augmentation::{Augmentation, Drawn},
    ffi::MappedImages,
    model,
    preparing::Preparing,
    random,
    split::{self, Split, SplitError},
    training::Flow,
};

/// Sides that SimpleCNN supports: two poolings halve each, and 1024 keeps one image's activations near 100 MB.
const IMAGE_SIZES: std::ops::RangeInclusive<u32> = 8..=1024;
const IMAGE_SIZE_STEP: u32 = 4;

/// Why there is nothing to train on.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A size that the model does not support.
    #[error("image_size must be a multiple of 4 from 8 to 1024, but is {found}; the report uses 128")]
    ImageSize {
        /// What was asked for.
        found: u32,
    },
    /// The data set cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data set cannot be split.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// No one waits for it any more; it is still being prepared.
    #[error("no one waits for the data set any more")]
    GivenUp,
    /// libtorch failed, for instance because memory ran out.
    #[error("the data set could not be brought to the device: {0}")]
    Torch(#[from] TchError),
}

impl DatasetError {
    /// Whether the next try may use the same data set without anyone changing it.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Data(error) if error.is_passing())
    }
}

/// Images and labels, where training reads them.
#[derive(Debug)]
struct Pixels {
    images: Images,
    /// Class of each image: int64 on the device.
    labels: Tensor,
    /// Identifies the pack of the images. None for images that were made in memory.
    source: Option<String>,
}

#[derive(Debug)]
enum Images {
    /// In the packed file, for the CPU.
    Mapped(MappedImages),
    /// Bytes `[N, S, S, 3]` on the device.
    Resident(Tensor),
}

/// A data set with its split, ready on the device.
#[derive(Debug)]
pub struct TrainingData {
    pixels: Rc<Pixels>,
    device: Device,
    image_size: i64,
    /// Numbers of the training images: int64 on the CPU, where epochs are shuffled.
    train: Tensor,
    /// Numbers of the validation images: int64 on the device.
    validation: Tensor,
    summary: DatasetSummary,
}

impl TrainingData {
    /// A data set of images that are in memory already, for tests and measurements.
    ///
    /// `images` are bytes `[N, S, S, 3]`, `labels` their classes, `classes` the names.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn in_memory(
        images: &Tensor,
        labels: &[u8],
        classes: &[&str],
        split: &Split,
        device: Device,
    ) -> Result<Self, TchError> {
        let image_size = images.size4()?.1;
        let pixels = Pixels {
            images: Images::Resident(images.f_to_device(device)?),
            labels: device_labels(labels, device)?,
            source: None,
        };
        let summary = DatasetSummary {
            content_hash: String::new(),
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            train_images: split.train.len() as u64,
            val_images: split.validation.len() as u64,
            ..DatasetSummary::default()
        };
        Self::new(Rc::new(pixels), image_size, split, summary, device)
    }

    fn new(
        pixels: Rc<Pixels>,
        image_size: i64,
        split: &Split,
        summary: DatasetSummary,
        device: Device,
    ) -> Result<Self, TchError> {
        let train = Tensor::f_from_slice(&split.train)?;
        let validation = Tensor::f_from_slice(&split.validation)?.f_to_device(device)?;
        Ok(Self { pixels, device, image_size, train, validation, summary })
    }

    /// The summary for the report.
    pub fn summary(&self) -> &DatasetSummary {
        &self.summary
    }

    /// Side of the images in pixels.
    pub fn image_size(&self) -> i64 {
        self.image_size
    }

    /// How many classes there are; the model has a logit for each.
    pub fn classes(&self) -> i64 {
        self.summary.classes.len() as i64
    }

    /// Where images and labels are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// How many images there are to train on.
    pub fn train_images(&self) -> u64 {
        self.summary.train_images
    }

    /// The training images' numbers in the order of one epoch: int64 on the device. Only depends on the job's seed and
    /// the epoch.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn epoch_order(&self, job_seed: u64, epoch: u32) -> Result<Tensor, TchError> {
        let seed = random::epoch_seed(job_seed, epoch);
        let permutation = random::permutation(self.train.numel() as i64, seed)?;
        self.train.f_index_select(0, &permutation)?.f_to_device(self.device)
    }

    /// The training images' numbers: int64 on the CPU, in no particular order.
    pub fn train(&self) -> &Tensor {
        &self.train
    }

    /// The validation images' numbers: int64 on the device.
    pub fn validation(&self) -> &Tensor {
        &self.validation
    }

    /// Some images in the model's format, `[n, 3, S, S]` float32, and their classes `[n]`.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn batch(&self, indices: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        self.training_batch(indices, None)
    }

    /// The same, changed as was drawn for an epoch.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn training_batch(
        &self,
        indices: &Tensor,
        drawn: Option<&Drawn>,
    ) -> Result<(Tensor, Tensor), TchError> {
        let bytes = match &self.pixels.images {
            Images::Mapped(images) => images.select(indices)?,
            Images::Resident(images) => images.f_index_select(0, indices)?,
        };
        let bytes = match drawn {
            Some(drawn) => drawn.apply(&bytes, indices)?,
            None => bytes,
        };
        Ok((model::normalise(&bytes)?, self.pixels.labels.f_index_select(0, indices)?))
    }

    /// What is drawn for the images in an epoch; none without augmentation.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn draws(
        &self,
        augmentation: Augmentation,
        job_seed: u64,
        epoch: u32,
    ) -> Result<Option<Drawn>, TchError> {
        let (images, seed) = (self.pixels.labels.numel() as i64, random::augmentation_seed(job_seed, epoch));
        augmentation.draw(images, self.image_size, seed, self.device)
    }
}

fn device_labels(labels: &[u8], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(labels)?.f_to_kind(Kind::Int64)?.f_to_device(device)
}

/// Refuses sides that the model does not support.
pub(super) fn check_image_size(found: u32) -> Result<(), DatasetError> {
    if IMAGE_SIZES.contains(&found) && found.is_multiple_of(IMAGE_SIZE_STEP) {
        return Ok(());
    }
    Err(DatasetError::ImageSize { found })
}

/// Prepares data sets for one device and keeps the last one's images there.
#[derive(Debug)]
pub(super) struct DatasetLoader {
    device: Device,
    cache_dir: PathBuf,
    cache_bytes_max: Option<u64>,
    skip_corrupt: bool,
    held: Option<Rc<Pixels>>,
    /// Preparations that no one waited for to the end: each of another data set.
    left: Vec<Preparing>,
}

/// How often `progress` is called while a data set is prepared.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

impl DatasetLoader {
    pub(super) fn new(device: Device, cache_dir: PathBuf, skip_corrupt: bool) -> Self {
        Self { device, cache_dir, cache_bytes_max: None, skip_corrupt, held: None, left: Vec::new() }
    }

    /// The same, whose cache has at most so many bytes.
    pub(super) fn with_cache_of(self, cache_bytes_max: Option<u64>) -> Self {
        Self { cache_bytes_max, ..self }
    }

    /// Prepares what `spec` asks for. `progress` receives the progress and says whether the data set is still wanted.
    /// If not, packing continues: the next attempt finds its result.
    ///
    /// The folder is examined for every job, because it may have changed; what the cache holds is not read again, and
    /// what the device holds is not copied again.
    ///
    /// # Errors
    /// A data set that cannot be read or split, or does not fit into memory, or is no longer wanted.
    pub(super) fn load(
        &mut self,
        spec: &DatasetSpec,
        progress: &mut dyn FnMut(Progress) -> Flow,
    ) -> Result<Rc<TrainingData>, DatasetError> {
        check_image_size(spec.image_size)?;
        let options = PrepareOptions {
            path: spec.path.clone(),
            val_path: spec.val_path.clone(),
            image_size: spec.image_size,
            skip_corrupt: self.skip_corrupt,
            cache_dir: self.cache_dir.clone(),
            cache_bytes_max: self.cache_bytes_max,
            // Packing happens once per machine, before anything trains: it may use all cores.
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let packed = self.prepare(options, progress)?;
        let split = match packed.validation_count() {
            0 => split::split(packed.len(), spec.val_fraction, spec.split_seed)?,
            validation => Split::with_last(packed.len(), validation),
        };
        let by_class = |numbers: &[i64]| {
            let mut counts = vec![0; packed.classes().len()];
            for &number in numbers {
                counts[usize::from(packed.labels()[number as usize])] += 1;
            }
            counts
        };
        let summary = DatasetSummary {
            content_hash: packed.content_hash().to_owned(),
            classes: packed.classes().to_vec(),
            train_images: split.train.len() as u64,
            val_images: split.validation.len() as u64,
            skipped: packed.skipped().to_vec(),
            skipped_count: packed.skipped_count(),
            train_by_class: by_class(&split.train),
            val_by_class: by_class(&split.validation),
            left_out: packed.left_out().to_vec(),
            validation: packed.validation().unwrap_or_default().to_owned(),
        };
        let pixels = self.place(packed, progress)?;
        let data = TrainingData::new(pixels, i64::from(spec.image_size), &split, summary, self.device)?;
        Ok(Rc::new(data))
    }

    fn prepare(
        &mut self,
        options: PrepareOptions,
        progress: &mut dyn FnMut(Progress) -> Flow,
    ) -> Result<PackedDataset, DatasetError> {
        self.left.retain(|left| !left.has_ended());
        // Another data set's disk may never answer; that does not matter here.
        if let Some(position) = self.left.iter().position(|left| left.is_of(&options)) {
            let left = self.left.swap_remove(position);
            // Its result may belong to an earlier state of the folder: only the cache is used.
            drop(self.wait(left, progress)?);
        }
        let begun = Preparing::start(options);
        Ok(self.wait(begun, progress)??)
    }

    fn wait(
        &mut self,
        preparing: Preparing,
        progress: &mut dyn FnMut(Progress) -> Flow,
    ) -> Result<Result<PackedDataset, DataError>, DatasetError> {
        loop {
            if let Some(prepared) = preparing.wait(ASK_INTERVAL) {
                return Ok(prepared);
            }
            if progress(preparing.progress()) == Flow::Stop {
                self.left.push(preparing);
                return Err(DatasetError::GivenUp);
            }
        }
    }

    fn place(
        &mut self,
        packed: PackedDataset,
        progress: &mut dyn FnMut(Progress) -> Flow,
    ) -> Result<Rc<Pixels>, DatasetError> {
        let source = Some(packed.identity());
        if let Some(held) = self.held.take_if(|held| held.source == source) {
            return Ok(Rc::clone(self.held.insert(held)));
        }
        // The old images are freed first, so that the device need not hold two data sets.
        self.held = None;
        let labels = device_labels(packed.labels(), self.device)?;
        let mapped = MappedImages::new(Arc::new(packed))?;
        let images = match self.device {
            Device::Cpu => Images::Mapped(mapped),
            device => Images::Resident(copied(&mapped, device, progress)?),
        };
        let pixels = Rc::new(Pixels { images, labels, source });
        self.held = Some(Rc::clone(&pixels));
        Ok(pixels)
    }
}

/// A copy on the device, in parts: a disk on a slow network may take long to read them.
fn copied(
    mapped: &MappedImages,
    device: Device,
    progress: &mut dyn FnMut(Progress) -> Flow,
) -> Result<Tensor, DatasetError> {
    let mut wanted = true;
    let copy = mapped.copy_to(device, &mut |done, bytes| {
        let share = done as f64 / bytes.max(1) as f64;
        wanted = progress(Progress { step: Step::Copying, share, done }) == Flow::Continue;
        wanted
    })?;
    if wanted { Ok(copy) } else { Err(DatasetError::GivenUp) }
}

#[cfg(test)]
#[path = "training_data_tests.rs"]
mod tests;
