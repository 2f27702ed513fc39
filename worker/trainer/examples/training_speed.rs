//! Measures how fast SimpleCNN trains and validates on this machine's CPU, at the report's 128×128 pixels:
//!
//! ```text
//! cargo run --release -p trainer --example training_speed [THREADS] [BATCH_SIZE] [relu|sigmoid] [LEARNING_RATE] [fp32|bf16]
//! ```
//!
//! The last line is JSON: the median epoch's images and arithmetic a second, and the peak of this machine's matrix
//! products with as many threads, measured right after.

use std::time::Instant;

use tch::{Device, Tensor};
use trainer::split::split;
use trainer::{
    config::TrainingConfig,
    epoch,
    model::{self, Activation, Precision},
    training::{Flow, TrainingEvent},
    training_data::TrainingData,
};

const IMAGES: usize = 1000;
const EPOCHS: u32 = 3;
/// Multiplications and additions of one image's step at 128×128 pixels, in millions: three products of each layer (values,
/// gradient of the inputs, gradient of the weights) but for the images' gradient, which no one needs.
const MFLOP_PER_IMAGE: f64 = 166.7;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default.into(), String::clone);
    let threads: usize = argument(0, "1").parse()?;
    let batch_size: i64 = argument(1, "32").parse()?;
    let activation: Activation = argument(2, "relu").parse()?;
    let learning_rate: f64 = argument(3, "1e-4").parse()?;
    let precision: Precision = argument(4, "fp32").parse()?;
    trainer::set_up_process(threads)?;

    let bytes: Vec<u8> =
        (0..IMAGES * 128 * 128 * 3).map(|place| ((place * 2_654_435_761) >> 13) as u8).collect();
    let images = Tensor::f_from_slice(&bytes)?.f_view([IMAGES as i64, 128, 128, 3])?;
    let labels: Vec<u8> = (0..IMAGES).map(|image| (image % 2) as u8).collect();
    let split = split(IMAGES, 0.2, 0)?;
    let data = TrainingData::in_memory(&images, &labels, &["cat", "dog"], &split, Device::Cpu)?;
    let defaults = TrainingConfig::default();
    let config = TrainingConfig {
        activation,
        learning_rate,
        batch_size,
        epochs: EPOCHS,
        seed: 0,
        precision,
        ..defaults
    };

    let mut mark = Instant::now();
    let mut rates = Vec::new();
    epoch::train(&config, &data, &mut |event| {
        if let TrainingEvent::Epoch(record) = event {
            let validation_seconds = mark.elapsed().as_secs_f64() - record.epoch_seconds;
            rates.push(split.train.len() as f64 / record.epoch_seconds);
            println!(
                "epoch {}: {:.0} images/s in training, {:.0} images/s in validation (start-up included in the first)",
                record.epoch,
                rates[rates.len() - 1],
                split.validation.len() as f64 / validation_seconds,
            );
            mark = Instant::now();
        }
        Flow::Continue
    })?;
    rates.sort_by(f64::total_cmp);
    let rate = rates[rates.len() / 2];
    let (gflops, peak) = (rate * MFLOP_PER_IMAGE / 1e3, model::product_gflops(precision)?);
    println!(
        "{}",
        serde_json::json!({
            "images_per_second": rate, "gflops": gflops, "peak_gflops": peak, "share": gflops / peak,
        })
    );
    Ok(())
}
