//! A drawing as SVG, element by element. Every colour is an [`Ink`], written with its value for white paper and with a
//! class, by which a dark page replaces it. Foreign text is made safe here, and only here.

use std::fmt::Write;

/// The font of every text of a figure; a subset of it is embedded for rendering.
const FONT: &str = "Noto Sans CJK JP, Noto Sans JP, sans-serif";

/// A point of the drawing: x to the right, y downwards.
pub(super) type At = (f64, f64);

/// How many lines or groups have their own colour.
pub(super) const SERIES: usize = 7;
/// Colours that people with any colour vision can tell apart (Okabe and Ito 2008), dark enough for white paper.
const SERIES_ON_LIGHT: [&str; SERIES] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#947000", "#56b4e9", "#464646"];
/// The same, light enough for a dark page.
const SERIES_ON_DARK: [&str; SERIES] =
    ["#4ba3e3", "#ff8a3d", "#2fc79b", "#e6a3c8", "#d9b23c", "#9ad4f7", "#c4c4c4"];

/// A colour of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Paper,
    Text,
    /// For what is less important: axes, jobs that did not finish.
    Soft,
    Grid,
    Series(usize),
}

impl Ink {
    const PLAIN: [Self; 4] = [Self::Paper, Self::Text, Self::Soft, Self::Grid];

    fn class(self) -> String {
        match self {
            Self::Paper => "paper".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Soft => "soft".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Series(number) => format!("c{}", number % SERIES),
        }
    }

    fn on_light(self) -> &'static str {
        match self {
            Self::Paper => "#ffffff",
            Self::Text => "#1a1a1a",
            Self::Soft => "#6b6b6b",
            Self::Grid => "#dddddd",
            Self::Series(number) => SERIES_ON_LIGHT[number % SERIES],
        }
    }

    fn on_dark(self) -> &'static str {
        match self {
            Self::Paper => "#16181c",
            Self::Text => "#e8e8e8",
            Self::Soft => "#a0a0a0",
            Self::Grid => "#3a3d42",
            Self::Series(number) => SERIES_ON_DARK[number % SERIES],
        }
    }
}

/// The rules that make figures within a page dark.
pub(crate) fn dark_style() -> String {
    let inks = Ink::PLAIN.into_iter().chain((0..SERIES).map(Ink::Series));
    let halo = format!("  figure [paint-order] {{ stroke: {}; }}\n", Ink::Paper.on_dark());
    inks.fold(halo, |mut rules, ink| {
        let (class, colour) = (ink.class(), ink.on_dark());
        let _ = writeln!(
            rules,
            "  figure .f-{class} {{ fill: {colour}; }} figure .s-{class} {{ stroke: {colour}; }}"
        );
        rules
    })
}

/// Which end of a text is at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn: `stroke-dasharray`, empty for a solid one.
pub(super) const DASHES: [&str; 4] = ["", "8 4", "2 3", "10 3 2 3"];

/// A drawing in progress.
#[derive(Debug)]
pub(super) struct Drawing {
    width: f64,
    body: String,
}

impl Drawing {
    pub(super) fn new(width: f64) -> Self {
        Self { width, body: String::new() }
    }

    /// A line of text whose middle is at `at`.
    pub(super) fn text(&mut self, at: At, text: &str, size: f64, anchor: Anchor, ink: Ink) {
        self.styled_text(at, text, size, anchor, ink, "");
    }

    /// As [`Self::text`], bold.
    pub(super) fn bold(&mut self, at: At, text: &str, size: f64, anchor: Anchor, ink: Ink) {
        self.styled_text(at, text, size, anchor, ink, " font-weight=\"bold\"");
    }

    /// As [`Self::text`], readable on top of lines.
    pub(super) fn label(&mut self, at: At, text: &str, size: f64, anchor: Anchor, ink: Ink) {
        let style = format!(
            " stroke=\"{}\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"",
            Ink::Paper.on_light()
        );
        self.styled_text(at, text, size, anchor, ink, &style);
    }

    fn styled_text(&mut self, (x, y): At, text: &str, size: f64, anchor: Anchor, ink: Ink, style: &str) {
        if text.is_empty() {
            return;
        }
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        // The height of capitals is 0.73 of the size in this font.
        let baseline = number(y + 0.36 * size);
        let (x, size) = (number(x), number(size));
        let _ = writeln!(
            self.body,
            "<text x=\"{x}\" y=\"{baseline}\" font-size=\"{size}\" text-anchor=\"{anchor}\"{style}{}>{}</text>",
            fill(ink),
            escaped(text)
        );
    }

    pub(super) fn line(&mut self, from: At, to: At, ink: Ink, width: f64) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(number);
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"{}/>",
            stroke(ink, width)
        );
    }

    pub(super) fn polyline(&mut self, points: &[At], ink: Ink, width: f64, dash: &str) {
        let mut list = String::new();
        for (x, y) in points {
            let _ = write!(list, "{}{},{}", if list.is_empty() { "" } else { " " }, number(*x), number(*y));
        }
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        let _ = writeln!(
            self.body,
            "<polyline points=\"{list}\" fill=\"none\" stroke-linejoin=\"round\"{dash}{}/>",
            stroke(ink, width)
        );
    }

    pub(super) fn circle(&mut self, (x, y): At, radius: f64, ink: Ink) {
        let [x, y, radius] = [x, y, radius].map(number);
        let _ = writeln!(self.body, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"{}/>", fill(ink));
    }

    /// A closed shape: filled, or outlined on paper.
    pub(super) fn polygon(&mut self, corners: &[At], ink: Ink, is_full: bool) {
        let corners: Vec<String> =
            corners.iter().map(|(x, y)| format!("{},{}", number(*x), number(*y))).collect();
        let colours = if is_full { fill(ink) } else { hollow(ink) };
        let _ = writeln!(self.body, "<polygon points=\"{}\"{colours}/>", corners.join(" "));
    }

    /// What `draw` draws, with a tooltip.
    pub(super) fn titled(&mut self, title: &str, draw: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.body, "<g><title>{}</title>", escaped(title));
        draw(self);
        self.body.push_str("</g>\n");
    }

    /// The whole drawing, with its final height.
    pub(super) fn finish(self, height: f64) -> String {
        let [width, height] = [self.width, height].map(number);
        format!(
            "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             xmlns=\"http://www.w3.org/2000/svg\" font-family=\"{FONT}\">\n\
             <rect width=\"{width}\" height=\"{height}\"{}/>\n{}</svg>\n",
            fill(Ink::Paper),
            self.body
        )
    }
}

fn fill(ink: Ink) -> String {
    format!(" fill=\"{}\" class=\"f-{}\"", ink.on_light(), ink.class())
}

fn stroke(ink: Ink, width: f64) -> String {
    format!(" stroke=\"{}\" stroke-width=\"{}\" class=\"s-{}\"", ink.on_light(), number(width), ink.class())
}

/// Paper with an outline.
fn hollow(ink: Ink) -> String {
    let (paper, class) = (Ink::Paper, ink.class());
    format!(
        " fill=\"{}\" stroke=\"{}\" stroke-width=\"1.6\" class=\"f-{} s-{class}\"",
        paper.on_light(),
        ink.on_light(),
        paper.class()
    )
}

/// One decimal: a tenth of a unit is less than a pixel.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// Foreign text as one line of XML: what a document cannot contain at all is replaced.
fn escaped(text: &str) -> String {
    terminal::text::html(&terminal::text::line(text)).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_has_a_dark_one_and_foreign_text_is_no_markup() {
        let mut drawing = Drawing::new(100.0);
        drawing.text(
            (1.0, 2.0),
            "</text><script>\u{1b}\u{0}\u{ffff}\n&",
            12.0,
            Anchor::Start,
            Ink::Series(8),
        );
        drawing.polygon(&[(0.0, 0.0), (1.0, 1.0)], Ink::Soft, false);
        let svg = drawing.finish(50.0);
        assert!(svg.contains(">&lt;/text&gt;&lt;script&gt;\\u{1b}\\u{0}\u{fffd} &amp;</text>"), "{svg}");
        let style = dark_style();
        let classes = svg.split("class=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for class in classes.flat_map(|classes| classes.split(' ')) {
            assert!(style.contains(&format!(".{class} {{")), "{class}: {style}");
        }
    }
}
