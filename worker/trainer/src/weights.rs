//! Trained weights as a `.safetensors` file: tensors with the names and shapes of PyTorch's `state_dict` (float32,
//! contiguous), so that `model.load_state_dict(load_file(path))` works, and in the metadata everything needed to use
//! them: classes, size and normalisation of the images, layers, activation, precision, and what they were
//! trained on.

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::json;
use tch::{Device, TchError, Tensor};
use trainer_protocol::{DatasetSpec, DatasetSummary, TrainJob};

use super::{
    config::{MODEL, TrainingConfig},
    layers::{Architecture, Described, Layers, VALUES_MAX},
    model::{Activation, Precision, SimpleCnn},
    parameters::{Parameters, contents, dtype},
    training::EpochRecord,
    training_data::check_image_size,
};

/// Revision of the metadata; a file without it was not written here.
const FORMAT: &str = "1";
/// Revision of a file with batch normalisation, which a program that only knows the first would leave out in silence.
const FORMAT_WITH_NORM: &str = "2";
/// Mean and standard deviation for the normalisation of each channel, for values in [0, 1].
const CHANNEL: [f64; 3] = [0.5; 3];
/// Largest file that is read, in bytes: the largest model, and 64 MiB for everything else.
const FILE_BYTES_MAX: u64 = VALUES_MAX as u64 * size_of::<f32>() as u64 + (64 << 20);
/// Most classes of a model, as for a data set.
const CLASSES_MAX: usize = 256;

/// Why weights cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; check --weights")]
    Read {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} does not hold weights of this program ({reason}); give a model.safetensors that `sweep run` or `sweep \
         artifact get` wrote"
    )]
    Foreign {
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// What a file says about its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Side of the square images, in pixels.
    pub image_size: u32,
    /// The layers that the weights are of.
    pub architecture: Architecture,
    /// The activation after each convolution and after fc1.
    pub activation: Activation,
    /// The number format that the layers computed with.
    pub precision: Precision,
    /// Share of the images held out for validation.
    pub val_fraction: f64,
    /// Seed of that split.
    pub split_seed: u64,
    /// BLAKE3 of the pictures that they were trained and validated on, in hexadecimal digits.
    pub content_hash: String,
    /// The job's parameters, as JSON.
    pub parameters: String,
    /// The metrics of the last epoch, as JSON.
    pub metrics: String,
    /// The attempt, as SWEEP/JOB#ATTEMPT.
    pub job: String,
}

impl Facts {
    pub(super) fn of(
        request: &TrainJob,
        config: &TrainingConfig,
        dataset: &DatasetSpec,
        found: &DatasetSummary,
        last: Option<&EpochRecord>,
    ) -> Self {
        let metrics = last.map(|last| {
            json!({"epoch": last.epoch, "train_loss": last.train_loss, "val_accuracy": last.val_accuracy})
        });
        Self {
            classes: found.classes.clone(),
            image_size: dataset.image_size,
            architecture: config.architecture.clone(),
            activation: config.activation,
            precision: config.precision,
            val_fraction: dataset.val_fraction,
            split_seed: dataset.split_seed,
            content_hash: found.content_hash.clone(),
            parameters: serde_json::Value::Object(request.parameters.clone()).to_string(),
            metrics: metrics.unwrap_or_default().to_string(),
            job: request.id.clone(),
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        let channel = json!(CHANNEL).to_string();
        let format = if self.architecture.batch_norm { FORMAT_WITH_NORM } else { FORMAT };
        let entries = [
            ("sweep.format", format.to_owned()),
            ("model", MODEL.to_owned()),
            ("classes", json!(self.classes).to_string()),
            ("image_size", self.image_size.to_string()),
            ("mean", channel.clone()),
            ("std", channel),
            ("interpolation", "bilinear".to_owned()),
            ("layers", json!(self.architecture).to_string()),
            ("activation", self.activation.as_str().to_owned()),
            ("precision", self.precision.as_str().to_owned()),
            ("val_fraction", self.val_fraction.to_string()),
            ("split_seed", self.split_seed.to_string()),
            ("content_hash", self.content_hash.clone()),
            ("parameters", self.parameters.clone()),
            ("metrics", self.metrics.clone()),
            ("job", self.job.clone()),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn read(metadata: &HashMap<String, String>) -> Result<Self, String> {
        let entry = |key: &str| metadata.get(key).ok_or_else(|| format!("its metadata lacks `{key}`"));
        let is_known = [FORMAT, FORMAT_WITH_NORM].contains(&entry("sweep.format")?.as_str());
        if !is_known || entry("model")? != MODEL {
            return Err("they are of another model or a newer version".to_owned());
        }
        for (key, expected) in [("mean", 0.5), ("std", 0.5)] {
            let found: Vec<f64> = parsed(key, entry(key)?)?;
            if found != [expected; 3] {
                return Err(format!("`{key}` is {found:?}, and images are only normalised by 0.5 here"));
            }
        }
        let classes: Vec<String> = parsed("classes", entry("classes")?)?;
        if !(2..=CLASSES_MAX).contains(&classes.len()) {
            return Err(format!("it has {} classes", classes.len()));
        }
        let image_size = parsed("image_size", entry("image_size")?)?;
        check_image_size(image_size).map_err(|error| error.to_string())?;
        // Older files have the report's.
        let layers = metadata.get("layers");
        let architecture: Architecture =
            layers.map_or_else(|| Ok(Architecture::default()), |text| parsed("layers", text))?;
        architecture.check(image_size).map_err(|error| error.to_string())?;
        Ok(Self {
            classes,
            image_size,
            architecture,
            activation: Activation::from_str(entry("activation")?).map_err(|error| error.to_string())?,
            precision: Precision::from_str(entry("precision")?).map_err(|error| error.to_string())?,
            val_fraction: parsed("val_fraction", entry("val_fraction")?)?,
            split_seed: parsed("split_seed", entry("split_seed")?)?,
            content_hash: entry("content_hash")?.clone(),
            parameters: entry("parameters")?.clone(),
            metrics: entry("metrics")?.clone(),
            job: entry("job")?.clone(),
        })
    }
}

fn parsed<T: serde::de::DeserializeOwned>(key: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("`{key}`: {error}"))
}

/// Writes weights, which are contiguous and on the CPU. Removes a file that could not be written completely.
///
/// # Errors
/// The disk refuses.
pub fn write(path: &Path, facts: &Facts, parameters: &Parameters) -> Result<(), WeightsError> {
    let bytes = encode(facts, parameters)?;
    let written = File::create(path).and_then(|mut file| file.write_all(&bytes));
    written.map_err(|source| {
        // Incomplete weights are useless, and occupy the missing space.
        let _ = std::fs::remove_file(path);
        WeightsError::Write { path: path.to_owned(), source }
    })
}

fn encode(facts: &Facts, parameters: &Parameters) -> Result<Vec<u8>, TchError> {
    let refuse = |error: &dyn std::fmt::Display| TchError::Convert(error.to_string());
    let all = parameters.named().map(|(one, tensor)| Ok((one, contents(tensor)?)));
    let all = all.collect::<Result<Vec<(&Described, _)>, TchError>>()?;
    let views = all.iter().map(|(one, (shape, bytes))| {
        let view = TensorView::new(dtype(one.kind), shape.clone(), bytes).map_err(|error| refuse(&error))?;
        Ok((one.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, TchError>>()?;
    safetensors::serialize(views, Some(facts.metadata())).map_err(|error| refuse(&error))
}

/// Reads weights and their metadata.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<(Facts, Parameters), WeightsError> {
    let unreadable = |source| WeightsError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    let foreign = |reason: String| WeightsError::Foreign { path: path.to_owned(), reason };
    if bytes > FILE_BYTES_MAX {
        return Err(foreign(format!("it has {bytes} bytes, more than {FILE_BYTES_MAX}")));
    }
    decode(&std::fs::read(path).map_err(unreadable)?).map_err(foreign)
}

fn decode(bytes: &[u8]) -> Result<(Facts, Parameters), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let facts = Facts::read(header.metadata().as_ref().ok_or("it has no metadata")?)?;
    let layers = Layers::new(&facts.architecture, i64::from(facts.image_size), facts.classes.len() as i64);
    let tensors = layers.all().map(|described| tensor(&file, described)).collect::<Result<_, _>>()?;
    Ok((facts, Parameters::new(&layers, tensors)))
}

fn tensor(file: &SafeTensors<'_>, described: &Described) -> Result<Tensor, String> {
    let Described { name, shape, kind, .. } = described;
    let view = file.tensor(name).map_err(|error| error.to_string())?;
    let fits = view.shape().iter().map(|extent| *extent as i64).eq(shape.iter().copied());
    if view.dtype() != dtype(*kind) || !fits {
        let (found, expected) = (view.dtype(), dtype(*kind));
        return Err(format!("the tensor {name} is {found:?} {:?}, not {expected:?} {shape:?}", view.shape()));
    }
    Tensor::f_from_data_size(view.data(), shape, *kind).map_err(|error| error.to_string())
}

/// The model of a file, on a device.
pub(super) fn load(path: &Path, device: Device) -> Result<(Facts, SimpleCnn), WeightsError> {
    let (facts, parameters) = read(path)?;
    let model = SimpleCnn::new(&parameters, facts.activation, facts.precision, device)?;
    Ok((facts, model))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{corruption::corrupted, model};

    fn facts() -> Facts {
        Facts {
            classes: vec!["cat".into(), "dog, \"big\"".into(), "猫".into()],
            image_size: 16,
            architecture: Architecture::default(),
            activation: Activation::Sigmoid,
            precision: Precision::Bf16,
            val_fraction: 0.1 + 0.2,
            split_seed: u64::MAX,
            content_hash: "abc".into(),
            parameters: "{\"epochs\":5}".into(),
            metrics: "{\"epoch\":5}".into(),
            job: "1/2#3".into(),
        }
    }

    fn parameters_of(facts: &Facts) -> Parameters {
        let layers =
            Layers::new(&facts.architecture, i64::from(facts.image_size), facts.classes.len() as i64);
        model::initial_parameters(3, &layers).unwrap()
    }

    fn bits(tensors: &Parameters) -> Vec<Vec<u32>> {
        let bits = |tensor: &Tensor| {
            let values = Vec::<f32>::try_from(tensor.contiguous().view(-1)).unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        tensors.iter().map(bits).collect()
    }

    #[test]
    fn weights_survive_the_file_to_the_last_bit_whatever_their_layout() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let parameters = parameters_of(&facts());
        let laid_out = parameters.try_map(|parameter| match parameter.dim() {
            4 => model::channels_last(parameter),
            _ => Ok(parameter.shallow_clone()),
        });
        let laid_out = laid_out.unwrap();
        write(&path, &facts(), &laid_out).unwrap();
        let (found, read) = read(&path).unwrap();
        assert_eq!(found, facts());
        assert_eq!(bits(&read), bits(&parameters));
    }

    #[test]
    fn the_tensors_are_those_of_pytorchs_state_dict() {
        let parameters = parameters_of(&facts());
        let bytes = encode(&facts(), &parameters).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut found: Vec<_> =
            file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
        found.sort();
        let expected = [
            ("conv1.bias", vec![16]),
            ("conv1.weight", vec![16, 3, 3, 3]),
            ("conv2.bias", vec![32]),
            ("conv2.weight", vec![32, 16, 3, 3]),
            ("fc1.bias", vec![128]),
            ("fc1.weight", vec![128, 32 * 4 * 4]),
            ("fc2.bias", vec![3]),
            ("fc2.weight", vec![3, 128]),
        ];
        assert_eq!(found, expected.map(|(name, shape)| (name.to_owned(), shape)));
        assert!(file.tensors().iter().all(|(_, view)| view.dtype() == dtype(tch::Kind::Float)));
    }

    fn with_norm() -> Facts {
        let architecture = Architecture { channels: vec![4, 8, 8], hidden_units: 24, batch_norm: true };
        Facts { architecture, activation: Activation::Gelu, ..facts() }
    }

    #[test]
    fn batch_norm_is_in_the_file_as_in_pytorchs_state_dict_and_survives_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let parameters = parameters_of(&with_norm());
        for (number, tensor) in parameters.statistics().iter().enumerate() {
            let _ = tensor.shallow_clone().fill_(number as f64 + 7.0);
        }
        write(&path, &with_norm(), &parameters).unwrap();
        let (found, again) = read(&path).unwrap();
        assert_eq!((found, bits(&again)), (with_norm(), bits(&parameters)));
        let equal = again.statistics().iter().zip(parameters.statistics());
        assert!(equal.clone().count() == 9 && equal.into_iter().all(|(one, other)| one.equal(other)));
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for (name, shape, dtype) in [
            ("conv3.weight", vec![8, 8, 3, 3], safetensors::Dtype::F32),
            ("bn1.weight", vec![4], safetensors::Dtype::F32),
            ("bn3.running_var", vec![8], safetensors::Dtype::F32),
            ("bn2.num_batches_tracked", vec![], safetensors::Dtype::I64),
            ("fc1.weight", vec![24, 8 * 2 * 2], safetensors::Dtype::F32),
        ] {
            let view = file.tensor(name).unwrap();
            assert_eq!((view.shape().to_vec(), view.dtype()), (shape, dtype), "{name}");
        }
        // An older program would leave it out in silence.
        assert_eq!(with_norm().metadata()["sweep.format"], "2");
        assert_eq!(facts().metadata()["sweep.format"], "1");
    }

    #[test]
    fn a_file_of_an_older_version_has_the_reports_layers() {
        let mut metadata = facts().metadata();
        metadata.remove("layers");
        assert_eq!(Facts::read(&metadata), Ok(facts()));
        for (layers, said) in [
            (r#"{"channels": [0], "hidden_units": 128, "batch_norm": false}"#, "1 to 536870912 outputs"),
            (
                r#"{"channels": [9,9,9,9,9], "hidden_units": 1, "batch_norm": false}"#,
                "too many for images of 16",
            ),
            (r#"{"channels": [16]}"#, "`layers`"),
        ] {
            metadata.insert("layers".into(), layers.into());
            let error = Facts::read(&metadata).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_and_other_files_are_refused() {
        let parameters = parameters_of(&facts());
        let error = write(Path::new("/dev/full/x"), &facts(), &parameters).unwrap_err().to_string();
        assert!(error.contains("/dev/full/x"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        for content in [&b""[..], b"PK\x03\x04", &[0xff; 64]] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("sweep artifact get"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_corrupt_file_is_a_panic(
            bytes in corrupted(encode(&with_norm(), &parameters_of(&with_norm())).unwrap())
        ) {
            let _ = decode(&bytes);
        }
    }
}
