//! Texts with numbers: singular, plural and word order depend on the language.

use analysis::Level;
use terms::count as counted;

use super::{
    super::figures::{measured, percent, short, short_parameter},
    Strings,
};

/// `is` or `are`, and the like.
fn agreeing(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// The epoch that a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// This one, for every job.
    Epoch(u32),
    /// Each job's last.
    Last,
    /// Each job's best.
    Best,
}

impl Strings {
    pub(crate) fn job_count(&self, count: u64) -> String {
        self.either_of(|| counted(count, "job"), || format!("{count} ジョブ"))
    }

    /// How many jobs are in a state.
    pub(crate) fn in_state(&self, count: u64, state: &str) -> String {
        let state = self.state_name(state);
        self.either_of(|| format!("{count} {state}"), || format!("{state} {count}"))
    }

    /// Says that something belongs to an epoch.
    pub(crate) fn of_epoch(&self, epoch: u32) -> String {
        self.either_of(|| format!("epoch {epoch}"), || format!("エポック{epoch}"))
    }

    /// Time of all jobs, in seconds; with packs, an estimate.
    pub(crate) fn seconds_in_all(&self, seconds: f64, packed: bool) -> String {
        // Small models on a few pictures take milliseconds.
        let is_short = seconds > 0.0 && seconds < 1.0;
        let seconds = if is_short { measured(seconds, 2) } else { format!("{seconds:.1}") };
        match (self.is_japanese(), packed) {
            (false, false) => format!("{seconds} s"),
            (false, true) => {
                format!("about {seconds} s (an estimate, as jobs were trained several at a time)")
            }
            (true, false) => format!("{seconds} 秒"),
            (true, true) => format!("およそ {seconds} 秒 (まとめて学習したジョブがあるため概数)"),
        }
    }

    /// What the columns of the table of points hold.
    pub(crate) fn of_trainings(&self, objective: &str, repeats: u32) -> String {
        self.either_of(
            || {
                format!(
                    "{objective} over the {repeats} trainings of each point, as far as they are done; points with all of them come \
                     first, by their mean. The standard deviation is that of the sample."
                )
            },
            || {
                format!(
                    "各条件の {repeats} 回の学習のうち、完了したものの{}{objective} です。すべて完了した条件を先に、平均の順に示します。標準偏差は標本標準偏差です。",
                    if objective.starts_with(|sign: char| u32::from(sign) < 0x2e80) { " " } else { "" }
                )
            },
        )
    }

    /// The end of a list that is not complete.
    pub(crate) fn more(&self, count: u64) -> String {
        self.either_of(|| format!(", … {count} more"), || format!("、ほか {count} 件"))
    }

    /// What precedes the numbers of jobs.
    pub(crate) fn job_numbers(&self, count: u64) -> &'static str {
        self.either(agreeing(count, "job", "jobs"), "ジョブ")
    }

    /// A job by its number, and by its parameters if some vary.
    pub(crate) fn job_titled(&self, number: u64, label: &str) -> String {
        let colon = if label.is_empty() { "" } else { ": " };
        format!("{} {number}{colon}{label}", self.job)
    }

    /// One job of several at the same position.
    pub(crate) fn and_others(&self, number: u64, others: usize) -> String {
        let others = others as u64;
        self.either_of(
            || format!("{number} and {}", counted(others, "other")),
            || format!("{number} ほか {others} 件"),
        )
    }

    /// A metric's own name within a sentence: Japanese text needs spaces around it.
    pub(crate) fn name_within(&self, name: &str) -> String {
        self.either_of(|| name.to_owned(), || format!(" {name} "))
    }

    /// Heading of a metric's value at the best epoch.
    pub(crate) fn at_best_epoch(&self, name: &str) -> String {
        self.either_of(|| format!("{name} at the best epoch"), || format!("最良エポックの {name}"))
    }

    /// Title of the scatter plot of a metric.
    pub(crate) fn time_and(&self, topic: &str, at: At) -> String {
        let epoch = match (self.is_japanese(), at) {
            (false, At::Epoch(epoch)) => format!("epoch {epoch}"),
            (false, At::Last) => "last epoch".to_owned(),
            (false, At::Best) => "best epoch".to_owned(),
            (true, At::Epoch(epoch)) => format!("エポック{epoch}"),
            (true, At::Last) => "最終エポック".to_owned(),
            (true, At::Best) => "最良エポック".to_owned(),
        };
        self.either_of(
            || format!("Training time and {topic} ({epoch})"),
            || format!("総学習時間と{topic}の関係({epoch})"),
        )
    }

    /// Name of the scatter plot's vertical axis, for a metric with these headings.
    pub(crate) fn metric_axis(&self, heading: &str, at_best: &str, at: At) -> String {
        // A name that is not Japanese needs a space.
        let space = if heading.starts_with(|sign: char| u32::from(sign) < 0x2e80) { " " } else { "" };
        match (self.is_japanese(), at) {
            (_, At::Best) => at_best.to_owned(),
            (false, At::Epoch(epoch)) => format!("{heading} at epoch {epoch}"),
            (false, At::Last) => format!("{heading} at the last epoch"),
            (true, At::Epoch(epoch)) => format!("エポック{epoch}時点の{space}{heading}"),
            (true, At::Last) => format!("最終エポック時点の{space}{heading}"),
        }
    }

    /// An axis's name, with its scale unless that is linear.
    pub(crate) fn on_axis(&self, name: &str, logarithmic: bool) -> String {
        let scale = self.either("logarithmic scale", "対数目盛");
        if logarithmic { format!("{name} ({scale})") } else { name.to_owned() }
    }

    /// Which of all jobs have a learning curve.
    pub(crate) fn best_and_worst(&self, best: usize, worst: usize, all: u64) -> String {
        match (self.is_japanese(), worst) {
            (false, 0) => format!("the best {best} of {}", counted(all, "job")),
            (false, _) => format!("the best {best} and the worst {worst} of {}", counted(all, "job")),
            (true, 0) => format!("全 {all} ジョブのうち上位 {best} 件"),
            (true, _) => format!("全 {all} ジョブのうち上位 {best} 件と下位 {worst} 件"),
        }
    }

    /// What has a learning curve, and how many jobs have none.
    pub(crate) fn shown_and_not(&self, shown: &str, left_out: u64) -> String {
        let are = agreeing(left_out, "is", "are");
        self.either_of(
            || format!("Drawn: {shown}; {} {are} not drawn.", counted(left_out, "job")),
            || format!("{shown}を表示しています。残りの {left_out} 件は表示していません。"),
        )
    }

    /// What colours and dashes of learning curves stand for.
    pub(crate) fn colour_and_dash(&self, colour: &str, dash: Option<&str>) -> String {
        match dash {
            Some(dash) => self.either_of(
                || format!("Colour: {colour}; dashes: {dash}."),
                || format!("色: {colour}、線種: {dash}。"),
            ),
            None => self.either_of(|| format!("Colour: {colour}."), || format!("色: {colour}。")),
        }
    }

    /// Says that lines leave the axis; `largest` is the largest finite value beyond it.
    pub(crate) fn beyond_axis(&self, lines: usize, largest: Option<f64>, is_loss: bool) -> String {
        let lines = lines as u64;
        let (one, many, japanese) =
            if is_loss { ("loss", "losses", "損失") } else { ("value", "values", "値") };
        let values = agreeing(lines, one, many);
        let go = agreeing(lines, "goes", "go");
        let (up_to, most) = match largest.map(short) {
            Some(largest) => (format!(", up to {largest}"), format!(" (最大 {largest})")),
            None => (String::new(), String::new()),
        };
        self.either_of(
            || format!("▲: the {values} of {} {go} beyond the axis{up_to}.", counted(lines, "job")),
            || format!("▲: {lines} 件のジョブの{japanese}が軸の範囲を超えています{most}。"),
        )
    }

    /// Says that lines go to minus infinity.
    pub(crate) fn below_axis(&self, lines: usize) -> String {
        let lines = lines as u64;
        let go = agreeing(lines, "value goes", "values go");
        self.either_of(
            || format!("▼: the {go} to minus infinity in {}.", counted(lines, "job")),
            || format!("▼: {lines} 件のジョブの値が負の無限大になっています。"),
        )
    }

    /// Says that lines have gaps.
    pub(crate) fn not_numbers(&self, lines: usize) -> String {
        let lines = lines as u64;
        let have = agreeing(lines, "has", "have");
        self.either_of(
            || format!("◇: {} {have} epochs with a value that is not a number (NaN).", counted(lines, "job")),
            || format!("◇: {lines} 件のジョブに、値が数値でない (NaN) エポックがあります。"),
        )
    }

    /// Says that not every job is a point.
    pub(crate) fn points_shown(&self, shown: usize, all: u64) -> String {
        self.either_of(
            || {
                format!(
                    "{shown} of {} shown: the best and an even choice of the others.",
                    counted(all, "job")
                )
            },
            || {
                format!(
                    "全 {all} ジョブのうち {shown} 件 (上位と、残りから均等に選んだもの) を表示しています。"
                )
            },
        )
    }

    /// Says that jobs have no point.
    pub(crate) fn without_results(&self, jobs: u64) -> String {
        let (are, have) = (agreeing(jobs, "is", "are"), agreeing(jobs, "has", "have"));
        self.either_of(
            || {
                format!(
                    "{} {are} not drawn, as {} {have} no epoch.",
                    counted(jobs, "job"),
                    agreeing(jobs, "it", "they")
                )
            },
            || format!("エポックの記録がない {jobs} 件のジョブは表示していません。"),
        )
    }

    /// Says that jobs have no point because they have no value.
    pub(crate) fn without_values(&self, jobs: u64, metric: &str) -> String {
        let (are, have) = (agreeing(jobs, "is", "are"), agreeing(jobs, "has", "have"));
        let it = agreeing(jobs, "it", "they");
        self.either_of(
            || {
                format!(
                    "{} {are} not drawn, as {it} {have} no finite value of {metric}.",
                    counted(jobs, "job")
                )
            },
            || format!("「{metric}」の有限な値がない {jobs} 件のジョブは表示していません。"),
        )
    }

    /// The columns that do not fit into a table.
    pub(crate) fn more_columns(&self, columns: usize) -> String {
        let columns = columns as u64;
        self.either_of(
            || format!("{} (results.csv has all)", counted(columns, "more column")),
            || format!("ほかの {columns} 列 (すべての列は results.csv にあります)"),
        )
    }

    /// Says that a table lists only its first rows.
    pub(crate) fn first_rows_only(&self, rows: usize) -> String {
        let rows = rows as u64;
        self.either_of(
            || format!("Only the first {} are listed here; results.csv has every job.", counted(rows, "row")),
            || format!("ここには最初の {rows} 行だけを示します。すべてのジョブは results.csv にあります。"),
        )
    }

    /// Says that points have no label, although they are among the best.
    pub(crate) fn unlabelled(&self, points: usize) -> String {
        let points = points as u64;
        let have = agreeing(points, "has", "have");
        self.either_of(
            || {
                format!(
                    "{} {have} no label: the best have one, as far as there is room.",
                    counted(points, "point")
                )
            },
            || {
                format!(
                    "{points} 個の点にはラベルがありません。ラベルがあるのは、余白のある範囲で上位の点だけです。"
                )
            },
        )
    }

    /// Says that the pixels show one character in place of some others.
    pub(crate) fn missing_signs(&self, sign: char) -> String {
        self.either_of(
            || {
                format!(
                    "{sign} in the PNG stands for a character that its font does not have; the SVG has it."
                )
            },
            || format!("PNG 内の {sign} は、フォントにない文字の代わりです。SVG には元の文字があります。"),
        )
    }

    /// A value of a parameter, or a range of values, in little room.
    pub(crate) fn level(&self, level: &Level) -> String {
        let range = level.range.map(|range| match range.from == range.to {
            true => short(range.from),
            false => format!("{} \u{2013} {}", short(range.from), short(range.to)),
        });
        match &level.value {
            _ if level.absent => self.either("not set", "設定なし").to_owned(),
            Some(value) => short_parameter(value),
            None => range.unwrap_or_default(),
        }
    }

    /// The importance of a parameter, next to its name.
    pub(crate) fn importance_of(&self, share: f64) -> String {
        self.either_of(|| format!("importance {}", percent(share)), || format!("重要度 {}", percent(share)))
    }

    /// How many configurations a mean is of, and how many trainings diverged.
    pub(crate) fn points_and_diverged(&self, points: u64, diverged: u64) -> String {
        let diverged = match diverged {
            0 => String::new(),
            diverged => self.either_of(|| format!(", {diverged} diverged"), || format!("、発散 {diverged}")),
        };
        format!("n = {points}{diverged}")
    }

    /// Says that not every parameter is drawn.
    pub(crate) fn effects_left_out(&self, parameters: usize) -> String {
        let parameters = parameters as u64;
        let are = agreeing(parameters, "is", "are");
        self.either_of(
            || format!("{} {are} not drawn.", counted(parameters, "more parameter")),
            || format!("ほか {parameters} 個のパラメーターは表示していません。"),
        )
    }

    pub(super) fn either_of(
        &self,
        english: impl FnOnce() -> String,
        japanese: impl FnOnce() -> String,
    ) -> String {
        if self.is_japanese() { japanese() } else { english() }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Language, strings::Strings};

    #[test]
    fn numbers_are_written_as_people_say_them() {
        let strings = Strings::of(Language::English);
        for (text, expected) in [
            (strings.job_count(1), "1 job"),
            (strings.job_count(2), "2 jobs"),
            (strings.seconds_in_all(4536.0, false), "4536.0 s"),
            (strings.seconds_in_all(0.0123, false), "0.0123 s"),
            (strings.seconds_in_all(0.0, false), "0.0 s"),
            (strings.and_others(3, 1), "3 and 1 other"),
            (strings.and_others(3, 4), "3 and 4 others"),
            (strings.without_results(1), "1 job is not drawn, as it has no epoch."),
            (strings.without_results(2), "2 jobs are not drawn, as they have no epoch."),
            (strings.shown_and_not("x", 1), "Drawn: x; 1 job is not drawn."),
            (
                strings.beyond_axis(1, Some(3.2e14), true),
                "▲: the loss of 1 job goes beyond the axis, up to 3.2e14.",
            ),
            (strings.beyond_axis(2, None, false), "▲: the values of 2 jobs go beyond the axis."),
            (strings.without_values(1, "f1"), "1 job is not drawn, as it has no finite value of f1."),
            (strings.more_columns(1), "1 more column (results.csv has all)"),
        ] {
            assert_eq!(text, expected);
        }
    }
}
