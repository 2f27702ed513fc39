//! How two parameters act together.

use analysis::NoInteraction;

use super::Strings;

impl Strings {
    /// Which two act together the most, and what that means.
    pub(crate) fn act_together(&self, first: &str, second: &str, share: &str) -> String {
        self.either_of(
            || {
                format!(
                    "Of all pairs of parameters, {first} and {second} act together the most: {share} of the variance between configurations is \
                     neither that of one nor that of the other alone (functional ANOVA: the means of both less the mean effects of each)."
                )
            },
            || {
                format!(
                    "組み合わせの効果が最も大きいのは{}と{}です。設定間の分散の {share} は、それぞれの単独の効果では説明されず、両者の組み合わせによるものです (functional ANOVA: 両者の平均から、それぞれの主効果を引いたもの)。",
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

    /// Cells of a single training each.
    pub(crate) fn cells_of_one(&self) -> &'static str {
        self.either(
            "As each cell is a single training, chance is in this share, too.",
            "各セルは 1 回の学習のため、この割合には偶然によるものも含まれます。",
        )
    }

    /// No two act together.
    pub(crate) fn adds_up(&self) -> &'static str {
        self.either(
            "No two parameters act together: what the values of one bring is the same whatever the others are.",
            "組み合わせの効果はありません。ある値の効果は、ほかのパラメーターの値によらず同じです。",
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
