//! Each image is what torchvision's transforms make of it with the numbers that were drawn for it.

use super::*;

const SIDE: i64 = 16;
const IMAGES: i64 = 40;

fn images() -> Tensor {
    let bytes: Vec<u8> =
        (0..IMAGES * SIDE * SIDE * 3).map(|place| ((place * 2_654_435_761) >> 9) as u8 | 1).collect();
    Tensor::from_slice(&bytes).view([IMAGES, SIDE, SIDE, 3])
}

fn all() -> Tensor {
    Tensor::arange(IMAGES, (Kind::Int64, Device::Cpu))
}

fn bytes(image: &Tensor) -> Vec<u8> {
    Vec::<u8>::try_from(image.contiguous().view(-1)).unwrap()
}

fn drawn(augmentation: Augmentation, seed: u64) -> Drawn {
    augmentation.draw(IMAGES, SIDE, seed, Device::Cpu).unwrap().unwrap()
}

/// The image by its definition: pixel (row, column) of the crop, from the left or the right.
fn by_hand(image: &[u8], [row, column]: [i64; 2], padding: i64, flips: bool) -> Vec<u8> {
    let mut made = Vec::new();
    for y in 0..SIDE {
        for x in 0..SIDE {
            let x = if flips { SIDE - 1 - x } else { x };
            let (from_y, from_x) = (y + row - padding, x + column - padding);
            let is_inside = (0..SIDE).contains(&from_y) && (0..SIDE).contains(&from_x);
            for colour in 0..3 {
                let place = (from_y * SIDE + from_x) * 3 + colour;
                made.push(if is_inside { image[place as usize] } else { 0 });
            }
        }
    }
    made
}

#[test]
fn images_are_moved_by_what_was_drawn_for_them_and_then_flipped() {
    for (augmentation, padding) in [(Augmentation::Flip, 0), (Augmentation::FlipCrop, 2)] {
        let drawn = drawn(augmentation, 3);
        let made = drawn.apply(&images(), &all()).unwrap();
        for number in 0..IMAGES {
            let offsets = [0, 1].map(|which| drawn.draws.int64_value(&[number, 1 + which]));
            let flips = drawn.draws.int64_value(&[number, 0]) == 1;
            let expected = by_hand(&bytes(&images().get(number)), offsets, padding, flips);
            assert!(bytes(&made.get(number)) == expected, "{augmentation:?} of image {number}");
        }
    }
}

#[test]
fn half_of_the_images_are_flipped_and_each_crop_is_as_likely() {
    let drawn = Augmentation::FlipCrop.draw(50_000, SIDE, 5, Device::Cpu).unwrap().unwrap();
    let flipped = drawn.draws.select(1, 0).sum(Kind::Int64).int64_value(&[]);
    assert!((24_000..26_000).contains(&flipped), "{flipped}");
    for which in 0..2 {
        let counts = drawn.draws.select(1, 1 + which).bincount(None::<&Tensor>, 0);
        let counts = Vec::<i64>::try_from(counts).unwrap();
        // Twice the padding, and one.
        assert!(
            counts.len() == 5 && counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }
}

#[test]
fn what_happens_to_an_image_depends_on_nothing_but_the_seed_and_itself() {
    let drawn = drawn(Augmentation::FlipCrop, 7);
    let whole = drawn.apply(&images(), &all()).unwrap();
    let numbers = Tensor::from_slice(&[31_i64, 4, 17]);
    let some = drawn.apply(&images().index_select(0, &numbers), &numbers).unwrap();
    assert_eq!(bytes(&some), bytes(&whole.index_select(0, &numbers)));
    // In a larger data set.
    let more = Augmentation::FlipCrop.draw(3 * IMAGES, SIDE, 7, Device::Cpu).unwrap().unwrap();
    assert_eq!(bytes(&more.apply(&images(), &all()).unwrap()), bytes(&whole));
    let other = Augmentation::FlipCrop.draw(IMAGES, SIDE, 8, Device::Cpu).unwrap().unwrap();
    assert_ne!(bytes(&other.apply(&images(), &all()).unwrap()), bytes(&whole));
    assert!(Augmentation::None.draw(IMAGES, SIDE, 7, Device::Cpu).unwrap().is_none());
}
