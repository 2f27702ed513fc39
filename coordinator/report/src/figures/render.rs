//! Renders a drawing to pixels.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use resvg::{tiny_skia, usvg};

/// Pixels per unit of the drawing: sharp on dense screens and on paper.
const SCALE: f32 = 2.0;

/// The font of every figure: the machine's own fonts are not used, so that pictures are the same everywhere.
const FONT_DATA: &[u8] = include_bytes!("../../assets/NotoSansCJKjp-subset.otf");

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

/// The characters beyond Latin, Greek, Cyrillic and kana that the font was made with.
const FURTHER_SIGNS: &str = include_str!("../../assets/NotoSansCJKjp-subset.txt");

/// Stands for a character that the font lacks, as Japanese printers do.
pub(super) const MISSING: char = '〓';

/// Whether the font has a glyph for a character.
fn has_picture(sign: char) -> bool {
    matches!(sign, '\n' | ' '..='~' | '\u{a0}'..='ÿ' | 'Α'..='Ρ' | 'Σ'..='Ω' | 'α'..='ω' | 'Ё' | 'А'..='я' | 'ё' | '‐' | '–'..='―'
        | '‘' | '’' | '“' | '”' | '…' | '、'..='〃' | '々'..='】' | '〓'..='〕' | 'ぁ'..='ん' | 'ァ'..='ー' | '！'..='～')
        || FURTHER_SIGNS.contains(sign)
}

/// A drawing whose every character has a glyph, and whether some had to be replaced.
pub(super) fn with_pictures(svg: &str) -> (Cow<'_, str>, bool) {
    if svg.chars().all(has_picture) {
        return (Cow::Borrowed(svg), false);
    }
    // Elements and attributes are ASCII, so that only texts change.
    (svg.chars().map(|sign| if has_picture(sign) { sign } else { MISSING }).collect(), true)
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

    fn picture(text: &str) -> Vec<u8> {
        let svg = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='60' height='40'>\
             <text x='4' y='30' font-size='24' font-family='sans-serif'>{text}</text></svg>"
        );
        png(&svg).unwrap()
    }

    #[test]
    fn every_sign_that_is_said_to_have_a_picture_has_one() {
        // Neither nothing nor the box of a sign that is missing.
        let (nothing, missing) = (picture(" "), picture("鑿"));
        let signs = (' '..='\u{ffff}').filter(|sign| has_picture(*sign) && !sign.is_whitespace());
        let mut seen = 0;
        for sign in signs.filter(|sign| !"<>&\u{ad}".contains(*sign)) {
            let picture = picture(&sign.to_string());
            assert!(picture != nothing && picture != missing, "{sign} U+{:04x}", u32::from(sign));
            seen += 1;
        }
        assert!(seen > 500, "{seen}");
    }

    #[test]
    fn every_sign_of_a_report_has_its_picture() {
        for strings in [
            include_str!("../strings.rs"),
            include_str!("../strings/english.rs"),
            include_str!("../strings/japanese.rs"),
            include_str!("../strings/models.rs"),
            include_str!("../strings/sentences.rs"),
        ] {
            let missing: String = strings.chars().filter(|sign| !has_picture(*sign)).collect();
            assert_eq!(missing, "", "make the font again (assets/README.md)");
        }
    }

    #[test]
    fn a_sign_without_a_picture_is_replaced_by_one_that_says_so() {
        let (drawing, replaced) = with_pictures("<text>relu 鑿 🦀</text>");
        assert_eq!((&*drawing, replaced), ("<text>relu 〓 〓</text>", true));
        assert_eq!(
            with_pictures("<text>活性化関数 ω</text>"),
            (Cow::Borrowed("<text>活性化関数 ω</text>"), false)
        );
        assert_ne!(picture("〓"), picture(" "));
    }
}
