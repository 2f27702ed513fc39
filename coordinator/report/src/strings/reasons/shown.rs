//! What the page says of sweeps, jobs and workers beside the reasons of jobs, in both languages. `{each}` in Japanese stands for what is said
//! of one worker after the other.

use super::known::Forms;

/// Why jobs of a sweep wait.
pub(super) const WAITING: Forms = &[
    ("no worker is connected", "接続中のワーカーがありません"),
    ("every connected worker is leaving: {}", "接続中のワーカーはすべて終了処理中です: {each}"),
    ("paused; `sweep resume {}` continues it", "一時停止中です。`sweep resume {}` で再開します"),
    ("1 job runs, which is all that max_parallel allows", "1 件のジョブが実行中です (max_parallel の上限)"),
    ("{} jobs run, which is all that max_parallel allows", "{} 件のジョブが実行中です (max_parallel の上限)"),
    (
        "the jobs of {} hold 1 slot of a quota of {}, {} more are kept for jobs with several GPUs, and a job takes {} at once",
        "{} のジョブが 1 スロットを使用中です (割り当ての上限は {} スロット、ほかに {} スロットを複数の GPU を使うジョブのために確保、1 件のジョブは同時に \
         {} スロットを使います)",
    ),
    (
        "the jobs of {} hold 1 slot of a quota of {}, and {} more are kept for jobs with several GPUs",
        "{} のジョブが 1 スロットを使用中です (割り当ての上限は {} スロット、ほかに {} スロットを複数の GPU を使うジョブのために確保)",
    ),
    (
        "the jobs of {} hold 1 slot of a quota of {}, and a job takes {} at once",
        "{} のジョブが 1 スロットを使用中です (割り当ての上限は {} スロット、1 件のジョブは同時に {} スロットを使います)",
    ),
    (
        "the jobs of {} hold 1 slot of a quota of {}",
        "{} のジョブが 1 スロットを使用中です (割り当ての上限は {} スロット)",
    ),
    (
        "the jobs of {} hold {} slots of a quota of {}, {} more are kept for jobs with several GPUs, and a job takes {} at once",
        "{} のジョブが {} スロットを使用中です (割り当ての上限は {} スロット、ほかに {} スロットを複数の GPU を使うジョブのために確保、1 件のジョブは同時に \
         {} スロットを使います)",
    ),
    (
        "the jobs of {} hold {} slots of a quota of {}, and {} more are kept for jobs with several GPUs",
        "{} のジョブが {} スロットを使用中です (割り当ての上限は {} スロット、ほかに {} スロットを複数の GPU を使うジョブのために確保)",
    ),
    (
        "the jobs of {} hold {} slots of a quota of {}, and a job takes {} at once",
        "{} のジョブが {} スロットを使用中です (割り当ての上限は {} スロット、1 件のジョブは同時に {} スロットを使います)",
    ),
    (
        "the jobs of {} hold {} slots of a quota of {}",
        "{} のジョブが {} スロットを使用中です (割り当ての上限は {} スロット)",
    ),
    ("every worker is quarantined: {}", "すべてのワーカーが隔離されています: {each}"),
    (
        "no connected worker has the model {}, version {}: {}",
        "接続中のワーカーにモデル {}、バージョン {} がありません: {each}",
    ),
    ("no worker can train this sweep: {}", "このスイープを学習できるワーカーがありません: {each}"),
    (
        "the data set is not available; workers try again until it is: {}",
        "データセットが利用できません。利用できるようになるまでワーカーが再試行します: {each}",
    ),
    (
        "1 job waits for points of the searcher outside, which `sweep search {}` connects",
        "1 件のジョブが外部の探索プログラムからのポイントを待っています (`sweep search {}` で接続します)",
    ),
    (
        "{} jobs wait for points of the searcher outside, which `sweep search {}` connects",
        "{} 件のジョブが外部の探索プログラムからのポイントを待っています (`sweep search {}` で接続します)",
    ),
    (
        "the slots that are free are kept for sweep {}, whose next job takes {} GPUs at once",
        "空きスロットは、次のジョブが同時に {1} GPU を使うスイープ {0} のために確保されています",
    ),
    (
        "every slot is busy with other sweeps of the workers that can train this sweep: {}",
        "このスイープを学習できるワーカーのスロットは、すべてほかのスイープで使用中です: {each}",
    ),
    (
        "every slot is busy of the workers that can train this sweep: {}",
        "このスイープを学習できるワーカーのスロットは、すべて使用中です: {each}",
    ),
    ("every slot is busy with other sweeps", "すべてのスロットがほかのスイープで使用中です"),
    ("every slot is busy", "すべてのスロットが使用中です"),
    ("every GPU is busy", "すべての GPU が使用中です"),
    (
        "every GPU is busy, or runs as many jobs of this sweep as `per_gpu: {}` allows",
        "すべての GPU が使用中か、このスイープのジョブが `per_gpu: {}` の上限まで実行されています",
    ),
    (
        "no worker has {} free GPUs; those that become free are kept until the next job can have {} at once",
        "{} 個の空き GPU を持つワーカーがありません。次のジョブが同時に {} 個使えるようになるまで、空いた GPU を確保します",
    ),
];

/// What is said of one worker.
pub(super) const OF_WORKERS: Forms = &[
    ("it takes no more jobs", "新しいジョブを受け付けません"),
    ("it has refused this sweep", "このスイープを拒否しました"),
    (
        "it cannot pause jobs, which early stopping asks for; update it",
        "早期打ち切りに必要な、ジョブの一時停止ができません。ワーカーを更新してください",
    ),
    (
        "it runs no programs, which it would with `sweep-worker start --allow-commands`",
        "プログラムを実行しません。`sweep-worker start --allow-commands` で起動すると実行します",
    ),
    (
        "its {} lacks what the sweep's has; update its trainer",
        "ワーカーの {} には、スイープのモデルにあるものがありません。トレーナーを更新してください",
    ),
    ("it trains no models", "モデルを学習しません"),
    ("it has no GPU", "GPU がありません"),
    (
        "its version gives each job one slot; update it",
        "このバージョンは各ジョブに 1 スロットしか割り当てません。ワーカーを更新してください",
    ),
    ("it has 1 GPU, and a job takes {}", "GPU は 1 個ですが、ジョブは {} 個使います"),
    ("it has {} GPUs, and a job takes {}", "GPU は {} 個ですが、ジョブは {} 個使います"),
    ("it has {}", "{} があります"),
    ("drained on request", "要求により退出"),
    (
        "the token by which it joined was revoked; it has to join again with another",
        "参加に使ったトークンが取り消されました。別のトークンで参加し直す必要があります",
    ),
    ("its token was revoked; it needs another", "トークンが取り消されました。別のトークンが必要です"),
    (
        "quarantined: it sent {} invalid reports, the last one: {}; restart it with the coordinator's version",
        "隔離中: 不正な報告を {} 件送りました (最後は {})。コーディネーターと同じバージョンで起動し直してください",
    ),
    (
        "quarantined: jobs {} crashed here and nowhere else, the last one with: {}; fix the worker and restart it",
        "隔離中: ジョブ {} がこのワーカーでのみ異常終了しました (最後は {})。原因を取り除いて起動し直してください",
    ),
];

/// Why a job has its point.
pub(super) const PROPOSALS: Forms = &[
    ("the sweep file includes this point", "スイープのファイルに含まれるポイントです"),
    (
        "drawn at random, as too few jobs had ended to learn from ({})",
        "終了したジョブがまだ少ないため、無作為に選びました ({} 件)",
    ),
    (
        "drawn at random among the points that were left, after {} results",
        "{} 件の結果の後、残りのポイントから無作為に選びました",
    ),
    (
        "drawn at random among the points that were left, after 1 result",
        "1 件の結果の後、残りのポイントから無作為に選びました",
    ),
    (
        "by the searcher outside, which had seen 1 result",
        "外部の探索プログラムが、1 件の結果を受けて選びました",
    ),
    (
        "by the searcher outside, which had seen {} results",
        "外部の探索プログラムが、{} 件の結果を受けて選びました",
    ),
    (
        "drawn near job {}, and of all candidates the one most like the best {} jobs and least like the others and the {} that ran, \
         after {} results (log ratio {})",
        "ジョブ {} の近くで選びました。候補のうち、上位 {} 件に最も近く、ほかのジョブと実行中の {} 件から最も遠いものです \
         ({} 件の結果の後、対数比 {})",
    ),
    (
        "drawn anywhere in the space, and of all candidates the one most like the best {} jobs and least like the others and the {} \
         that ran, after {} results (log ratio {})",
        "空間全体から選びました。候補のうち、上位 {} 件に最も近く、ほかのジョブと実行中の {} 件から最も遠いものです \
         ({} 件の結果の後、対数比 {})",
    ),
];

/// Which weights are kept.
pub(super) const WEIGHTS: Forms = &[
    (
        "of job {} (the best single training) kept; `sweep artifact get {}`; {} on their way",
        "ジョブ {} (最良の単独の学習) の分を保存済み (`sweep artifact get {}`)、{} 件は転送待ち",
    ),
    (
        "of job {} (the best single training) kept; `sweep artifact get {}`",
        "ジョブ {} (最良の単独の学習) の分を保存済み (`sweep artifact get {}`)",
    ),
    (
        "of job {} kept; `sweep artifact get {}`; {} on their way",
        "ジョブ {} の分を保存済み (`sweep artifact get {}`)、{} 件は転送待ち",
    ),
    ("of job {} kept; `sweep artifact get {}`", "ジョブ {} の分を保存済み (`sweep artifact get {}`)"),
    ("{} on their way", "{} 件は転送待ち"),
];

/// Why files that jobs wrote are not kept, or are lost.
pub(super) const OUTPUTS: Forms = &[
    ("links are not followed", "リンクはたどりません"),
    ("it is neither a file nor a folder", "ファイルでもフォルダーでもありません"),
    ("the name is not UTF-8", "名前が UTF-8 ではありません"),
    ("the path: {}", "パス: {}"),
    ("the folder cannot be read: {}", "フォルダーを読み込めません: {}"),
    ("it cannot be read: {}", "読み込めません: {}"),
    ("there are more than {} files and folders", "ファイルとフォルダーが {} 個を超えています"),
    ("there are more than {}", "{} 個を超えています"),
    ("all of them would have more than {} GiB", "合計で {} GiB を超えます"),
    ("the file was corrupted on the worker's disk", "ワーカーのディスク上でファイルが壊れました"),
];

/// How the programs of users end.
pub(super) const PROGRAMS: Forms = &[
    ("the program ended with exit status {}: {}", "プログラムが終了コード {} で終了しました: {}"),
    ("the program ended with exit status {}", "プログラムが終了コード {} で終了しました"),
    ("the program was killed by {}: {}", "プログラムが {} により強制終了されました: {}"),
    ("the program was killed by {}", "プログラムが {} により強制終了されました"),
    ("the program's end could not be observed", "プログラムの終了を確認できませんでした"),
    (
        "the program ended well, but reported no metrics; have it call sweep.report(epoch, loss=…), or name metrics.pattern or \
         metrics.csv in the sweep file",
        "プログラムは正常に終了しましたが、指標を報告しませんでした。sweep.report(epoch, loss=…) を呼ぶか、スイープのファイルで \
         metrics.pattern か metrics.csv を指定してください",
    ),
    (
        "the program ended well, but reported no metrics; no line that it printed matches metrics.pattern",
        "プログラムは正常に終了しましたが、指標を報告しませんでした。metrics.pattern に一致する行が出力されていません",
    ),
    (
        "the program ended well, but reported no metrics; it wrote no row of metrics to {} (metrics.csv)",
        "プログラムは正常に終了しましたが、指標を報告しませんでした。{} (metrics.csv) に指標の行が書かれていません",
    ),
    (
        "the program ended well, but reported no metrics; no line that it printed matches metrics.pattern, and it wrote no row to {} \
         (metrics.csv)",
        "プログラムは正常に終了しましたが、指標を報告しませんでした。metrics.pattern に一致する行が出力されず、{} (metrics.csv) に行も\
         書かれていません",
    ),
    (
        "the program ended well, but never reported the sweep's metric, {}; it reported {}",
        "プログラムは正常に終了しましたが、スイープの指標 {} を報告しませんでした (報告した指標: {})",
    ),
    (
        "the program reported more than {} epochs; have it report less often",
        "プログラムが {} より多くのエポックを報告しました。報告の頻度を下げてください",
    ),
    (
        "the checkpoint is ahead of the reported epochs; the job goes on from an earlier one, so that no epoch is missing",
        "チェックポイントが報告済みのエポックより先に進んでいます。エポックが欠けないよう、前のチェックポイントから続行します",
    ),
];
