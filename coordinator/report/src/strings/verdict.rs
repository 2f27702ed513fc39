//! Whether the best configuration can be told from the runner-up, in sentences.

use analysis::{NotTested, Test};
use terms::count as counted;

use super::{Strings, findings::p_value};

impl Strings {
    /// The best configuration and its runner-up are told apart, or are not.
    pub(crate) fn verdict(
        &self,
        (best, second): (u64, u64),
        difference: &str,
        how: &str,
        separable: bool,
    ) -> String {
        match separable {
            true => self.either_of(
                || {
                    format!(
                        "The configuration of job {best} is better than the runner-up, that of job {second}, by {difference} ({how})."
                    )
                },
                || {
                    format!(
                        "ジョブ {best} の設定は、次点であるジョブ {second} の設定より優れています (差 {difference}、{how})。"
                    )
                },
            ),
            false => self.either_of(
                || {
                    format!(
                        "The configuration of job {best} and the runner-up, that of job {second}, are not separable: they differ by {difference} \
                         ({how})."
                    )
                },
                || {
                    format!(
                        "ジョブ {best} の設定と次点であるジョブ {second} の設定に差があるとは言えません (差 {difference}、{how})。"
                    )
                },
            ),
        }
    }

    /// The trained models of the best and of its runner-up are told apart, each trained once; whether that is all that was planned.
    pub(crate) fn models_differ(
        &self,
        (best, second): (u64, u64),
        difference: &str,
        how: &str,
        planned_once: bool,
    ) -> String {
        let advice = match planned_once {
            true => self.either(
                "; `repeats: 3` in the sweep file trains each three times",
                "スイープのファイルに `repeats: 3` と書くと 3 回ずつ学習します。",
            ),
            false => "",
        };
        self.either_of(
            || {
                format!(
                    "On these validation images the trained model of job {best} does better than that of the runner-up, job {second}, by \
                     {difference} ({how}). Whether its configuration is the better one cannot be said from one training of each{advice}."
                )
            },
            || {
                format!(
                    "この検証画像では、ジョブ {best} の学習済みモデルのほうが、次点であるジョブ {second} のモデルより優れています (差 {difference}、{how})。学習が 1 回ずつのため、設定として優れているかどうかはわかりません。{advice}"
                )
            },
        )
    }

    /// How many other models that of the best cannot be told from.
    pub(crate) fn other_models_not_told(&self, best: u64, others: u64) -> String {
        self.either_of(
            || {
                format!(
                    "In all, the model of job {best} cannot be said to do better than {} by the same interval, each by itself.",
                    counted(others, "other model")
                )
            },
            || format!("同じ区間で、ジョブ {best} のモデルより劣ると言えないモデルは、全部で {others} 個です。"),
        )
    }

    /// The test of the best against the runner-up: its interval, its p-value.
    pub(crate) fn tested_by(
        &self,
        test: Test,
        interval: &str,
        p: Option<f64>,
        freedom: Option<f64>,
    ) -> String {
        let p = p.map_or_else(String::new, |p| format!(", {}", p_value(p)));
        let test = match (test, freedom) {
            (Test::Welch, Some(freedom)) => self.either_of(
                || format!("Welch's t-test with {freedom:.1} degrees of freedom"),
                || format!("ウェルチの t 検定、自由度 {freedom:.1}"),
            ),
            (Test::Welch, None) => self.either("Welch's t-test", "ウェルチの t 検定").to_owned(),
            (Test::Newcombe, _) => self
                .either(
                    "Newcombe's interval of two shares of the validation images, which holds nothing of what another seed would change",
                    "検証画像の割合の差に対する Newcombe の区間。シードによる違いは含まれない",
                )
                .to_owned(),
        };
        self.either_of(
            || format!("95 % interval {interval}{p}; {test}"),
            || format!("95 % 信頼区間 {interval}{p}、{test}"),
        )
    }

    /// The runner-up has the better mean, of fewer trainings than planned; the difference, and how it was tested, where it was.
    pub(crate) fn runner_up_leads(
        &self,
        (best, second): (u64, u64),
        (trainings, planned): (u64, u64),
        tested: Option<(&str, &str)>,
    ) -> String {
        let differ = tested.map_or_else(String::new, |(difference, how)| {
            self.either_of(
                || format!(": they differ by {difference} ({how})"),
                || format!(" (差 {difference}、{how})"),
            )
        });
        self.either_of(
            || {
                format!(
                    "The runner-up, the configuration of job {second}, has the better mean, but {trainings} of {planned} trainings, and so comes \
                     after that of job {best}, which has them all{differ}."
                )
            },
            || {
                format!(
                    "平均は次点であるジョブ {second} の設定のほうが優れていますが、値のある学習が {planned} 回のうち {trainings} 回のため、すべてそろったジョブ {best} の設定を最良としています{differ}。"
                )
            },
        )
    }

    /// How many other configurations the best is not better than.
    pub(crate) fn others_not_told(&self, others: u64) -> String {
        self.either_of(
            || {
                format!(
                    "In all, the best cannot be said to be better than {} by the same test, each by itself.",
                    counted(others, "configuration")
                )
            },
            || format!("同じ検定で最良より劣ると言えない設定は、全部で {others} 通りです。"),
        )
    }

    /// Why the best was not tested: it and the runner-up, each with its trainings that have a value, of so many that each is planned to have.
    pub(crate) fn not_tested(
        &self,
        why: NotTested,
        (best, best_trainings): (u64, u64),
        (second, second_trainings): (u64, u64),
        planned: u64,
    ) -> String {
        match why {
            NotTested::OnlyOne => self.either_of(
                || format!("No test was possible: the configuration of job {best} is the only one with a value."),
                || format!("値があるのはジョブ {best} の設定だけのため、検定できません。"),
            ),
            NotTested::NoRepeats if (best_trainings, second_trainings, planned) == (1, 1, 1) => self.either_of(
                || {
                    format!(
                        "No test was possible: the configurations of job {best} and of the runner-up, job {second}, were trained once each, and \
                         nothing says how far trainings vary. They are not separable by these results; `repeats: 3` in the sweep file trains each \
                         three times."
                    )
                },
                || {
                    format!(
                        "ジョブ {best} と次点のジョブ {second} の設定は 1 回ずつしか学習していないため、検定できません。この結果からは差があるとは言えません。スイープのファイルに `repeats: 3` と書くと 3 回ずつ学習します。"
                    )
                },
            ),
            NotTested::NoRepeats => self.either_of(
                || {
                    format!(
                        "No test was possible: of the configuration of job {best}, {} a value, and of the runner-up, that of job {second}, \
                         {second_trainings}; a test needs at least two of each. They are not separable by these results.",
                        has(best_trainings)
                    )
                },
                || {
                    format!(
                        "値のある学習は、ジョブ {best} の設定が {best_trainings} 回、次点のジョブ {second} の設定が {second_trainings} 回です。検定にはそれぞれ 2 回以上必要なため、この結果からは差があるとは言えません。"
                    )
                },
            ),
            NotTested::NoVariation => self.either_of(
                || {
                    format!(
                        "No test was possible: the trainings of the configurations of job {best} and of the runner-up, job {second}, each came out the \
                         same, so that nothing says how far trainings vary."
                    )
                },
                || {
                    format!(
                        "ジョブ {best} と次点のジョブ {second} の設定は、それぞれの学習結果がすべて同じでばらつきがないため、検定できません。"
                    )
                },
            ),
        }
    }

    /// Why there is no verdict on the best.
    pub(crate) fn no_verdict(&self, is_too_large: bool) -> &'static str {
        match is_too_large {
            true => self.either(
                "Whether the best can be told from the runner-up was not tested: there are too many jobs to look at all of them.",
                "ジョブが多くすべてを分析していないため、最良と次点の差は検定していません。",
            ),
            false => self.either(
                "There is nothing to compare: no job has a value.",
                "値のあるジョブがないため、比較できません。",
            ),
        }
    }
}

/// So many trainings, with their verb.
fn has(trainings: u64) -> String {
    format!("{} {}", counted(trainings, "training"), if trainings == 1 { "has" } else { "have" })
}
