//! The headings of a report's sections and the captions of its tables and figures.

use super::Strings;

/// A heading of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Title {
    Question,
    Method,
    Effects,
    Pairs,
    Interactions,
    BestConfiguration,
    LeftOut,
    Discussion,
    Limits,
    Conclusion,
    Reproduction,
    SweepFile,
    JobsRanked,
}

impl Strings {
    pub(crate) fn title(&self, title: Title) -> &'static str {
        let [english, japanese] = match title {
            Title::Question => ["Question", "目的"],
            Title::Method => ["Method", "方法"],
            Title::Effects => ["Effects of the parameters", "パラメーターの影響"],
            Title::Pairs => ["Differences where everything else is equal", "ほかの条件が等しい組の差"],
            Title::Interactions => ["Two parameters together", "2 つのパラメーターの組み合わせ"],
            Title::BestConfiguration => ["The best configuration", "最良の設定"],
            Title::LeftOut => ["What was left out", "集計に含めていないもの"],
            Title::Discussion => ["Discussion", "考察"],
            Title::Limits => ["Limits", "結果の限界"],
            Title::Conclusion => ["Conclusion", "まとめ"],
            Title::Reproduction => ["Reproduction", "再現方法"],
            Title::SweepFile => {
                ["The sweep file as it was understood", "スイープのファイル (解釈された内容)"]
            }
            Title::JobsRanked => ["Jobs, the best first", "ジョブの一覧 (良い順)"],
        };
        self.either(english, japanese)
    }

    /// The caption of a table.
    pub(crate) fn table_caption(&self, number: usize, title: &str) -> String {
        self.either_of(|| format!("Table {number}. {title}"), || format!("表{number} {title}"))
    }

    /// The caption of a figure.
    pub(crate) fn figure_caption(&self, number: usize, title: &str) -> String {
        self.either_of(|| format!("Figure {number}. {title}"), || format!("図{number} {title}"))
    }

    /// A name or a number within Japanese text, which has spaces around what is not Japanese.
    pub(crate) fn within(&self, text: &str) -> String {
        if !self.is_japanese() {
            return text.to_owned();
        }
        let foreign = |sign: Option<char>| sign.is_some_and(|sign| u32::from(sign) < 0x2e80);
        let space = |is_foreign: bool| if is_foreign { " " } else { "" };
        let (before, after) = (foreign(text.chars().next()), foreign(text.chars().last()));
        format!("{}{text}{}", space(before), space(after))
    }

    /// What separates two sentences.
    pub(crate) fn between_sentences(&self) -> &'static str {
        self.either(" ", "")
    }

    /// `a, b and c`.
    pub(crate) fn listed(&self, names: &[String]) -> String {
        match names {
            _ if self.is_japanese() => names.join("、"),
            [] => String::new(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        }
    }
}
