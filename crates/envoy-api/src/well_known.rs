//! Protobuf's well-known types, and short constructors for those that Envoy's messages are full of.

pub use envoy_types::pb::google::protobuf::{
    Any, BoolValue, BytesValue, DoubleValue, Duration, Empty, FloatValue, Int32Value, Int64Value, ListValue,
    NullValue, StringValue, Struct, Timestamp, UInt32Value, UInt64Value, Value, value::Kind,
};
pub use envoy_types::pb::google::rpc::Status;

/// A wrapped `bool`: present even when it is false.
#[must_use]
pub fn boolean(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

/// A wrapped `u32`: present even when it is zero.
#[must_use]
pub fn uint32(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

/// A wrapped `u64`: present even when it is zero.
#[must_use]
pub fn uint64(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

/// A wrapped `f64`: present even when it is zero.
#[must_use]
pub fn double(value: f64) -> Option<DoubleValue> {
    Some(DoubleValue { value })
}

/// A wrapped `f32`: present even when it is zero.
#[must_use]
pub fn float(value: f32) -> Option<FloatValue> {
    Some(FloatValue { value })
}

/// A wrapped string: present even when it is empty.
pub fn string(value: impl Into<String>) -> Option<StringValue> {
    Some(StringValue { value: value.into() })
}

/// A `google.protobuf.Struct` with these members; a later pair replaces an earlier one of the same name.
pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Value)>) -> Struct {
    Struct { fields: members.into_iter().map(|(name, value)| (name.into(), value)).collect() }
}

/// A list inside a `google.protobuf.Value`.
pub fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values: values.into_iter().collect() })) }
}

macro_rules! value_from {
    ($($from:ty, $argument:ident => $kind:expr;)+) => {
        $(
            impl IntoValue for $from {
                fn into_value(self) -> Value {
                    let $argument = self;
                    Value { kind: Some($kind) }
                }
            }
        )+
    };
}

/// What can stand in a `google.protobuf.Value`.
pub trait IntoValue {
    /// The value, wrapped.
    fn into_value(self) -> Value;
}

value_from! {
    &str, text => Kind::StringValue(text.to_owned());
    String, text => Kind::StringValue(text);
    bool, flag => Kind::BoolValue(flag);
    f64, number => Kind::NumberValue(number);
    u32, number => Kind::NumberValue(f64::from(number));
    Struct, members => Kind::StructValue(members);
}
