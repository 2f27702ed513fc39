//! What the results say, in sentences that claim no more than the statistics carry.

use analysis::{Method, NoInterval, SIGNIFICANT};
use terms::count as counted;

use super::{super::figures::percent, Strings};

/// The best or the worst value of a parameter.
#[derive(Debug)]
pub(crate) struct Extreme {
    pub(crate) label: String,
    pub(crate) mean: String,
    /// Its interval, as text.
    pub(crate) interval: Option<String>,
    pub(crate) count: u64,
    /// How many other values have the same mean.
    pub(crate) ties: u64,
}

/// A p-value as people write it.
pub fn p_value(p: f64) -> String {
    match p {
        p if p < 0.0001 => "p < 0.0001".to_owned(),
        // Three decimals would not tell on which side of 0.05 it lies.
        p if p < 0.001 || (0.045..0.055).contains(&p) => format!("p = {p:.4}"),
        p => format!("p = {p:.3}"),
    }
}

impl Strings {
    /// From where to where.
    pub(crate) fn interval(&self, low: &str, high: &str) -> String {
        self.either_of(|| format!("{low} to {high}"), || format!("{low}〜{high}"))
    }

    pub(crate) fn interval_name(&self) -> &'static str {
        self.either("95 % interval", "95 % 信頼区間")
    }

    pub(crate) fn importance_name(&self) -> &'static str {
        self.either("Importance", "重要度")
    }

    pub(crate) fn by_chance_name(&self) -> &'static str {
        self.either("By chance", "偶然の場合")
    }

    pub(crate) fn parameter_name(&self) -> &'static str {
        self.either("Parameter", "パラメーター")
    }

    pub(crate) fn value_name(&self) -> &'static str {
        self.either("Value", "値")
    }

    pub(crate) fn difference_name(&self) -> &'static str {
        self.either("Difference", "差")
    }

    pub(crate) fn pairs_name(&self) -> &'static str {
        self.either("Pairs", "組")
    }

    /// What the means of values rest on: configurations, or trainings where a single parameter varies.
    pub(crate) fn rests_on(&self, jobs: u64, points: u64, of_trainings: bool) -> String {
        let counted_are = match of_trainings {
            true => self.either(
                "n is the number of trainings with a value, as a single parameter varies; the means and Student's 95 % intervals are over them.",
                "変化するパラメーターが 1 つのため、n は学習の数です。平均と 95 % 信頼区間 (スチューデントの t) は学習間のものです。",
            ),
            false => self.either(
                "n is the number of configurations with a value; the means and Student's 95 % intervals are over them, so that an interval also \
                 holds what other parameters change.",
                "n はその値をもつ設定の数です。平均と 95 % 信頼区間 (スチューデントの t) は設定間のもので、ほかのパラメーターによる違いも区間に含まれます。",
            ),
        };
        self.either_of(
            || {
                format!(
                    "From {} of {}. {counted_are}",
                    counted(jobs, "job"),
                    counted(points, "configuration")
                )
            },
            || format!("{points} 通りの設定、{jobs} 件のジョブによります。{counted_are}"),
        )
    }

    /// How importances were computed, and why there are none.
    pub(crate) fn importance_method(
        &self,
        method: Method,
        quantile: Option<f64>,
        rest: Option<f64>,
    ) -> String {
        let quantile = quantile.map(percent).unwrap_or_default();
        let rest = rest.map(percent).unwrap_or_default();
        match method {
            Method::GridAnova => self.either_of(
                || {
                    format!(
                        "The importance is the part of the variance between configurations that a parameter explains by itself; {rest} is left to \
                         how parameters act together, and to chance."
                    )
                },
                || {
                    format!(
                        "重要度は、設定間の分散のうち各パラメーターが単独で説明する割合です。残りの {rest} は組み合わせの効果と偶然によるものです。"
                    )
                },
            ),
            Method::PedAnova => self.either_of(
                || {
                    format!(
                        "The importance is that of PED-ANOVA: how far the values of the best {quantile} differ from those of all. It is no part of a \
                         variance."
                    )
                },
                || {
                    format!(
                        "重要度は PED-ANOVA によるもので、上位 {quantile} の値が全体とどれだけ異なるかを示します。分散の割合ではありません。"
                    )
                },
            ),
            Method::OneParameter => self
                .either(
                    "There is no importance: a single parameter varies, so that nothing else could matter more or less.",
                    "変化するパラメーターが 1 つで、比べる相手がないため、重要度はありません。",
                )
                .to_owned(),
            Method::NothingVaries => self.either("No parameter varies.", "変化するパラメーターはありません。").to_owned(),
            Method::AllEqual => self
                .either(
                    "All configurations have the same value, so that no parameter matters for it.",
                    "すべての設定が同じ値のため、重要度はありません。",
                )
                .to_owned(),
            Method::TooFew => self
                .either(
                    "There is no importance: fewer than ten configurations have a value, and they are no complete grid.",
                    "値のある設定が 10 通り未満で、完全なグリッドでもないため、重要度は計算していません。",
                )
                .to_owned(),
        }
    }

    /// What importances would be by chance.
    pub(crate) fn shares_by_chance(&self) -> &'static str {
        self.either(
            "Chance is in each share, too: next to it stands what values that differ by nothing else would give on average (degrees of freedom of an \
             analysis of variance), which is more for a parameter of many values. This is no test.",
            "重要度には偶然によるものも含まれます。差がすべて偶然でも平均で得られる割合 (分散分析の自由度による) を並べて示します。値の多いパラメーターほど大きくなります。これは検定ではありません。",
        )
    }

    /// Why importances have no intervals.
    pub(crate) fn no_interval(&self, why: NoInterval) -> Option<&'static str> {
        match why {
            NoInterval::TrainedOnce => Some(self.either(
                "It has no interval, as each configuration was trained once.",
                "各設定の学習が 1 回のため、重要度に信頼区間はありません。",
            )),
            NoInterval::NotComputed => None,
        }
    }

    /// Means of equal values.
    pub(crate) fn no_interval_of_equal(&self) -> &'static str {
        self.either(
            "A dash stands in place of the interval where all results are the same: nothing says how far others would vary.",
            "結果がすべて同じでばらつきのわからない平均には、区間の代わりに – を示します。",
        )
    }

    /// Intervals of shares that would go on beyond 0 or 1.
    pub(crate) fn cut_at_bounds(&self) -> &'static str {
        self.either(
            "No share lies outside of 0 to 1, so Student's intervals of their means are cut there; they hold with 95 % as before.",
            "割合は 0 から 1 の範囲にあるため、平均の信頼区間 (t 分布) はその範囲で打ち切っています (95 % のままです)。",
        )
    }

    fn extreme(&self, one: &Extreme) -> String {
        let Extreme { mean, interval, count, .. } = one;
        let interval = interval
            .as_ref()
            .map_or_else(String::new, |interval| format!("{} {interval}, ", self.interval_name()));
        format!("{mean} ({interval}n = {count})")
    }

    /// A value with those that tie with it.
    fn with_ties(&self, one: &Extreme) -> String {
        let label = &one.label;
        match one.ties {
            0 => label.clone(),
            ties => self.either_of(
                || format!("{label} (and {} with the same mean)", counted(ties, "other")),
                || format!("{label} (ほか同じ平均の値 {ties} 個)"),
            ),
        }
    }

    /// The means of the best and the worst of so many values of a parameter, of which some may not be shown.
    pub(crate) fn best_and_worst_value(
        &self,
        (best, worst): (&Extreme, &Extreme),
        (values, some): (usize, bool),
        objective: &str,
    ) -> String {
        let (best_mean, worst_mean) = (self.extreme(best), self.extreme(worst));
        let (best, worst) = (self.with_ties(best), self.with_ties(worst));
        if values == 2 && !some {
            return self.either_of(
                || format!("the mean {objective} is {best_mean} with {best} and {worst_mean} with {worst}."),
                || format!("{objective}の平均は、{best} で {best_mean}、{worst} で {worst_mean} でした。"),
            );
        }
        let of = match some {
            true => self.either_of(
                || format!("of the {values} values shown"),
                || format!("表に示した {values} 個の値"),
            ),
            false => self.either_of(|| format!("of its {values} values"), || format!("{values} 個の値")),
        };
        self.either_of(
            || format!("{of}, {best} has the best mean {objective}, {best_mean}, and {worst} the worst, {worst_mean}."),
            || {
                format!(
                    "{objective}の平均は、{of}のうち {best} で最も良く {best_mean}、{worst} で最も悪く {worst_mean} でした。"
                )
            },
        )
    }

    /// The values of a parameter all come to the same.
    pub(crate) fn all_means_equal(&self, objective: &str, mean: &str) -> String {
        self.either_of(
            || format!("all its values have the same mean {objective}, {mean}."),
            || format!("どの値でも{objective}の平均は {mean} で、差はありませんでした。"),
        )
    }

    /// A single value of a parameter has results.
    pub(crate) fn only_value(&self, one: &Extreme, objective: &str) -> String {
        let (label, mean) = (&one.label, self.extreme(one));
        self.either_of(
            || format!("only {label} has results, with a mean {objective} of {mean}."),
            || format!("結果があるのは {label} だけで、{objective}の平均は {mean} でした。"),
        )
    }

    /// A test of the best value against the worst, over pairs, or over all trainings of both where those are none.
    pub(crate) fn tested_pairs(&self, difference: &str, pairs: u64, p: f64, comparisons: u64) -> String {
        let is_told = p < SIGNIFICANT;
        let p = p_value(p);
        let corrected = match comparisons {
            0 | 1 => String::new(),
            comparisons => self.either_of(
                || format!(", corrected for {comparisons} comparisons"),
                || format!("、{comparisons} 通りの比較に対して補正"),
            ),
        };
        self.either_of(
            || {
                let verdict = if is_told { "significant at the 5 % level" } else { "not separable" };
                let over = match pairs {
                    0 => format!("The mean of the first less that of the second is {difference} (Welch's t-test of their trainings"),
                    pairs => format!(
                        "Over {pairs} pairs that are equal in everything else, the first less the second is {difference} on average (paired t-test"
                    ),
                };
                format!("{over}, {p}{corrected}): {verdict}.")
            },
            || {
                let verdict = if is_told { "5 % 水準で有意な差です" } else { "差があるとは言えません" };
                match pairs {
                    0 => format!("平均の差 (前者 − 後者) は {difference} (学習間のウェルチの t 検定、{p}{corrected}) で、{verdict}。"),
                    pairs => format!(
                        "ほかの条件が等しい {pairs} 組での差 (前者 − 後者) の平均は {difference} (対応のある t 検定、{p}{corrected}) で、{verdict}。"
                    ),
                }
            },
        )
    }

    /// Pairs that no test can be made of.
    pub(crate) fn untested_pairs(&self, difference: &str, pairs: u64) -> String {
        match pairs {
            0 => self.either_of(
                || {
                    format!(
                        "The mean of the first less that of the second is {difference}; no test of their trainings is possible, as one has a single \
                         one, or neither varies."
                    )
                },
                || {
                    format!(
                        "平均の差 (前者 − 後者) は {difference} です。学習が 1 回だけか、どちらにもばらつきがないため、検定できません。"
                    )
                },
            ),
            1 => self.either_of(
                || {
                    format!(
                        "In the only pair that is equal in everything else, the first less the second is {difference}; a test needs more pairs."
                    )
                },
                || format!("ほかの条件が等しい唯一の組での差 (前者 − 後者) は {difference} です。1 組では検定できません。"),
            ),
            _ => self.either_of(
                || {
                    format!(
                        "In all {pairs} pairs that are equal in everything else the difference is the same, {difference}, so that there is nothing to \
                         test it by."
                    )
                },
                || format!("ほかの条件が等しい {pairs} 組すべてで差 (前者 − 後者) が {difference} と同じため、検定できません。"),
            ),
        }
    }

    /// Under the table of differences.
    pub(crate) fn no_pairs_of_trainings(&self) -> &'static str {
        self.either(
            "No seed says which trainings belong together, so that there are no pairs: the intervals and p are those of Welch's t-test of all trainings \
             of both values.",
            "どの学習が組になるかを示すシードがないため、信頼区間と p 値は、両方の値のすべての学習によるウェルチの t 検定のものです。",
        )
    }

    /// There are no pairs; whether the intervals of the best and the worst value overlap, where both have one.
    pub(crate) fn no_pairs(&self, overlap: Option<bool>) -> &'static str {
        match overlap {
            Some(true) => self.either(
                "The two were not compared in pairs, and their intervals overlap: not separable by these.",
                "組にした比較はなく、両者の信頼区間は重なっています。この区間からは差があるとは言えません。",
            ),
            Some(false) => self.either(
                "The two were not compared in pairs; their intervals do not overlap.",
                "組にした比較はありませんが、両者の信頼区間は重なっていません。",
            ),
            None => self.either(
                "The two were not compared in pairs, and have no intervals: nothing says whether chance explains the difference.",
                "組にした比較も信頼区間もないため、差が偶然によるものかどうかはわかりません。",
            ),
        }
    }

    /// How much a parameter matters, and what chance alone would give, where that is known.
    pub(crate) fn matters(
        &self,
        method: Method,
        (share, by_chance): (f64, Option<f64>),
        interval: Option<String>,
    ) -> String {
        let share = percent(share);
        let by_chance = by_chance.map(percent).map_or_else(String::new, |by_chance| {
            self.either_of(
                || format!("; chance alone would give {by_chance} on average"),
                || format!(" (偶然だけでも平均 {by_chance})"),
            )
        });
        let interval =
            interval.map_or_else(String::new, |interval| format!(" ({} {interval})", self.interval_name()));
        match method {
            Method::GridAnova => self.either_of(
                || format!("By itself it explains {share}{interval} of the variance between configurations{by_chance}."),
                || format!("単独で設定間の分散の {share}{interval} を説明します{by_chance}。"),
            ),
            _ => self.either_of(
                || format!("Its importance for being among the best is {share}{interval}."),
                || format!("上位に入るための重要度は {share}{interval} です。"),
            ),
        }
    }

    /// Where trainings diverged: the values with the most of them, and how many are of other values.
    pub(crate) fn diverged_at(&self, all: u64, at: &[(String, u64)], rest: u64) -> String {
        let others = || format!("{}: {rest}", self.either("other values", "ほかの値"));
        let each = at.iter().map(|(label, count)| format!("{label}: {count}"));
        let each = each.chain((rest > 0).then(others)).collect::<Vec<_>>().join(", ");
        self.either_of(
            || format!("{} diverged ({each}), which no mean holds.", counted(all, "training")),
            || format!("{all} 件の学習が発散し ({each})、平均には含まれません。"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_probabilities_are_bounds_and_others_have_three_decimals() {
        let told = [0.000_01, 0.000_23, 0.012_34, 0.049_6, 1.0].map(p_value);
        assert_eq!(told, ["p < 0.0001", "p = 0.0002", "p = 0.012", "p = 0.0496", "p = 1.000"]);
    }
}
