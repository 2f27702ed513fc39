//! What a report says of its question, its method and how to do it again.

use terms::{Goal, MetricUse, count as counted};

use super::Strings;

impl Strings {
    /// What the sweep asks.
    pub(crate) fn question(&self, parameters: &[String], objective: &str, goal: Goal) -> String {
        let most = match goal {
            Goal::Maximize => self.either("largest", "大きく"),
            Goal::Minimize => self.either("smallest", "小さく"),
        };
        let names = self.listed(parameters);
        let (names_within, objective_within) = (self.within(&names), self.within(objective));
        match parameters {
            [] => self.either_of(
                || format!("Which {objective} does this configuration reach?"),
                || format!("この設定で得られる{objective_within}を調べます。"),
            ),
            _ => self.either_of(
                || format!("Which values of {names} give the {most} {objective}?"),
                || {
                    format!(
                        "{}のどの値で{objective_within}が最も{most}なるかを調べます。",
                        names_within.trim_start()
                    )
                },
            ),
        }
    }

    /// How many parameters are not listed.
    pub(crate) fn more_parameters(&self, parameters: usize) -> String {
        let parameters = parameters as u64;
        self.either_of(
            || counted(parameters, "more parameter"),
            || format!("ほか {parameters} 個のパラメーター"),
        )
    }

    /// What was varied, before a list.
    pub(crate) fn varied(&self, jobs: u64) -> String {
        self.either_of(
            || format!("{} with these values:", counted(jobs, "job")),
            || format!("次の値を用いた {jobs} ジョブ:"),
        )
    }

    /// The values of a parameter; of more than are listed the range, where they are numbers.
    pub(crate) fn values(&self, listed: &[String], more: bool, range: Option<(String, String)>) -> String {
        match (more, range) {
            (false, _) => listed.join(", "),
            (true, Some((low, high))) => self.either_of(
                || format!("{low} to {high} (more than {} values)", listed.len()),
                || format!("{low}〜{high} ({} 個を超える値)", listed.len()),
            ),
            (true, None) => format!("{}, …", listed.join(", ")),
        }
    }

    pub(crate) fn objective_name(&self) -> &'static str {
        self.either("Objective", "評価指標")
    }

    /// What ranks the jobs.
    pub(crate) fn objective_and_use(&self, objective: &str, goal: Goal, used: MetricUse) -> String {
        let way = match goal {
            Goal::Maximize => self.either("larger is better", "大きいほど良い"),
            Goal::Minimize => self.either("smaller is better", "小さいほど良い"),
        };
        let epoch = match used {
            MetricUse::Last => self.either("the last epoch of each job counts", "各ジョブの最終エポックの値"),
            MetricUse::Best => self.either("the best epoch of each job counts", "各ジョブの最良エポックの値"),
        };
        self.either_of(|| format!("{objective}: {way}; {epoch}"), || format!("{objective} ({way}、{epoch})"))
    }

    pub(crate) fn trained_name(&self, is_program: bool) -> &'static str {
        match is_program {
            true => self.either("Program", "プログラム"),
            false => self.either("Model", "モデル"),
        }
    }

    /// A built-in model.
    pub(crate) fn model(&self, name: &str, version: u32, meaning: &str) -> String {
        self.either_of(
            || format!("{name} (version {version}): {meaning}"),
            || format!("{name} (バージョン {version}): {meaning}"),
        )
    }

    pub(crate) fn search_name(&self) -> &'static str {
        self.either("Search", "探索方法")
    }

    /// How the points were chosen.
    pub(crate) fn search(&self, method: &str, seed: Option<u64>) -> String {
        let [english, japanese] = match method {
            "grid" => ["grid: the combinations of the listed values", "グリッド (値の組み合わせ)"],
            "random" => ["random: points drawn from the space", "ランダム"],
            "sobol" => ["a Sobol sequence, which covers the space evenly", "Sobol 列 (空間を均等に覆う)"],
            "tpe" => ["TPE: points proposed from earlier results", "TPE (先の結果から次の設定を選ぶ)"],
            "external" => ["points given by a searcher outside", "外部の探索プログラムによる"],
            other => [other, other],
        };
        let seed = seed.map_or_else(String::new, |seed| format!(" (search_seed {seed})"));
        format!("{}{seed}", self.either(english, japanese))
    }

    pub(crate) fn early_name(&self) -> &'static str {
        self.either("Early stopping", "早期打ち切り")
    }

    pub(crate) fn image_size_name(&self) -> &'static str {
        self.either("Image size", "画像サイズ")
    }

    /// How the images for validation were chosen.
    pub(crate) fn split(&self, fraction: f64, seed: Option<u64>) -> String {
        let seed = seed.map_or_else(String::new, |seed| format!(", split_seed {seed}"));
        self.either_of(
            || format!("a share of the images (val_fraction {fraction}{seed}), the same for every job"),
            || format!("画像の一部 (val_fraction {fraction}{seed})。すべてのジョブで同じ"),
        )
    }

    pub(crate) fn epochs_name(&self) -> &'static str {
        self.either("Epochs", "エポック数")
    }

    /// How many epochs the jobs that are done trained, and all jobs together.
    pub(crate) fn epochs(&self, of_done: Option<(u32, u32)>, in_all: u64) -> String {
        match of_done {
            None => self.either_of(|| format!("{in_all} in all"), || format!("合計 {in_all}")),
            Some((fewest, most)) if fewest == most => self.either_of(
                || format!("{fewest} in each job that is done, {in_all} in all"),
                || format!("完了した各ジョブで {fewest}、合計 {in_all}"),
            ),
            Some((fewest, most)) => self.either_of(
                || format!("{fewest} to {most} in the jobs that are done, {in_all} in all"),
                || format!("完了したジョブで {fewest}〜{most}、合計 {in_all}"),
            ),
        }
    }

    pub(crate) fn repeats_name(&self) -> &'static str {
        self.either("Repeats", "繰り返し")
    }

    /// How often each configuration is to be trained, and what came of that.
    pub(crate) fn repeats(&self, planned: u64, trainings: u64, configurations: u64) -> String {
        let planned = match planned {
            0 | 1 => self.either("once", "1 回").to_owned(),
            planned => self.either_of(|| format!("{planned} times"), || format!("{planned} 回")),
        };
        self.either_of(
            || {
                format!(
                    "planned: each point {planned}; with a value: {} of {}",
                    counted(trainings, "training"),
                    counted(configurations, "configuration")
                )
            },
            || format!("計画は各点 {planned}。値のある学習は {configurations} 通りの設定、{trainings} 件"),
        )
    }

    pub(crate) fn fixed_name(&self) -> &'static str {
        self.either("Same for all jobs", "全ジョブ共通の値")
    }

    pub(crate) fn times_name(&self) -> &'static str {
        self.either("Times", "時間の測り方")
    }

    /// How times were measured.
    pub(crate) fn times(&self, is_program: bool) -> &'static str {
        match is_program {
            false => self.either(
                "the time of a job is the sum of its epochs' training loops by the trainer's clock; validation, preparing the data set and \
                 waiting are not in it",
                "ジョブの学習時間は、各エポックの学習ループの時間の合計です (検証、データセットの準備、待ち時間は含みません)",
            ),
            true => self.either(
                "the time of a job is the sum of its epochs' times; its worker measures each from one report of the program to the next, so that \
                 validation and whatever else the program does is in it",
                "ジョブの学習時間は、各エポックの時間の合計です。プログラムの報告から次の報告までをワーカーが測った時間で、検証などの処理も含みます",
            ),
        }
    }

    pub(crate) fn workers_name(&self) -> &'static str {
        self.either("Workers", "ワーカー")
    }

    /// How many workers trained.
    pub(crate) fn workers(&self, workers: usize, more: bool) -> String {
        let workers = workers as u64;
        match (workers, more) {
            (_, true) => {
                self.either_of(|| format!("more than {workers}"), || format!("{workers} 台を超えるワーカー"))
            }
            (0 | 1, _) => self.either_of(|| workers.to_string(), || format!("{workers} 台")),
            _ => self.either_of(
                || format!("{workers}; times of different machines do not compare"),
                || format!("{workers} 台 (異なるマシンの時間は比較できません)"),
            ),
        }
    }

    pub(crate) fn devices_name(&self) -> &'static str {
        self.either("Devices", "デバイス")
    }

    /// Devices beyond those that are told apart.
    pub(crate) fn other_devices_name(&self) -> &'static str {
        self.either("others", "その他")
    }

    /// How many jobs trained on a device, as each worker names its own.
    pub(crate) fn on_device(&self, device: &str, jobs: u64) -> String {
        self.either_of(|| format!("{device} ({})", counted(jobs, "job")), || format!("{device} ({jobs} 件)"))
    }

    /// How to do it again.
    pub(crate) fn save_and_run(&self, file: &str) -> String {
        self.either_of(
            || format!("Save the sweep file below as {file} and run, where its paths lead to the same data:"),
            || format!("下のスイープのファイルを {file} に保存し、そのパスに同じデータがあるマシンで次を実行します:"),
        )
    }

    /// The files that a program needs, by the hash that the record has.
    pub(crate) fn files_of_program(&self, files: &[String], hash: &str) -> String {
        let names = files.join(", ");
        self.either_of(
            || {
                format!(
                    "Next to the file lie the program's own ({names}); the record knows those that ran by the hash {hash}."
                )
            },
            || format!("同じフォルダーにプログラムのファイル ({names}) を置きます。実行されたファイルの記録上のハッシュ: {hash}"),
        )
    }

    /// A searcher outside is needed, too.
    pub(crate) fn needs_searcher(&self) -> &'static str {
        self.either(
            "The points came from a searcher outside, which has to be connected again (sweep search).",
            "設定は外部の探索プログラムが選んだものです。再現するには同じプログラムを接続してください (sweep search)。",
        )
    }

    /// Says that the sweep was extended.
    pub(crate) fn extended(&self, files: usize) -> String {
        let files = files as u64;
        self.either_of(
            || {
                format!(
                    "The sweep was extended by {}: each part below, between lines of ---, is one; run them in this order with the same \
                     --output.",
                    counted(files, "more file")
                )
            },
            || {
                format!(
                    "このスイープは {files} 個のファイルで拡張されました。--- で区切られた各部分を、同じ --output で順に実行してください。"
                )
            },
        )
    }

    /// A model of one's own needs its trainer.
    pub(crate) fn needs_trainer(&self, model: &str) -> String {
        self.either_of(
            || format!("COMMAND starts the trainer that knows the model {model}; the record does not hold it."),
            || format!("COMMAND には、モデル {model} を学習するトレーナーの起動コマンドを書きます (記録には含まれません)。"),
        )
    }

    /// What is the same when it is done again.
    pub(crate) fn what_is_the_same(&self) -> &'static str {
        self.either(
            "The same file gives the same jobs, split, initial weights and order of batches on any number of workers. On a CPU the metrics of a \
             built-in model are the same to the bit, on a GPU up to the order of additions; times differ.",
            "同じファイルからは、ワーカーの数によらず同じジョブ、分割、初期重み、バッチの順序が得られます。組み込みモデルの値は CPU ではビット単位で一致し、GPU では加算順序の差の範囲で一致します。時間は変わります。",
        )
    }

    /// The same of programs.
    pub(crate) fn what_a_program_decides(&self) -> &'static str {
        self.either(
            "The same file gives the same jobs; whether their numbers are the same is a matter of the program.",
            "同じファイルからは同じジョブが得られます。値が一致するかどうかはプログラムによります。",
        )
    }
}
