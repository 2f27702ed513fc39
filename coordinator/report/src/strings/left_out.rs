//! What the results do not hold, and what they do not say.

use super::Strings;
use terms::count as counted;

impl Strings {
    /// Jobs that count for nothing, by what became of them.
    pub(crate) fn not_counted_name(&self) -> &'static str {
        self.either("In no mean and no test", "平均にも検定にも含まれないジョブ")
    }

    /// Why those jobs do not count.
    pub(crate) fn not_counted(&self, jobs: u64, states: &str) -> String {
        self.either_of(
            || {
                format!(
                    "{} ({states}), not trained to the end: a value after fewer epochs does not compare",
                    counted(jobs, "job")
                )
            },
            || {
                format!(
                    "{jobs} 件 ({states})。最後まで学習しておらず、少ないエポックでの値は比較できないため"
                )
            },
        )
    }

    pub(crate) fn diverged_name(&self) -> &'static str {
        self.either("Diverged", "発散")
    }

    pub(crate) fn diverged_jobs(&self, jobs: u64) -> String {
        self.either_of(
            || format!("{}, counted at each value of the parameters, in no mean", counted(jobs, "job")),
            || format!("{jobs} 件。パラメーターの値ごとに数えていますが、平均には含まれません"),
        )
    }

    pub(crate) fn without_value_name(&self) -> &'static str {
        self.either("Without a finite objective", "評価指標の値がない")
    }

    pub(crate) fn not_looked_at_name(&self) -> &'static str {
        self.either("Not analysed", "分析していないジョブ")
    }

    /// Jobs that the analysis did not look at.
    pub(crate) fn not_looked_at(&self, jobs: u64) -> String {
        self.either_of(
            || format!("{}: the analysis is of an even choice of all jobs", counted(jobs, "job")),
            || format!("{jobs} 件。全ジョブから均等に選んだものを分析しました"),
        )
    }

    pub(crate) fn not_listed_name(&self) -> &'static str {
        self.either("Not listed here", "表にないジョブ")
    }

    /// Jobs that are only in the files for programs.
    pub(crate) fn not_listed(&self, jobs: u64) -> String {
        self.either_of(
            || format!("{} (results.csv has every job)", counted(jobs, "job")),
            || format!("{jobs} 件 (すべてのジョブは results.csv にあります)"),
        )
    }

    pub(crate) fn effects_not_shown_name(&self) -> &'static str {
        self.either("Parameters without a row in the tables of effects", "影響の表にないパラメーター")
    }

    /// Values of a parameter that are in no row.
    pub(crate) fn values_not_shown_name(&self, parameter: &str) -> String {
        self.either_of(
            || format!("Values of {parameter} without a row in the tables of effects"),
            || format!("影響の表にない{}の値", self.within(parameter)),
        )
    }

    /// Under the table of effects.
    pub(crate) fn values_not_shown(&self, parameter: &str, values: u64) -> String {
        self.either_of(
            || {
                format!(
                    "{parameter}: {} not shown; those with the most configurations are.",
                    counted(values, "more value")
                )
            },
            || format!("{parameter}: ほか {values} 個の値は表示していません (設定の多いものを示します)。"),
        )
    }

    pub(crate) fn pairs_not_shown_name(&self) -> &'static str {
        self.either("Differences that are not listed", "表にない差")
    }

    /// No job has trained an epoch.
    pub(crate) fn nothing_came(&self, jobs: u64, states: &str) -> String {
        let (open, close) = if states.is_empty() { ("", "") } else { (" (", ")") };
        self.either_of(
            || {
                format!(
                    "No job has trained an epoch, so that there is neither a table of results nor a figure: {}{open}{states}{close}. What is known of \
                     the reasons is below.",
                    counted(jobs, "job")
                )
            },
            || {
                format!(
                    "1 エポックも学習したジョブがないため、結果の表と図はありません ({jobs} 件{}{states})。わかっている理由は以下のとおりです。",
                    if states.is_empty() { "" } else { ": " }
                )
            },
        )
    }

    /// Nothing was left out.
    pub(crate) fn nothing_left_out(&self) -> &'static str {
        self.either(
            "Nothing: every job trained to its end and counts.",
            "ありません。すべてのジョブが最後まで学習しました。",
        )
    }

    /// Intervals and tests are each by itself.
    pub(crate) fn each_by_itself(&self) -> &'static str {
        self.either(
            "Intervals and p-values of the tables are each by itself, and those of the discussion are corrected within a parameter alone: of many, some \
             leave out 0 by chance.",
            "表の信頼区間と p 値は個々の比較のもので、考察の p 値の補正も同じパラメーターの中だけのものです。比較が多ければ、偶然 0 を含まない区間も現れます。",
        )
    }

    /// Points that were chosen by earlier results.
    pub(crate) fn points_were_chosen(&self) -> &'static str {
        self.either(
            "The points were chosen by the results of earlier ones, so that values with good results have more of them, and other parameters were not the \
             same for each value: means and intervals by value are not those of points that are spread evenly.",
            "設定は先の結果に基づいて選ばれたため、結果の良い値に偏り、ほかのパラメーターの条件も値ごとに異なります。値ごとの平均と信頼区間は、均等に選んだ設定のものとは異なります。",
        )
    }

    /// Jobs that early stopping ended.
    pub(crate) fn survivors_were_chosen(&self, stopped: u64) -> String {
        self.either_of(
            || {
                format!(
                    "Early stopping ended {}: those that trained to their end were chosen by their results, so that differences among them are likely \
                     smaller than among all.",
                    counted(stopped, "job")
                )
            },
            || {
                format!(
                    "{stopped} 件のジョブは早期に打ち切られました。最後まで学習したジョブは結果に基づいて残されたもので、その間の差は全体より小さくなりやすくなります。"
                )
            },
        )
    }

    /// Results of one training each.
    pub(crate) fn trained_once(&self) -> &'static str {
        self.either(
            "Each configuration was trained once: how far results vary with the seed is not known.",
            "各設定の学習は 1 回のため、シードによる結果のばらつきはわかりません。",
        )
    }

    /// What single parameters leave over.
    pub(crate) fn not_additive(&self, rest: &str) -> String {
        self.either_of(
            || {
                format!(
                    "Single parameters leave {rest} of the variance unexplained: what one value brings depends on the others, or on chance, so that the \
                     means are to be read together with the table of jobs."
                )
            },
            || {
                format!(
                    "分散の {rest} は単独のパラメーターでは説明されません。ある値の効果はほかの値 (または偶然) に左右されるため、平均はジョブの表とあわせて読む必要があります。"
                )
            },
        )
    }

    /// The best is measured by what chose it.
    pub(crate) fn chosen_by_the_same(&self, objective: &str) -> String {
        let objective = self.within(objective);
        self.either_of(
            || {
                format!(
                    "The best was chosen by the same {objective} that measures it, so that its value is more likely too good than too bad; data that \
                     chose nothing would tell."
                )
            },
            || {
                format!(
                    "最良の設定は、評価に用いた{objective}そのもので選んだため、その値は実力より良い側に偏りやすくなります。選択に使っていないデータでの確認が必要です。"
                )
            },
        )
    }

    /// The best configuration, in the conclusion.
    pub(crate) fn best_is(&self, label: &str, objective: &str, value: &str, number: u64) -> String {
        self.either_of(
            || match label {
                "" => format!("The best {objective} is {value}, that of job {number}."),
                label => format!("The best {objective} is {value}, that of job {number} ({label})."),
            },
            || match label {
                "" => format!("最良の{}は {value} (ジョブ {number}) でした。", self.within(objective)),
                label => {
                    format!("最良の{}は {value} (ジョブ {number}: {label}) でした。", self.within(objective))
                }
            },
        )
    }

    /// ` (mean of 3, ± 0.0123)`, after the mean of the best configuration; nothing of a single training.
    pub(crate) fn mean_of(&self, trainings: u32, deviation: &str) -> String {
        if trainings < 2 {
            return String::new();
        }
        self.either_of(
            || format!(" (mean of {trainings}, ± {deviation})"),
            || format!(" ({trainings} 回の平均、± {deviation})"),
        )
    }

    /// Heading of the first job of a configuration.
    pub(crate) fn first_job_name(&self) -> &'static str {
        self.either("First job", "最初のジョブ")
    }

    /// What the table of configurations shows, of which each is planned to have so many trainings, and what goes by jobs.
    pub(crate) fn of_configurations(&self, objective: &str, planned: u64) -> String {
        let objective_within = self.within(objective);
        let complete = match planned {
            0 | 1 => String::new(),
            planned => self.either_of(
                || format!("; those with all {planned} trainings come first"),
                || format!("{planned} 回の学習がそろった設定を先に示します。"),
            ),
        };
        self.either_of(
            || {
                format!(
                    "{objective} over the trainings of each configuration, which differ in their seed alone{complete}. The summary, the verdict on the best \
                     and the conclusion go by these means; the table of jobs, other lists of jobs and `sweep show` go by single trainings."
                )
            },
            || {
                format!(
                    "シードだけが異なる学習を 1 つの設定とした{objective_within}の平均です。{complete}概要、最良の設定の検定、まとめはこの平均によります。ジョブの表や一覧、`sweep show` は 1 回ごとの学習によります。"
                )
            },
        )
    }

    /// The best configuration of several trainings, in the conclusion.
    pub(crate) fn best_mean_is(
        &self,
        label: &str,
        objective: &str,
        (mean, deviation): (&str, &str),
        trainings: u64,
        job: u64,
    ) -> String {
        let colon = if label.is_empty() { "" } else { ": " };
        let objective = self.within(objective);
        self.either_of(
            || {
                format!(
                    "The best mean {objective} is {mean} with a standard deviation of {deviation} over {trainings} trainings, that of the configuration \
                     of job {job}{colon}{label}."
                )
            },
            || {
                format!(
                    "平均が最良の設定はジョブ {job} の設定{colon}{label}で、{objective}は {trainings} 回の平均で {mean} (標準偏差 {deviation}) でした。"
                )
            },
        )
    }

    /// No job is done.
    pub(crate) fn no_conclusion(&self) -> &'static str {
        self.either(
            "No job is done with a value, so that nothing follows.",
            "値のある完了したジョブがないため、結論はありません。",
        )
    }
}
