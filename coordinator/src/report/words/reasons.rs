//! The reasons that engine and workers give, in Japanese. What a trainer or an operating system says stays as it is.

use super::Words;

/// Texts of the engine (`core/engine`), the worker (`agent/session`) and the trainer, with holes; the more special first. A
/// hole may hold a reason itself.
const KNOWN: &[(&str, &str)] = &[
    (
        "{}; charged to the job, as it was lost with {} workers ({}) and may be what ends them",
        "{}。{} 台のワーカー ({}) で失われたため、ジョブが原因とみなしました",
    ),
    ("no worker that is connected has the data set: {}", "接続中のワーカーにデータセットがありません: {}"),
    ("{}, in a pack of {} jobs", "{} ({} ジョブをまとめて学習中)"),
    ("the worker is shutting down, and {}", "ワーカーの終了処理中: {}"),
    ("the worker is shutting down", "ワーカーが終了処理中です"),
    ("stopped on request: it ends with this attempt", "要求により停止 (実行中の試行で終了)"),
    ("stopped on request", "要求により停止"),
    ("cancelled on request", "要求により取り消し"),
    ("tried again on request", "要求により再試行"),
    ("the sweep was stopped", "スイープが停止されました"),
    ("the sweep was cancelled", "スイープが取り消されました"),
    (
        "worker {} was silent for longer than its lease",
        "ワーカー {} からリース期間内に応答がありませんでした",
    ),
    ("worker {} came back without it", "ワーカー {} がこのジョブを持たずに再接続しました"),
    (
        "the worker sent epoch {} after epoch {} of {}",
        "ワーカーがエポック {2} 中 {1} の次に {0} を送りました",
    ),
    (
        "the trainer said that it was done after {} of {} epochs",
        "トレーナーが {1} エポック中 {0} で完了と報告しました",
    ),
    (
        "the trainer said that it is done after {} of {} epochs",
        "トレーナーが {1} エポック中 {0} で完了と報告しました",
    ),
    (
        "the training loss was not finite any more in epoch {}",
        "エポック {} で学習損失が有限の値ではなくなりました",
    ),
    ("exceeded job_timeout of {}", "job_timeout ({}) を超えました"),
    ("the trainer stopped without being asked to", "トレーナーが要求なしに停止しました"),
    (
        "the trainer said nothing for {} in epoch {}, as if it stood still (--trainer-silence)",
        "エポック {1} でトレーナーから {0} 応答がありませんでした (--trainer-silence)",
    ),
    ("the trainer was not ready within {} s", "トレーナーが {} 秒以内に準備できませんでした"),
    (
        "the trainer was killed by {} in epoch {}: {}",
        "エポック {1} でトレーナーが {0} により強制終了されました: {2}",
    ),
    ("the trainer was killed by {} in epoch {}", "エポック {1} でトレーナーが {0} により強制終了されました"),
    (
        "the trainer was killed by {} while it prepared the data set{}",
        "データセットの準備中にトレーナーが {} により強制終了されました{}",
    ),
    (
        "the trainer ended with exit status {} in epoch {}: {}",
        "エポック {1} でトレーナーが終了コード {0} で終了しました: {2}",
    ),
    (
        "the trainer ended with exit status {} in epoch {}",
        "エポック {1} でトレーナーが終了コード {0} で終了しました",
    ),
    (
        "the trainer ended with exit status {} while it prepared the data set{}",
        "データセットの準備中にトレーナーが終了コード {} で終了しました{}",
    ),
];

/// Reasons within reasons: more, the system does not write.
const NESTED_MAX: usize = 3;

impl Words {
    /// A reason in this report's language, where it is one of the system's own.
    pub(in crate::report) fn reason(&self, reason: &str) -> String {
        if self.is_japanese() { japanese(reason, NESTED_MAX) } else { reason.to_owned() }
    }
}

fn japanese(reason: &str, nested_max: usize) -> String {
    let known = KNOWN.iter().find_map(|(english, japanese)| Some((holes(reason, english)?, japanese)));
    let Some((held, template)) = known.filter(|_| nested_max > 0) else { return reason.to_owned() };
    let held: Vec<String> = held.into_iter().map(|text| japanese(text, nested_max - 1)).collect();
    filled(template, &held)
}

/// What `text` has in the holes of `template`, if that is its form.
fn holes<'a>(text: &'a str, template: &str) -> Option<Vec<&'a str>> {
    let mut parts = template.split("{}");
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut held = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        // The last part is the text's end, whatever is before it.
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

/// The template with what is held in its holes: `{}` in order, or `{2}` by position.
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
    use crate::report::Language;

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
            ("CUDA error: {} {0}", "CUDA error: {} {0}"),
            ("", ""),
        ] {
            assert_eq!(Words::of(Language::Japanese).reason(reason), expected);
            assert_eq!(Words::of(Language::English).reason(reason), reason);
        }
    }

    #[test]
    fn every_known_reason_fills_all_the_holes_of_its_translation() {
        for (english, japanese) in KNOWN {
            let holes = english.matches("{}").count();
            let text = filled(japanese, &vec!["●".to_owned(); holes]);
            assert_eq!(text.matches('●').count(), holes, "{english}");
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn what_looks_like_many_reasons_is_translated_in_bounded_time() {
        let nested = "the worker is shutting down, and ".repeat(10_000);
        assert!(Words::of(Language::Japanese).reason(&nested).starts_with("ワーカーの終了処理中"));
    }
}
