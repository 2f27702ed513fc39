//! Every text of a report, in English and in Japanese; the Japanese ones are those of the original report where it
//! has them.

use super::Language;

/// The texts of one language.
#[derive(Debug)]
pub(super) struct Words {
    /// Value of the `lang` attribute.
    pub(super) code: &'static str,
    pub(super) report_of: &'static str,
    pub(super) summary: &'static str,
    pub(super) results: &'static str,
    pub(super) figures: &'static str,
    pub(super) specification: &'static str,
    pub(super) dataset: &'static str,
    pub(super) jobs: &'static str,
    pub(super) best: &'static str,
    pub(super) none_yet: &'static str,
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
    pub(super) more: &'static str,
    pub(super) job: &'static str,
    pub(super) state: &'static str,
    pub(super) reason: &'static str,
    pub(super) train_seconds: &'static str,
    pub(super) train_seconds_axis: &'static str,
    pub(super) val_accuracy: &'static str,
    pub(super) train_loss: &'static str,
    pub(super) val_loss: &'static str,
    pub(super) train_accuracy: &'static str,
    pub(super) best_epoch: &'static str,
    pub(super) best_val_accuracy: &'static str,
    pub(super) epoch: &'static str,
    pub(super) learning_curves: &'static str,
    pub(super) no_results: &'static str,
    pub(super) best_rows_only: &'static str,
    pub(super) pack_size: &'static str,
    pub(super) packs: &'static str,
    pub(super) other_files: &'static str,
    activation: &'static str,
    learning_rate: &'static str,
    batch_size: &'static str,
    epochs: &'static str,
    seed: &'static str,
    precision: &'static str,
}

const ENGLISH: Words = Words {
    code: "en",
    report_of: "Sweep report",
    summary: "Summary",
    results: "Results",
    figures: "Figures",
    specification: "Specification",
    dataset: "Data set",
    jobs: "Jobs",
    best: "Best",
    none_yet: "no finished job yet",
    weights: "Weights",
    training_time_in_all: "Training time in all",
    classes: "classes",
    training_images: "training images",
    validation_images: "validation images",
    content_hash: "Content hash",
    left_out: "Images left out because they cannot be decoded",
    not_used: "Not used",
    validation_from: "Validation set",
    held_out: "a share of the images (val_fraction)",
    more: "more",
    job: "Job",
    state: "State",
    reason: "Reason",
    train_seconds: "Total training time (s)",
    train_seconds_axis: "Total training time [s]",
    val_accuracy: "Validation accuracy",
    train_loss: "Training loss",
    val_loss: "Validation loss",
    train_accuracy: "Training accuracy",
    best_epoch: "Best epoch",
    best_val_accuracy: "Accuracy at the best epoch",
    epoch: "Epoch",
    learning_curves: "Learning curves",
    no_results: "no results yet",
    best_rows_only: "Only the best rows are shown; results.csv has every job.",
    pack_size: "Jobs at a time",
    packs: "Jobs were trained several at a time: the training time of such a job is that of all of them together. In the sum \
            it counts once.",
    other_files: "Also in this folder: results.csv (a row a job), epochs.csv (a row an epoch), results.json, figures/.",
    activation: "Activation",
    learning_rate: "Learning rate",
    batch_size: "Batch size",
    epochs: "Epochs",
    seed: "Seed",
    precision: "Precision",
};

const JAPANESE: Words = Words {
    code: "ja",
    report_of: "スイープのレポート",
    summary: "概要",
    results: "結果",
    figures: "図",
    specification: "スイープの定義",
    dataset: "データセット",
    jobs: "ジョブ数",
    best: "最良",
    none_yet: "終了したジョブはまだありません",
    weights: "学習モデル",
    training_time_in_all: "学習時間の合計",
    classes: "クラス",
    training_images: "学習画像",
    validation_images: "検証画像",
    content_hash: "内容のハッシュ",
    left_out: "読み込めないため除外した画像",
    not_used: "使用しなかったもの",
    validation_from: "検証データ",
    held_out: "画像の一部 (val_fraction)",
    more: "件は省略",
    job: "ジョブ",
    state: "状態",
    reason: "理由",
    train_seconds: "総学習時間(秒)",
    train_seconds_axis: "総学習時間 [秒]",
    val_accuracy: "検証精度",
    train_loss: "学習損失",
    val_loss: "検証損失",
    train_accuracy: "学習精度",
    best_epoch: "最良エポック",
    best_val_accuracy: "最良エポックの検証精度",
    epoch: "エポック",
    learning_curves: "学習曲線",
    no_results: "結果はまだありません",
    pack_size: "まとめたジョブ数",
    packs: "いくつかのジョブをまとめて学習しました。その学習時間は、まとめたジョブすべてにかかった時間です。合計ではひとつとして数えます。",
    best_rows_only: "上位の行だけを示します。すべてのジョブは results.csv にあります。",
    other_files: "このフォルダーのほかのファイル: results.csv (ジョブごと), epochs.csv (エポックごと), results.json, figures/.",
    activation: "活性化関数",
    learning_rate: "学習率",
    batch_size: "バッチサイズ",
    epochs: "エポック数",
    seed: "シード",
    precision: "precision",
};

impl Words {
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
            "too_deep" => ["folders that lie too deep", "深すぎるフォルダー"],
            "loose" => ["pictures next to the class folders", "クラスフォルダーの外の画像"],
            "test_folder" => ["pictures of the test folder", "テスト用フォルダーの画像"],
            "other_folder" => ["pictures of other folders", "ほかのフォルダーの画像"],
            other => [other, other],
        };
        if self.code == "ja" { japanese } else { english }
    }

    /// The texts of `language`.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Japanese => &JAPANESE,
        }
    }

    fn is_japanese(&self) -> bool {
        self.code == JAPANESE.code
    }

    /// A metric's heading.
    pub(super) fn metric(&self, name: &str) -> &'static str {
        match name {
            "train_loss" => self.train_loss,
            "val_loss" => self.val_loss,
            "train_accuracy" => self.train_accuracy,
            _ => self.val_accuracy,
        }
    }

    /// That something is of an epoch.
    pub(super) fn of_epoch(&self, epoch: u32) -> String {
        if self.is_japanese() { format!("エポック{epoch}") } else { format!("epoch {epoch}") }
    }

    /// A parameter's heading; its own name where there is no better.
    pub(super) fn parameter<'a>(&'a self, name: &'a str) -> &'a str {
        match name {
            "activation" => self.activation,
            "learning_rate" => self.learning_rate,
            "batch_size" => self.batch_size,
            "epochs" => self.epochs,
            "seed" => self.seed,
            "precision" => self.precision,
            other => other,
        }
    }

    /// Title of the scatter plot; `epochs` where all its jobs have as many.
    pub(super) fn time_and_accuracy(&self, epochs: Option<u32>) -> String {
        match (self.is_japanese(), epochs) {
            (false, Some(epochs)) => format!("Training time and accuracy (epoch {epochs})"),
            (false, None) => "Training time and accuracy (last epoch)".to_owned(),
            (true, Some(epochs)) => format!("総学習時間と精度の関係(エポック{epochs})"),
            (true, None) => "総学習時間と精度の関係(最終エポック)".to_owned(),
        }
    }

    /// Label of the scatter plot's vertical axis.
    pub(super) fn accuracy_axis(&self, epochs: Option<u32>) -> String {
        match (self.is_japanese(), epochs) {
            (false, Some(epochs)) => format!("Validation accuracy at epoch {epochs}"),
            (false, None) => "Validation accuracy at the last epoch".to_owned(),
            (true, Some(epochs)) => format!("エポック{epochs}時点の検証精度"),
            (true, None) => "最終エポック時点の検証精度".to_owned(),
        }
    }

    /// What a figure says where it does not show every job.
    pub(super) fn shown_of(&self, shown: usize, all: u64) -> String {
        if self.is_japanese() {
            format!("{all} ジョブのうち {shown} 件を表示")
        } else {
            format!("{shown} of {all} jobs shown")
        }
    }
}
