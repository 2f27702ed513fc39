//! Names of the parameters and metrics of built-in models. Others go by their own names.

use crate::Language;

/// Headings in English and in Japanese.
type Text = [&'static str; 2];

/// The texts of one built-in model.
#[derive(Debug)]
pub(crate) struct ModelTexts {
    /// Its name, as its manifest has it.
    model: &'static str,
    /// What it is.
    meaning: Text,
    parameters: &'static [ParameterTexts],
    metrics: &'static [MetricTexts],
}

#[derive(Debug)]
struct ParameterTexts {
    name: &'static str,
    heading: Text,
    in_label: InLabel,
}

/// How a parameter is written in a job's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InLabel {
    /// Among the first, at this position, with a short name.
    First(usize, &'static str),
    /// With its name.
    Named,
    /// Only its value.
    Bare,
    /// Only its value, after all others.
    BareLast,
}

#[derive(Debug)]
struct MetricTexts {
    name: &'static str,
    heading: Text,
    /// Within a title.
    topic: Text,
    /// Its value at the best epoch.
    at_best: Text,
}

/// The texts of SimpleCNN: those of the original report where it has them.
static SIMPLE_CNN: ModelTexts = ModelTexts {
    model: "simple_cnn",
    meaning: [
        "a network of convolutions and two linear layers that classifies images",
        "畳み込み層と 2 つの全結合層からなる画像分類のネットワーク",
    ],
    parameters: &[
        parameter("activation", ["Activation", "活性化関数"], InLabel::BareLast),
        parameter("learning_rate", ["Learning rate", "学習率"], InLabel::First(0, "lr")),
        parameter("batch_size", ["Batch size", "バッチサイズ"], InLabel::First(1, "bs")),
        parameter("epochs", ["Epochs", "エポック数"], InLabel::Named),
        parameter("seed", ["Seed", "シード"], InLabel::Named),
        parameter("precision", ["Precision", "数値精度"], InLabel::Bare),
        parameter("channels", ["Channels", "チャネル数"], InLabel::Named),
        parameter("hidden_units", ["Hidden units", "ユニット数"], InLabel::Named),
        parameter("batch_norm", ["Batch normalisation", "バッチノーマライゼーション"], InLabel::Named),
        parameter("dropout", ["Dropout", "ドロップアウト"], InLabel::Named),
        parameter("optimizer", ["Optimizer", "オプティマイザ"], InLabel::Bare),
        parameter("momentum", ["Momentum", "モメンタム"], InLabel::Named),
        parameter("weight_decay", ["Weight decay", "重み減衰"], InLabel::Named),
        parameter("lr_schedule", ["Learning rate schedule", "学習率スケジュール"], InLabel::Named),
        parameter("warmup_epochs", ["Warm-up epochs", "ウォームアップのエポック数"], InLabel::Named),
        parameter("gradient_clip_norm", ["Gradient clipping norm", "勾配クリッピングの上限"], InLabel::Named),
        parameter("label_smoothing", ["Label smoothing", "ラベル平滑化"], InLabel::Named),
        parameter("augmentation", ["Augmentation", "データ拡張"], InLabel::Named),
    ],
    metrics: &[
        MetricTexts {
            name: "train_loss",
            heading: ["Training loss", "学習損失"],
            topic: ["training loss", "学習損失"],
            at_best: ["Training loss at the best epoch", "最良エポックの学習損失"],
        },
        MetricTexts {
            name: "val_accuracy",
            heading: ["Validation accuracy", "検証精度"],
            topic: ["accuracy", "精度"],
            at_best: ["Accuracy at the best epoch", "最良エポックの検証精度"],
        },
        MetricTexts {
            name: "val_loss",
            heading: ["Validation loss", "検証損失"],
            topic: ["validation loss", "検証損失"],
            at_best: ["Loss at the best epoch", "最良エポックの検証損失"],
        },
        MetricTexts {
            name: "train_accuracy",
            heading: ["Training accuracy", "学習精度"],
            topic: ["training accuracy", "学習精度"],
            at_best: ["Training accuracy at the best epoch", "最良エポックの学習精度"],
        },
    ],
};

const fn parameter(name: &'static str, heading: Text, in_label: InLabel) -> ParameterTexts {
    ParameterTexts { name, heading, in_label }
}

impl ModelTexts {
    /// The texts of the built-in model of this name.
    pub(crate) fn of(model: &str) -> Option<&'static Self> {
        [&SIMPLE_CNN].into_iter().find(|texts| texts.model == model)
    }

    /// What the model is.
    pub(crate) fn meaning(&self, language: Language) -> &'static str {
        self.meaning[place(language)]
    }

    pub(crate) fn parameter(&self, name: &str, language: Language) -> Option<&'static str> {
        let texts = self.parameters.iter().find(|texts| texts.name == name)?;
        Some(texts.heading[place(language)])
    }

    /// How a parameter is written within a label.
    pub(crate) fn in_label(&self, name: &str) -> Option<InLabel> {
        Some(self.parameters.iter().find(|texts| texts.name == name)?.in_label)
    }

    /// What a metric is called: as a heading, within a title, at the best epoch.
    pub(crate) fn metric(&self, name: &str, language: Language) -> Option<[&'static str; 3]> {
        let texts = self.metrics.iter().find(|texts| texts.name == name)?;
        Some([texts.heading, texts.topic, texts.at_best].map(|text| text[place(language)]))
    }
}

fn place(language: Language) -> usize {
    match language {
        Language::English => 0,
        Language::Japanese => 1,
    }
}

#[cfg(test)]
mod tests {
    use terms::manifest::builtins;

    use super::*;

    #[test]
    fn every_parameter_and_metric_of_a_built_in_model_has_headings() {
        for manifest in builtins() {
            let texts = ModelTexts::of(&manifest.name).unwrap();
            for parameter in &manifest.parameters {
                assert!(texts.parameter(&parameter.name, Language::Japanese).is_some(), "{}", parameter.name);
            }
            for metric in &manifest.metrics {
                assert!(texts.metric(&metric.name, Language::Japanese).is_some(), "{}", metric.name);
            }
            assert_eq!(texts.parameters.len(), manifest.parameters.len());
            assert_eq!(texts.metrics.len(), manifest.metrics.len());
        }
    }
}
