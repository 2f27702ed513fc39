//! Every text of a report, in English and in Japanese: fixed texts here, those with numbers in `sentences`, the reasons
//! that the system itself gives in `reasons`.

mod document;
mod english;
mod findings;
mod interactions;
mod japanese;
mod left_out;
mod method;
mod models;
mod reasons;
mod sentences;
mod verdict;

pub use self::findings::p_value;
pub(super) use self::{
    document::Title,
    findings::Extreme,
    models::{InLabel, ModelTexts},
    sentences::At,
};
use self::{english::ENGLISH, japanese::JAPANESE};
use super::Language;

/// The texts of one language.
#[derive(Debug)]
pub(super) struct Strings {
    language: Language,
    /// Value of the `lang` attribute.
    pub(super) code: &'static str,
    pub(super) report_of: &'static str,
    pub(super) summary: &'static str,
    pub(super) results: &'static str,
    pub(super) dataset: &'static str,
    pub(super) jobs: &'static str,
    pub(super) best: &'static str,
    pub(super) none_done: &'static str,
    pub(super) weights: &'static str,
    pub(super) training_time_in_all: &'static str,
    pub(super) classes: &'static str,
    pub(super) training_images: &'static str,
    pub(super) validation_images: &'static str,
    pub(super) content_hash: &'static str,
    pub(super) left_out: &'static str,
    pub(super) not_used: &'static str,
    pub(super) validation_from: &'static str,
    pub(super) held_out: &'static str,
    pub(super) failures: &'static str,
    pub(super) no_reason: &'static str,
    pub(super) various_reasons: &'static str,
    pub(super) other_reasons: &'static str,
    pub(super) job: &'static str,
    pub(super) state: &'static str,
    pub(super) reason: &'static str,
    pub(super) train_seconds: &'static str,
    pub(super) train_seconds_axis: &'static str,
    pub(super) best_epoch: &'static str,
    pub(super) epoch: &'static str,
    pub(super) learning_curves: &'static str,
    pub(super) effects_title: &'static str,
    pub(super) intervals_beyond: &'static str,
    pub(super) best_jobs: &'static str,
    pub(super) worst_jobs: &'static str,
    pub(super) unfinished_are_last: &'static str,
    pub(super) beyond: &'static str,
    pub(super) not_a_number: &'static str,
    pub(super) other_values: &'static str,
    pub(super) numbers_are_jobs: &'static str,
    pub(super) scroll_hint: &'static str,
    pub(super) no_results: &'static str,
    pub(super) best_rows_only: &'static str,
    pub(super) metrics_left_out: &'static str,
    pub(super) unread_parameters: &'static str,
    /// Why the sweep was stopped.
    pub(super) stopped: &'static str,
    /// Why its jobs cannot pause.
    pub(super) pauses: &'static str,
    pub(super) best_training: &'static str,
    pub(super) points: &'static str,
    pub(super) point: &'static str,
    pub(super) jobs_of_point: &'static str,
    pub(super) trainings_done: &'static str,
    pub(super) mean: &'static str,
    pub(super) deviation: &'static str,
    pub(super) smallest: &'static str,
    pub(super) largest: &'static str,
    pub(super) best_points_only: &'static str,
    pub(super) pack_size: &'static str,
    pub(super) packs: &'static str,
    pub(super) other_files: &'static str,
}

impl Strings {
    /// The texts of `language`.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Japanese => &JAPANESE,
        }
    }

    fn is_japanese(&self) -> bool {
        self.language == Language::Japanese
    }

    /// The text of this report's language.
    fn either<T>(&self, english: T, japanese: T) -> T {
        if self.is_japanese() { japanese } else { english }
    }

    /// Why files of a data set are not used.
    pub(super) fn left_out_reason<'a>(&self, reason: &'a str) -> &'a str {
        let [english, japanese] = match reason {
            "other_format" => ["files that are not read", "読み込まない形式のファイル"],
            "hidden" => ["hidden files and folders", "隠しファイル・隠しフォルダー"],
            "system" => ["left by operating systems and storage boxes", "OS や NAS が作成したもの"],
            "dangling_link" => ["links that lead nowhere", "リンク先のないリンク"],
            "link_loop" => ["links that lead in a circle", "循環するリンク"],
            "archive_link" => ["links in the archive", "アーカイブ内のリンク"],
            "special" => ["neither files nor folders", "ファイルでもフォルダーでもないもの"],
            "too_deep" => ["files or folders that lie too deep", "深すぎるファイルやフォルダー"],
            "loose" => ["pictures next to the class folders", "クラスフォルダーの外の画像"],
            "test_folder" => ["pictures of the test folder", "テスト用フォルダーの画像"],
            "other_folder" => ["pictures of other folders", "ほかのフォルダーの画像"],
            other => [other, other],
        };
        self.either(english, japanese)
    }

    /// A job's state, as people read it.
    pub(super) fn state_name<'a>(&self, state: &'a str) -> &'a str {
        let japanese = match state {
            "pending" => "待機中",
            "running" => "実行中",
            "paused" => "一時停止",
            "done" => "完了",
            "diverged" => "発散",
            "stopped" => "打ち切り",
            "failed" => "失敗",
            "cancelled" => "取り消し",
            other => other,
        };
        self.either(state, japanese)
    }

    pub(super) fn language(&self) -> Language {
        self.language
    }
}
