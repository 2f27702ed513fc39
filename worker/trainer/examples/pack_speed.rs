//! Measures how many images a second packs of SimpleCNNs train, by the pack's size, at the report's 128×128 pixels, on
//! a CPU or a CUDA device (whose libtorch LD_LIBRARY_PATH names); an image counts once for each member:
//!
//! ```text
//! cargo run --release -p trainer --example pack_speed -- --device cuda --sizes 1,2,4,8 --precision bf16
//! ```
//!
//! `--check` compares the members' losses with those of jobs alone instead, and a pack with one that diverges to the same
//! pack without.

use clap::Parser;
use tch::{Device, Tensor};
use trainer::split::split;
use trainer::{
    DeviceChoice,
    augmentation::Augmentation,
    config::TrainingConfig,
    model::{Activation, Precision},
    open_device,
    pack::{Pack, PackEnd},
    pack_model::Layout,
    set_up_process,
    training::{EpochRecord, Flow, Start},
    training_data::TrainingData,
};

/// Arithmetic of one image in one step of one model, forward and backward.
const FLOP_PER_IMAGE: f64 = 180e6;
const IMAGE_SIZE: i64 = 128;

#[derive(Debug, Parser)]
struct Arguments {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads of libtorch on the CPU
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Sizes of the packs
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    sizes: Vec<usize>,
    #[arg(long, default_value_t = 32)]
    batch_size: i64,
    /// fp32 or bf16
    #[arg(long, default_value = "fp32")]
    precision: Precision,
    /// Activations, which the members take by turns
    #[arg(long, value_delimiter = ',', default_value = "relu")]
    activations: Vec<Activation>,
    /// Longest gradient of each member; 0 clips none
    #[arg(long, default_value_t = 0.0)]
    gradient_clip_norm: f64,
    /// Share of the training loss that asks for all classes alike
    #[arg(long, default_value_t = 0.0)]
    label_smoothing: f64,
    /// none, flip or flip_crop
    #[arg(long, default_value = "none", value_parser = augmentation)]
    augmentation: Augmentation,
    /// Where images lie by channel and not by pixel within an array model
    #[arg(long)]
    channels_first: bool,
    /// Images of the data set, a fifth of them for validation
    #[arg(long, default_value_t = 1000)]
    images: usize,
    /// How often each size is measured, after one round that does not count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Compare numbers instead
    #[arg(long)]
    check: bool,
}

fn augmentation(name: &str) -> Result<Augmentation, String> {
    Augmentation::named(name).ok_or_else(|| "none, flip and flip_crop are known".to_owned())
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let device = open_device(arguments.device)?;
    set_up_process(arguments.threads)?;
    let data = synthetic(arguments.images, device)?;
    if arguments.check { check(&arguments, &data) } else { measure(&arguments, &data) }
}

/// Noise, the second class brighter.
fn synthetic(count: usize, device: Device) -> anyhow::Result<TrainingData> {
    let pixels = (IMAGE_SIZE * IMAGE_SIZE * 3) as usize;
    let noise: Vec<u8> = (0..count * pixels)
        .map(|place| ((place * 2_654_435_761) >> 13) as u8 / 2 + 60 * ((place / pixels) % 2) as u8)
        .collect();
    let images = Tensor::f_from_slice(&noise)?.f_view([count as i64, IMAGE_SIZE, IMAGE_SIZE, 3])?;
    let labels: Vec<u8> = (0..count).map(|image| (image % 2) as u8).collect();
    Ok(TrainingData::in_memory(&images, &labels, &["cat", "dog"], &split(count, 0.2, 0)?, device)?)
}

fn configs(arguments: &Arguments, size: usize, epochs: u32) -> Vec<TrainingConfig> {
    const LEARNING_RATES: [f64; 4] = [1e-3, 5e-4, 1e-4, 5e-5];
    let member = |member: usize| TrainingConfig {
        activation: arguments.activations[member % arguments.activations.len()],
        learning_rate: LEARNING_RATES[member % LEARNING_RATES.len()],
        batch_size: arguments.batch_size,
        epochs,
        seed: 0,
        precision: arguments.precision,
        gradient_clip_norm: arguments.gradient_clip_norm,
        label_smoothing: arguments.label_smoothing,
        augmentation: arguments.augmentation,
        ..TrainingConfig::default()
    };
    (0..size).map(member).collect()
}

/// Trains a pack to its end. Gives the epochs of each member.
fn train(
    arguments: &Arguments,
    configs: &[TrainingConfig],
    data: &TrainingData,
) -> anyhow::Result<Vec<Vec<EpochRecord>>> {
    let starts = configs.iter().map(|config| Start { config, snapshot: None }).collect();
    let layout = if arguments.channels_first { Layout::ChannelsFirst } else { Layout::ChannelsLast };
    let mut pack = Pack::with_layout(starts, data, layout)?;
    while !pack.is_done() && pack.live().next().is_some() {
        if let PackEnd::Diverged(members) = pack.run_epoch(None, &mut |_| Flow::Continue)? {
            members.into_iter().for_each(|member| pack.retire(member));
        }
    }
    Ok((0..configs.len()).map(|member| pack.records(member).to_vec()).collect())
}

/// The sizes by turns, so that a machine that slows down slows all of them.
fn measure(arguments: &Arguments, data: &TrainingData) -> anyhow::Result<()> {
    let mut speeds = vec![Vec::new(); arguments.sizes.len()];
    for round in 0..=arguments.rounds {
        for (speeds, &size) in speeds.iter_mut().zip(&arguments.sizes) {
            let records = train(arguments, &configs(arguments, size, 1), data)?;
            let seconds = records[0].iter().map(|record| record.epoch_seconds).sum::<f64>();
            if round > 0 {
                speeds.push(size as f64 * data.train_images() as f64 / seconds);
            }
        }
    }
    println!("members  images/s (median)   GFLOP/s  to the first  all rounds");
    let mut first = None;
    for (mut speeds, size) in speeds.into_iter().zip(&arguments.sizes) {
        speeds.sort_by(f64::total_cmp);
        let median = speeds[speeds.len() / 2];
        let gflops = median * FLOP_PER_IMAGE / 1e9;
        let ratio = median / *first.get_or_insert(median);
        println!("{size:>7}  {median:>17.0}  {gflops:>8.0}  {ratio:>12.2}  {speeds:.0?}");
    }
    Ok(())
}

fn check(arguments: &Arguments, data: &TrainingData) -> anyhow::Result<()> {
    for &size in &arguments.sizes {
        let tame = configs(arguments, size, 2);
        let packed = train(arguments, &tame, data)?;
        for (config, packed) in tame.iter().zip(&packed) {
            let alone = train(arguments, std::slice::from_ref(config), data)?;
            for (one, other) in packed.iter().zip(&alone[0]) {
                println!(
                    "{size} members, {:?} at {:.0e}, epoch {}: loss {:.6}, alone {:.6} ({:.1e} relative); accuracy {:.4}, alone {:.4}",
                    config.activation,
                    config.learning_rate,
                    one.epoch,
                    one.train_loss,
                    other.train_loss,
                    (one.train_loss - other.train_loss).abs() / other.train_loss,
                    one.val_accuracy,
                    other.val_accuracy,
                );
            }
        }
        let numbers = |records: &[Vec<EpochRecord>]| -> Vec<[u64; 2]> {
            let all = records[1..].iter().flatten();
            all.map(|record| [record.train_loss, record.val_accuracy].map(f64::to_bits)).collect()
        };
        let again = train(arguments, &tame, data)?;
        println!(
            "{size} members, the same pack again: the same bits {}",
            numbers(&again) == numbers(&packed)
        );
        let mut wild = tame;
        wild[0].learning_rate = 1e38;
        let wild_pack = train(arguments, &wild, data)?;
        println!(
            "{size} members, the first of which diverges {}: the others have the same bits {}",
            wild_pack[0].is_empty(),
            numbers(&wild_pack) == numbers(&packed)
        );
    }
    Ok(())
}
