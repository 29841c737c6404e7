//! Short forms for the many plain types of the configuration file.

/// Declares structs whose fields all have a default, in the way of this file.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name { $($(#[$attribute])* #[serde(default)] pub $field: $type,)* }
    )*};
}

/// Declares closed enumerations whose variants are called as they are written.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $variant:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$attribute])* $variant,)* }
    )*};
}

/// Declares structs whose fields may all be left out and have no default: each is an `Option`.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
        $(#[$doc])*
        #[serde(rename_all = "camelCase")]
        pub struct $name { $(
            $(#[$attribute])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,
        )* }
    )*};
}

pub(crate) use {choices, options, settings};
