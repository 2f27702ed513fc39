//! How two parameters act together.

use analysis::NoInteraction;

use super::Strings;

impl Strings {
    /// Which two act together the most, and what that means.
    pub(crate) fn act_together(&self, first: &str, second: &str, share: &str, pairs: u64) -> String {
        self.either_of(
            || {
                let among = match pairs {
                    1 => "The pair of parameters that was looked at is".to_owned(),
                    _ => format!("Of the {pairs} pairs of parameters that were looked at, the one that acts together the most is"),
                };
                format!(
                    "{among} {first} and {second}: {share} of the variance between configurations is \
                     neither that of one nor that of the other alone (functional ANOVA: the means of both less the mean effects of each)."
                )
            },
            || {
                format!(
                    "調べた {pairs} 組のうち、組み合わせの効果が最も大きいのは{}と{}です。設定間の分散の {share} は、それぞれの単独の効果では説明されず、両者の組み合わせによるものです (functional ANOVA: 両者の平均から、それぞれの主効果を引いたもの)。",
                    self.within(first),
                    self.within(second)
                )
            },
        )
    }

    /// What stands in the cells.
    pub(crate) fn cells_are(&self, objective: &str) -> String {
        self.either_of(
            || {
                format!(
                    "Each cell has the mean {objective} of the configurations with both values, n is how many these are, and ★ marks the best."
                )
            },
            || format!("各セルは、両方の値をもつ設定の{objective}の平均です。n は設定の数、★ は最良のセルです。"),
        )
    }

    /// What the share would be by chance.
    pub(crate) fn chance_gives(&self, share: &str, pairs: u64) -> String {
        self.either_of(
            || {
                let more = if pairs > 1 { ", and more in the largest of several pairs" } else { "" };
                format!(
                    "Chance is in this share, too: values that differ by nothing else would give {share} on average (degrees of freedom of an \
                     analysis of variance){more}. This is no test."
                )
            },
            || {
                let more = if pairs > 1 { "、複数の組の最大値ではさらに大きくなります" } else { "です" };
                format!(
                    "この割合には偶然によるものも含まれます。差がすべて偶然でも、平均で {share} (分散分析の自由度による){more}。これは検定ではありません。"
                )
            },
        )
    }

    /// Parameters of no pair.
    pub(crate) fn not_paired(&self, names: &[String]) -> String {
        let names = self.listed(names);
        self.either_of(
            || format!("Not looked at, as a table would have too many values: {names}."),
            || format!("値が多いため調べていないパラメーター: {names}。"),
        )
    }

    /// No pair acts together.
    pub(crate) fn adds_up(&self, pairs: u64) -> String {
        self.either_of(
            || {
                format!(
                    "Of the pairs of parameters that were looked at ({pairs}), none acts together: the mean of both values is what each adds by \
                     itself."
                )
            },
            || format!("調べた {pairs} 組に、組み合わせの効果はありません。両者の平均は、それぞれの主効果の和です。"),
        )
    }

    /// A table that would not fit a page.
    pub(crate) fn too_wide(&self, columns: usize, most: usize) -> String {
        self.either_of(
            || {
                format!(
                    "Both have many values ({columns} or more), of which a table shows at most {most}: results.csv has all of them."
                )
            },
            || format!("どちらも値が {columns} 個以上あり、表 (最大 {most} 列) では示せません。すべての値は results.csv にあります。"),
        )
    }

    /// Why nothing is said.
    pub(crate) fn no_interaction(&self, why: NoInteraction) -> &'static str {
        match why {
            NoInteraction::OneParameter => self.either(
                "A single parameter varies, so that there is nothing for it to act together with.",
                "変化するパラメーターが 1 つのため、組み合わせの効果はありません。",
            ),
            NoInteraction::AllEqual => self.either(
                "No table of two parameters: all configurations have the same value, or values too large to be squared.",
                "すべての設定の値が同じか、大きすぎて 2 乗できないため、組み合わせの効果は求められません。",
            ),
            NoInteraction::NoGrid => self.either(
                "No table of two parameters: the configurations with a value are no complete grid, so that its cells would be missing, or differ in \
                 more than these two.",
                "値のある設定が完全な格子になっておらず、表のセルが欠けるか、ほかのパラメーターの違いも含まれるため、組み合わせの表は示しません。",
            ),
            NoInteraction::TooManyValues => self.either(
                "No table of two parameters: each two have more values than a table shows.",
                "どの 2 つのパラメーターも値が多く、組み合わせの表では示せません。",
            ),
        }
    }
}
