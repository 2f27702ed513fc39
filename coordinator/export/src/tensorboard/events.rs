//! Files of events: records of a length, its checksum, a message, and its checksum (`record_writer.h` of TensorFlow).

use std::io::{self, Write};

use crc::{CRC_32_ISCSI, Crc, Table};
use prost::Message;

use super::messages::{
    Dimension, Event, Metadata, Plugin, PluginContent, PluginData, Shape, Summary, SummaryValue, Tensor,
    TensorType, What,
};
use crate::ExportError;

/// What the first record of a file says.
const VERSION: &str = "brain.Event:2";
/// CRC32C, by tables for sixteen bytes at a time.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
/// What masks a checksum, as a record may hold records.
const MASK: u32 = 0xa282_ead8;

/// A file of events that is being written.
#[derive(Debug)]
pub(super) struct Events<W: Write> {
    out: W,
    /// A message, encoded.
    message: Vec<u8>,
}

impl<W: Write> Events<W> {
    pub(super) fn begin(out: W, wall_time: f64) -> Result<Self, ExportError> {
        let mut events = Self { out, message: Vec::new() };
        events.record(&Event { wall_time, step: 0, what: Some(What::FileVersion(VERSION.to_owned())) })?;
        Ok(events)
    }

    /// Says something to the HParams plugin.
    pub(super) fn hparams(&mut self, wall_time: f64, content: PluginContent) -> Result<(), ExportError> {
        let tag = match content {
            PluginContent::Experiment(_) => "_hparams_/experiment",
            PluginContent::SessionStart(_) => "_hparams_/session_start_info",
            PluginContent::SessionEnd(_) => "_hparams_/session_end_info",
        };
        let content = PluginData { content: Some(content) }.encode_to_vec();
        // Only what it says counts; the tensor has no numbers.
        let shape = Shape { dimensions: vec![Dimension { size: 0 }] };
        let value = SummaryValue {
            tag: tag.to_owned(),
            simple: None,
            tensor: Some(Tensor { of: TensorType::Float.into(), shape: Some(shape) }),
            metadata: Some(Metadata { plugin: Some(Plugin { name: "hparams".to_owned(), content }) }),
        };
        self.summary(wall_time, 0, vec![value])
    }

    /// Adds numbers of a step, in single precision: of doubles, TensorBoard's own loader shows nothing.
    pub(super) fn scalars<'n>(
        &mut self,
        wall_time: f64,
        step: i64,
        values: impl Iterator<Item = (&'n String, f64)>,
    ) -> Result<(), ExportError> {
        let value = |(tag, value): (&String, f64)| SummaryValue {
            tag: tag.clone(),
            simple: Some(value as f32),
            tensor: None,
            metadata: None,
        };
        self.summary(wall_time, step, values.map(value).collect())
    }

    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }

    fn summary(&mut self, wall_time: f64, step: i64, values: Vec<SummaryValue>) -> Result<(), ExportError> {
        let what = Some(What::Summary(Summary { values }));
        Ok(self.record(&Event { wall_time, step, what })?)
    }

    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.message.clear();
        event.encode(&mut self.message).map_err(io::Error::other)?;
        let length = (self.message.len() as u64).to_le_bytes();
        self.out.write_all(&length)?;
        self.out.write_all(&masked(&length).to_le_bytes())?;
        self.out.write_all(&self.message)?;
        self.out.write_all(&masked(&self.message).to_le_bytes())
    }
}

fn masked(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_one_that_tensorflow_writes() {
        // The first record of any file of TensorFlow's whose event is of the time 0 has these bytes.
        let mut file = Vec::new();
        Events::begin(&mut file, 0.0).unwrap();
        assert_eq!(file[..8], 15_u64.to_le_bytes());
        assert_eq!(&file[12..27], b"\x1a\x0dbrain.Event:2");
        assert_eq!(file.len(), 12 + 15 + 4);
        // Values of RFC 3720, masked as `crc32c.h` says.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
