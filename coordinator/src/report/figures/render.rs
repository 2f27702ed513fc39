//! Pixels of a drawing.

use std::sync::{Arc, OnceLock};

use resvg::{tiny_skia, usvg};

/// Pixels for each unit of the drawing: sharp on dense screens and on paper.
const SCALE: f32 = 2.0;

/// The font of every figure: the machine's own fonts are not asked, so that pictures are the same everywhere.
const FONT_DATA: &[u8] = include_bytes!("../../../assets/NotoSansCJKjp-subset.otf");

fn fonts() -> Arc<usvg::fontdb::Database> {
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(FONT_DATA.to_vec());
        let family = fonts.faces().next().and_then(|face| Some(face.families.first()?.0.clone()));
        if let Some(family) = family {
            fonts.set_sans_serif_family(family);
        }
        Arc::new(fonts)
    };
    Arc::clone(FONTS.get_or_init(load))
}

/// The drawing as a PNG.
pub(super) fn png(svg: &str) -> Result<Vec<u8>, String> {
    let options = usvg::Options { fontdb: fonts(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).map_err(|error| error.to_string())?;
    let size = tree.size().to_int_size().scale_by(SCALE).ok_or("the drawing has no size")?;
    let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).ok_or("the drawing is too large")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_of_a_report_has_its_picture() {
        let text = |content: &str| {
            let svg = format!(
                "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'>\
                 <text x='4' y='30' font-size='24' font-family='sans-serif'>{content}</text></svg>"
            );
            png(&svg).unwrap()
        };
        let nothing = text(" ");
        let words = include_str!("../words.rs");
        let mut signs: Vec<char> =
            words.chars().filter(|sign| !sign.is_whitespace() && !"<>&".contains(*sign)).collect();
        signs.sort_unstable();
        signs.dedup();
        for sign in signs {
            assert_ne!(text(&sign.to_string()), nothing, "{sign}");
        }
    }
}
