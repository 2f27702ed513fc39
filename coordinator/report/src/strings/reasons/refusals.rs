//! Why the coordinator refuses what is asked on its page, in both languages. `{state}` stands for each of the states in turn.

use super::known::Forms;

/// The states in which a sweep has ended, or is about to.
const STATES: Forms =
    &[("finished", "終了"), ("stopped", "停止"), ("cancelled", "取り消し"), ("stopping", "停止処理中")];

/// What depends on a sweep's state.
const OF_STATES: Forms = &[
    (
        "sweep {} is {state}, so that its jobs go on together or not at all: try the whole sweep again, its cancelled jobs too (JSON API: \
         POST /api/v1/sweeps/{}/retry with the body {})",
        "スイープ {0} は「{state}」のため、ジョブを個別には再試行できません。取り消されたジョブも含めてスイープ全体を再試行してください \
         (JSON API: POST /api/v1/sweeps/{1}/retry に本文 {2} を送信)",
    ),
    (
        "sweep {} is {state} already: no more of its jobs begin, so that nothing of it can be paused, resumed or stopped; `sweep show {}` \
         shows what it has",
        "スイープ {0} は既に「{state}」のため、新しいジョブは始まりません。一時停止、再開、停止はできません (`sweep show {1}` で結果を表示)",
    ),
];

/// What does not.
const PLAIN: Forms = &[
    (
        "there is no sweep {}; `sweep ls` lists the sweeps",
        "スイープ {} はありません (`sweep ls` で一覧を表示)",
    ),
    (
        "sweep {} belongs to {}: only its owner and admins change it",
        "スイープ {} の所有者は {} です。変更できるのは所有者と管理者だけです",
    ),
    (
        "someone else changed the sweep at the same time; try again",
        "同時にほかの人がこのスイープを変更しました。もう一度お試しください",
    ),
    ("sweep {} has the jobs 1 to {}, not {}", "スイープ {} のジョブは 1 から {} までです ({} はありません)"),
    ("job {} has ended already", "ジョブ {} は既に終わっています"),
    ("job {} is done already", "ジョブ {} は既に完了しています"),
    ("job {} is failed already", "ジョブ {} は既に失敗しています"),
    ("job {} is diverged already", "ジョブ {} は既に発散しています"),
    ("job {} is stopped already", "ジョブ {} は既に打ち切られています"),
    ("job {} is done, not failed", "ジョブ {} は完了しているため、再試行できません"),
    (
        "this coordinator's sweeps have specifications and searched points of {} bytes, and {} more would not fit in memory; write ranges \
         instead of long lists, or submit to a coordinator with another store",
        "このコーディネーターのスイープの定義と探索点は合計 {} バイトあり、さらに {} バイトを加えるとメモリーに収まりません。長いリストの代わりに範囲を\
         書くか、別のストアを使うコーディネーターに投入してください",
    ),
    (
        "the sweeps of {} have specifications and searched points of {} bytes, and with {} more they would have more than the {} that one \
         owner may have; write ranges instead of long lists, or ask an admin to submit it",
        "{} のスイープの定義と探索点は合計 {} バイトあり、さらに {} バイトを加えると、所有者 1 人あたりの上限 {} バイトを超えます。長いリストの代わりに\
         範囲を書くか、管理者に投入を依頼してください",
    ),
    (
        "sweep {} has no point yet, so that it cannot end with those that it has; `sweep cancel {}` ends it",
        "スイープ {} にはまだ探索点がないため、停止できません (`sweep cancel {}` で取り消せます)",
    ),
    (
        "no worker {} is connected; `sweep workers` lists the workers",
        "ワーカー {} は接続していません (`sweep workers` で一覧を表示)",
    ),
    (
        "{}, so sweep {} trains no more; give it another target first, `sweep set {} metric.target=VALUE`, or none, `metric.target=none`",
        "目標値に達しているため ({})、スイープ {} はこれ以上学習しません。先に別の目標値を指定するか (`sweep set {} metric.target=VALUE`)、\
         目標値をなくしてください (`metric.target=none`)",
    ),
    (
        "this coordinator serves its own machine without a token, by the names localhost, 127.0.0.1 and [::1] alone; start it with a token and an \
         address of the network (`sweep serve --token-file FILE --http 0.0.0.0:PORT`) to reach it by others",
        "このコーディネーターはトークンなしで、このマシン自身からの localhost、127.0.0.1、[::1] という名前での接続だけを受け付けます。\
         ほかの名前で接続するには、トークンとネットワークのアドレスを指定して起動してください (`sweep serve --token-file FILE --http 0.0.0.0:PORT`)",
    ),
    ("this was asked by a page of another server", "別のサーバーのページからの要求です"),
    (
        "this coordinator wants a token: send `Authorization: Bearer TOKEN`, or log in at /login",
        "このコーディネーターにはトークンが必要です。`Authorization: Bearer TOKEN` を送るか、/login でログインしてください",
    ),
    (
        "the token is wrong, was revoked or has run out: send another one, as `Authorization: Bearer TOKEN`",
        "トークンが正しくないか、失効または期限切れです。`Authorization: Bearer TOKEN` で別のトークンを送ってください",
    ),
    (
        "a viewer's token only looks; log in with another one",
        "閲覧用のトークンでは変更できません。別のトークンでログインしてください",
    ),
    (
        "this token is for the role {}, and this is for {}",
        "このトークンの役割は {} ですが、この操作には {} の役割が必要です",
    ),
    (
        "there is nothing at this address; / has the sweeps, /api/v1/sweeps as JSON",
        "このアドレスには何もありません。スイープの一覧は /、JSON では /api/v1/sweeps にあります",
    ),
    ("a sweep is a number from 1, not {}", "スイープは 1 以上の番号です ({} ではありません)"),
    ("a job is a number from 1, not {}", "ジョブは 1 以上の番号です ({} ではありません)"),
    (
        "`sweeps` names 2 to {} sweeps, as in sweeps=1,2",
        "`sweeps` には 2 から {} 個のスイープを指定します (例: sweeps=1,2)",
    ),
    ("`sweeps` names {} twice", "`sweeps` に {} が 2 回指定されています"),
    ("`text` has more than {} bytes", "`text` が {} バイトを超えています"),
    (
        "`text` has more than {} words; leave some out",
        "`text` の語数が {} を超えています。語を減らしてください",
    ),
    (
        "`where` has more than {} bytes; ask for fewer values, or for ranges",
        "`where` が {} バイトを超えています。値を減らすか、範囲で指定してください",
    ),
    (
        "`where` has more than {} conditions or {} ranges; leave some out",
        "`where` の条件が {} 個、または範囲が {} 個を超えています。条件や範囲を減らしてください",
    ),
    (
        "too many such answers are waited for; ask again in a few seconds",
        "同じような要求が多すぎます。数秒後にもう一度お試しください",
    ),
    (
        "{} reports are being read already; try again in 10 s",
        "既に {} 件のレポートを読み出し中です。10 秒後にもう一度お試しください",
    ),
    (
        "the coordinator is shutting down, or no longer leads, as where its database is away; its log says why",
        "コーディネーターは終了処理中か、データベースに接続できないなどの理由で担当を外れました。理由はログにあります",
    ),
    ("the coordinator is shutting down", "コーディネーターは終了処理中です"),
    (
        "the disk of the coordinator's store is full; it goes on by itself when there is room",
        "コーディネーターのストアのディスクがいっぱいです。空きができれば自動的に再開します",
    ),
    ("this coordinator stands by for the one at {}", "このコーディネーターは待機中です。担当は {} です"),
    (
        "this coordinator stands by, and knows of none that leads: its database is away, or the lead is just being taken",
        "このコーディネーターは待機中で、担当のコーディネーターが分かりません。データベースに接続できないか、担当が交代中です",
    ),
];

/// All of them.
pub(super) fn refusals() -> impl Iterator<Item = (String, String)> {
    let with = |text: &str, state: &str| text.replace("{state}", state);
    let of_states = OF_STATES.iter().flat_map(move |(english, japanese)| {
        STATES.iter().map(move |(state, named)| (with(english, state), with(japanese, named)))
    });
    of_states.chain(PLAIN.iter().map(|(english, japanese)| ((*english).to_owned(), (*japanese).to_owned())))
}
