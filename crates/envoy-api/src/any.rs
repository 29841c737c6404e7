//! Encoding of messages, alone and packed into `google.protobuf.Any`.

use prost::{DecodeError, Name};

use crate::{
    canonical,
    well_known::{Any, Duration},
};

/// The bytes of a message: the same bytes for equal messages, in every process.
///
/// The types' own `encode_to_vec` does not promise that for messages with maps, so resources are encoded by this
/// function alone. Messages packed in `Any` on the way are put in order as well.
pub fn encode<M: Name>(message: &M) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    canonical::sort_maps(&M::full_name(), &mut bytes);
    bytes
}

/// The message packed into an `Any` with its `type.googleapis.com/` URL; equal messages give equal bytes.
pub fn any<M: Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: encode(message) }
}

/// The message of type `M` inside an `Any`; `None` when it holds another type.
///
/// # Errors
/// When the bytes are not a valid message of that type.
pub fn unpack<M: Name + Default>(any: &Any) -> Result<Option<M>, DecodeError> {
    if any.type_url != M::type_url() {
        return Ok(None);
    }
    M::decode(any.value.as_slice()).map(Some)
}

/// The protobuf form of a duration; seconds past `i64::MAX` are cut to it.
#[must_use]
pub fn duration(duration: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Always below 1,000,000,000, so it fits.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}
