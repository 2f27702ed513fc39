//! The reasons in both languages, as forms with holes: `{}` in order, or in Japanese `{1}` by position.

pub(super) type Forms = &'static [(&'static str, &'static str)];

/// Reasons around another reason.
pub(super) const WRAPPED: Forms = &[
    (
        "{}; charged to the job, as it was lost with {} workers ({}) and may be what ends them",
        "{}。{} 台のワーカー ({}) で失われたため、ジョブが原因とみなしました",
    ),
    (
        "{}; tried again, as the sweep's data set has another path by now",
        "{}。スイープのデータセットのパスが変わったため再試行",
    ),
    (
        "{}; the process of its trainer is still there after SIGKILL, as where a disk or share does not answer; slot {} is out of \
         use until it has ended",
        "{}。SIGKILL 後もトレーナーのプロセスが残っています (ディスクや共有フォルダーが応答していない可能性があります)。終了するまでスロット {} \
         は使用できません",
    ),
    (
        "{}; not tried again: it would fail in the same way",
        "{}。再試行しても同じように失敗するため、再試行しません",
    ),
    (
        "{}; not tried again: it failed in the same way twice",
        "{}。同じように 2 回失敗したため、再試行しません",
    ),
    (
        "{}; it is given to a worker with more memory than {}",
        "{}。{} より多くのメモリーを持つワーカーに渡します",
    ),
    (
        "{}; no other worker that takes its jobs has more memory",
        "{}。このジョブを実行できるほかのワーカーに、より多くのメモリーを持つものはありません",
    ),
    (
        "{}; it left no checkpoint, so it trains again from its first epoch if it goes on",
        "{}。チェックポイントがないため、再開すると最初のエポックから学習し直します",
    ),
    ("no worker that is connected has the data set: {}", "接続中のワーカーにデータセットがありません: {}"),
    ("{}, in a pack of {} jobs", "{} ({} ジョブをまとめて学習中)"),
    ("the worker is shutting down, and {}", "ワーカーの終了処理中: {}"),
    (
        "the worker is shutting down; its trainer gave up: {}",
        "ワーカーの終了処理中にトレーナーが学習を中止しました: {}",
    ),
    (
        "the data set file was truncated or its disk went away: {}",
        "データセットのファイルが切り詰められたか、そのディスクが失われました: {}",
    ),
    (
        "the coordinator could not keep what the worker said of it: {}",
        "ワーカーからの報告をコーディネーターが保存できませんでした: {}",
    ),
    (
        "memory ran out for {} jobs that trained as one pack: {}",
        "まとめて学習した {} ジョブでメモリーが不足しました: {}",
    ),
];

/// How a trainer ended, at some place.
pub(super) const EXITS: Forms = &[
    ("the trainer was killed by {} {place}", "<place>トレーナーが {} により強制終了されました"),
    ("the trainer ended with exit status {} {place}", "<place>トレーナーが終了コード {} で終了しました"),
    ("the trainer ended ({}) {place}", "<place>トレーナーが終了しました ({})"),
    (
        "the trainer's end could not be observed ({}) {place}",
        "<place>トレーナーの終了を確認できませんでした ({})",
    ),
    ("the trainer {} cannot be started ({}) {place}", "<place>トレーナー {} を起動できませんでした ({})"),
    (
        "the worker killed the trainer, which did not stop {} when asked to, {place}",
        "<place>ワーカーが、停止要求 ({}) に応じないトレーナーを強制終了しました",
    ),
    ("the worker killed the trainer {place}", "<place>ワーカーがトレーナーを強制終了しました"),
];

/// What else happened at some place.
pub(super) const PLACED: Forms = &[
    (
        "the trainer said nothing for {} {place}, as if it stood still (--trainer-silence)",
        "<place>トレーナーから {} 応答がありませんでした (--trainer-silence)",
    ),
    (
        "the trainer said nothing for {} {place}, as where a disk or share does not answer (--trainer-silence)",
        "<place>トレーナーから {} 応答がありませんでした。ディスクや共有フォルダーが応答していない可能性があります (--trainer-silence)",
    ),
    ("exceeded job_timeout of {} {place}", "<place> job_timeout ({}) を超えました"),
];

/// Where a job was.
pub(super) const PLACES: Forms = &[
    ("in epoch {}: training took {}, validating and the rest {}", "エポック {} (学習 {}、検証など {}) で"),
    (
        "while validating epoch {}: training took {}, validating and the rest {}",
        "エポック {} の検証中 (学習 {}、検証など {}) に",
    ),
    ("in epoch {}", "エポック {} で"),
    ("while it prepared the data set ({} % done, {})", "データセットの準備中 ({} % 完了、{}) に"),
    ("while it prepared the data set ({} % done)", "データセットの準備中 ({} % 完了) に"),
    ("while it prepared the data set ({})", "データセットの準備中 ({}) に"),
    ("while it prepared the data set", "データセットの準備中に"),
    ("before it was ready", "準備が完了する前に"),
    ("before it read its job", "ジョブを受け取る前に"),
];

/// Reasons that hold no other one, and what a trainer does to a data set.
pub(super) const KNOWN: Forms = &[
    ("it had no job for {} (--exit-when-idle)", "{} の間ジョブがありませんでした (--exit-when-idle)"),
    (
        "paused after epoch {}: the best of the jobs there go on ({} so far, of which {} may)",
        "エポック {} の後で一時停止しました。そこまで学習したジョブのうち上位のものを再開します (これまで {} 件、うち {} 件)",
    ),
    (
        "paused after epoch {} until all jobs have come there; the best of them goes on",
        "エポック {} の後で一時停止しました。すべてのジョブがそこまで学習した後、最良のものを再開します",
    ),
    (
        "paused after epoch {} until all jobs have come there; the best {} of them go on",
        "エポック {} の後で一時停止しました。すべてのジョブがそこまで学習した後、上位 {} 件を再開します",
    ),
    (
        "paused after epoch {} until it is among the best there; when it paused, {} of {} could go on",
        "エポック {} の後で一時停止しました。そこまで学習したジョブの上位に入れば再開します (一時停止の時点では {2} 件中 {1} 件)",
    ),
    (
        "promoted after epoch {}: it is the first job there",
        "エポック {} の後で再開されました。そこまで学習した最初のジョブです",
    ),
    (
        "promoted after epoch {}: it is the best of {} jobs there",
        "エポック {} の後で再開されました。そこまで学習した {} ジョブのうち最良のものです",
    ),
    (
        "stopped after epoch {}: too few jobs have come there for any to go on",
        "エポック {} の後で停止しました。続行できるジョブを選ぶには、そこまで学習したジョブが少なすぎます",
    ),
    (
        "stopped after epoch {}: it is not the best of {} jobs there",
        "エポック {} の後で停止しました。そこまで学習した {} ジョブのうち最良のものではありません",
    ),
    (
        "promoted after epoch {}: it is among the best {} of {} jobs there",
        "エポック {} の後で再開されました。そこまで学習した {2} ジョブの上位 {1} 件以内です",
    ),
    (
        "promoted after epoch {}: it is the best of the paused jobs, and no job of the sweep is done",
        "エポック {} の後で再開されました。完了したジョブがなく、一時停止中のジョブのうち最良のものです",
    ),
    (
        "stopped after epoch {}: it is not among the best {} of {} jobs there",
        "エポック {} の後で停止しました。そこまで学習した {2} ジョブの上位 {1} 件以内ではありません",
    ),
    (
        "stopped after epoch {}: it has no value to compare",
        "エポック {} の後で停止しました。指標の値がありません",
    ),
    (
        "stopped after epoch {}: its best value {} is worse than {}, the median of the jobs that are done",
        "エポック {} の後で停止しました。最良の値は {}、完了したジョブのメディアンは {} です",
    ),
    ("the worker is shutting down", "ワーカーが終了処理中です"),
    ("stopped on request: it ends with this attempt", "要求により停止 (実行中の試行で終了)"),
    ("stopped on request", "要求により停止"),
    ("cancelled on request", "要求により取り消し"),
    ("tried again on request", "要求により再試行"),
    (
        "attempt {} is not counted as lost: worker {} lives",
        "試行 {} は失われたものとして数えません (ワーカー {} は稼働中)",
    ),
    (
        "tried again, as the sweep's data set had another path by the time it began",
        "開始時にスイープのデータセットのパスが変わっていたため再試行",
    ),
    (
        "never started; the sweep was stopped or cancelled",
        "開始されませんでした (スイープが停止または取り消されました)",
    ),
    ("the sweep was stopped", "スイープが停止されました"),
    (
        "job {} paused without a checkpoint; where it goes on, it trains again from its first epoch",
        "ジョブ {} がチェックポイントなしで一時停止しました。再開すると最初のエポックから学習し直します",
    ),
    (
        "job {} paused without a checkpoint, so from then on jobs are stopped at rungs where they would have paused",
        "ジョブ {} がチェックポイントなしで一時停止したため、以後のジョブは一時停止せずに停止します",
    ),
    ("job {} reached the target of {} with {} = {}", "ジョブ {} が目標値 {} に達しました ({} = {})"),
    (
        "the sweep was stopped, as job {} reached the target of {} with {} = {}",
        "ジョブ {} が目標値 {} に達したため ({} = {})、スイープが停止されました",
    ),
    (
        "the sweep was stopped, as job {} reached its target with a value of {}",
        "ジョブ {} が目標値に達したため (値 {})、スイープが停止されました",
    ),
    ("the sweep was cancelled", "スイープが取り消されました"),
    ("not proposed yet", "ポイントはまだ提案されていません"),
    ("no point of the space is left", "これ以上のポイントがありません"),
    ("the searcher outside has no other points", "外部のプログラムにこれ以上のポイントがありません"),
    ("the lease is lost", "リースが失われました"),
    ("revoked by the coordinator", "コーディネーターにより取り下げられました"),
    (
        "worker {} was silent for longer than its lease",
        "ワーカー {} からリース期間内に応答がありませんでした",
    ),
    ("worker {} came back before it began", "ワーカー {} がこのジョブの開始前に再接続しました"),
    (
        "worker {} went away with it, and another process came in its place; if both live, give each worker its own --name",
        "ワーカー {} がこのジョブとともに切断され、別のプロセスが同じ名前で接続しました。両方が動作している場合は、ワーカーごとに別の --name \
         を指定してください",
    ),
    ("worker {} came back without it", "ワーカー {} がこのジョブを持たずに再接続しました"),
    (
        "the worker has another data set at this path (content {}) than the sweep began with (content {}); make them the same",
        "このパスにあるワーカーのデータセット (内容 {}) が、スイープ開始時のもの (内容 {}) と異なります。同じものにしてください",
    ),
    (
        "the worker sent epoch {} after epoch {} of {}",
        "ワーカーがエポック {2} 中 {1} の次に {0} を送りました",
    ),
    (
        "the worker sent an impossible epoch {}: loss {}, accuracy {}, {} s",
        "ワーカーがありえないエポック {} を送りました: 損失 {}、精度 {}、{} 秒",
    ),
    (
        "the trainer reported an impossible epoch: epoch {} took {} s: expected 0 to {}",
        "トレーナーがありえないエポックを報告しました: エポック {} の時間が {} 秒です (0～{} 秒のはずです)",
    ),
    (
        "the trainer reported an impossible epoch: epoch 0: epochs count from 1",
        "トレーナーがありえないエポックを報告しました: エポック番号が 0 です (1 から数えます)",
    ),
    (
        "the worker sent an impossible epoch: epoch {} took {} s: expected 0 to {}",
        "ワーカーがありえないエポックを送りました: エポック {} の時間が {} 秒です (0～{} 秒のはずです)",
    ),
    (
        "the worker sent an impossible epoch: epoch 0: epochs count from 1",
        "ワーカーがありえないエポックを送りました: エポック番号が 0 です (1 から数えます)",
    ),
    (
        "the worker sent an impossible data set: its content hash is none",
        "ワーカーがありえないデータセットを送りました: 内容のハッシュが正しくありません",
    ),
    (
        "the worker sent an impossible data set: of {} images",
        "ワーカーがありえないデータセットを送りました: 画像数 {}",
    ),
    (
        "the worker sent an event that this coordinator does not know",
        "ワーカーが、このコーディネーターにとって未知のイベントを送りました",
    ),
    ("the coordinator's grant names no data set", "コーディネーターの割り当てにデータセットがありません"),
    (
        "the parameter {} is {}; it must be a finite number",
        "パラメーター {} が {} です。有限の数でなければなりません",
    ),
    (
        "the worker takes no new jobs, it is about to leave",
        "ワーカーはまもなく終了するため、新しいジョブを受け付けません",
    ),
    ("the worker has no slot {}, it has {}", "ワーカーにスロット {} はありません (スロット数 {})"),
    ("slot {} is busy with another attempt", "スロット {} は別の試行を実行中です"),
    (
        "the process of its trainer is still there after SIGKILL, as where a disk or share does not answer; slot {} is out of use \
         until it has ended",
        "SIGKILL 後もトレーナーのプロセスが残っています (ディスクや共有フォルダーが応答していない可能性があります)。終了するまでスロット {} \
         は使用できません",
    ),
    (
        "the grant holds jobs with different data sets",
        "データセットの異なるジョブがまとめて割り当てられました",
    ),
    (
        "the trainer said that it was done after {} of 1 epoch",
        "トレーナーが 1 エポック中 {} で完了と報告しました",
    ),
    (
        "the trainer paused after {} of 1 epoch",
        "トレーナーが 1 エポックではなく {} エポックで一時停止しました",
    ),
    (
        "the trainer said that it was done after {} of {} epochs",
        "トレーナーが {1} エポック中 {0} で完了と報告しました",
    ),
    (
        "the trainer paused after {} of {} epochs",
        "トレーナーが {1} エポックではなく {0} エポックで一時停止しました",
    ),
    (
        "the trainer paused a job that trains to its end",
        "トレーナーが、最後まで学習するジョブを一時停止しました",
    ),
    (
        "the trainer paused after epoch {}, not after epoch {}",
        "トレーナーがエポック {1} ではなくエポック {0} の後で一時停止しました",
    ),
    ("the trainer paused without being asked to", "トレーナーが要求なしに一時停止しました"),
    (
        "the trainer said that it is done after epoch {} of {}",
        "トレーナーが {1} エポック中 {0} で完了と報告しました",
    ),
    (
        "the training loss was not finite any more in epoch {}",
        "エポック {} で学習損失が有限の値ではなくなりました",
    ),
    ("exceeded job_timeout of {}", "job_timeout ({}) を超えました"),
    ("the trainer stopped without being asked to", "トレーナーが要求なしに停止しました"),
    ("the trainer was not ready within {} s", "トレーナーが {} 秒以内に準備できませんでした"),
    (
        "the trainer closed its standard output, on which it is to answer",
        "トレーナーが、応答に使う標準出力を閉じました",
    ),
    ("the trainer wrote a line of more than {} bytes", "トレーナーが {} バイトを超える行を出力しました"),
    (
        "the trainer wrote a line that is not of the trainer protocol: {} ({})",
        "トレーナーがプロトコルにない行を出力しました: {} ({})",
    ),
    (
        "the trainer reported epoch {} before it said that training started",
        "トレーナーが学習の開始を報告する前にエポック {} を報告しました",
    ),
    (
        "the trainer reported epoch {} after epoch {}",
        "トレーナーがエポック {1} の次にエポック {0} を報告しました",
    ),
    (
        "the trainer reported epoch {} of a training of {}",
        "トレーナーが、全 {1} エポックの学習でエポック {0} を報告しました",
    ),
    (
        "the trainer reported a loss of {} in epoch {}; it must be finite",
        "トレーナーがエポック {1} の学習損失として {0} を報告しました。有限の値でなければなりません",
    ),
    (
        "the trainer reported a validation accuracy of {} in epoch {}; it must be in [0, 1]",
        "トレーナーがエポック {1} の検証精度として {0} を報告しました。0 以上 1 以下でなければなりません",
    ),
    (
        "the trainer reported a training accuracy of {} in epoch {}; it must be in [0, 1]",
        "トレーナーがエポック {1} の学習精度として {0} を報告しました。0 以上 1 以下でなければなりません",
    ),
    (
        "the trainer reported a time of {} s for epoch {}; it must be 0 or more, and at most a year",
        "トレーナーがエポック {1} の時間として {0} 秒を報告しました。0 以上 1 年以下でなければなりません",
    ),
    (
        "the trainer reported a time of {} s for epoch {}; it must be 0 or more",
        "トレーナーがエポック {1} の時間として {0} 秒を報告しました。0 以上でなければなりません",
    ),
    ("the trainer spoke before it said that it is ready", "トレーナーが準備完了を報告する前に発言しました"),
    ("the trainer spoke while it had no job: {}", "ジョブのないトレーナーが発言しました: {}"),
    (
        "the trainer spoke of the job {} while it trained {}",
        "トレーナーが、{1} の学習中にジョブ {0} について報告しました",
    ),
    ("the trainer said twice that training started", "トレーナーが学習の開始を二度報告しました"),
    (
        "the worker runs no programs; start it with --allow-commands",
        "ワーカーはプログラムを実行しません。--allow-commands を付けて起動してください",
    ),
    (
        "the coordinator's grant names neither a data set nor a program",
        "コーディネーターの割り当てにデータセットもプログラムもありません",
    ),
    (
        "the coordinator's grant names neither a model nor a program",
        "コーディネーターの割り当てにモデルもプログラムもありません",
    ),
    (
        "the coordinator's grant names no proper snapshot of files",
        "コーディネーターの割り当てにあるファイルのスナップショット名が正しくありません",
    ),
    (
        "this worker knows no style of arguments called {}; update it",
        "このワーカーは引数の形式 {} に対応していません。ワーカーを更新してください",
    ),
    ("the trainer said twice that it is ready", "トレーナーが準備完了を二度報告しました"),
    (
        "the trainer speaks revision {} of the trainer protocol, this worker revisions {} to {}; use a trainer of this worker's version",
        "トレーナーのプロトコルの版は {}、このワーカーの版は {} から {} です。ワーカーと同じ版のトレーナーを使ってください",
    ),
    (
        "the trainer speaks revision {} of the trainer protocol, this worker revision {}; use a trainer of this worker's version",
        "トレーナーのプロトコルはリビジョン {}、このワーカーはリビジョン {} です。ワーカーと同じバージョンのトレーナーを使用してください",
    ),
    ("listing its files, {} so far", "ファイルを列挙しています ({} 件)"),
    ("looking for changes, {} files so far", "変更を確認しています ({} 件)"),
    ("reading its pictures, {} so far", "画像を読み込んでいます ({} 件)"),
    ("checking its images, {} MiB so far", "画像を検査しています ({} MiB)"),
    ("packing its pictures, {} so far", "画像をまとめています ({} 件)"),
    ("waiting for another process that prepares it", "準備中の別のプロセスを待っています"),
    ("copying it to the device, {} MiB so far", "デバイスへコピーしています ({} MiB)"),
];
