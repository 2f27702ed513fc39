//! How gRPC encodes and decodes messages: as tonic's own codec does, except that a message is decoded from a slice. It lies
//! in one piece, and taking each of its fields from tonic's buffer would cost several calls.

use std::{fmt, marker::PhantomData};

use prost::{Message, bytes::Buf};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstCodec;

/// Encodes `T` and decodes `U`.
pub(crate) struct SliceCodec<T, U>(ProstCodec<T, U>);

/// Decodes `U`.
#[derive(Debug)]
pub(crate) struct SliceDecoder<U>(PhantomData<U>);

impl<T, U> Default for SliceCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::new())
    }
}

impl<T, U> fmt::Debug for SliceCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceCodec").finish_non_exhaustive()
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for SliceCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = SliceDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        SliceDecoder(PhantomData)
    }
}

impl<U: Message + Default> Decoder for SliceDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let length = buffer.remaining();
        let message = match buffer.chunk() {
            whole if whole.len() == length => {
                let message = U::decode(whole);
                buffer.advance(length);
                message
            }
            _ => U::decode(&*buffer.copy_to_bytes(length)),
        };
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
