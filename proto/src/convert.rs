//! Between the generated messages and the vocabulary of `terms`.

use terms::{DatasetSummary, LeftOut};

use crate::v1;

impl From<LeftOut> for v1::LeftOut {
    fn from(left_out: LeftOut) -> Self {
        let LeftOut { reason, detail, count, examples } = left_out;
        Self { reason, detail, count, examples }
    }
}

impl From<v1::LeftOut> for LeftOut {
    fn from(left_out: v1::LeftOut) -> Self {
        let v1::LeftOut { reason, detail, count, examples } = left_out;
        Self { reason, detail, count, examples }
    }
}

impl From<DatasetSummary> for v1::DatasetSummary {
    fn from(found: DatasetSummary) -> Self {
        Self {
            content_hash: found.content_hash,
            classes: found.classes,
            train_images: found.train_images,
            val_images: found.val_images,
            skipped: found.skipped,
            skipped_count: found.skipped_count,
            train_by_class: found.train_by_class,
            val_by_class: found.val_by_class,
            left_out: found.left_out.into_iter().map(Into::into).collect(),
            validation: found.validation,
        }
    }
}

impl From<v1::DatasetSummary> for DatasetSummary {
    fn from(found: v1::DatasetSummary) -> Self {
        Self {
            content_hash: found.content_hash,
            classes: found.classes,
            train_images: found.train_images,
            val_images: found.val_images,
            skipped: found.skipped,
            skipped_count: found.skipped_count,
            train_by_class: found.train_by_class,
            val_by_class: found.val_by_class,
            left_out: found.left_out.into_iter().map(Into::into).collect(),
            validation: found.validation,
        }
    }
}
