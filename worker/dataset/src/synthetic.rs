//! A synthetic stand-in for Dogs vs. Cats: miniature photographs of striped and of blotched bodies. The classes only
//! differ in texture. Colours, brightness, backgrounds, positions, sizes and noise are drawn from the same
//! distributions for both, so that no pixel, no mean colour and no file name reveals the class.

use std::{
    f32::consts::TAU,
    fs,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use jpeg_encoder::{ColorType, Encoder};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::DataError;

/// Revision of the drawing: another one makes other pictures from the same seed.
const DRAWING_VERSION: u32 = 1;
/// The file that says how a folder was made.
const MARKER: &str = ".synthetic.json";
/// Sides of the pictures, in pixels.
const SIDES: RangeInclusive<u32> = 200..=500;
/// Plane waves in one blotched texture; more hardly change it.
const BLOTCH_WAVES: usize = 10;
/// Textures are computed at every second pixel and interpolated; their periods are several times that.
const GRID_STEP: usize = 2;

/// How pictures are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Layout {
    /// All in one folder, as Kaggle delivers them: `cat.0.jpg`.
    Flat,
    /// One folder per class: `cat/cat.0.jpg`.
    Folder,
}

/// How to make a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recipe {
    pub(super) images: u32,
    pub(super) seed: u64,
    pub(super) layout: Layout,
    drawing_version: u32,
}

/// The result of making a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    Before,
}

impl Recipe {
    pub(super) fn new(images: u32, seed: u64, layout: Layout) -> Self {
        Self { images, seed, layout, drawing_version: DRAWING_VERSION }
    }
}

/// Whether a file of this path says how a folder was made: it is no part of the data, and nothing that is left out of it.
pub(super) fn is_marker(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(MARKER.as_bytes())
}

/// Makes the folder, or finds that it was made before; it appears complete or not at all. The number of finished
/// pictures goes to `progress`.
pub(super) fn make(
    folder: &Path,
    recipe: &Recipe,
    progress: &(dyn Fn(u32) + Sync),
) -> Result<Made, DataError> {
    if is_made(folder, recipe)? {
        return Ok(Made::Before);
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| DataError::writing(parent, error))?;
    let work = tempfile::Builder::new()
        .prefix(".making-")
        .tempdir_in(parent)
        .map_err(|error| DataError::writing(folder, error))?;
    let done = std::sync::atomic::AtomicU32::new(0);
    (0..recipe.images).into_par_iter().try_for_each(|number| {
        write_picture(work.path(), recipe, number)?;
        progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        Ok(())
    })?;
    let marker = work.path().join(MARKER);
    let text = serde_json::to_string(recipe).unwrap_or_default();
    fs::write(&marker, text).map_err(|error| DataError::writing(&marker, error))?;
    open_to_all(work.path())?;
    // Replaces an empty folder; a full one was refused above.
    fs::rename(work.path(), folder).map_err(|error| DataError::writing(folder, error))?;
    Ok(Made::Now)
}

/// Temporary folders are private; data sets are not.
fn open_to_all(folder: &Path) -> Result<(), DataError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .map_err(|error| DataError::writing(folder, error))
}

fn is_made(folder: &Path, recipe: &Recipe) -> Result<bool, DataError> {
    let Ok(mut entries) = fs::read_dir(folder) else { return Ok(false) };
    let marker = fs::read(folder.join(MARKER)).ok();
    let known = marker.and_then(|text| serde_json::from_slice::<Recipe>(&text).ok());
    match known {
        Some(known) if known == *recipe => Ok(true),
        _ if entries.next().is_none() => Ok(false),
        _ => Err(DataError::Occupied { path: folder.to_owned() }),
    }
}

fn write_picture(folder: &Path, recipe: &Recipe, number: u32) -> Result<(), DataError> {
    let (class, texture) =
        if number.is_multiple_of(2) { ("cat", Texture::Stripes) } else { ("dog", Texture::Blotches) };
    let name = format!("{class}.{}.jpg", number / 2);
    let place: PathBuf = match recipe.layout {
        Layout::Flat => folder.join(name),
        Layout::Folder => {
            let class = folder.join(class);
            fs::create_dir_all(&class).map_err(|error| DataError::writing(&class, error))?;
            class.join(name)
        }
    };
    let mut random = ChaCha8Rng::seed_from_u64(recipe.seed);
    random.set_stream(u64::from(number));
    let jpeg = draw_jpeg(texture, &mut random);
    fs::write(&place, jpeg).map_err(|error| DataError::writing(&place, error))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texture {
    Stripes,
    Blotches,
}

impl Texture {
    /// Distance between marks in pixels, for a picture of 128 pixels a side: a cat's stripes are closer together than a
    /// dog's patches.
    fn periods(self) -> Range<f32> {
        match self {
            Self::Stripes => 5.0..9.0,
            Self::Blotches => 18.0..40.0,
        }
    }
}

fn draw_jpeg(texture: Texture, random: &mut ChaCha8Rng) -> Vec<u8> {
    let (width, height) = (random.random_range(SIDES), random.random_range(SIDES));
    let pixels = draw(texture, width as usize, height as usize, random);
    let mut bytes = Vec::new();
    let (width, height) = (width as u16, height as u16);
    let encoder = Encoder::new(&mut bytes, random.random_range(80..=95));
    encoder.encode(&pixels, width, height, ColorType::Rgb).expect("the buffer has width × height × 3 bytes");
    bytes
}

type Colour = [f32; 3];

fn colour(random: &mut impl Rng) -> Colour {
    std::array::from_fn(|_| random.random_range(20.0..235.0))
}

fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * share)
}

/// One body in its surroundings: `width`·`height`·3 bytes.
pub(super) fn draw(texture: Texture, width: usize, height: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
    let (w, h) = (width as f32, height as f32);
    let body = Ellipse::random(w, h, random);
    let (coat, marks) = loop {
        let (coat, marks) = (colour(random), colour(random));
        // Marks that cannot be seen on the coat would be useless.
        if coat.iter().zip(&marks).map(|(a, b)| (a - b).abs()).sum::<f32>() > 220.0 {
            break (coat, marks);
        }
    };
    let period = random.random_range(texture.periods()) / 128.0 * (w * h).sqrt();
    let coat_field = Field::new(width, height, &Waves::random(texture, period, random));
    let ground = (colour(random), colour(random));
    // Shadows and foliage: broad blotches, whatever the class.
    let ground_period = random.random_range(0.3..1.0) * w.min(h);
    let ground_field = Field::new(width, height, &Waves::random(Texture::Blotches, ground_period, random));
    let light = (random.random_range(-0.25..0.25f32), random.random_range(-0.25..0.25f32));
    let noise = random.random_range(4.0..16.0f32);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / w - 0.5, y as f32 / h - 0.5);
            let behind = mix(ground.0, ground.1, soft_step(ground_field.at(x, y)));
            let coat = mix(coat, marks, soft_step(3.0 * coat_field.at(x, y)));
            let here = mix(behind, coat, body.cover(x as f32, y as f32));
            let bright = 1.0 + light.0 * u + light.1 * v;
            let grain = noise * (random.random::<f32>() + random.random::<f32>() - 1.0);
            pixels.extend(here.map(|value| (value * bright + grain).clamp(0.0, 255.0) as u8));
        }
    }
    pixels
}

/// From 0 to 1, with 0.5 at 0.
fn soft_step(value: f32) -> f32 {
    0.5 + 0.5 * value.tanh()
}

/// The body's outline.
struct Ellipse {
    centre: (f32, f32),
    radii: (f32, f32),
    turn: f32,
}

impl Ellipse {
    fn random(w: f32, h: f32, random: &mut impl Rng) -> Self {
        let size = w.min(h);
        Self {
            centre: (w * random.random_range(0.35..0.65), h * random.random_range(0.35..0.65)),
            radii: (size * random.random_range(0.38..0.52), size * random.random_range(0.3..0.44)),
            turn: random.random_range(0.0..TAU),
        }
    }

    /// 1 inside, 0 outside, with an edge some pixels wide.
    fn cover(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let (sin, cos) = self.turn.sin_cos();
        let (u, v) = ((dx * cos + dy * sin) / self.radii.0, (dy * cos - dx * sin) / self.radii.1);
        ((1.0 - (u * u + v * v).sqrt()) * 20.0 + 0.5).clamp(0.0, 1.0)
    }
}

/// A sum of plane waves: in one direction they are stripes, in all directions blotches.
struct Waves {
    /// (cycles a pixel along x, along y, phase)
    waves: Vec<(f32, f32, f32)>,
    /// Makes both textures vary by the same amount.
    amplitude: f32,
}

impl Waves {
    fn random(texture: Texture, period: f32, random: &mut impl Rng) -> Self {
        let direction = random.random_range(0.0..TAU);
        let wave = |index: usize, random: &mut dyn FnMut(f32, f32) -> f32| {
            let (turn, stretch) = match texture {
                // A second wave in nearly the same direction makes stripes fork and bend like real ones.
                Texture::Stripes => (direction + random(-0.12, 0.12), random(0.92, 1.08)),
                Texture::Blotches => {
                    (TAU * index as f32 / BLOTCH_WAVES as f32 + random(-0.2, 0.2), random(0.85, 1.15))
                }
            };
            let cycles = stretch / period;
            (turn.cos() * cycles, turn.sin() * cycles, random(0.0, 1.0))
        };
        let count = match texture {
            Texture::Stripes => 2,
            Texture::Blotches => BLOTCH_WAVES,
        };
        let mut draw = |low: f32, high: f32| random.random_range(low..high);
        let waves = (0..count).map(|index| wave(index, &mut draw)).collect();
        Self { waves, amplitude: (2.0 / count as f32).sqrt() }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        self.amplitude
            * self.waves.iter().map(|(fx, fy, phase)| (TAU * (fx * x + fy * y + phase)).sin()).sum::<f32>()
    }
}

/// A texture on a coarse grid.
struct Field {
    columns: usize,
    values: Vec<f32>,
}

impl Field {
    fn new(width: usize, height: usize, waves: &Waves) -> Self {
        let (columns, rows) = (width / GRID_STEP + 2, height / GRID_STEP + 2);
        let at = |index: usize| {
            waves.at((index % columns * GRID_STEP) as f32, (index / columns * GRID_STEP) as f32)
        };
        Self { columns, values: (0..columns * rows).map(at).collect() }
    }

    /// Interpolated between the four points around a pixel.
    fn at(&self, x: usize, y: usize) -> f32 {
        let share = |position: usize| (position % GRID_STEP) as f32 / GRID_STEP as f32;
        let corner = y / GRID_STEP * self.columns + x / GRID_STEP;
        let row =
            |start: usize| self.values[start] + (self.values[start + 1] - self.values[start]) * share(x);
        let (above, below) = (row(corner), row(corner + self.columns));
        above + (below - above) * share(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean colour, mean brightness and its deviation of the picture, in [0, 255].
    fn statistics(pixels: &[u8]) -> [f64; 5] {
        let count = (pixels.len() / 3) as f64;
        let mut sums = [0.0f64; 3];
        let (mut sum, mut squares) = (0.0, 0.0);
        for pixel in pixels.chunks_exact(3) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += f64::from(*value);
            }
            let bright = pixel.iter().map(|value| f64::from(*value)).sum::<f64>() / 3.0;
            sum += bright;
            squares += bright * bright;
        }
        let mean = sum / count;
        [sums[0] / count, sums[1] / count, sums[2] / count, mean, (squares / count - mean * mean).sqrt()]
    }

    /// The share of the second half that the nearest mean of the first half's classes classifies correctly.
    fn nearest_centroid(samples: &[(bool, Vec<f64>)]) -> f64 {
        let (known, asked) = samples.split_at(samples.len() / 2);
        let centroid = |class: bool| {
            let of_class: Vec<_> =
                known.iter().filter(|(c, _)| *c == class).map(|(_, values)| values).collect();
            (0..of_class[0].len())
                .map(|i| of_class.iter().map(|values| values[i]).sum::<f64>() / of_class.len() as f64)
                .collect::<Vec<_>>()
        };
        let (cat, dog) = (centroid(true), centroid(false));
        let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let right = asked
            .iter()
            .filter(|(class, values)| (distance(values, &cat) < distance(values, &dog)) == *class);
        right.count() as f64 / asked.len() as f64
    }

    #[test]
    fn simple_statistics_do_not_tell_the_class() {
        let samples: Vec<(bool, [f64; 5])> = (0..400u64)
            .into_par_iter()
            .map(|number| {
                let mut random = ChaCha8Rng::seed_from_u64(7);
                random.set_stream(number);
                let texture = if number % 2 == 0 { Texture::Stripes } else { Texture::Blotches };
                (number % 2 == 0, statistics(&draw(texture, 200, 200, &mut random)))
            })
            .collect();
        for (what, columns) in [("mean colour", &[0, 1, 2][..]), ("brightness", &[3]), ("contrast", &[4])] {
            let chosen: Vec<(bool, Vec<f64>)> = samples
                .iter()
                .map(|(class, values)| (*class, columns.iter().map(|column| values[*column]).collect()))
                .collect();
            let accuracy = nearest_centroid(&chosen);
            assert!(accuracy <= 0.6, "{what} tells {accuracy} of the pictures");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_pictures() {
        let draw = |seed| draw_jpeg(Texture::Stripes, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn a_folder_is_made_once_and_never_over_other_files() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("train");
        let recipe = Recipe::new(4, 0, Layout::Flat);
        assert_eq!(make(&folder, &recipe, &|_| {}).unwrap(), Made::Now);
        assert_eq!(make(&folder, &recipe, &|_| {}).unwrap(), Made::Before);
        assert!(make(&folder, &Recipe::new(6, 0, Layout::Flat), &|_| {}).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 5);
    }
}
