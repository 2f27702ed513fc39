//! `MetricValue` of the wire format, written by hand: generated code would allocate the name of each metric of each epoch
//! again. What travels is the same.

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{self, DecodeContext, WireType},
};
use terms::MetricName;

/// The value of a metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricValue {
    /// The metric's name: 1 to 100 characters without control characters.
    pub name: MetricName,
    /// Its value; any double, also NaN and infinities.
    pub value: f64,
}

const NAME: u32 = 1;
const VALUE: u32 = 2;

impl Message for MetricValue {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        if !self.name.is_empty() {
            encoding::encode_key(NAME, WireType::LengthDelimited, buffer);
            encoding::encode_varint(self.name.len() as u64, buffer);
            buffer.put_slice(self.name.as_bytes());
        }
        // Always sent: generated code takes a negative zero for the default, so that it would lose its sign.
        encoding::double::encode(VALUE, &self.value, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let in_field = |field| {
            move |mut error: DecodeError| {
                error.push("MetricValue", field);
                error
            }
        };
        match tag {
            NAME => {
                let name = take_name(wire_type, buffer, context);
                self.name = name.map_err(in_field("name"))?;
            }
            VALUE => {
                let value = encoding::double::merge(wire_type, &mut self.value, buffer, context);
                value.map_err(in_field("value"))?;
            }
            _ => encoding::skip_field(wire_type, tag, buffer, context)?,
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let bytes = self.name.len();
        let name = match bytes {
            0 => 0,
            _ => encoding::key_len(NAME) + encoding::encoded_len_varint(bytes as u64) + bytes,
        };
        name + encoding::double::encoded_len(VALUE, &self.value)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Takes a name from where it lies.
fn take_name(
    wire_type: WireType,
    buffer: &mut impl Buf,
    context: DecodeContext,
) -> Result<MetricName, DecodeError> {
    let mut ahead = buffer.chunk();
    let length = encoding::decode_varint(&mut ahead).ok().and_then(|length| usize::try_from(length).ok());
    let bytes = length.and_then(|length| ahead.get(..length));
    if let Some(text) = bytes.and_then(|bytes| str::from_utf8(bytes).ok())
        && wire_type == WireType::LengthDelimited
    {
        let name = MetricName::new(text);
        let taken = buffer.chunk().len() - ahead.len() + text.len();
        buffer.advance(taken);
        return Ok(name);
    }
    // It lies in several pieces, or is none.
    let mut text = String::new();
    encoding::string::merge(wire_type, &mut text, buffer, context)?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is generated for the same message.
    #[derive(Clone, PartialEq, Message)]
    struct Generated {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(double, required, tag = "2")]
        value: f64,
    }

    fn bits(name: &str, value: f64) -> (String, u64) {
        (name.to_owned(), value.to_bits())
    }

    /// Names, some of which do not fit inline.
    fn names() -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn it_is_encoded_and_decoded_as_generated_code_does(
            name in names(),
            value in any::<u64>().prop_map(f64::from_bits),
            cut in any::<prop::sample::Index>(),
        ) {
            let written = MetricValue { name: name.clone().into(), value };
            let bytes = written.encode_to_vec();
            prop_assert_eq!(&bytes, &Generated { name: name.clone(), value }.encode_to_vec());
            prop_assert_eq!(bytes.len(), written.encoded_len());
            let (one, other) = bytes.split_at(cut.index(bytes.len() + 1));
            for read in [MetricValue::decode(&*bytes), MetricValue::decode(one.chain(other))] {
                let read = read.unwrap();
                prop_assert_eq!(bits(&read.name, read.value), bits(&name, value));
            }
        }

        #[test]
        fn of_any_bytes_it_reads_what_generated_code_reads(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..60),
            begins_with_a_name in any::<bool>(),
        ) {
            if begins_with_a_name {
                bytes.splice(..0, [(NAME as u8) << 3 | 2, 5]);
            }
            let (read, expected) = (MetricValue::decode(&*bytes), Generated::decode(&*bytes));
            let read = read.map(|read| bits(&read.name, read.value)).map_err(|_| ());
            prop_assert_eq!(read, expected.map(|read| bits(&read.name, read.value)).map_err(|_| ()));
        }
    }

    #[test]
    fn a_negative_zero_keeps_its_sign() {
        let zero = MetricValue { name: "x".into(), value: -0.0 };
        let read = MetricValue::decode(&*zero.encode_to_vec()).unwrap();
        assert_eq!(read.value.to_bits(), (-0.0_f64).to_bits());
    }
}
