//! The reasons that engine and workers give, and what the coordinator says where it refuses something, in Japanese. What a trainer or an operating system says stays as it is.

mod known;
mod refusals;
mod shown;

use std::sync::LazyLock;

use self::{
    known::{EXITS, KNOWN, PLACED, PLACES, WRAPPED},
    shown::{OF_WORKERS, OUTPUTS, PROGRAMS, PROPOSALS, WAITING, WEIGHTS},
};
use super::Strings;

/// Every form of a reason in both languages, the more specific first. English has its holes in order, Japanese by
/// position or in order. A hole may hold a reason itself.
static FORMS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let owned = |(english, japanese): &(&str, &str)| ((*english).to_owned(), (*japanese).to_owned());
    let mut forms: Vec<(String, String)> = WRAPPED.iter().map(owned).collect();
    let at_each_place =
        |(english, japanese)| PLACES.iter().map(move |place| placed(english, japanese, *place));
    // A trainer's last words come after a colon.
    for (english, japanese) in EXITS.iter().copied() {
        let said = |(english, japanese): (String, String)| {
            let hole = english.matches("{}").count();
            (english + ": {}", format!("{japanese}: {{{hole}}}"))
        };
        forms.extend(at_each_place((english, japanese)).map(said));
    }
    forms.extend(EXITS.iter().chain(PLACED).copied().flat_map(at_each_place));
    forms.extend(
        [KNOWN, WAITING, OF_WORKERS, PROGRAMS, PROPOSALS, WEIGHTS, OUTPUTS].concat().iter().map(owned),
    );
    forms.extend(refusals::refusals());
    forms
});

/// A form that says where the job was, with one such place filled in.
fn placed(english: &str, japanese: &str, (place, place_japanese): (&str, &str)) -> (String, String) {
    let count = |text: &str| text.matches("{}").count();
    let (before, _) = english.split_once("{place}").unwrap_or((english, ""));
    let (first, more) = (count(before), count(place));
    let of_place: Vec<String> = (0..more).map(|hole| format!("{{{}}}", first + hole)).collect();
    let own = (0..count(english)).map(|hole| if hole < first { hole } else { hole + more });
    let own: Vec<String> = own.map(|hole| format!("{{{hole}}}")).collect();
    let japanese = filled(japanese, &own).replace(PLACE_JAPANESE, &filled(place_japanese, &of_place));
    (english.replace("{place}", place), japanese)
}

/// Marks the place in a Japanese form: not a hole, as holes are filled first.
const PLACE_JAPANESE: &str = "<place>";

/// Deepest nesting of reasons: the system writes no deeper one.
const NESTED_MAX: usize = 5;

impl Strings {
    /// A reason in this report's language, where it is one of the system's own.
    pub(crate) fn reason(&self, reason: &str) -> String {
        if self.is_japanese() { japanese(reason, NESTED_MAX) } else { reason.to_owned() }
    }
}

fn japanese(reason: &str, nested_max: usize) -> String {
    let known = FORMS.iter().find_map(|(english, japanese)| Some((holes(reason, english)?, japanese)));
    let Some((held, template)) = known.filter(|_| nested_max > 0) else { return reason.to_owned() };
    let mut held: Vec<String> = held.into_iter().map(|text| japanese(text, nested_max - 1)).collect();
    match (template.strip_suffix(EACH), held.pop()) {
        (Some(template), Some(of_each)) => filled(template, &held) + &each(&of_each, nested_max - 1),
        (_, last) => filled(template, &held.into_iter().chain(last).collect::<Vec<_>>()),
    }
}

/// At the end of a Japanese form: what is said of one worker after the other.
const EACH: &str = "{each}";

/// What is said of some workers, `NAME: WHAT; NAME: WHAT`. What is said of one may have semicolons of its own.
fn each(text: &str, nested_max: usize) -> String {
    let mut of_each: Vec<String> = Vec::new();
    for part in text.split("; ") {
        let is_next = part == "and others"
            || part.split_once(": ").is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '));
        match of_each.last_mut().filter(|_| !is_next) {
            Some(before) => *before += &format!("; {part}"),
            None => of_each.push(part.to_owned()),
        }
    }
    let one = |text: String| match text.split_once(": ") {
        Some((name, what)) => format!("{name}: {}", japanese(what, nested_max)),
        None if text == "and others" => "ほか".to_owned(),
        None => text,
    };
    of_each.into_iter().map(one).collect::<Vec<_>>().join("、")
}

/// What `text` has in the holes of `template`, if it has that form.
fn holes<'a>(text: &'a str, template: &str) -> Option<Vec<&'a str>> {
    let mut parts = template.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut held = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        // The last part must be the text's end.
        let end = if parts.peek().is_none() {
            rest.len().checked_sub(part.len()).filter(|_| rest.ends_with(part))?
        } else {
            rest.find(part)?
        };
        held.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    rest.is_empty().then_some(held)
}

/// The template with its holes filled: `{}` in order, or `{2}` by position.
fn filled(template: &str, held: &[String]) -> String {
    let mut text = String::new();
    let mut next = 0;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((position, after)) = after.split_once('}') else { break };
        let position = position.parse().unwrap_or(next);
        next += 1;
        text.push_str(before);
        text.push_str(held.get(position).map_or("", String::as_str));
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Language;

    #[test]
    fn reasons_of_the_system_are_translated_and_others_are_not() {
        for (reason, expected) in [
            ("stopped on request", "要求により停止"),
            (
                "the training loss was not finite any more in epoch 12",
                "エポック 12 で学習損失が有限の値ではなくなりました",
            ),
            (
                "the trainer was killed by SIGKILL (out of memory?) in epoch 3",
                "エポック 3 でトレーナーが SIGKILL (out of memory?) により強制終了されました",
            ),
            (
                "the trainer ended with exit status 1 in epoch 3: no room, in a pack of 4 jobs",
                "エポック 3 でトレーナーが終了コード 1 で終了しました: no room (4 ジョブをまとめて学習中)",
            ),
            (
                "worker a was silent for longer than its lease; charged to the job, as it was lost with 2 workers (a, b) \
                 and may be what ends them",
                "ワーカー a からリース期間内に応答がありませんでした。2 台のワーカー (a, b) で失われたため、ジョブが原因とみなしました",
            ),
            (
                "exceeded job_timeout of 2s in epoch 3: training took 1.7 s, validating and the rest 0.3 s",
                "エポック 3 (学習 1.7 s、検証など 0.3 s) で job_timeout (2s) を超えました",
            ),
            (
                "exceeded job_timeout of 2m while validating epoch 3: training took 1.7 s, validating and the rest 0.3 s, in \
                 a pack of 4 jobs",
                "エポック 3 の検証中 (学習 1.7 s、検証など 0.3 s) に job_timeout (2m) を超えました (4 ジョブをまとめて学習中)",
            ),
            (
                "the data set file was truncated or its disk went away: the trainer was killed by SIGBUS while it prepared \
                 the data set (40 % done, packing its pictures, 1200 so far); tried again, as the sweep's data set has \
                 another path by now",
                "データセットのファイルが切り詰められたか、そのディスクが失われました: データセットの準備中 (40 % 完了、画像をまとめています \
                 (1200 件)) にトレーナーが SIGBUS により強制終了されました。スイープのデータセットのパスが変わったため再試行",
            ),
            (
                "the worker killed the trainer, which did not stop 1/7#2 when asked to, in epoch 3: no room; the process of \
                 its trainer is still there after SIGKILL, as where a disk or share does not answer; slot 0 is out of use \
                 until it has ended",
                "エポック 3 でワーカーが、停止要求 (1/7#2) に応じないトレーナーを強制終了しました: no room。SIGKILL 後もトレーナーのプロセスが\
                 残っています (ディスクや共有フォルダーが応答していない可能性があります)。終了するまでスロット 0 は使用できません",
            ),
            ("no worker is connected", "接続中のワーカーがありません"),
            (
                "no worker can train this sweep: a: it has no GPU; b: it cannot pause jobs, which early stopping asks for; update it; \
                 and others",
                "このスイープを学習できるワーカーがありません: a: GPU がありません、b: 早期打ち切りに必要な、ジョブの一時停止ができません。\
                 ワーカーを更新してください、ほか",
            ),
            (
                "of job 3 kept; `sweep artifact get 1`; 2 on their way",
                "ジョブ 3 の分を保存済み (`sweep artifact get 1`)、2 件は転送待ち",
            ),
            (
                "of job 3 (the best single training) kept; `sweep artifact get 1`",
                "ジョブ 3 (最良の単独の学習) の分を保存済み (`sweep artifact get 1`)",
            ),
            ("CUDA error: {} {0}", "CUDA error: {} {0}"),
            ("", ""),
        ] {
            assert_eq!(Strings::of(Language::Japanese).reason(reason), expected);
            assert_eq!(Strings::of(Language::English).reason(reason), reason);
        }
    }

    #[test]
    fn so_are_those_of_quotas_and_of_sweeps_that_go_on_as_a_whole() {
        for (reason, expected) in [
            (
                "the jobs of ann hold 3 slots of a quota of 4, and a job takes 2 at once",
                "ann のジョブが 3 スロットを使用中です (割り当ての上限は 4 スロット、1 件のジョブは同時に 2 スロットを使います)",
            ),
            (
                "the jobs of ann hold 1 slot of a quota of 1",
                "ann のジョブが 1 スロットを使用中です (割り当ての上限は 1 スロット)",
            ),
            (
                "the jobs of ann hold 1 slot of a quota of 4, 2 more are kept for jobs with several GPUs, and a job takes 3 at once",
                "ann のジョブが 1 スロットを使用中です (割り当ての上限は 4 スロット、ほかに 2 スロットを複数の GPU を使うジョブのために確保、1 件のジョブは同時に \
                 3 スロットを使います)",
            ),
            (
                "the jobs of ann hold 2 slots of a quota of 4, and 2 more are kept for jobs with several GPUs",
                "ann のジョブが 2 スロットを使用中です (割り当ての上限は 4 スロット、ほかに 2 スロットを複数の GPU を使うジョブのために確保)",
            ),
            (
                "the jobs of ann hold 4 slots of a quota of 4",
                "ann のジョブが 4 スロットを使用中です (割り当ての上限は 4 スロット)",
            ),
            (
                "sweep 3 is cancelled, so that its jobs go on together or not at all: try the whole sweep again, its cancelled jobs too (JSON \
                 API: POST /api/v1/sweeps/3/retry with the body {\"cancelled_too\": true})",
                "スイープ 3 は「取り消し」のため、ジョブを個別には再試行できません。取り消されたジョブも含めてスイープ全体を再試行してください \
                 (JSON API: POST /api/v1/sweeps/3/retry に本文 {\"cancelled_too\": true} を送信)",
            ),
        ] {
            assert_eq!(Strings::of(Language::Japanese).reason(reason), expected);
        }
    }

    #[test]
    fn every_known_reason_fills_all_the_holes_of_its_translation() {
        for (english, japanese) in FORMS.iter() {
            let holes = english.matches("{}").count();
            let text = filled(&japanese.replace(EACH, "{}"), &vec!["●".to_owned(); holes]);
            assert_eq!(text.matches('●').count(), holes, "{english}");
            assert!(!text.contains(['{', '}', '<', '>']), "{text}");
        }
    }

    #[test]
    fn every_reason_can_be_recognised() {
        for (english, _) in FORMS.iter() {
            let mut numbers = 0..;
            let (mut reason, mut rest) = (String::new(), english.as_str());
            while let Some((before, after)) = rest.split_once("{}") {
                reason += &format!("{before}{}", numbers.next().unwrap());
                rest = after;
            }
            reason += rest;
            let translated = Strings::of(Language::Japanese).reason(&reason);
            assert!(translated != reason, "{reason}");
            assert!(
                (0..numbers.start).all(|number| translated.contains(&number.to_string())),
                "{translated}"
            );
        }
    }

    #[test]
    fn what_looks_like_many_reasons_is_translated_in_bounded_time() {
        let nested = "the worker is shutting down, and ".repeat(10_000);
        assert!(Strings::of(Language::Japanese).reason(&nested).starts_with("ワーカーの終了処理中"));
    }

    /// Where reasons are written, and how those texts begin of the files that have others, too.
    const SOURCES: &[(&str, &[&str])] = &[
        ("coordinator/engine/src/attempts.rs", &[]),
        ("coordinator/engine/src/attribution.rs", &["{reason}"]),
        ("coordinator/engine/src/control.rs", &["the sweep was"]),
        ("coordinator/engine/src/job_control.rs", &[]),
        ("coordinator/engine/src/sessions.rs", &[]),
        ("coordinator/engine/src/sweep_run/stopping.rs", &["paused", "promoted", "stopped"]),
        ("coordinator/engine/src/sweep_run/transitions.rs", &["tried again"]),
        ("coordinator/engine/src/waiting.rs", &[]),
        (
            "coordinator/engine/src/resources.rs",
            &["no worker has", "every GPU", "it has", "its version gives"],
        ),
        ("coordinator/domain/src/proposals.rs", &["the sweep file", "drawn", "by the searcher"]),
        ("coordinator/src/driver/one_by_one.rs", &["the coordinator could not keep"]),
        ("coordinator/src/rpc/convert.rs", &["the worker sent"]),
        (
            "coordinator/engine/src/refusal.rs",
            &[
                "there is no",
                "sweep {} belongs",
                "someone else",
                "sweep {} has the",
                "job {}",
                "sweep {} is {} already",
                "the sweeps of",
                "no worker",
            ],
        ),
        ("coordinator/src/web/access.rs", &["this", "the token is", "a viewer's"]),
        ("coordinator/src/web/compare.rs", &["`sweeps`"]),
        ("coordinator/src/driver/handle.rs", &["the coordinator", "the disk", "this coordinator"]),
        ("worker/program/src/job/verdict.rs", &["the program", "the checkpoint", "no line", "it wrote"]),
        ("worker/src/agent/session/leaving.rs", &[]),
        ("worker/src/agent/session/conversation.rs", &[]),
        ("worker/src/agent/session/limits.rs", &[]),
        ("worker/src/agent/session/slot.rs", &[]),
        ("worker/src/agent/session/running.rs", &[]),
        ("worker/src/agent/session/time_spent.rs", &[]),
        ("worker/src/agent/session/trainers.rs", &[]),
        ("worker/src/agent/session/types.rs", &["the trainer"]),
        ("worker/src/agent/slots.rs", &["the trainer"]),
        ("worker/src/agent/trainer_process.rs", &["the trainer", "the worker"]),
        ("worker/src/agent/wire.rs", &["the coordinator's grant", "the parameter"]),
        ("worker/dataset/src/progress.rs", &[]),
        ("worker/trainer/src/group.rs", &["the training loss", "memory ran out"]),
    ];

    /// How texts of these files begin that are no reasons of jobs.
    const OTHER_TEXTS: &[&str] = &[
        "it reported on",
        "it claimed to run",
        "slot {}, {} times in a row",
        "the trainer of slot {} cannot be used here",
        "the trainer's pipes are missing",
        "the trainer does not read its input",
    ];

    /// The texts between quotation marks of a file, of three words at least, their holes empty.
    fn texts(source: &str) -> Vec<String> {
        let source = source.split("\nmod tests {").next().unwrap();
        let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n").replace("'\"'", "");
        let code = code.replace("\\\"", "'");
        let quoted = code.split('"').skip(1).step_by(2);
        let text = |quoted: &str| {
            // A backslash at the end of a line takes the next one's indentation away.
            let whole: Vec<&str> = quoted.split("\\\n").collect();
            let whole =
                whole.iter().enumerate().map(|(at, part)| if at > 0 { part.trim_start() } else { part });
            let whole: String = whole.collect();
            let mut parts = whole.split('{');
            let first = parts.next().unwrap_or("").to_owned();
            parts.fold(first, |text, part| text + "{}" + part.split_once('}').map_or(part, |(_, rest)| rest))
        };
        quoted.map(text).filter(|text| text.split_whitespace().count() >= 3).collect()
    }

    #[test]
    fn every_reason_in_the_sources_has_a_translation() {
        let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        for (file, beginnings) in SOURCES {
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            let wanted = |text: &String| {
                let begins = |beginning: &&str| text.starts_with(&beginning.replace("{reason}", "{}"));
                (beginnings.is_empty() || beginnings.iter().any(begins)) && !OTHER_TEXTS.iter().any(begins)
            };
            let found: Vec<String> = texts(&source).into_iter().filter(wanted).collect();
            assert!(!found.is_empty(), "{file} has no reasons any more");
            for text in found {
                let is_in = |form: &str| {
                    let mut rest = Some(form);
                    for part in text.split("{}").map(str::trim) {
                        rest = rest.and_then(|rest| Some(rest.split_once(part)?.1));
                    }
                    rest.is_some()
                };
                assert!(
                    FORMS.iter().any(|(english, _)| is_in(english)),
                    "{file} has a text that no Japanese report says; add it to known.rs, or to OTHER_TEXTS: {text}"
                );
            }
        }
    }
}
